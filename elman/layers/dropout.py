"""Dropout of features, drawn afresh at every step."""

from torch import Tensor
from torch.nn import functional

from elman.errors import OptionError


def drop(x: Tensor, rate: float, training: bool) -> Tensor:
    """In training sets a share ``rate`` of features to zero, the rest times 1/(1 − rate) [srivastava2014].

    Every element is drawn for itself, so each step has a mask of its own. At rate 0 no random number is
    drawn.

    >>> import torch
    >>> drop(torch.ones(3), 0.5, training=False)
    tensor([1., 1., 1.])
    """
    return functional.dropout(x, rate, training=True) if training and rate > 0 else x


def require_rate(rate: float, owner: str, name: str) -> None:
    """Raises :class:`OptionError` unless ``rate`` is from 0 to below 1."""
    if not 0 <= rate < 1:
        raise OptionError(
            f"{owner}({name}={rate}) was asked for.",
            f"{name} is {rate}.",
            "It is the share of features dropped: from 0 to below 1.",
        )
