"""A cell's scan by the executor, differentiable: one native call forward, one backward.

Only what the gradient needs is kept. A second derivative is taken through the same Programs evaluated in
PyTorch, step by step.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from elman.axes import TBH, TBX, B
from elman.fused import passes
from elman.fused.compiled import Backward, Compiled
from elman.fused.definition import fold
from elman.fused.passes import Forward, Projection, Shape

Tensors = tuple[Tensor, ...]


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


class _Given(NamedTuple):
    """The tensors of a scan, by what they are."""

    x: Tensor
    state: Tensors
    project: Tensors
    advance: Tensors
    project_masks: Tensors
    advance_masks: Tensors


class Wanted(NamedTuple):
    """The gradients that are wanted of the two Programs, and what they read of the forward pass.

    ``whole``: the projected input is kept. ``below`` and ``above``: the projection's and the steps' buffers
    that are kept besides it and the outputs.
    """

    project: Backward | None
    advance: Backward
    whole: bool
    below: tuple[str, ...]
    above: tuple[str, ...]


def _sort(compiled: Compiled, tensors: Sequence[Any]) -> _Given:
    state = 1 + len(compiled.advance.leaves)
    project = state + len(compiled.project.fixed)
    advance = project + len(compiled.advance.fixed)
    masks = advance + len(compiled.project.masks)
    ends = [1, state, project, advance, masks, None]
    return _Given(tensors[0], *(tuple(tensors[a:b]) for a, b in pairwise(ends)))


def wanted(compiled: Compiled, needs: Sequence[bool]) -> Wanted:
    """What the gradients of the tensors that ``needs`` marks ask for. Found out once."""
    key = tuple(needs)
    if key not in compiled.wanted:
        compiled.wanted[key] = _wanted(compiled, key)
    return compiled.wanted[key]


def _wanted(compiled: Compiled, needs: Sequence[bool]) -> Wanted:
    x, _, project, advance, *_ = _sort(compiled, needs)
    fixed = frozenset(name for name, need in zip(compiled.project.fixed, project, strict=True) if need)
    identity = compiled.project.identity
    first = compiled.project.backward(bool(x), fixed) if (x or fixed) and not identity else None
    steps = compiled.advance.backward(
        bool(x) or bool(fixed),
        frozenset(name for name, need in zip(compiled.advance.fixed, advance, strict=True) if need),
    )
    output = compiled.project.forward(True).home["y"]
    below = passes.homes(compiled.project, first)
    above = passes.homes(compiled.advance, steps)
    whole = not identity and ("x" in steps.reads or output in below)
    return Wanted(
        first, steps, whole, tuple(sorted(below - {output})),
        tuple(sorted(above - {compiled.advance.forward(True).home["y"]})),
    )  # fmt: skip


def _projection(
    compiled: Compiled, given: _Given, asked: Wanted | None, kept: Mapping[str, Tensor]
) -> Projection | None:
    if compiled.project.identity:
        return None
    below, whole = (None, False) if asked is None else (asked.project, asked.whole)
    return Projection(compiled.project, given.x, given.project, below, whole, kept, given.project_masks)


def _forward(compiled: Compiled, shape: Shape, tensors: Tensors, asked: Wanted | None) -> Forward:
    given = _sort(compiled, [_rows(tensor) for tensor in tensors])
    above = None if asked is None else asked.advance
    projection = _projection(compiled, given, asked, {})
    x = None if projection else given.x
    return passes.forward(
        compiled.advance, shape, x, given.state, given.advance, above, projection, given.advance_masks
    )


def values(compiled: Compiled, shape: Shape, tensors: Tensors) -> tuple[TBH, Tensors]:
    """Outputs and last state."""
    done = _forward(compiled, shape, tensors, None)
    return done.y, done.last


def keeping(
    compiled: Compiled, shape: Shape, tensors: Tensors, asked: Wanted
) -> tuple[TBH, Tensors, Tensors]:
    """Outputs, last state, and what the gradients read besides: tensors of which no two share memory."""
    done = _forward(compiled, shape, tensors, asked)
    kept = [done.projected[compiled.project.forward(True).home["y"]]] if asked.whole else []
    kept += [done.projected[home] for home in asked.below]
    kept += [done.kept[home] for home in asked.above]
    return done.y, done.last, tuple(kept)


def sizes(compiled: Compiled, shape: Shape, asked: Wanted | None) -> list[tuple[int, ...]]:
    """The sizes of what :func:`keeping` (or, if nothing is asked, :func:`values`) gives, in that order."""
    project, advance = compiled.project, compiled.advance
    found: list[tuple[int, ...]] = [(shape.steps, shape.batch, advance.widths["y"])]
    found += [(shape.batch, width) for _, width in compiled.state]
    if asked is not None:
        below, above = project.forward(True), advance.forward(True)
        widths = [below.widths[below.home["y"]]] * asked.whole
        widths += [below.widths[home] for home in asked.below]
        widths += [above.widths[home] for home in asked.above]
        found += [(shape.steps, shape.batch, width) for width in widths]
    return found


def gradients(
    compiled: Compiled,
    shape: Shape,
    tensors: Tensors,
    asked: Wanted,
    y: TBH,
    kept: Sequence[Tensor],
    given_d: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """The gradients of ``tensors``, given those of outputs and last state; some that no one asked for.

    ``y`` and ``kept`` are what :func:`keeping` returned.
    """
    given = _sort(compiled, [_rows(tensor) for tensor in tensors])
    d_y, *d_last = [None if d is None else _rows(d) for d in given_d]
    project, advance = compiled.project, compiled.advance
    output = [project.forward(True).home["y"]] if asked.whole else []
    below = dict(zip((*output, *asked.below), kept, strict=False))
    above = dict(zip(asked.above, kept[len(below) :], strict=True)) | {advance.forward(True).home["y"]: y}
    projection = _projection(compiled, given, asked, below)
    x = given.x if projection is None else kept[0] if asked.whole else None
    found = passes.backward(
        advance, shape, asked.advance, x, given.state, given.advance, above, d_y, tuple(d_last), projection,
        given.advance_masks,
    )  # fmt: skip
    return [
        found.get("x" if projection is None else "project.x"),
        *(found.get(leaf) for leaf in advance.leaves),
        *(found.get(f"project.{name}") for name in project.fixed),
        *(found.get(name) for name in advance.fixed),
        *[None] * (len(project.masks) + len(advance.masks)),
    ]


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, compiled: Compiled, shape: Shape, *tensors: Tensor) -> Tensors:
        ctx.set_materialize_grads(False)
        ctx.compiled, ctx.shape, ctx.needs = compiled, shape, ctx.needs_input_grad[2:]
        y, last, kept = keeping(compiled, shape, tensors, wanted(compiled, ctx.needs))
        ctx.save_for_backward(*tensors, y, *kept)
        return y, *last

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        tensors, (y, *kept) = ctx.saved_tensors[: len(ctx.needs)], ctx.saved_tensors[len(ctx.needs) :]
        if torch.is_grad_enabled():  # a second derivative may be asked for
            return None, None, *again(ctx.compiled, ctx.shape, tensors, ctx.needs, given)
        asked = wanted(ctx.compiled, ctx.needs)
        found = gradients(ctx.compiled, ctx.shape, tensors, asked, y.detach(), kept, given)
        return None, None, *(d if need else None for d, need in zip(found, ctx.needs, strict=True))


def again(
    compiled: Compiled, shape: Shape, tensors: Tensors, needs: Sequence[bool], given: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The gradients as a differentiable function of the tensors and of what was given."""
    g = _sort(compiled, tensors)
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


def _rows(tensor: Tensor) -> Tensor:
    """The tensor with one column next to the other, as the executor reads it."""
    tensor = tensor.detach()
    return tensor if tensor.dim() == 0 or tensor.stride(-1) == 1 else tensor.contiguous()
