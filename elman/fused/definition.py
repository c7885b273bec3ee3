"""A scan by the definition, the loop over ``advance``: the reference for faster ways, and the last resort."""

from typing import Any

import torch
from torch import Tensor

from elman import states
from elman.axes import TBH, TBX, B


def scan(cell: Any, x: TBX, state: Any, lengths: B | None, reverse: bool = False) -> tuple[TBH, Any]:
    """Folds ``cell.advance`` over the steps of ``x`` (T B X), from ``state``.

    With ``lengths`` (int64, B): past the end of a sequence outputs are zero and the state does not move,
    and what stands in ``x`` there, be it NaN, reaches neither values nor gradients. ``reverse``: from the
    last step of each sequence to its first; every output still stands at its own step. Differentiable any
    number of times.
    """
    steps, batch = x.shape[:2]
    if steps == 0:
        return x.new_zeros(0, batch, cell.output_size), state
    inside = None
    if lengths is not None:
        inside = within(lengths, steps)
        x = x.masked_fill(~inside.unsqueeze(-1), 0)
    projected = cell.project(x).unbind(0)
    outputs: dict[int, Tensor] = {}
    for t in reversed(range(steps)) if reverse else range(steps):
        output, new = cell.advance(projected[t], state)
        if inside is None:
            state = new
        else:
            state = states.where(inside[t], new, state)
            output = output.masked_fill(~inside[t].unsqueeze(-1), 0)
        outputs[t] = output
    return torch.stack([outputs[t] for t in range(steps)]), state


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
