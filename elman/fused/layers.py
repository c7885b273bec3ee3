"""Scans by the executor, differentiable: of one cell, or of layers of them in one native call.

In a layer one scan or several read the same input, and their outputs stand side by side; the next layer reads
those. Backward each layer is a native call of its own, so that what it kept is given back before the next one
needs memory. Only what the gradient needs is kept. A second derivative, and many gradients at once, are taken
through the same Programs evaluated in PyTorch, step by step.
"""

from collections.abc import Sequence
from functools import reduce
from itertools import accumulate, islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from elman.axes import TBH, TBX, B
from elman.fused import native
from elman.fused.compiled import Compiled
from elman.fused.definition import fold
from elman.fused.native import Ready
from elman.fused.passes import Started, Wanted
from elman.fused.scan import (
    Run,
    Task,
    Tensors,
    gradients,
    keeping,
    pair,
    shaped,
    start,
    start_backward,
    wanted,
)

#: Scans of one input; each layer of a pile but the first reads what the one before put out.
Layer = Sequence[Task]


def scan(
    compiled: Compiled,
    x: TBX,
    state: Sequence[Tensor],
    fixed: Sequence[Tensor],
    lengths: B | None = None,
    reverse: bool = False,
    masks: Sequence[Tensor] = (),
) -> tuple[TBH, Tensors]:
    """Outputs (T B H) and last state (leaf by leaf) of a scan over ``x`` from ``state``.

    ``fixed`` and ``masks``: what ``compiled`` makes of parameters and noise. ``reverse``: from the last step
    of each sequence to its first. Past the end of a sequence outputs are zero, the state does not move, and
    ``x`` is not read. Differentiable any number of times.
    """
    y, (last,) = run(x, [[Task(compiled, shaped(x, lengths, reverse), (*state, *fixed, *masks))]])
    return y, last


def run(x: TBX, layers: Sequence[Layer]) -> tuple[TBH, list[Tensors]]:
    """Outputs of the last layer (T B H), and the last state of every task in order.

    All layers go over the same steps of the same sequences, with values and products of one type.
    """
    tensors = [x]
    for layer in layers:
        for task in layer:
            tensors += task.tensors
    if not graded(tensors):
        done = _forward(x, layers, [[None] * len(layer) for layer in layers])
        return done[-1].y, [last for each in done for last in each.last]
    asked = _asked(x, layers)
    with torch.no_grad():
        done = _forward(x, layers, asked)
    found: list[Tensors] = []
    for layer, wants, each in zip(layers, asked, done, strict=True):
        if any(want is not None for want in wants):
            x, *leaves = _Layer.apply(layer, wants, each, x, *(t for task in layer for t in task.tensors))
            rest = iter(leaves)
            found += [tuple(islice(rest, len(task.compiled.state))) for task in layer]
        else:
            x = each.y
            found += each.last
    return x, found


def graded(tensors: Sequence[Tensor]) -> bool:
    """Whether a gradient of any of them may be asked for."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def transformed(given: Sequence[Tensor | None]) -> bool:
    """Whether a gradient is itself differentiated, or many are taken at once (``is_grads_batched``)."""
    batched = torch._C._functorch.is_legacy_batchedtensor  # has no memory of its own
    return torch.is_grad_enabled() or any(d is not None and batched(d) for d in given)


def _asked(x: TBX, layers: Sequence[Layer]) -> list[list[Wanted | None]]:
    """What gradients ask of each task: that of its x where anything below has one."""
    below, found = x.requires_grad, []
    for layer in layers:
        needs = [(below, *(tensor.requires_grad for tensor in task.tensors)) for task in layer]
        found.append([
            wanted(task.compiled, need) if any(need) else None
            for task, need in zip(layer, needs, strict=True)
        ])  # fmt: skip
        below = any(map(any, needs))
    return found


class _Done(NamedTuple):
    """A layer's outputs; of each task the last state, and what it kept for its gradient."""

    y: TBH
    last: list[Tensors]
    kept: list[Tensor]


def _forward(x: TBX, layers: Sequence[Layer], asked: Sequence[Sequence[Wanted | None]]) -> list[_Done]:
    """All layers in one native call, keeping what is ``asked`` of each task."""
    if len(layers) == 1 and len(layers[0]) == 1:  # by far the most, and some of them take microseconds
        y, last, kept = keeping(layers[0][0], x, asked[0][0])
        return [_Done(y, [last], [kept])]
    ys: list[TBH] = []
    started: list[list[Run]] = []
    ready: list[list[Ready]] = []
    for layer, wants in zip(layers, asked, strict=True):
        y = native.empty(x, x.shape[0], x.shape[1], sum(widths(layer)))
        threads, apart = _share(layer)
        each = zip(layer, _columns(y, layer), wants, threads, strict=True)
        started.append([start(task, x, part, want, most) for task, part, want, most in each])
        ready += _ready(started[-1], apart)
        ys.append(y)
        x = y
    native.run_layers(ready)
    ends = [[run.finish() for run in runs] for runs in started]
    return [
        _Done(y, [last for last, _ in each], [kept for _, kept in each])
        for y, each in zip(ys, ends, strict=True)
    ]


class _Layer(torch.autograd.Function):
    """The gradient of a layer that was run."""

    @staticmethod
    def forward(
        ctx: Any, layer: Layer, asked: Sequence[Wanted | None], done: _Done, x: TBX, *tensors: Tensor
    ) -> Tensors:
        """``tensors``: those of all tasks, as they stand there."""
        ctx.set_materialize_grads(False)
        ctx.kinds = [(task.compiled, task.shape, len(task.tensors)) for task in layer]
        ctx.asked, ctx.needs = asked, ctx.needs_input_grad[3:]
        ctx.save_for_backward(x, *tensors, done.y, *done.kept)
        ended = zip(asked, done.last, strict=True)
        ctx.mark_non_differentiable(*(leaf for want, last in ended if want is None for leaf in last))
        return done.y, *(leaf for last in done.last for leaf in last)

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = iter(ctx.saved_tensors)
        x = next(saved)
        layer = [Task(compiled, shape, tuple(islice(saved, own))) for compiled, shape, own in ctx.kinds]
        if transformed(given):
            return None, None, None, *again(x, layer, ctx.needs, given)
        done = _Done(next(saved), [], list(saved))
        found = _backward(x, layer, ctx.asked, done, given)
        return None, None, None, *(d if need else None for d, need in zip(found, ctx.needs, strict=True))


def _backward(
    x: TBX, layer: Layer, asked: Sequence[Wanted | None], done: _Done, given: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The gradients of x and of all tasks' tensors, some that no one asked for, in one native call.

    ``given``: those of outputs and last states.
    """
    if len(layer) == 1 and asked[0] is not None:
        return gradients(layer[0], x, asked[0], done.y, done.kept[0], given)
    d_y, *rest = given
    d_last, (threads, apart) = iter(rest), _share(layer)
    d_ys = [None] * len(layer) if d_y is None else _columns(d_y, layer)
    runs: list[Started[list[Tensor | None]] | None] = []
    each = zip(layer, asked, _columns(done.y, layer), done.kept, d_ys, threads, strict=True)
    for task, want, y, kept, d, most in each:
        d_outputs = (d, *islice(d_last, len(task.compiled.state)))
        if want is None or all(each is None for each in d_outputs):
            runs.append(None)
        else:
            runs.append(start_backward(task, x, y, kept, want, d_outputs, most))
    if any(run is not None for run in runs):
        native.run_layers(_ready([run for run in runs if run is not None], apart))
    d_xs: list[Tensor] = []
    found: list[Tensor | None] = []
    for task, run in zip(layer, runs, strict=True):
        d_x, *others = [None] * (1 + len(task.tensors)) if run is None else run.finish()
        d_xs += [] if d_x is None else [d_x]
        found += others
    return [reduce(Tensor.add_, d_xs) if d_xs else None, *found]


def _share(layer: Layer) -> tuple[list[int], bool]:
    """On how many threads each scan of a layer is laid out; whether they are its own.

    Then neither scan waits for the other at every step. They are not where there are too few, nor where
    waking a thread would take longer than the scan.
    """
    threads, scans = torch.get_num_threads(), len(layer)
    if scans == 1:
        return [threads], False
    worth = scans <= threads and all(
        native.team(task.compiled.advance.forward(False), task.shape.steps * task.shape.batch, 2) == 2
        for task in layer
    )
    if not worth:
        return [1] * scans, False
    return [threads * (k + 1) // scans - threads * k // scans for k in range(scans)], True


def _ready(runs: Sequence[Started[Any]], apart: bool) -> list[list[Ready]]:
    """The scans of a layer, at once on threads of their own, or one after the other."""
    if not apart:
        return [[Ready(run.call, run.tensors)] for run in runs]
    first = accumulate((run.call.threads for run in runs), initial=0)
    return [[Ready(run.call, run.tensors, thread) for run, thread in zip(runs, first, strict=False)]]


def widths(layer: Layer) -> list[int]:
    """How many features each scan of a layer puts out."""
    return [task.compiled.advance.widths["y"] for task in layer]


def _columns(y: TBH, layer: Layer) -> Sequence[TBH]:
    """The columns of each scan of a layer."""
    return [y] if len(layer) == 1 else y.split(widths(layer), dim=-1)


def again(x: TBX, layer: Layer, needs: Sequence[bool], given: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The gradients of x and of all tasks' tensors, as a function of them and of what was ``given``.

    Of those that ``needs`` marks; ``given`` are the gradients of outputs and last states.
    """
    graded = torch.is_grad_enabled()
    with torch.enable_grad():
        # A parameter may stand here twice, read by the projection and by the step: each has its own gradient.
        flat = [x, *(tensor for task in layer for tensor in task.tensors)]
        flat = [t.view_as(t) if need else t for t, need in zip(flat, needs, strict=True)]
        tensors = iter(flat[1:])
        outputs: list[Tensor] = []
        ends: list[Tensor] = []
        for compiled, shape, own in layer:
            g = pair(compiled).sort((flat[0], *islice(tensors, len(own))))
            fixed, masks = (*g.project, *g.advance), (*g.project_masks, *g.advance_masks)
            y, last = fold(compiled.traces, g.x, g.state, fixed, masks, shape.lengths, shape.descending)
            outputs.append(y)
            ends += last
        made = (outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1), *ends)
        pairs = [(out, d) for out, d in zip(made, given, strict=True) if d is not None and out.requires_grad]
        asked = [tensor for tensor, need in zip(flat, needs, strict=True) if need]
        if not pairs:
            return [None] * len(flat)
        found = iter(torch.autograd.grad(
            [out for out, _ in pairs], asked, [d for _, d in pairs], create_graph=graded, allow_unused=True
        ))  # fmt: skip
    return [next(found) if need else None for need in needs]
