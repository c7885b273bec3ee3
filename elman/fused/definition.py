"""A scan by the definition, the loop over ``advance``: the reference for faster ways, and the last resort."""

from typing import Any

import torch
from torch import Tensor

from elman import states
from elman.axes import TBH, TBX, B


def scan(cell: Any, x: TBX, state: Any, lengths: B | None) -> tuple[TBH, Any]:
    """Folds ``cell.advance`` over the steps of ``x`` (T B X), from ``state``.

    With ``lengths`` (int64, B): past the end of a sequence outputs are zero and the state does not move,
    and what stands in ``x`` there, be it NaN, reaches neither values nor gradients. Differentiable any
    number of times.
    """
    steps, batch = x.shape[:2]
    if steps == 0:
        return x.new_zeros(0, batch, cell.output_size), state
    inside = None
    if lengths is not None:
        inside = within(lengths, steps)
        x = x.masked_fill(~inside.unsqueeze(-1), 0)
    outputs: list[Tensor] = []
    for t, projected in enumerate(cell.project(x).unbind(0)):
        output, new = cell.advance(projected, state)
        if inside is None:
            state = new
        else:
            state = states.where(inside[t], new, state)
            output = output.masked_fill(~inside[t].unsqueeze(-1), 0)
        outputs.append(output)
    return torch.stack(outputs), state


def within(lengths: B, steps: int) -> Tensor:
    """True (bool, T B) at the steps that belong to their sequence."""
    return torch.arange(steps, device=lengths.device).unsqueeze(-1) < lengths
