"""One scan of a cell by the executor: its values, what their gradient reads, and that gradient.

Differentiable scans, of one cell or of several in one native call, are made of these in
:mod:`elman.fused.layers`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from elman.axes import TBH, TBX, B
from elman.fused import native, passes
from elman.fused.compiled import Compiled
from elman.fused.passes import BackwardPass, Extent, Forward, Kept, Pair, Started, Wanted

Tensors = tuple[Tensor, ...]

#: What a started forward pass gives: the last state, and what the gradients read besides outputs.
Run = Started[tuple[Tensors, Tensor]]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a scan goes over: its steps, from the last to the first if ``descending``, of ``batch`` rows."""

    steps: int
    batch: int
    descending: bool
    lengths: Tensor | None

    def extent(self, y: TBH, threads: int) -> Extent:
        """The same without the lengths themselves, for outputs that lie as ``y``."""
        apart = y.stride(0), y.stride(1)
        return Extent(self.steps, self.batch, self.descending, self.lengths is not None, threads, apart)


class Task(NamedTuple):
    """A scan to be done. ``tensors``: all that it reads but x: state, vectors and matrices, masks."""

    compiled: Compiled
    shape: Shape
    tensors: Tensors


def shaped(x: TBX, lengths: B | None, reverse: bool) -> Shape:
    """What a scan of ``x`` goes over: of ``lengths`` as they are now, which the backward pass reads again."""
    own = None if lengths is None else lengths.clone(memory_format=torch.contiguous_format)
    return Shape(x.shape[0], x.shape[1], reverse, own)


def wanted(compiled: Compiled, needs: Sequence[bool]) -> Wanted:
    """What the gradients of the tensors that ``needs`` marks (x is the first) ask for."""
    key = tuple(needs)
    return compiled.once(key, lambda: passes.wanted(pair(compiled), key))


def pair(compiled: Compiled) -> Pair:
    """The two Programs of a cell, without a projection that does nothing."""
    return Pair(None if compiled.project.identity else compiled.project, compiled.advance)


def start(task: Task, x: TBX, y: TBH, asked: Wanted | None, threads: int) -> Run:
    """The forward pass over ``x``, whose outputs go to ``y``."""
    compiled, shape, tensors = task
    rows = [_rows(tensor) for tensor in (x, *tensors)]
    extent = shape.extent(y, threads)
    key = (asked, extent, *_kind(rows))
    laid_out = compiled.once(key, lambda: Forward(pair(compiled), asked, extent, rows))
    return laid_out.started(rows, shape.lengths, y)


def start_backward(
    task: Task,
    x: TBX,
    y: TBH,
    kept: Tensor,
    asked: Wanted,
    given: Sequence[Tensor | None],
    threads: int,
) -> Started[list[Tensor | None]]:
    """The backward pass: of what the forward one wrote, ``y`` and ``kept``, and what was ``given``: the
    gradients of outputs and last state."""
    compiled, shape, tensors = task
    rows = [_rows(tensor) for tensor in (x, *tensors)]
    d = [None if each is None else _rows(each) for each in given]
    y, kept = _rows(y), kept.contiguous()  # hooks on saved tensors may give them back with other strides
    extent = shape.extent(y, threads)
    key = (asked, extent, *_kind(rows), *(None if each is None else each.stride() for each in d))
    laid_out = compiled.once(key, lambda: BackwardPass(pair(compiled), asked, extent, rows, d))
    return laid_out.started(rows, shape.lengths, y, kept, d)


def values(task: Task, x: TBX) -> tuple[TBH, Tensors]:
    """Outputs and last state."""
    y, last, _ = keeping(task, x, None)
    return y, last


def keeping(task: Task, x: TBX, asked: Wanted | None) -> tuple[TBH, Tensors, Tensor]:
    """Outputs, last state, and what the gradients that are asked for read besides."""
    y = native.empty(x, task.shape.steps, task.shape.batch, task.compiled.advance.widths["y"])
    return y, *start(task, x, y, asked, torch.get_num_threads()).run()


def sizes(compiled: Compiled, shape: Shape, asked: Wanted | None) -> list[tuple[int, ...]]:
    """The sizes of what :func:`keeping` (or, if nothing is asked, :func:`values`) gives, in that order."""
    found: list[tuple[int, ...]] = [(shape.steps, shape.batch, compiled.advance.widths["y"])]
    found += [(shape.batch, width) for _, width in compiled.state]
    if asked is not None:
        found.append((Kept(pair(compiled), asked, shape.steps, shape.batch).size,))
    return found


def gradients(
    task: Task, x: TBX, asked: Wanted, y: TBH, kept: Tensor, given: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The gradients of x and the task's tensors, some that no one asked for.

    ``given``: those of outputs and last state; ``y`` and ``kept`` are what :func:`keeping` returned.
    """
    return start_backward(task, x, y, kept, asked, given, torch.get_num_threads()).run()


def _kind(rows: Sequence[Tensor]) -> tuple[Any, ...]:
    """All by which a pass over the same steps may be laid out differently."""
    return rows[0].dtype, *(tensor.stride() for tensor in rows)


def _rows(tensor: Tensor) -> Tensor:
    """The tensor with one column next to the other, as the executor reads it."""
    return tensor if tensor.dim() == 0 or tensor.stride(-1) == 1 else tensor.contiguous()
