"""From ATen operations to nodes of a Program: the one table that says what a cell's equations may use.

Each rule has the arguments of the operation it stands for, after the reader and the graph's node.
"""

import math
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

if TYPE_CHECKING:
    from elman.fused.trace import _Reader as Reader
else:
    Reader = Any

aten = torch.ops.aten
Argument = fx.Node | float


class Objection(Exception):
    """Why a recurrence cannot run as a Program. The text completes "… because"."""


def _pointwise(op: str) -> Callable[..., int]:
    def rule(reader: Reader, node: fx.Node, *arguments: Argument) -> int:
        reader.require_rows(node)
        return reader.builder.add(op, *(reader.row(argument) for argument in arguments))

    return rule


def _scaled(op: str) -> Callable[..., int]:
    """``add`` and ``sub``, whose second argument ATen may scale."""

    def rule(reader: Reader, node: fx.Node, a: Argument, b: Argument, *, alpha: float = 1) -> int:
        reader.require_rows(node)
        second = reader.row(b)
        if alpha != 1:
            second = reader.builder.add("mul", second, reader.builder.constant(alpha))
        return reader.builder.add(op, reader.row(a), second)

    return rule


def _swapped(op: str) -> Callable[..., int]:
    def rule(reader: Reader, node: fx.Node, a: Argument, b: Argument) -> int:
        return _pointwise(op)(reader, node, b, a)

    return rule


def _formula(write: Callable[..., int]) -> Callable[..., int]:
    """A rule that writes several nodes: ``write(builder, a, *numbers)`` for one value and its settings."""

    def rule(reader: Reader, node: fx.Node, a: fx.Node, *numbers: Any, **settings: Any) -> int:
        reader.require_rows(node)
        return write(reader.builder, reader.row(a), *numbers, **settings)

    return rule


def _clamp(b: Any, a: int, low: float | None = None, high: float | None = None) -> int:
    if low is not None:
        bound = b.constant(low)
        a = b.add("where", b.add("ge", a, bound), a, bound)
    if high is not None:
        bound = b.constant(high)
        a = b.add("where", b.add("ge", bound, a), a, bound)
    return a


def _relu(b: Any, a: int) -> int:
    return b.add("where", b.add("gt", a, b.constant(0)), a, b.constant(0))


def _leaky_relu(b: Any, a: int, slope: float = 0.01) -> int:
    return b.add("where", b.add("gt", a, b.constant(0)), a, b.add("mul", a, b.constant(slope)))


def _hard_sigmoid(b: Any, a: int) -> int:
    inner = b.add("add", a, b.constant(3))
    zero, six = b.constant(0), b.constant(6)
    inner = b.add("where", b.add("gt", inner, zero), inner, zero)
    inner = b.add("where", b.add("gt", six, inner), inner, six)
    return b.add("mul", inner, b.constant(1 / 6))


def _gelu(b: Any, a: int, *, approximate: str = "none") -> int:
    half = b.add("mul", a, b.constant(0.5))
    if approximate == "tanh":
        cube = b.add("mul", a, b.add("mul", a, a))
        inner = b.add("add", a, b.add("mul", cube, b.constant(0.044715)))
        bell = b.add("tanh", b.add("mul", inner, b.constant(math.sqrt(2 / math.pi))))
    else:
        bell = b.add("erf", b.add("mul", a, b.constant(math.sqrt(0.5))))
    return b.add("mul", half, b.add("add", bell, b.constant(1)))


def _softplus(b: Any, a: int, beta: float = 1, threshold: float = 20) -> int:
    del threshold  # the node is exact for any size of argument
    if beta == 1:
        return b.add("softplus", a)
    return b.add("mul", b.add("softplus", b.add("mul", a, b.constant(beta))), b.constant(1 / beta))


def _power(b: Any, a: int, exponent: float) -> int:
    if exponent == 2:
        return b.add("mul", a, a)
    if exponent == 3:
        return b.add("mul", a, b.add("mul", a, a))
    if exponent == 0.5:
        return b.add("sqrt", a)
    if exponent == -1:
        return b.add("div", b.constant(1), a)
    raise Objection(f"it raises a value to the power {exponent}: 2, 3, 0.5 and -1 can be expressed")


def _require_last(axes: Sequence[int] | int) -> None:
    if (list(axes) if isinstance(axes, Sequence) else [axes]) not in ([-1], [1]):
        raise Objection("it reduces over the batch: rows must not meet")


def _sum(reader: Reader, node: fx.Node, a: fx.Node, axes: Sequence[int], keepdim: bool = False) -> int:
    _require_last(axes)
    if not keepdim:
        raise Objection("it sums away an axis: write keepdim=True, so that B rows remain")
    return reader.builder.add("sum", reader.row(a), width=1)


def _mean(reader: Reader, node: fx.Node, a: fx.Node, axes: Sequence[int], keepdim: bool = False) -> int:
    total = _sum(reader, node, a, axes, keepdim)
    columns = a.meta["val"].shape[1]
    return reader.builder.add("mul", total, reader.builder.constant(1 / columns))


def _max_row(
    reader: Reader, node: fx.Node, a: fx.Node, axes: Sequence[int] = (), keepdim: bool = False
) -> int:
    _require_last(axes)
    if not keepdim:
        raise Objection("it takes a maximum without keepdim=True")
    return reader.builder.add("max_row", reader.row(a), width=1)


def _variance(
    reader: Reader,
    node: fx.Node,
    a: fx.Node,
    axes: Sequence[int],
    *,
    correction: float = 1,
    keepdim: bool = False,
) -> int:
    _require_last(axes)
    if not keepdim:
        raise Objection("it takes a variance without keepdim=True")
    b, columns = reader.builder, a.meta["val"].shape[1]
    return _spread(b, reader.row(a), columns, columns - correction)[1]


def _spread(b: Any, a: int, columns: int, divisor: float) -> tuple[int, int]:
    """A row's deviations from its mean, and their squares' sum over ``divisor``."""
    mean = b.add("mul", b.add("sum", a, width=1), b.constant(1 / columns))
    deviation = b.add("sub", a, mean)
    squares = b.add("sum", b.add("mul", deviation, deviation), width=1)
    return deviation, b.add("mul", squares, b.constant(1 / divisor))


def _layer_norm(
    reader: Reader, node: fx.Node, a: fx.Node, shape: list[int], weight: Any, bias: Any, epsilon: float
) -> tuple[int, ...]:
    b, columns = reader.builder, a.meta["val"].shape[1]
    if shape != [columns]:
        raise Objection("its layer norm spans more than a row")
    deviation, variance = _spread(b, reader.row(a), columns, columns)
    scale = b.add("div", b.constant(1), b.add("sqrt", b.add("add", variance, b.constant(epsilon))))
    y = b.add("mul", deviation, scale)
    if weight is not None:
        y = b.add("mul", y, reader.row(weight))
    if bias is not None:
        y = b.add("add", y, reader.row(bias))
    return (y,)


def _softmax(reader: Reader, node: fx.Node, a: fx.Node, axis: int, half: bool) -> int:
    _require_last(axis)
    b, row = reader.builder, reader.row(a)
    scores = b.add("exp", b.add("sub", row, b.add("max_row", row, width=1)))
    return b.add("div", scores, b.add("sum", scores, width=1))


def _product(reader: Reader, node: fx.Node, a: fx.Node, matrix: fx.Node) -> int:
    name, transposed, columns = reader.matrix(matrix)
    if a not in reader.known:
        raise Objection("it multiplies a parameter by a value of the loop: write value @ parameter")
    return reader.builder.add("product", reader.row(a), width=columns, data=(name, transposed))


def _product_plus(
    reader: Reader,
    node: fx.Node,
    bias: fx.Node,
    a: fx.Node,
    matrix: fx.Node,
    *,
    beta: float = 1,
    alpha: float = 1,
) -> int:
    if (beta, alpha) != (1, 1):
        raise Objection("it scales a product inside addmm")
    return reader.builder.add("add", _product(reader, node, a, matrix), reader.row(bias))


def _columns(reader: Reader, a: fx.Node, start: int, stop: int) -> int:
    return reader.builder.columns(reader.row(a), start, stop)


def _slice(
    reader: Reader,
    node: fx.Node,
    a: fx.Node,
    axis: int = 0,
    start: int | None = 0,
    stop: int | None = None,
    step: int = 1,
) -> int:
    reader.require_rows(node)
    columns = a.meta["val"].shape[1]
    if axis in (0, -2):  # a slice over the whole batch is no slice
        return reader.row(a)
    if step != 1:
        raise Objection("it takes every second column or so: only whole runs of columns can be taken")
    first = min(columns, max(0, start + columns if start and start < 0 else start or 0))
    last = columns if stop is None else min(columns, stop + columns if stop < 0 else stop)
    return _columns(reader, a, first, last)


def _split(
    reader: Reader, node: fx.Node, a: fx.Node, sizes: int | Sequence[int], axis: int = 0
) -> tuple[int, ...]:
    _require_last(axis)
    columns = a.meta["val"].shape[1]
    widths = list(sizes) if isinstance(sizes, Sequence) else [sizes] * math.ceil(columns / sizes)
    starts = [sum(widths[:place]) for place in range(len(widths))]
    return tuple(_columns(reader, a, s, min(columns, s + w)) for s, w in zip(starts, widths, strict=True))


def _item(reader: Reader, node: fx.Node, several: fx.Node, place: int) -> int:
    values = reader.known[several]
    if not isinstance(values, tuple) or place >= len(values):
        raise Objection(f"it uses result {place} of {several.target}")
    return values[place]


def _concat(reader: Reader, node: fx.Node, parts: Sequence[fx.Node], axis: int = 0) -> int:
    _require_last(axis)
    if any(part not in reader.known for part in parts):
        raise Objection("it joins a parameter to a value of the loop")
    rows = [reader.row(part) for part in parts]
    return reader.builder.add("concat", *rows, width=node.meta["val"].shape[1])


def _same(reader: Reader, node: fx.Node, a: fx.Node, *shape: Any, **settings: Any) -> int:
    """Copies and reshapes that change nothing."""
    if node.meta["val"].shape != a.meta["val"].shape or node.meta["val"].dtype != a.meta["val"].dtype:
        raise Objection(f"{node.target} changes a shape or a precision")
    return reader.row(a)


def _filled(reader: Reader, node: fx.Node, a: fx.Node, value: float | None = None, **settings: Any) -> int:
    fixed = {aten.zeros_like.default: 0.0, aten.ones_like.default: 1.0, aten.new_zeros.default: 0.0}
    return reader.builder.constant(fixed[node.target] if node.target in fixed else float(value or 0))


OPERATIONS: dict[Any, Callable[..., Any]] = {
    aten.add.Tensor: _scaled("add"), aten.add.Scalar: _scaled("add"),
    aten.sub.Tensor: _scaled("sub"), aten.sub.Scalar: _scaled("sub"),
    aten.rsub.Scalar: _swapped("sub"), aten.rsub.Tensor: _swapped("sub"),
    aten.mul.Tensor: _pointwise("mul"), aten.mul.Scalar: _pointwise("mul"),
    aten.div.Tensor: _pointwise("div"), aten.div.Scalar: _pointwise("div"),
    aten.neg.default: _pointwise("neg"), aten.abs.default: _pointwise("abs"),
    aten.exp.default: _pointwise("exp"), aten.log.default: _pointwise("log"),
    aten.log1p.default: _pointwise("log1p"), aten.sqrt.default: _pointwise("sqrt"),
    aten.erf.default: _pointwise("erf"), aten.tanh.default: _pointwise("tanh"),
    aten.sigmoid.default: _pointwise("logistic"),
    aten.maximum.default: _pointwise("max"), aten.minimum.default: _pointwise("min"),
    aten.gt.Tensor: _pointwise("gt"), aten.gt.Scalar: _pointwise("gt"),
    aten.ge.Tensor: _pointwise("ge"), aten.ge.Scalar: _pointwise("ge"),
    aten.lt.Tensor: _swapped("gt"), aten.lt.Scalar: _swapped("gt"),
    aten.le.Tensor: _swapped("ge"), aten.le.Scalar: _swapped("ge"),
    aten.eq.Tensor: _pointwise("eq"), aten.eq.Scalar: _pointwise("eq"),
    aten.where.self: _pointwise("where"), aten.where.ScalarOther: _pointwise("where"),
    aten.where.ScalarSelf: _pointwise("where"),
    aten.relu.default: _formula(_relu), aten.clamp.default: _formula(_clamp),
    aten.clamp_min.default: _formula(_clamp), aten.hardtanh.default: _formula(_clamp),
    aten.leaky_relu.default: _formula(_leaky_relu), aten.hardsigmoid.default: _formula(_hard_sigmoid),
    aten.gelu.default: _formula(_gelu), aten.softplus.default: _formula(_softplus),
    aten.pow.Tensor_Scalar: _formula(_power),
    aten.silu.default: _formula(lambda b, a: b.add("mul", a, b.add("logistic", a))),
    aten.square.default: _formula(lambda b, a: b.add("mul", a, a)),
    aten.reciprocal.default: _formula(lambda b, a: b.add("div", b.constant(1), a)),
    aten.rsqrt.default: _formula(lambda b, a: b.add("div", b.constant(1), b.add("sqrt", a))),
    aten.log_sigmoid_forward.default: lambda reader, node, a: (
        reader.builder.add("neg", reader.builder.add("softplus", reader.builder.add("neg", reader.row(a)))),
    ),
    aten.sum.dim_IntList: _sum, aten.mean.dim: _mean, aten.amax.default: _max_row,
    aten.var.correction: _variance, aten.native_layer_norm.default: _layer_norm,
    aten._softmax.default: _softmax,
    aten.mm.default: _product, aten.addmm.default: _product_plus,
    aten.slice.Tensor: _slice, aten.split.Tensor: _split, aten.split_with_sizes.default: _split,
    operator.getitem: _item, aten.cat.default: _concat,
    aten.alias.default: _same, aten.clone.default: _same, aten.detach.default: _same,
    aten.view.default: _same,
    aten.expand.default: _same, aten._to_copy.default: _same, aten.contiguous.default: _same,
    aten.full_like.default: _filled, aten.zeros_like.default: _filled, aten.ones_like.default: _filled,
    aten.new_zeros.default: _filled,
}  # fmt: skip
