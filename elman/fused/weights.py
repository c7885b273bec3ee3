"""The formats that weights may be kept in where a step is to be fast, and what each rounds them to.

========== ============== =====================================================================
 format     bits           a weight becomes
========== ============== =====================================================================
 float32    32             itself
 bfloat16   16             the nearest number of 8 significant bits
 int8       8, and 32      ``s · q``, q a whole number from −127 to 127 and s the largest
            for each row   magnitude of its row of the matrix, divided by 127
========== ============== =====================================================================

Ties go to the even neighbour. Products are float32 by float32 in every format: neither inputs nor states are
rounded, so that a format is a change of the weights and of nothing else.

What it costs, in nats per character of 55,770 of tinyshakespeare: an LSTM of 512 units, 1.51995 in float32,
took 0.00007 more in bfloat16 and 0.00020 in int8; a Mogrifier of 512, 1.51614, 0.00004 more and 0.00042 less.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from elman.errors import OptionError

#: In the order of the numbers that the executor knows them by.
FORMATS = ("float32", "bfloat16", "int8")


class Rounded(NamedTuple):
    """A matrix as it is kept: its values and, of int8, the scale of each row."""

    values: Tensor
    scales: Tensor | None


def rounded(matrix: Tensor, form: str) -> Rounded:
    """A matrix (N K, a row for each column of the result) in one of :data:`FORMATS`."""
    if form == "bfloat16":
        return Rounded(matrix.to(torch.bfloat16), None)
    if form == "int8":
        scales = matrix.abs().amax(1, keepdim=True) / 127
        whole = (matrix / torch.where(scales == 0, 1.0, scales)).round()
        # What is not finite makes its row's scale so, and by that the results.
        return Rounded(whole.nan_to_num(0, 0, 0).to(torch.int8), scales.squeeze(1))
    return Rounded(matrix, None)


def restored(kept: Rounded, like: Tensor) -> Tensor:
    """The numbers that are meant, in the precision of ``like``.

    >>> restored(rounded(torch.tensor([[1.27, 0.5, -0.016]]), "int8"), torch.zeros(()))
    tensor([[ 1.2700,  0.5000, -0.0200]])
    """
    values = kept.values.to(like.dtype)
    return values if kept.scales is None else values * kept.scales.unsqueeze(1)


def require_format(form: str) -> None:
    """Raises :class:`OptionError` unless ``form`` is one of :data:`FORMATS`."""
    if form not in FORMATS:
        raise OptionError(
            f'Weights were to be kept as "{form}".',
            f"The formats are {', '.join(FORMATS)}.",
            "Use one of them.",
        )
