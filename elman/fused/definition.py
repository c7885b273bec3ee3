"""A scan by the definition, the loop over ``advance``: the reference for faster ways, and the last resort."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from elman import states
from elman.axes import TBH, TBX, B
from elman.errors import OptionError
from elman.fused import bfloat16
from elman.fused.noise import Traces, inside, told, traces
from elman.fused.operations import Objection
from elman.fused.program import evaluate
from elman.fused.trace import named_tensors

#: How far, relative in norm, a Program may be from ``advance`` on random values when it is first run.
TOLERANCE = 1e-4


def scan(
    cell: Any,
    x: TBX,
    state: Any,
    lengths: B | None,
    noise: Mapping[str, Tensor] | None = None,
    reverse: bool = False,
) -> tuple[TBH, Any]:
    """Folds ``cell.advance`` over the steps of ``x`` (T B X), from ``state``.

    With ``lengths`` (int64, B): past the end of a sequence outputs are zero and the state does not move,
    and what stands in ``x`` there, be it NaN, reaches neither values nor gradients. ``reverse``: from the
    last step of each sequence to its first; every output still stands at its own step. Differentiable any
    number of times. ``noise``: masks by the sites of :mod:`elman.fused.noise`, which are no place in
    ``advance``: then its Program is folded, with the masks in it.
    """
    steps, batch = x.shape[:2]
    if steps == 0:
        return x.new_zeros(0, batch, cell.output_size), state
    if noise:
        number = torch.float32 if x.dtype == torch.bfloat16 else x.dtype
        leaves = {name: leaf.to(number) for name, leaf in states.leaves(state)}
        with bfloat16.as_written():
            made, wide = _trusted(cell, noise), x.to(number)
            fixed, masks = made.prepare(cell, noise), made.masks(noise, wide)
            y, last = fold(made, wide, tuple(leaves.values()), fixed, masks, lengths, reverse)
        after = dict(zip(leaves, (leaf.to(x.dtype) for leaf in last), strict=True))
        return y.to(x.dtype), states.replace(state, after)
    here = None
    if lengths is not None:
        here = within(lengths, steps)
        x = x.masked_fill(~here.unsqueeze(-1), 0)
    projected = cell.project(x).unbind(0)
    outputs: dict[int, Tensor] = {}
    for t in reversed(range(steps)) if reverse else range(steps):
        output, new = cell.advance(projected[t], state)
        if here is None:
            state = new
        else:
            state = states.where(here[t], new, state)
            output = output.masked_fill(~here[t].unsqueeze(-1), 0)
        outputs[t] = output
    return torch.stack([outputs[t] for t in range(steps)]), state


def fold(
    made: Traces,
    x: TBX,
    state: Sequence[Tensor],
    fixed: Sequence[Tensor],
    masks: Sequence[Tensor],
    lengths: B | None,
    reverse: bool,
) -> tuple[TBH, tuple[Tensor, ...]]:
    """The same by the cell's Programs, step by step in PyTorch: outputs and last state, leaf by leaf."""
    project, advance = made.project, made.advance
    steps, here = x.shape[0], None
    if lengths is not None:
        here = within(lengths, steps).unsqueeze(-1)
        x = x.masked_fill(~here, 0)
    given = dict(zip((*project.masks, *advance.masks), masks, strict=True))
    rows = {"x": x.flatten(0, 1), **{name: given[name].flatten(0, 1) for name in project.masks}}
    named = dict(zip(project.names, fixed, strict=False))
    projected = evaluate(project.program, rows, named)["y"].unflatten(0, x.shape[:2])
    named = dict(zip(advance.names, fixed[len(project.names) :], strict=True))
    leaves = dict(zip(advance.state_names, state, strict=True))
    outputs: dict[int, Tensor] = {}
    for t in reversed(range(steps)) if reverse else range(steps):
        now = {name: given[name][t] for name in advance.masks}
        new = evaluate(advance.program, {"x": projected[t], **leaves, **now}, named)
        for leaf, old in leaves.items():
            after = new[f"{leaf}'"]
            leaves[leaf] = after if here is None else torch.where(here[t], after, old)
        outputs[t] = new["y"] if here is None else new["y"].masked_fill(~here[t], 0)
    return torch.stack([outputs[t] for t in range(steps)]), tuple(leaves.values())


def mismatch(cell: Any, made: Traces, run: Callable[..., tuple[Tensor, tuple[Tensor, ...]]]) -> str | None:
    """What speaks against a way to ``run`` the cell's Programs, from random values and masks of no effect.

    ``run(x, leaves, fixed, masks)`` and its gradients are compared with ``project`` and ``advance``, over a
    few steps of a few rows: what depends on values cannot be traced, nor can a gradient that is not that of
    the operations (a ``detach``, an ``autograd.Function``). It takes as long as a small scan, some ms.
    """
    like = next(cell.parameters(), torch.zeros(())).detach()
    if like.dtype in (torch.bfloat16, torch.float16):  # equations are compared, not roundings
        like = like.float()
    why = _mismatch(cell, made, run, like)
    if why is None or like.dtype == torch.float64:
        return why
    try:  # where weights are large a rounding grows from step to step, but not so far in float64
        return _mismatch(cell, made, run, like.double())
    except (RuntimeError, TypeError):  # a cell may insist on float32
        return why


def _mismatch(
    cell: Any, made: Traces, run: Callable[..., tuple[Tensor, tuple[Tensor, ...]]], like: Tensor
) -> str | None:
    generator = torch.Generator().manual_seed(4)

    def drawn(shape: Iterable[int]) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(like)

    with torch.inference_mode(False), torch.enable_grad():
        tensors = {name: _leaf(tensor, like) for name, tensor in named_tensors(cell).items()}
        x = drawn((3, 4, cell.input_size)).requires_grad_()
        # Near the start, and to one side of it: a normaliser drawn close to zero would magnify any rounding.
        state = states.transform(
            lambda leaf: (leaf.detach() + drawn(leaf.shape).abs()).requires_grad_(), cell.initial_state(4)
        )
        leaves = tuple(leaf for _, leaf in states.leaves(state))
        y, last = run(x, leaves, made.prepare(tensors, {}), made.masks(made.neutral(x), x))
        defined, end = functional_call(
            _Defined(cell), {f"cell.{n}": t for n, t in tensors.items()}, (x, state)
        )
        inputs = [x, *leaves, *(tensor for tensor in tensors.values() if tensor.requires_grad)]
        mine, theirs = [y, *last], [defined, *(leaf for _, leaf in states.leaves(end))]
        if [value.shape for value in mine] != [value.shape for value in theirs]:
            return "its equations depend on values in a way that tracing does not see"
        given = [drawn(value.shape) for value in mine]
        slopes = [_gradients(values, inputs, given) for values in (mine, theirs)]
    if not all(_close(a, b, 0.0) for a, b in zip(mine, theirs, strict=True)):
        return "its equations depend on values in a way that tracing does not see"
    # What cancels to zero, such as a stabiliser's gradient, is as exact as what it is the sum of.
    scale = float(torch.stack([slope.norm() for slope in slopes[1]]).norm())
    if not all(_close(a, b, scale) for a, b in zip(*slopes, strict=True)):
        return "its gradient is not that of its operations, as with detach or a torch.autograd.Function"
    return None


class _Defined(nn.Module):
    """The loop over a cell as a module, so that its tensors can be exchanged."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: TBX, state: Any) -> tuple[TBH, Any]:
        return scan(self.cell, x, state, None)


def _leaf(tensor: Tensor, like: Tensor) -> Tensor:
    """A tensor of a cell by itself, to be differentiated by if that can be done."""
    if not tensor.is_floating_point():
        return tensor.detach()
    return tensor.detach().to(like.dtype, copy=tensor.is_inference()).requires_grad_()


def _gradients(values: Sequence[Tensor], inputs: Sequence[Tensor], given: Sequence[Tensor]) -> list[Tensor]:
    # A sum, since gradients that are handed in make PyTorch import its compiler.
    total = sum((value * d).sum() for value, d in zip(values, given, strict=True) if value.requires_grad)
    found = (
        torch.autograd.grad(total, inputs, allow_unused=True)
        if isinstance(total, Tensor)
        else [None] * len(inputs)
    )
    return [torch.zeros_like(t) if d is None else d for d, t in zip(found, inputs, strict=True)]


def _close(mine: Tensor, theirs: Tensor, scale: float) -> bool:
    return bool((mine - theirs).norm() <= TOLERANCE * (theirs.norm() + 1e-6 + 0.1 * scale))


def _trusted(cell: Any, noise: Mapping[str, Tensor]) -> Traces:
    """The cell's Programs with these masks, once they have been compared with the cell."""
    why: str | None
    try:
        made = traces(cell, inside(noise))
        why = (
            None
            if cell in made.trusted
            else mismatch(cell, made, partial(fold, made, lengths=None, reverse=False))
        )
    except Objection as objection:
        why = str(objection)
    if why is not None:
        raise OptionError(
            f"{told(cell)} was to be scanned with the masks {', '.join(noise)}.",
            f"They fall on its traced step, and {why}.",
            "Write advance as operations on B rows; the masks input and output need no trace.",
        )
    made.trusted.add(cell)
    return made


def within(lengths: B, steps: int) -> Tensor:
    """True (bool, T B) at the steps that belong to their sequence."""
    return torch.arange(steps, device=lengths.device).unsqueeze(-1) < lengths


def flip(x: TBX, lengths: B | None) -> TBX:
    """Each sequence read from its end, row by row of the batch; what stands past the end stays where it is.

    >>> flip(torch.tensor([[1, 5], [2, 6], [3, 7]]).unsqueeze(-1), torch.tensor([3, 2])).squeeze(-1).T
    tensor([[3, 2, 1],
            [6, 5, 7]])
    """
    if lengths is None:
        return x.flip(0)
    t = torch.arange(x.shape[0], device=x.device).unsqueeze(-1)
    return x.gather(0, torch.where(t < lengths, lengths - 1 - t, t).unsqueeze(-1).expand(x.shape))
