"""Where and in which numbers a model is trained."""

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch

from elman.errors import OptionError

PRECISIONS = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.float32}
"""The type of the weights in each precision; bfloat16 keeps float32 weights and multiplies in bfloat16.

Validation runs in the type of the weights: no products are rounded there."""


class Precision(NamedTuple):
    name: str
    device: torch.device
    weights: torch.dtype

    def products(self) -> AbstractContextManager[object]:
        """The context that a model's loss is computed in."""
        if self.name == "bfloat16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()


def choose(name: str, device: str) -> Precision:
    """``name`` of ``PRECISIONS`` on ``device``: "cpu", "cuda", or "auto" (a GPU if there is one).

    Raises :class:`OptionError` for other names, and for a GPU that is not there.
    """
    if name not in PRECISIONS:
        raise OptionError(
            f'Training in the precision "{name}" was asked for.',
            "There is no such precision.",
            f"Choose one of {', '.join(PRECISIONS)}.",
        )
    there = torch.cuda.is_available()
    if device == "auto":
        device = "cuda" if there else "cpu"
    if device not in ("cpu", "cuda") or (device == "cuda" and not there):
        raise OptionError(
            f'Training on the device "{device}" was asked for.',
            "PyTorch sees no GPU here." if device == "cuda" else "There is no such device.",
            'Use "cpu", or "auto" to take a GPU where there is one.',
        )
    return Precision(name, torch.device(device), PRECISIONS[name])
