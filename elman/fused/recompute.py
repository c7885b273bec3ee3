"""A scan that keeps little for its gradient: only the state at the boundaries of segments of about √T steps.

The backward pass runs each segment forward once more, the last one first, and takes its gradient then. That
is the time of one forward pass for the memory of √T steps instead of T [chen2016].
"""

from collections.abc import Sequence
from math import isqrt
from typing import Any

import torch
from torch import Tensor

from elman.axes import TBH, TBX, B
from elman.fused import native
from elman.fused import scan as fused
from elman.fused.compiled import Compiled
from elman.fused.passes import Wanted
from elman.fused.scan import Shape, Tensors

#: What a scan may keep for its gradient: everything that it reads, or what this module keeps.
STORES = ("all", "recompute")


def scan(
    compiled: Compiled,
    x: TBX,
    state: Sequence[Tensor],
    fixed: Sequence[Tensor],
    lengths: B | None = None,
    reverse: bool = False,
    masks: Sequence[Tensor] = (),
) -> tuple[TBH, Tensors]:
    """As :func:`elman.fused.scan.scan`: the same values, and gradients but for the order of their sums.

    A second derivative is taken as there, and keeps everything.
    """
    return fused.scan(compiled, x, state, fixed, lengths, reverse, masks, Recomputed)


def segments(shape: Shape) -> list[slice]:
    """The steps in pieces, in the order in which the scan gets to them.

    >>> segments(Shape(steps=7, batch=1, descending=True, lengths=None))
    [slice(6, 7, None), slice(3, 6, None), slice(0, 3, None)]
    """
    length = isqrt(shape.steps - 1) + 1
    found = [slice(t, min(t + length, shape.steps)) for t in range(0, shape.steps, length)]
    return found[::-1] if shape.descending else found


class Recomputed(torch.autograd.Function):
    """Through which :func:`scan` is differentiated."""

    @staticmethod
    def forward(ctx: Any, compiled: Compiled, shape: Shape, *tensors: Tensor) -> Tensors:
        ctx.set_materialize_grads(False)
        ctx.compiled, ctx.shape, ctx.needs = compiled, shape, ctx.needs_input_grad[2:]
        y = native.empty(tensors[0], shape.steps, shape.batch, compiled.advance.widths["y"])
        last = tensors[1 : 1 + len(compiled.advance.leaves)]
        starts: list[Tensor] = []  # of all segments but the first, which starts from what was given
        for steps in segments(shape):
            starts += last
            y[steps], last = fused.values(compiled, *_cut(compiled, shape, tensors, steps, last))
        ctx.save_for_backward(*tensors, *starts[len(last) :])
        return y, *last

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        tensors, starts = ctx.saved_tensors[: len(ctx.needs)], ctx.saved_tensors[len(ctx.needs) :]
        if torch.is_grad_enabled():  # a second derivative may be asked for
            return None, None, *fused.again(ctx.compiled, ctx.shape, tensors, ctx.needs, given)
        found = _gradients(ctx.compiled, ctx.shape, tensors, starts, ctx.needs, given)
        return None, None, *(d if need else None for d, need in zip(found, ctx.needs, strict=True))


def _gradients(
    compiled: Compiled,
    shape: Shape,
    tensors: Tensors,
    starts: Tensors,
    needs: Sequence[bool],
    given: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """The gradients of ``tensors``: of each segment's steps in turn, of all else added up over them."""
    asked, leaves = fused.wanted(compiled, needs), len(compiled.advance.leaves)
    d_y, *d_state = given
    d_x: Tensor | None = None
    totals: list[Tensor | None] = [None] * (len(tensors) - 1 - leaves)
    states = (*tensors[1 : 1 + leaves], *starts)
    for number, steps in reversed(list(enumerate(segments(shape)))):
        state = states[number * leaves : (number + 1) * leaves]
        part, values = _cut(compiled, shape, tensors, steps, state)
        d_part, *rest = _again(compiled, part, values, asked, (None if d_y is None else d_y[steps], *d_state))
        if d_part is not None:
            d_x = native.empty(d_part, shape.steps, *d_part.shape[1:]) if d_x is None else d_x
            d_x[steps] = d_part
        d_state = rest[:leaves]
        for k, d in enumerate(rest[leaves:]):
            total = totals[k]
            totals[k] = d if total is None or d is None else total.add_(d)
    return [d_x, *d_state, *totals]


def _again(
    compiled: Compiled, shape: Shape, tensors: Tensors, asked: Wanted, given: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The gradients of one segment, which is run for them; what they read is forgotten on return."""
    y, _, kept = fused.keeping(compiled, shape, tensors, asked)
    return fused.gradients(compiled, shape, tensors, asked, y, kept, given)


def _cut(
    compiled: Compiled, shape: Shape, tensors: Tensors, steps: slice, state: Sequence[Tensor]
) -> tuple[Shape, Tensors]:
    """The scan over these steps alone, from ``state``: what it goes over, and its tensors."""
    fixed = tensors[1 + len(state) : len(tensors) - len(compiled.masks)]
    masks = tensors[len(tensors) - len(compiled.masks) :]
    x, lengths = tensors[0][steps], shape.lengths
    if lengths is not None:
        lengths = (lengths - steps.start).clamp(0, len(x))
    here = fused.shaped(x, lengths, shape.descending)
    return here, (x, *state, *fixed, *(mask[steps] for mask in masks))
