"""Keeping gradients in bounds: by their global norm, or each element by its value."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def gradient_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """√(Σ g²) over every gradient there is: a scalar, not finite where any of them is not."""
    norms = [torch.linalg.vector_norm(p.grad) for p in parameters if p.grad is not None]
    return torch.linalg.vector_norm(torch.stack(norms))


@torch.no_grad()
def clip(
    parameters: Sequence[nn.Parameter], norm: float, clip_norm: float | None, clip_value: float | None
) -> None:
    """Scales all gradients so that their global norm, now ``norm``, is at most ``clip_norm`` [pascanu2013];
    or cuts each element to [−clip_value, clip_value]. Either may be None; then it is left out.
    """
    for parameter in parameters:
        if parameter.grad is None:
            continue
        if clip_norm is not None and norm > clip_norm:
            parameter.grad.mul_(clip_norm / norm)
        if clip_value is not None:
            parameter.grad.clamp_(-clip_value, clip_value)
