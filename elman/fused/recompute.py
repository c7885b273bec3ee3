"""A scan that keeps little for its gradient: only the state at the boundaries of segments of about √T steps.

The backward pass runs each segment forward once more, the last one first, and takes its gradient then. That
is the time of one forward pass for the memory of √T steps instead of T [chen2016].
"""

from collections.abc import Sequence
from math import isqrt
from typing import Any

import torch
from torch import Tensor

from elman.axes import TBH, TBX
from elman.fused import layers, native
from elman.fused import scan as fused
from elman.fused.compiled import Compiled
from elman.fused.passes import Wanted
from elman.fused.scan import Shape, Task, Tensors

#: What a scan may keep for its gradient: everything that it reads, or what this module keeps.
STORES = ("all", "recompute")


def run(x: TBX, task: Task) -> tuple[TBH, Tensors]:
    """Outputs and last state: as :func:`elman.fused.layers.run`, gradients but for the order of their sums.

    A second derivative is taken as there, and keeps everything.
    """
    if not layers.graded((x, *task.tensors)):
        return fused.values(task, x)
    y, *last = _Recomputed.apply(task.compiled, task.shape, x, *task.tensors)
    return y, tuple(last)


def segments(shape: Shape) -> list[slice]:
    """The steps in pieces, in the order in which the scan gets to them.

    >>> segments(Shape(steps=7, batch=1, descending=True, lengths=None))
    [slice(6, 7, None), slice(3, 6, None), slice(0, 3, None)]
    """
    length = isqrt(shape.steps - 1) + 1
    found = [slice(t, min(t + length, shape.steps)) for t in range(0, shape.steps, length)]
    return found[::-1] if shape.descending else found


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, compiled: Compiled, shape: Shape, *tensors: Tensor) -> Tensors:
        ctx.set_materialize_grads(False)
        ctx.compiled, ctx.shape, ctx.needs = compiled, shape, ctx.needs_input_grad[2:]
        y = native.empty(tensors[0], shape.steps, shape.batch, compiled.advance.widths["y"])
        last = tensors[1 : 1 + len(compiled.state)]
        starts: list[Tensor] = []  # of all segments but the first, which starts from what was given
        for steps in segments(shape):
            starts += last
            part, x = _cut(compiled, shape, tensors, steps, last)
            y[steps], last = fused.values(part, x)
        ctx.save_for_backward(*tensors, *starts[len(last) :])
        return y, *last

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        tensors, starts = ctx.saved_tensors[: len(ctx.needs)], ctx.saved_tensors[len(ctx.needs) :]
        if layers.transformed(given):
            task = Task(ctx.compiled, ctx.shape, tensors[1:])
            return None, None, *layers.again(tensors[0], [task], ctx.needs, given)
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
    asked, leaves = fused.wanted(compiled, needs), len(compiled.state)
    d_y, *d_state = given
    d_x: Tensor | None = None
    totals: list[Tensor | None] = [None] * (len(tensors) - 1 - leaves)
    states = (*tensors[1 : 1 + leaves], *starts)
    for number, steps in reversed(list(enumerate(segments(shape)))):
        state = states[number * leaves : (number + 1) * leaves]
        part, x = _cut(compiled, shape, tensors, steps, state)
        d_part, *rest = _again(part, x, asked, (None if d_y is None else d_y[steps], *d_state))
        if d_part is not None:
            d_x = native.empty(d_part, shape.steps, *d_part.shape[1:]) if d_x is None else d_x
            d_x[steps] = d_part
        d_state = rest[:leaves]
        for k, d in enumerate(rest[leaves:]):
            total = totals[k]
            totals[k] = d if total is None or d is None else total.add_(d)
    return [d_x, *d_state, *totals]


def _again(task: Task, x: TBX, asked: Wanted, given: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The gradients of one segment, which is run for them; what they read is forgotten on return."""
    y, _, kept = fused.keeping(task, x, asked)
    return fused.gradients(task, x, asked, y, kept, given)


def _cut(
    compiled: Compiled, shape: Shape, tensors: Tensors, steps: slice, state: Sequence[Tensor]
) -> tuple[Task, TBX]:
    """The scan over these steps alone, from ``state``, and its x."""
    fixed = tensors[1 + len(state) : len(tensors) - len(compiled.masks)]
    masks = tensors[len(tensors) - len(compiled.masks) :]
    x, lengths = tensors[0][steps], shape.lengths
    if lengths is not None:
        lengths = (lengths - steps.start).clamp(0, len(x))
    here = fused.shaped(x, lengths, shape.descending)
    return Task(compiled, here, (*state, *fixed, *(mask[steps] for mask in masks))), x
