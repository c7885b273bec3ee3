"""A cell's ``advance`` → :class:`Program`.

``advance`` is run once on a few rows, recording every ATen operation. What depends only on parameters
(a transpose, ``exp(-softplus(p))``, a dropped weight) is *invariant*: it is kept as a small graph that runs
once per scan, under autograd, and its results are the Program's vectors and matrices. The rest becomes
nodes. What cannot be expressed raises :class:`Objection`, with the reason that
``choose.objections`` gives.
"""

import hashlib
import operator
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from elman import states
from elman.fused import bfloat16, invariants
from elman.fused.invariants import Invariants
from elman.fused.operations import OPERATIONS, Objection
from elman.fused.program import Builder, Program
from elman.fused.record import record

aten = torch.ops.aten

Value = int | tuple[int, ...]


@dataclass(frozen=True)
class Split:
    """A matrix cut into runs of ``width`` rows (``axis`` 0) or columns (1), each a matrix by itself."""

    matrix: str
    axis: int
    width: int

    def name(self, k: int) -> str:
        """The name of the k-th piece."""
        return f"{self.matrix}.{('rows', 'columns')[self.axis]}.{k}"


@dataclass(frozen=True)
class Traced:
    """A step as a Program, and the calls that make its vectors and matrices from the parameters."""

    program: Program
    invariants: Invariants
    names: tuple[str, ...]
    state_names: tuple[str, ...]
    made: tuple[str, ...] = ()
    """What ``invariants`` gives, where that is more than the Program's ``names``."""
    splits: tuple[Split, ...] = ()

    @cached_property
    def masks(self) -> tuple[str, ...]:
        """The inputs beside x and the state: masks, by which a Program has noise."""
        return tuple(name for name in self.program.names("input") if name.startswith("noise."))

    @cached_property
    def key(self) -> str:
        """Sixteen hexadecimal digits that identify the content: Program and invariants."""
        made = (self.invariants.content(), self.names, self.state_names, self.made, self.splits)
        return hashlib.sha256(repr((self.program.key, made)).encode()).hexdigest()[:16]

    def prepare(
        self, cell: nn.Module | Mapping[str, Tensor], dropped: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """The vectors and matrices of the Program, from the cell's parameters as they are now.

        Those of bfloat16 become float32, in which everything but products is computed. ``dropped``: by what
        a matrix is multiplied, element by element.
        """
        tensors = {
            name: cell[name] if isinstance(cell, Mapping) else tensor_named(cell, name)
            for name in self.invariants.tensors
        }
        wide = {name: t.float() if t.dtype == torch.bfloat16 else t for name, t in tensors.items()}
        made = dict(zip(self.made or self.names, self.invariants(wide), strict=True))
        for name, mask in (dropped or {}).items():
            made[name] = made[name] * mask.detach().to(made[name])
        for split in self.splits:
            pieces = made[split.matrix].split(split.width, split.axis)
            made |= {split.name(k): piece for k, piece in enumerate(pieces)}
        found = {name: made[name] for name in self.names}
        for name, tensor in found.items():
            if not tensor.is_floating_point():  # a mask, or places: as PyTorch takes them beside fractions
                found[name] = tensor.to(bfloat16.beside(named_tensors(cell).values()))
        return found


def trace(
    cell: nn.Module,
    projected_size: int,
    batches: tuple[int, int] = (3, 5),
    candidates: Mapping[str, int] | None = None,
) -> Traced:
    """Traces ``cell.advance`` at two batch sizes; they must give the same Program.

    ``candidates``: by which inputs, of how many columns, what the cell calls its candidates is multiplied.

    Raises:
        Objection: an operation has no counterpart, values are not B rows, or the two traces differ.
    """
    return _alike([_trace_advance(cell, projected_size, batch, candidates or {}) for batch in batches])


def trace_projection(cell: nn.Module, input_size: int, batches: tuple[int, int] = (3, 5)) -> Traced:
    """Traces ``cell.project``: a Program without state, whose rows are those of all steps.

    Raises:
        Objection: as :func:`trace`.
    """
    return _alike([_record(_Project(cell), {}, {}, {}, input_size, batch) for batch in batches])


def settings(cell: nn.Module) -> Any:
    """What a trace of the cell depends on, to be its key."""
    shapes: list[tuple[str, str, torch.Size]] = []
    # Every scan asks for this; named_parameters() and named_buffers() take five times as long.
    for prefix, module in cell.named_modules() if cell._modules else [("", cell)]:
        for held in (module._parameters, module._buffers):
            shapes += [(prefix, name, tensor.shape) for name, tensor in held.items() if tensor is not None]
    return cell.training, cell.extra_repr(), tuple(shapes)


def candidates(cell: Any) -> dict[str, int]:
    """Masks for the candidates that ``cell.advance`` marks, in the order of the step, with their widths."""
    if (stored := _stored(cell)) is not None:
        widths_of = {} if stored[2] is None else stored[2].program.names("input")
        return {name: width for name, width in widths_of.items() if name.startswith("noise.")}
    widths: list[int] = []

    def mark(candidate: Tensor) -> Tensor:
        widths.append(candidate.shape[-1])
        return candidate

    with torch.no_grad():
        state = cell.initial_state(2)
        like = next((leaf for _, leaf in states.leaves(state)), torch.zeros(()))
        _marking(cell, mark).advance(cell.project(like.new_zeros(2, cell.input_size)), state)
    return {f"noise.candidate.{k}": width for k, width in enumerate(widths)}


def trace_marked(cell: Any, projected_size: int) -> Traced | None:
    """``cell.advance`` with a mask on each candidate that it marks; None where it marks none.

    Raises:
        Objection: as :func:`trace`.
    """
    if (stored := _stored(cell)) is not None:
        return stored[2]
    masks = candidates(cell)
    return trace(cell, projected_size, candidates=masks) if masks else None


def _stored(cell: Any) -> tuple[Traced, Traced, Traced | None] | None:
    """The Programs of a cell that was stored: what needs no past, the step, and the step with masks."""
    return getattr(cell, "traced", None)


def _marking(cell: nn.Module, mark: Callable[[Tensor], Tensor]) -> Any:
    """The same cell, parameters and all, that does ``mark`` with its candidates."""
    twin: Any = copy(cell)
    twin.candidate = mark
    return twin


def trace_cell(cell: Any) -> tuple[Traced, Traced]:
    """Both Programs of a cell: what needs no past, and the step. A cell that was stored has them already.

    Raises:
        Objection: as :func:`trace`.
    """
    if (stored := _stored(cell)) is not None:
        return stored[:2]
    projection = trace_projection(cell, cell.input_size)
    ((_, place),) = projection.program.outputs
    return projection, trace(cell, projection.program.nodes[place].width)


def trace_start(cell: nn.Module) -> Invariants:
    """What makes the leaves of ``cell.initial_state(1)`` from the parameters.

    Raises:
        Objection: it could not be traced.
    """
    tensors = {name: tensor.detach() for name, tensor in named_tensors(cell).items()}

    def run(parameters: dict[str, Tensor]) -> list[Tensor]:
        owned = {f"cell.{name}": tensor for name, tensor in parameters.items()}
        return [leaf for _, leaf in states.leaves(functional_call(_Start(cell), owned, ()))]

    try:
        recorded = record(run, tensors)
    except Exception as error:
        raise Objection(f"its initial state could not be traced: {_reason(error)}") from error
    graph, copies, names = fx.Graph(), {}, iter(tensors)
    root = graph.placeholder("tensors")
    for node in recorded.graph.nodes:
        if node.op == "placeholder":
            copies[node] = graph.call_function(operator.getitem, (root, next(names)))
            copies[node].meta = node.meta
        elif node.op == "output":
            graph.output(tuple(copies[leaf] for leaf in node.args[0]))
        else:
            copies[node] = graph.node_copy(node, lambda n: copies[n])
    return invariants.record(graph, recorded)


def _alike(traces: list[Traced]) -> Traced:
    first, second = traces
    if first.program.key != second.program.key:
        raise Objection("its equations depend on the batch size")
    return first


def named_tensors(cell: nn.Module | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A cell's parameters and buffers by name; or the mapping as it is."""
    if isinstance(cell, Mapping):
        return dict(cell)
    return {**dict(cell.named_parameters()), **dict(cell.named_buffers())}


def tensor_named(cell: nn.Module, name: str) -> Tensor:
    """The one of :func:`named_tensors` that has this name, without a walk over them all."""
    *path, last = name.split(".")
    module: Any = cell
    for part in path:
        module = module._modules[part]
    found = module._parameters.get(last)
    return cast(Tensor, module._buffers[last] if found is None else found)


def _trace_advance(cell: nn.Module, projected_size: int, batch: int, candidates: Mapping[str, int]) -> Traced:
    recurrence: Any = cell
    start = states.detach(recurrence.initial_state(batch))
    return _record(_Advance(cell), start, dict(states.leaves(start)), candidates, projected_size, batch)


def _record(
    call: "_Call",
    start: Any,
    leaves: dict[str, Tensor],
    candidates: Mapping[str, int],
    width: int,
    batch: int,
) -> Traced:
    tensors = {name: tensor.detach() for name, tensor in named_tensors(call.cell).items()}
    like = next(iter([*leaves.values(), *tensors.values()]), torch.zeros(()))
    x = like.new_zeros(batch, width)
    masks = {name: like.new_ones(batch, columns) for name, columns in candidates.items()}

    def run(
        parameters: dict[str, Tensor], x: Tensor, leaves: dict[str, Tensor], masks: dict[str, Tensor]
    ) -> list[Tensor]:
        owned = {f"cell.{name}": tensor for name, tensor in parameters.items()}
        state = states.replace(start, leaves) if leaves else None
        returned = functional_call(call, owned, (x, state, list(masks.values())))
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise TypeError(f"advance returned a {type(returned).__name__}, not an output and a state")
        return [returned[0], *(leaf for _, leaf in states.leaves(returned[1]))]

    try:
        graph = record(run, tensors, x, leaves, masks)
    except Exception as error:
        raise Objection(f"it could not be traced: {_reason(error)}") from error
    return _Reader(graph, list(tensors), list(leaves), list(masks), batch).read()


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


class _Reader:
    """Walks a recorded graph: invariant operations into a graph of their own, the rest into nodes."""

    def __init__(
        self, graph: fx.GraphModule, tensors: list[str], leaves: list[str], masks: list[str], batch: int
    ) -> None:
        self.graph = graph
        self.inputs = [
            *[("tensor", name) for name in tensors],
            ("input", "x"),
            *[("input", n) for n in [*leaves, *masks]],
        ]
        self.leaves = leaves
        self.batch = batch
        self.builder = Builder()
        self.known: dict[fx.Node, Value] = {}
        self.invariant_graph = fx.Graph()
        self.copies: dict[fx.Node, fx.Node] = {}
        self.exported: dict[fx.Node, str] = {}

    def read(self) -> Traced:
        remaining = iter(self.inputs)
        root = self.invariant_graph.placeholder("tensors")
        for node in self.graph.graph.nodes:
            if node.op == "placeholder":
                kind, name = next(remaining)
                if kind == "tensor":
                    self.copies[node] = self.invariant_graph.call_function(operator.getitem, (root, name))
                    self.copies[node].meta = node.meta
                else:
                    width = node.meta["val"].shape[1]
                    self.known[node] = self.builder.add("input", width=width, data=(name,))
            elif node.op == "output":
                return self._finish(node.args[0])
            elif not any(argument in self.known for argument in node.all_input_nodes):
                self.copies[node] = self.invariant_graph.node_copy(node, lambda n: self.copies[n])
            else:
                self.known[node] = self._translate(node)
        raise Objection("its graph has no output")

    def _translate(self, node: fx.Node) -> "Value":
        rule = OPERATIONS.get(node.target)
        if rule is None:
            raise Objection(f"it uses {node.target}, which has no counterpart here")
        return rule(self, node, *node.args, **node.kwargs)

    def _finish(self, returned: list[fx.Node]) -> Traced:
        names = ["y", *(f"{leaf}'" for leaf in self.leaves)]
        outputs = {name: self.row(node) for name, node in zip(names, returned, strict=True)}
        self.invariant_graph.output(tuple(self.copies[node] for node in self.exported))
        self.invariant_graph.eliminate_dead_code()  # such as the transpose of what is used transposed
        calls = invariants.record(self.invariant_graph, self.graph)
        return Traced(self.builder.finish(outputs), calls, tuple(self.exported.values()), tuple(self.leaves))

    def row(self, argument: "fx.Node | float") -> int:
        """The node of the Program that a graph argument is: B rows, a vector for all of them, or a number."""
        if not isinstance(argument, fx.Node):
            return self.builder.constant(argument)
        value = self.known.get(argument)
        if isinstance(value, int):
            return value
        if value is not None:
            raise Objection(f"{argument.name} stands for several values")
        tensor = argument.meta["val"]
        if tensor.dim() > 2 or (tensor.dim() == 2 and tensor.shape[0] != 1):
            raise Objection(f"{argument.name} of shape {tuple(tensor.shape)} does not lie along a row")
        return self.builder.add(
            "vector", width=max(1, tensor.shape[-1]) if tensor.dim() else 1, data=(self._export(argument),)
        )

    def matrix(self, argument: fx.Node) -> tuple[str, bool, int]:
        """The name of a product's matrix, whether it is used transposed, and the columns of the result."""
        if argument in self.known:
            raise Objection("it multiplies two values of the loop as matrices")
        columns = argument.meta["val"].shape[1]
        if argument.target is aten.t.default:
            return self._export(cast(fx.Node, argument.args[0])), True, columns
        return self._export(argument), False, columns

    def require_rows(self, node: fx.Node) -> None:
        shape = node.meta["val"].shape
        if len(shape) != 2 or shape[0] != self.batch:
            raise Objection(f"{node.name} has the shape {tuple(shape)}: values must be B rows")

    def _export(self, node: fx.Node) -> str:
        if node not in self.exported:
            tensors = [name for kind, name in self.inputs if kind == "tensor"]  # copied first, in this order
            known = {id(copy): name for name, copy in zip(tensors, self.copies.values(), strict=False)}
            self.exported[node] = known.get(id(self.copies[node]), f"invariant.{node.name}")
        return self.exported[node]


class _Call(nn.Module):
    """A method of a cell as a module, so that its parameters can be exchanged for traced ones."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell: Any = cell


class _Advance(_Call):
    def forward(self, x: Tensor, state: Any, masks: list[Tensor]) -> Any:
        if not masks:
            return self.cell.advance(x, state)
        left = iter(masks)
        return _marking(self.cell, lambda candidate: candidate * next(left)).advance(x, state)


class _Start(_Call):
    def forward(self) -> Any:
        return self.cell.initial_state(1)


class _Project(_Call):
    def forward(self, x: Tensor, state: None, _: list[Tensor]) -> tuple[Tensor, None]:
        return self.cell.project(x), state
