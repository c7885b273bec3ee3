"""A cell's scan by the executor, differentiable: one native call forward, one backward.

Only what the gradient needs is kept. A second derivative is taken through the same Programs evaluated in
PyTorch, step by step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from elman.axes import TBH, TBX, B
from elman.fused import passes
from elman.fused.compiled import Compiled
from elman.fused.definition import fold
from elman.fused.passes import BackwardPass, Extent, Forward, Kept, Pair, Wanted

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a scan goes over: its steps, from the last to the first if ``descending``, of ``batch`` rows."""

    steps: int
    batch: int
    descending: bool
    lengths: Tensor | None

    @property
    def extent(self) -> Extent:
        return Extent(self.steps, self.batch, self.descending, self.lengths is not None)


def scan(
    compiled: Compiled,
    x: TBX,
    state: Sequence[Tensor],
    fixed: Sequence[Tensor],
    lengths: B | None = None,
    reverse: bool = False,
    masks: Sequence[Tensor] = (),
    through: type[torch.autograd.Function] | None = None,
) -> tuple[TBH, Tensors]:
    """Outputs (T B H) and last state (leaf by leaf) of a scan over ``x`` from ``state``.

    ``fixed`` and ``masks``: what ``compiled`` makes of parameters and noise. ``reverse``: from the last step
    of each sequence to its first. Past the end of a sequence outputs are zero, the state does not move, and
    ``x`` is not read. Differentiable any number of times; ``through`` another function than the one here,
    which keeps all that the gradient reads.
    """
    shape = shaped(x, lengths, reverse)
    tensors = (x, *state, *fixed, *masks)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        y, *last = (through or _Scan).apply(compiled, shape, *tensors)
        return y, tuple(last)
    return values(compiled, shape, tensors)


def shaped(x: TBX, lengths: B | None, reverse: bool) -> Shape:
    """What a scan of ``x`` goes over."""
    return Shape(x.shape[0], x.shape[1], reverse, None if lengths is None else lengths.contiguous())


def wanted(compiled: Compiled, needs: Sequence[bool]) -> Wanted:
    """What the gradients of the tensors that ``needs`` marks ask for."""
    key = tuple(needs)
    return compiled.once(key, lambda: passes.wanted(_pair(compiled), key))


def _pair(compiled: Compiled) -> Pair:
    return Pair(None if compiled.project.identity else compiled.project, compiled.advance)


def _forward(
    compiled: Compiled, shape: Shape, tensors: Tensors, asked: Wanted | None
) -> tuple[TBH, Tensors, Tensor]:
    rows = [_rows(tensor) for tensor in tensors]
    extent = shape.extent
    key = (asked, extent, *_kind(rows))
    laid_out = compiled.once(key, lambda: Forward(_pair(compiled), asked, extent, rows))
    return laid_out.run(rows, shape.lengths)


def values(compiled: Compiled, shape: Shape, tensors: Tensors) -> tuple[TBH, Tensors]:
    """Outputs and last state."""
    y, last, _ = _forward(compiled, shape, tensors, None)
    return y, last


def keeping(compiled: Compiled, shape: Shape, tensors: Tensors, asked: Wanted) -> tuple[TBH, Tensors, Tensor]:
    """Outputs, last state, and what the gradients read besides."""
    return _forward(compiled, shape, tensors, asked)


def sizes(compiled: Compiled, shape: Shape, asked: Wanted | None) -> list[tuple[int, ...]]:
    """The sizes of what :func:`keeping` (or, if nothing is asked, :func:`values`) gives, in that order."""
    found: list[tuple[int, ...]] = [(shape.steps, shape.batch, compiled.advance.widths["y"])]
    found += [(shape.batch, width) for _, width in compiled.state]
    if asked is not None:
        found.append((Kept(_pair(compiled), asked, shape.steps, shape.batch).size,))
    return found


def gradients(
    compiled: Compiled,
    shape: Shape,
    tensors: Tensors,
    asked: Wanted,
    y: TBH,
    kept: Tensor,
    given: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """The gradients of ``tensors``, given those of outputs and last state; some that no one asked for.

    ``y`` and ``kept`` are what :func:`keeping` returned.
    """
    rows = [_rows(tensor) for tensor in tensors]
    d = [None if each is None else _rows(each) for each in given]
    extent = shape.extent
    key = (asked, extent, *_kind(rows), *(None if each is None else each.stride() for each in d))
    laid_out = compiled.once(key, lambda: BackwardPass(_pair(compiled), asked, extent, rows, d))
    return laid_out.run(rows, shape.lengths, y, kept, d)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, compiled: Compiled, shape: Shape, *tensors: Tensor) -> Tensors:
        ctx.set_materialize_grads(False)
        ctx.compiled, ctx.shape, ctx.needs = compiled, shape, ctx.needs_input_grad[2:]
        y, last, kept = keeping(compiled, shape, tensors, wanted(compiled, ctx.needs))
        ctx.save_for_backward(*tensors, y, kept)
        return y, *last

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        *tensors, y, kept = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative may be asked for
            return None, None, *again(ctx.compiled, ctx.shape, tuple(tensors), ctx.needs, given)
        asked = wanted(ctx.compiled, ctx.needs)
        found = gradients(ctx.compiled, ctx.shape, tuple(tensors), asked, y, kept, given)
        return None, None, *(d if need else None for d, need in zip(found, ctx.needs, strict=True))


def again(
    compiled: Compiled, shape: Shape, tensors: Tensors, needs: Sequence[bool], given: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The gradients as a differentiable function of the tensors and of what was given."""
    g = _pair(compiled).sort(tensors)
    fixed, masks = (*g.project, *g.advance), (*g.project_masks, *g.advance_masks)
    y, last = fold(compiled.traces, g.x, g.state, fixed, masks, shape.lengths, shape.descending)
    outputs = (y, *last)
    pairs = [(out, d) for out, d in zip(outputs, given, strict=True) if d is not None and out.requires_grad]
    asked = [tensor for tensor, need in zip(tensors, needs, strict=True) if need]
    if not pairs:
        return [None] * len(tensors)
    found = iter(torch.autograd.grad(
        [out for out, _ in pairs], asked, [d for _, d in pairs], create_graph=True, allow_unused=True
    ))  # fmt: skip
    return [next(found) if need else None for need in needs]


def _kind(rows: Sequence[Tensor]) -> tuple[Any, ...]:
    """All by which a pass over the same steps may be laid out differently."""
    return rows[0].dtype, torch.get_num_threads(), *(tensor.stride() for tensor in rows)


def _rows(tensor: Tensor) -> Tensor:
    """The tensor with one column next to the other, as the executor reads it."""
    return tensor if tensor.dim() == 0 or tensor.stride(-1) == 1 else tensor.contiguous()
