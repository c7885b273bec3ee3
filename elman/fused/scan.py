"""A cell's scan by the executor, differentiable: one native call forward, one backward.

Only what the gradient needs is kept. A second derivative is taken through the same Programs evaluated in
PyTorch, step by step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from elman.axes import TBH, TBX, B
from elman.fused import native, passes
from elman.fused.compiled import Compiled
from elman.fused.definition import fold
from elman.fused.passes import BackwardPass, Extent, Forward, Kept, Pair, Started, Wanted

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a scan goes over: its steps, from the last to the first if ``descending``, of ``batch`` rows."""

    steps: int
    batch: int
    descending: bool
    lengths: Tensor | None

    def extent(self, threads: int | None = None) -> Extent:
        """The same without the lengths themselves, on at most so many threads: by default all."""
        threads = threads or torch.get_num_threads()
        return Extent(self.steps, self.batch, self.descending, self.lengths is not None, threads)


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
    return run(Task(compiled, shaped(x, lengths, reverse), (x, *state, *fixed, *masks)), through)


class Task(NamedTuple):
    """A scan to be done. ``tensors``: x, state, vectors and matrices, masks."""

    compiled: Compiled
    shape: Shape
    tensors: Tensors


def run(task: Task, through: type[torch.autograd.Function] | None = None) -> tuple[TBH, Tensors]:
    """:func:`scan` of a task."""
    if _graded(task.tensors):
        y, *last = (through or _Scan).apply(task.compiled, task.shape, *task.tensors)
        return y, tuple(last)
    return values(*task)


def beside(first: Task, second: Task) -> bool:
    """Whether these two are to be run at once.

    They are on two threads, one for each: neither waits for the other, where both threads on each scan wait
    for one another at every step. With more threads each scan gets them all.
    """
    return torch.get_num_threads() == 2 and all(
        native.team(task.compiled.advance.forward(False), task.shape.steps * task.shape.batch, 2) == 2
        for task in (first, second)
    )


def scan_beside(first: Task, second: Task) -> tuple[tuple[TBH, Tensors], tuple[TBH, Tensors]]:
    """As :func:`scan` of each, at once, by one native call on two threads; on one by one after the other."""
    both = (first, second)
    if _graded((*first.tensors, *second.tensors)):
        kinds = [(task.compiled, task.shape, len(task.tensors)) for task in both]
        out = _Both.apply(kinds, *first.tensors, *second.tensors)
        count = 1 + len(first.compiled.state)
        return (out[0], out[1:count]), (out[count], out[count + 1 :])
    one, other = (_forward(*task, None, threads=1) for task in both)
    (y, last, _), (its_y, its_last, _) = one.run_beside(other)
    return (y, last), (its_y, its_last)


def _graded(tensors: Tensors) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


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
    compiled: Compiled, shape: Shape, tensors: Tensors, asked: Wanted | None, threads: int | None = None
) -> Started[tuple[TBH, Tensors, Tensor]]:
    rows = [_rows(tensor) for tensor in tensors]
    extent = shape.extent(threads)
    key = (asked, extent, *_kind(rows))
    laid_out = compiled.once(key, lambda: Forward(_pair(compiled), asked, extent, rows))
    return laid_out.started(rows, shape.lengths)


def values(compiled: Compiled, shape: Shape, tensors: Tensors) -> tuple[TBH, Tensors]:
    """Outputs and last state."""
    y, last, _ = _forward(compiled, shape, tensors, None).run()
    return y, last


def keeping(compiled: Compiled, shape: Shape, tensors: Tensors, asked: Wanted) -> tuple[TBH, Tensors, Tensor]:
    """Outputs, last state, and what the gradients read besides."""
    return _forward(compiled, shape, tensors, asked).run()


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
    return _backward(compiled, shape, tensors, asked, y, kept, given).run()


def _backward(
    compiled: Compiled,
    shape: Shape,
    tensors: Tensors,
    asked: Wanted,
    y: TBH,
    kept: Tensor,
    given: Sequence[Tensor | None],
    threads: int | None = None,
) -> Started[list[Tensor | None]]:
    rows = [_rows(tensor) for tensor in tensors]
    d = [None if each is None else _rows(each) for each in given]
    extent = shape.extent(threads)
    key = (asked, extent, *_kind(rows), *(None if each is None else each.stride() for each in d))
    laid_out = compiled.once(key, lambda: BackwardPass(_pair(compiled), asked, extent, rows, d))
    return laid_out.started(rows, shape.lengths, y, kept, d)


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


class _Both(torch.autograd.Function):
    """Two scans, ``kinds`` of which say what they are made by, what they go over, and how many tensors of."""

    @staticmethod
    def forward(ctx: Any, kinds: list[tuple[Compiled, Shape, int]], *tensors: Tensor) -> Tensors:
        ctx.set_materialize_grads(False)
        ctx.kinds = kinds
        ctx.needs = [ctx.needs_input_grad[1 + part.start : 1 + part.stop] for part in _parts(kinds)]
        first, second = (
            _forward(compiled, shape, tensors[part], wanted(compiled, needs), threads=1)
            for (compiled, shape, _), part, needs in zip(kinds, _parts(kinds), ctx.needs, strict=True)
        )
        (y, last, kept), (its_y, its_last, its_kept) = first.run_beside(second)
        ctx.save_for_backward(*tensors, y, kept, its_y, its_kept)
        return y, *last, its_y, *its_last

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        *tensors, y, kept, its_y, its_kept = ctx.saved_tensors
        count = 1 + len(ctx.kinds[0][0].state)
        tasks = [
            (compiled, shape, tuple(tensors[part]))
            for (compiled, shape, _), part in zip(ctx.kinds, _parts(ctx.kinds), strict=True)
        ]
        d = given[:count], given[count:]
        if torch.is_grad_enabled():  # a second derivative may be asked for
            found = [again(*task, needs, ds) for task, needs, ds in zip(tasks, ctx.needs, d, strict=True)]
        else:
            first, second = (
                _backward(*task, wanted(task[0], needs), out, values, ds, threads=1)
                for task, needs, (out, values), ds in zip(
                    tasks, ctx.needs, ((y, kept), (its_y, its_kept)), d, strict=True
                )
            )
            found = list(first.run_beside(second))
        needed = zip((*found[0], *found[1]), (*ctx.needs[0], *ctx.needs[1]), strict=True)
        return None, *(each if need else None for each, need in needed)


def _parts(kinds: list[tuple[Compiled, Shape, int]]) -> tuple[slice, slice]:
    """Which of all tensors are the first scan's, which the second's."""
    (_, _, first), (_, _, second) = kinds
    return slice(0, first), slice(first, first + second)


def again(
    compiled: Compiled, shape: Shape, tensors: Tensors, needs: Sequence[bool], given: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The gradients as a differentiable function of the tensors and of what was given."""
    # A parameter may stand here twice, read by the projection and by the step: each has its own gradient.
    tensors = tuple(t.view_as(t) if need else t for t, need in zip(tensors, needs, strict=True))
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
    return rows[0].dtype, *(tensor.stride() for tensor in rows)


def _rows(tensor: Tensor) -> Tensor:
    """The tensor with one column next to the other, as the executor reads it."""
    return tensor if tensor.dim() == 0 or tensor.stride(-1) == 1 else tensor.contiguous()
