"""When products are to run in bfloat16, and in which numbers what comes of them is returned.

Of both ways to ask for it, PyTorch's own: ``torch.autocast("cpu", dtype=torch.bfloat16)`` around float32
modules, and modules converted by ``.to(torch.bfloat16)``. Either way what is multiplied is rounded to
bfloat16, and all else is float32: the sums, everything pointwise, the state from step to step, and the sums
that gradients are.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager

import torch
from torch import Tensor


def result(x: Tensor, others: Iterable[Tensor]) -> torch.dtype | None:
    """The type of outputs and states where products are to be in bfloat16; None where they are not.

    It is bfloat16 if all that goes in is, and float32 otherwise: what is float32 under autocast stays so
    (where torch.nn's recurrent modules return bfloat16, and carry their state in it).
    """
    autocast = torch.is_autocast_enabled("cpu")
    asked = torch.get_autocast_dtype("cpu") if autocast else x.dtype
    if x.device.type != "cpu" or asked != torch.bfloat16:
        return None
    given = {x.dtype, *(tensor.dtype for tensor in others)}
    if given == {torch.bfloat16}:
        return torch.bfloat16
    return torch.float32 if autocast and given <= {torch.float32, torch.bfloat16} else None


def beside(tensors: Iterable[Tensor]) -> torch.dtype:
    """In what numbers all else is computed beside these tensors."""
    kind = next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.get_default_dtype())
    return torch.float32 if kind == torch.bfloat16 else kind


def as_written() -> AbstractContextManager[object]:
    """Operations run in the numbers of their arguments, whatever autocast was asked for around."""
    return torch.autocast("cpu", enabled=False)
