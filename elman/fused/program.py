"""The intermediate form of one step of a recurrence: products, pointwise operations, row reductions.

A :class:`Program` is a list of nodes in an order in which they can be computed; each node is one value of
B rows. It is immutable, printable, holds no tensor (parameters, masks and inputs are *named*), and is
identified by the hash of its content.

The kinds of node, and how many columns the value has:

==================  ==========================================================================
 ``input``          a per-step input by name: ``x``, or what a gradient program reads   (width)
 ``vector``         a named 1-D input, the same for all rows and steps                  (width)
 ``constant``       one number                                                          (0: any)
 ``slice``          columns start … stop of a value                                     (stop − start)
 ``concat``         values side by side                                                 (sum)
 ``product``        a value times a named matrix: ``v @ W`` or ``v @ Wᵀ``               (columns of that)
 ``sum`` ``max_row``  over the columns of a row                                         (1)
 ``spread``         a value of one column, or a constant, in every column               (width)
 pointwise          see :data:`POINTWISE`; a width of 1 or a constant is spread          (width)
==================  ==========================================================================
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

#: Pointwise operations: name → number of arguments. Comparisons give 1 or 0.
POINTWISE: dict[str, int] = {
    "add": 2, "sub": 2, "mul": 2, "div": 2, "neg": 1, "abs": 1,
    "exp": 1, "log": 1, "log1p": 1, "sqrt": 1, "erf": 1, "tanh": 1, "logistic": 1, "softplus": 1,
    "max": 2, "min": 2, "gt": 2, "ge": 2, "eq": 2, "where": 3,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a step. ``args`` are positions of earlier nodes; ``data`` is what the operation is told:
    a name, a number, ``(start, stop)``, or ``(matrix name, transposed)``."""

    op: str
    args: tuple[int, ...]
    width: int
    data: tuple[str | int | float | bool, ...] = ()


@dataclass(frozen=True)
class Program:
    """One step of a recurrence, or of its gradient, as nodes. ``outputs`` names the nodes that leave it."""

    nodes: tuple[Node, ...]
    outputs: tuple[tuple[str, int], ...]

    @cached_property
    def key(self) -> str:
        """Sixteen hexadecimal digits that identify the content."""
        return hashlib.sha256(repr((self.nodes, self.outputs)).encode()).hexdigest()[:16]

    def names(self, op: str) -> dict[str, int]:
        """The names of the ``input`` or ``vector`` nodes, with their widths, in order of appearance."""
        return {str(node.data[0]): node.width for node in self.nodes if node.op == op}

    def matrices(self) -> list[str]:
        """The names of the matrices of the products, in order of appearance."""
        return list(dict.fromkeys(str(node.data[0]) for node in self.nodes if node.op == "product"))

    def levels(self) -> list[int]:
        """For each node, how many products lie on the longest way to it: its stage."""
        levels: list[int] = []
        for node in self.nodes:
            before = max((levels[arg] for arg in node.args), default=0)
            levels.append(before + (node.op == "product"))
        return levels

    def __str__(self) -> str:
        lines = []
        for position, (node, level) in enumerate(zip(self.nodes, self.levels(), strict=True)):
            arguments = [f"v{arg}" for arg in node.args] + [str(item) for item in node.data]
            lines.append(f"{level}  v{position:<3} = {node.op}({', '.join(arguments)})  [{node.width}]")
        returned = ", ".join(f"{name} = v{node}" for name, node in self.outputs)
        return "\n".join([*lines, f"return {returned}"])


class Builder:
    """Makes a Program node by node. Equal nodes are made once; what is known beforehand is not computed."""

    def __init__(self, nodes: tuple[Node, ...] = ()) -> None:
        self.nodes = list(nodes)
        self._seen = {node: place for place, node in enumerate(nodes)}

    def add(self, op: str, *args: int, width: int | None = None, data: tuple = ()) -> int:
        if op in POINTWISE:
            known = self._simplified(op, args)
            if known is not None:
                return known
            width = max(self.nodes[arg].width for arg in args)
        if width is None:
            raise TypeError(f"{op} needs a width")
        node = Node(op, args, width, data)
        if node not in self._seen:
            self._seen[node] = len(self.nodes)
            self.nodes.append(node)
        return self._seen[node]

    def constant(self, value: float) -> int:
        return self.add("constant", width=0, data=(float(value),))

    def columns(self, value: int, start: int, stop: int) -> int:
        """Columns start … stop of a value: seen through slices and concatenations."""
        node = self.nodes[value]
        if (start, stop) == (0, node.width) or node.width <= 1:
            return value
        if node.op == "slice":
            return self.columns(node.args[0], start + int(node.data[0]), stop + int(node.data[0]))
        if node.op == "concat":
            before = 0
            for arg in node.args:
                after = before + self.nodes[arg].width
                if before <= start and stop <= after:
                    return self.columns(arg, start - before, stop - before)
                before = after
        return self.add("slice", value, width=stop - start, data=(start, stop))

    def wide(self, value: int, width: int) -> int:
        """The value in ``width`` columns: itself, or spread from one column or a constant."""
        return value if self.nodes[value].width == width else self.add("spread", value, width=width)

    def number(self, value: int) -> float | None:
        """The number a constant node holds; None for any other."""
        node = self.nodes[value]
        return float(node.data[0]) if node.op == "constant" else None

    def finish(self, outputs: Mapping[str, int]) -> Program:
        """The Program of the nodes that the outputs need, in order."""
        needed: set[int] = set()
        waiting = list(outputs.values())
        while waiting:
            node = waiting.pop()
            if node not in needed:
                needed.add(node)
                waiting.extend(self.nodes[node].args)
        places = {node: place for place, node in enumerate(sorted(needed))}
        kept = tuple(
            Node(n.op, tuple(places[arg] for arg in n.args), n.width, n.data)
            for n in (self.nodes[node] for node in sorted(needed))
        )
        return Program(kept, tuple((name, places[node]) for name, node in outputs.items()))

    def _simplified(self, op: str, args: tuple[int, ...]) -> int | None:
        """What an operation on constants gives; x + 0, x − 0, x · 1, x / 1, x · 0 (exact but for 0 · inf)."""
        numbers = [self.number(arg) for arg in args]
        if all(number is not None for number in numbers):
            given = [torch.tensor(number, dtype=torch.float64) for number in numbers]
            return self.constant(float(FUNCTIONS[op](*given)))
        first, second = (args + args)[:2]
        neutral = {"add": 0.0, "sub": 0.0, "mul": 1.0, "div": 1.0}.get(op)
        if neutral is not None and numbers[1] == neutral:
            return first
        if op in ("add", "mul") and numbers[0] == neutral:
            return second
        if op == "mul" and 0.0 in numbers:
            return self.constant(0)
        if op == "where" and numbers[0] is not None:
            return args[1] if numbers[0] else args[2]
        return None


def _where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(condition != 0, a, b)


#: The pointwise operations in PyTorch: how a Program is evaluated when nothing faster is there, and in tests.
FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div,
    "neg": torch.neg, "abs": torch.abs, "exp": torch.exp, "log": torch.log,
    "log1p": torch.log1p, "sqrt": torch.sqrt, "erf": torch.erf,
    "tanh": torch.tanh, "logistic": torch.sigmoid, "softplus": torch.nn.functional.softplus,
    "max": torch.maximum, "min": torch.minimum,
    "gt": lambda a, b: (a > b).to(a.dtype), "ge": lambda a, b: (a >= b).to(a.dtype),
    "eq": lambda a, b: (a == b).to(a.dtype), "where": _where,
}  # fmt: skip


def evaluate(
    program: Program, inputs: Mapping[str, Tensor], fixed: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """One step of a Program in PyTorch: ``inputs`` by name (B rows), vectors and matrices from ``fixed``."""
    values: list[Tensor] = []
    batch, like = next((t.shape[0], t) for t in inputs.values())
    for node in program.nodes:
        args = [values[arg] for arg in node.args]
        if node.op == "input":
            value = inputs[str(node.data[0])]
        elif node.op == "vector":
            value = fixed[str(node.data[0])].reshape(1, -1)
        elif node.op == "constant":
            value = like.new_tensor(node.data[0]).reshape(1, 1)
        elif node.op == "slice":
            value = args[0][:, int(node.data[0]) : int(node.data[1])]
        elif node.op == "concat":
            value = torch.cat([arg.expand(batch, -1) for arg in args], 1)
        elif node.op == "product":
            matrix = fixed[str(node.data[0])]
            value = args[0] @ (matrix.T if node.data[1] else matrix)
        elif node.op == "sum":
            value = args[0].sum(1, keepdim=True)
        elif node.op == "max_row":
            value = args[0].amax(1, keepdim=True)
        elif node.op == "spread":
            value = args[0].expand(batch, node.width)
        else:
            value = FUNCTIONS[node.op](*args)
        values.append(value)
    return {name: values[place].expand(batch, -1) for name, place in program.outputs}
