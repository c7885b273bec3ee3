"""Program → the Program of its gradient, and the choice of what the forward pass keeps for it.

Reverse-mode differentiation, node by node. The gradient Program reads, besides the forward Program's own
inputs, the gradient of each output (``d.y``, ``d.state.h'`` …) and the *kept* values. It returns the gradient
of each input, and for every product and vector what the one large product or sum after the loop needs:
parameter gradients never stand inside the loop.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from elman.fused.program import POINTWISE, Builder, Node, Program

Rule = Callable[[Builder, int, int, tuple[int, ...]], tuple[int | None, ...]]


def _times(b: Builder, g: int, *factors: int) -> int:
    for factor in factors:
        node, number = b.nodes[g], b.number(factor)
        scale = b.number(node.args[1]) if node.op == "mul" else None
        if number is not None and scale is not None:
            g, factor = node.args[0], b.constant(scale * number)
        g = b.add("mul", g, factor)
    return g


def _over(b: Builder, g: int, divisor: int) -> int:
    """g / divisor; of one divisor for many columns one division, and a product for each."""
    if b.nodes[g].width > 1 and b.nodes[divisor].width == 1:
        return b.add("mul", g, b.add("div", b.constant(1), divisor))
    return b.add("div", g, divisor)


def _product(b: Builder, g: int, y: int, a: tuple[int, ...]) -> tuple[int | None, ...]:
    if a[0] == a[1]:
        return _times(b, g, b.constant(2), a[0]), None
    return _times(b, g, a[1]), _times(b, g, a[0])


def _one_minus(b: Builder, a: int) -> int:
    return b.add("sub", b.constant(1), a)


def _larger(b: Builder, g: int, a: int, other: int) -> int:
    """The part of a maximum's gradient that goes to ``a``: all where larger, half where both are equal."""
    share = b.add("add", b.add("gt", a, other), b.add("mul", b.add("eq", a, other), b.constant(0.5)))
    return b.add("mul", g, share)


def _sign(b: Builder, a: int) -> int:
    zero = b.constant(0)
    return b.add("sub", b.add("gt", a, zero), b.add("gt", zero, a))


#: The gradient rules of the pointwise operations: from (builder, gradient g, result y, arguments) to the
#: gradients of the arguments. These are the only copies of PyTorch's rules.
RULES: dict[str, Rule] = {
    "add": lambda b, g, y, a: (g, g),
    "sub": lambda b, g, y, a: (g, b.add("neg", g)),
    "mul": _product,
    "div": lambda b, g, y, a: (_over(b, g, a[1]), b.add("neg", _over(b, _times(b, g, y), a[1]))),
    "neg": lambda b, g, y, a: (b.add("neg", g),),
    "abs": lambda b, g, y, a: (_times(b, g, _sign(b, a[0])),),
    "exp": lambda b, g, y, a: (_times(b, g, y),),
    "log": lambda b, g, y, a: (b.add("div", g, a[0]),),
    "log1p": lambda b, g, y, a: (b.add("div", g, b.add("add", a[0], b.constant(1))),),
    "sqrt": lambda b, g, y, a: (b.add("div", _times(b, g, b.constant(0.5)), y),),
    "erf": lambda b, g, y, a: (
        _times(b, g, b.constant(2 / math.sqrt(math.pi)), b.add("exp", b.add("neg", _times(b, a[0], a[0])))),
    ),
    "tanh": lambda b, g, y, a: (_times(b, g, _one_minus(b, _times(b, y, y))),),
    "logistic": lambda b, g, y, a: (_times(b, g, _times(b, y, _one_minus(b, y))),),
    "softplus": lambda b, g, y, a: (_times(b, g, b.add("logistic", a[0])),),
    "max": lambda b, g, y, a: (_larger(b, g, a[0], a[1]), _larger(b, g, a[1], a[0])),
    "min": lambda b, g, y, a: (_larger(b, g, b.add("neg", a[0]), b.add("neg", a[1])),
                               _larger(b, g, b.add("neg", a[1]), b.add("neg", a[0]))),
    "gt": lambda b, g, y, a: (None, None),
    "ge": lambda b, g, y, a: (None, None),
    "eq": lambda b, g, y, a: (None, None),
    "where": lambda b, g, y, a: (None, b.add("where", a[0], g, b.constant(0)),
                                 b.add("where", a[0], b.constant(0), g)),
}  # fmt: skip


@dataclass(frozen=True)
class Factor:
    """One product's share of a matrix's gradient: Σ over steps and rows of ``operand``ᵀ · ``delta``."""

    matrix: str
    transposed: bool
    operand: str
    delta: str


@dataclass(frozen=True)
class Derived:
    """A Program with its gradient.

    ``forward`` returns, besides the step's own outputs, the values kept for the gradient (``keep.N``).
    ``backward`` reads the step's inputs that it needs, the kept values, what the step returned (``y``,
    ``state.h'``), and ``d.NAME`` for every output; it returns ``d.NAME`` for every input, ``delta.N`` for
    every product and ``sum.NAME`` for every vector, to be added up over rows and steps.
    """

    forward: Program
    backward: Program
    factors: tuple[Factor, ...]


def differentiate(program: Program) -> Derived:
    """The gradient of a step with respect to its inputs, its vectors and its matrices."""
    return _Differentiation(program).result()


class _Differentiation:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.builder = Builder(program.nodes)
        #: for each node, the parts of its gradient: (first column, last column, node)
        self.parts: dict[int, list[tuple[int, int, int]]] = {}
        self.outputs: dict[str, int] = {}
        self.operands: list[tuple[str, bool, int, str]] = []

    def result(self) -> Derived:
        b = self.builder
        for name, node in self.program.outputs:
            width = self.program.nodes[node].width
            self._send(node, b.add("input", width=width, data=(f"d.{name}",)))
        for place in reversed(range(len(self.program.nodes))):
            if place in self.parts:
                self._pass_on(place, self.program.nodes[place])
        for name, width in self.program.names("input").items():
            if f"d.{name}" not in self.outputs:  # an input that moves nothing has gradient zero
                self.outputs[f"d.{name}"] = b.wide(b.constant(0), width)
        return self._cut()

    def _send(self, node: int, gradient: int, start: int = 0, stop: int | None = None) -> None:
        target = self.builder.nodes[node]
        if target.op != "constant" and self.builder.number(gradient) != 0:
            self.parts.setdefault(node, []).append((start, target.width if stop is None else stop, gradient))

    def _pass_on(self, place: int, node: Node) -> None:
        b = self.builder
        g = self._gathered(place, node.width)
        if node.op == "input":
            self.outputs[f"d.{node.data[0]}"] = b.wide(g, node.width)
        elif node.op == "vector":
            self.outputs[f"sum.{node.data[0]}"] = b.wide(g, node.width)
        elif node.op == "slice":
            start, stop = int(node.data[0]), int(node.data[1])
            self._send(node.args[0], g, start, stop)
        elif node.op == "concat":
            before = 0
            for arg in node.args:
                after = before + b.nodes[arg].width
                self._send(arg, b.columns(g, before, after))
                before = after
        elif node.op == "product":
            matrix, transposed = str(node.data[0]), bool(node.data[1])
            g = b.wide(g, node.width)
            delta = f"delta.{len(self.operands)}"
            self.outputs[delta] = g
            self.operands.append((matrix, transposed, node.args[0], delta))
            width = b.nodes[node.args[0]].width
            self._send(node.args[0], b.add("product", g, width=width, data=(matrix, not transposed)))
        elif node.op == "sum":
            self._send(node.args[0], g)
        elif node.op == "max_row":
            ties = b.add("eq", node.args[0], place)
            self._send(node.args[0], b.add("mul", g, b.add("div", ties, b.add("sum", ties, width=1))))
        elif node.op == "spread":
            self._send(node.args[0], self._total(g, node.width))
        else:
            for arg, part in zip(node.args, RULES[node.op](b, g, place, node.args), strict=True):
                if part is not None:
                    narrow = b.nodes[arg].width == 1 and node.width > 1
                    self._send(arg, self._total(part, node.width) if narrow else part)

    def _total(self, gradient: int, width: int) -> int:
        """A gradient added up over the columns of its value, though it may itself be one number for all."""
        b = self.builder
        if b.nodes[gradient].width < width:
            return b.add("mul", gradient, b.constant(width))
        node = b.nodes[gradient]
        if node.op == "neg":
            return b.add("neg", self._total(node.args[0], width))
        if node.op == "mul":  # what all columns are multiplied by, their sum is
            for one, other in (node.args, node.args[::-1]):
                if b.nodes[other].width < width:
                    return b.add("mul", self._total(one, width), other)
        return b.add("sum", gradient, width=1)

    def _gathered(self, place: int, width: int) -> int:
        """The whole gradient of a node: its parts added, column by column where they cover only some."""
        b, parts = self.builder, self.parts[place]
        edges = sorted({0, width, *(start for start, _, _ in parts), *(stop for _, stop, _ in parts)})
        pieces = []
        for first, last in pairwise(edges):
            total = b.constant(0)
            for start, stop, gradient in parts:
                if start <= first and last <= stop:
                    total = b.add("add", total, b.columns(gradient, first - start, last - start))
            pieces.append(total)
        if len(pieces) == 1:
            return pieces[0]
        wide = [
            b.wide(piece, last - first) for piece, first, last in zip(pieces, edges, edges[1:], strict=False)
        ]
        return b.add("concat", *wide, width=width)

    def _cut(self) -> Derived:
        """Chooses what is kept: a value that the gradient reads, unless it follows cheaply."""
        forward = self.program
        free = {node: name for name, node in forward.outputs}
        free |= {p: str(n.data[0]) for p, n in enumerate(forward.nodes) if n.op == "input"}
        known = len(forward.nodes)
        cheap: dict[int, bool] = {}

        def follows(node: int) -> bool:
            """Whether a forward value can be had again from inputs and outputs, pointwise."""
            if node not in cheap:
                n = forward.nodes[node]
                cheap[node] = node in free or n.op in ("vector", "constant") or (
                    (n.op in POINTWISE or n.op in ("slice", "spread")) and all(follows(arg) for arg in n.args)
                )  # fmt: skip
            return cheap[node]

        kept: dict[int, str] = {}
        final = Builder()
        copied: dict[int, int] = {}

        def keep(node: int) -> str:
            if node in free:
                return free[node]
            return kept.setdefault(node, f"keep.{len(kept)}")

        def copy(node: int) -> int:
            if node not in copied:
                n = self.builder.nodes[node]
                if node < known and (node in free or not follows(node)):
                    copied[node] = final.add("input", width=n.width, data=(keep(node),))
                else:
                    copied[node] = final.add(n.op, *(copy(a) for a in n.args), width=n.width, data=n.data)
            return copied[node]

        outputs = {name: copy(node) for name, node in self.outputs.items()}
        factors = tuple(Factor(m, t, keep(operand), delta) for m, t, operand, delta in self.operands)
        whole = Builder(forward.nodes)
        returned = dict(forward.outputs) | {name: node for node, name in kept.items()}
        return Derived(whole.finish(returned), final.finish(outputs), factors)
