"""Programs that read one another's outputs, joined into one: a step of a whole stack, from input to output.

What was a projection of its own stands beside the product with the state then, so that one pass over the
weights computes both; and threads wait for each other once a layer.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from elman import states
from elman.fused.operations import Objection
from elman.fused.program import POINTWISE, Builder, Program, evaluate
from elman.fused.trace import Traced, trace_cell

#: How far, relative in norm, a chain may be from the steps that it was made of, on random values.
TOLERANCE = 1e-4


class Chain:
    """A step of a chain of cells as one Program, with its vectors and matrices.

    ``parts`` pairs each cell with the name of its state, as in ``states.leaves`` of the whole state:
    ``"state"``, or ``"state.0"`` … for the layers of a stack. In the Program every product is with a
    transposed matrix, so that each of a matrix's rows makes one column. ``leaves`` are the tensors of the
    state, in order, with their widths. What comes after the cells is added by :meth:`linear` and
    :meth:`log_softmax`.

    Raises:
        Objection: a cell cannot be expressed as Programs, or its equations depend on values.
    """

    def __init__(self, parts: Sequence[tuple[str, Any]]) -> None:
        self.input_size = int(parts[0][1].input_size)
        self.leaves: dict[str, int] = {}
        self.fixed: dict[str, Tensor] = {}
        self._outputs: dict[str, int] = {}
        self._builder = Builder()
        self._last = self._builder.add("input", width=self.input_size, data=("x",))
        for state, cell in parts:
            projection, advance = trace_cell(cell)
            self._append(projection, cell, state, "project")
            self._append(advance, cell, state, "advance")
        self._compare(parts)

    @property
    def width(self) -> int:
        """How many columns the output has."""
        return self._builder.nodes[self._last].width

    @property
    def program(self) -> Program:
        return self._builder.finish({**self._outputs, "y": self._last})

    def linear(self, name: str, weight: Tensor, bias: Tensor | None = None) -> None:
        """The output becomes ``y Wᵀ + b``."""
        self.fixed[f"{name}.weight"] = weight.detach()
        self._last = self._builder.add(
            "product", self._last, width=weight.shape[0], data=(f"{name}.weight", True)
        )
        if bias is not None:
            self.fixed[f"{name}.bias"] = bias.detach()
            b = self._builder.add("vector", width=len(bias), data=(f"{name}.bias",))
            self._last = self._builder.add("add", self._last, b)

    def log_softmax(self) -> None:
        """The output becomes ``y − log Σ exp y``."""
        add, y = self._builder.add, self._last
        less = add("sub", y, add("max_row", y, width=1))
        self._last = add("sub", less, add("log", add("sum", add("exp", less), width=1)))

    def _append(self, traced: Traced, cell: Any, state: str, part: str) -> None:
        program, builder = traced.program, self._builder
        with torch.no_grad():
            given = {name: tensor.detach() for name, tensor in traced.prepare(cell).items()}
        places: list[int] = []
        for node in program.nodes:
            args = [places[arg] for arg in node.args]
            if node.op == "input" and node.data[0] == "x":
                place = self._last
            elif node.op == "input":
                place = builder.add("input", width=node.width, data=(_renamed(node.data[0], state),))
            elif node.op == "vector":
                name = f"{state}.{part}.{node.data[0]}"
                self.fixed[name] = given[str(node.data[0])].reshape(-1)
                place = builder.add("vector", width=node.width, data=(name,))
            elif node.op == "product":
                name, matrix = f"{state}.{part}.{node.data[0]}", given[str(node.data[0])]
                if not node.data[1]:
                    name, matrix = f"{name}ᵀ", matrix.T
                self.fixed[name] = matrix
                place = builder.add("product", *args, width=node.width, data=(name, True))
            elif node.op == "slice":
                place = builder.columns(args[0], int(node.data[0]), int(node.data[1]))
            elif node.op in POINTWISE:
                place = builder.add(node.op, *args)
            else:
                place = builder.add(node.op, *args, width=node.width, data=node.data)
            places.append(place)
        for name, place in program.outputs:
            if name == "y":
                self._last = places[place]
            else:
                leaf = _renamed(name.removesuffix("'"), state)
                self.leaves[leaf] = program.nodes[place].width
                self._outputs[f"{leaf}'"] = places[place]

    def _compare(self, parts: Sequence[tuple[str, Any]]) -> None:
        """With ``step`` on random values: what depends on values cannot be traced."""
        generator = torch.Generator().manual_seed(4)
        like = next(iter([*self.fixed.values(), torch.zeros(())]))

        def drawn(*sizes: int) -> Tensor:
            return torch.randn(*sizes, generator=generator, dtype=torch.float64).to(like)

        y = x = drawn(3, self.input_size)
        before: dict[str, Tensor] = {}
        wanted: list[Tensor] = []
        with torch.no_grad():
            for name, cell in parts:
                start = states.transform(lambda leaf: leaf + drawn(*leaf.shape).abs(), cell.initial_state(3))
                before |= states.leaves(start, name)
                y, after = cell.step(y, start)
                wanted += [leaf for _, leaf in states.leaves(after, name)]
            found = evaluate(self.program, {"x": x, **before}, self.fixed)
        for mine, theirs in zip(found.values(), [*wanted, y], strict=True):
            if not (mine - theirs).norm() <= TOLERANCE * (theirs.norm() + 1e-6):
                raise Objection("its equations depend on values in a way that tracing does not see")


def _renamed(leaf: Any, state: str) -> str:
    return state + str(leaf).removeprefix("state")


def split(flat: Tensor, leaves: Mapping[str, int]) -> dict[str, Tensor]:
    """The tensors of a state that lies in one, side by side (B columns)."""
    return dict(zip(leaves, flat.split(list(leaves.values()), 1), strict=True))
