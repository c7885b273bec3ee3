"""What PyTorch is about when it calls us: what would not notice the executor, and what must not notice us."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import local
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

_here = local()

P = ParamSpec("P")
T = TypeVar("T")


def watched() -> bool:
    """Whether operations are handed to someone, who would see nothing of the executor's.

    To a mode (``make_fx``, a counter of operations), or to ``torch.jit.trace``.

    >>> from torch.utils.flop_counter import FlopCounterMode
    >>> with FlopCounterMode(display=False):
    ...     watched()
    True
    """
    return torch._C._len_torch_dispatch_stack() > 0 or torch._C._get_tracing_state() is not None


def held(tensors: Iterable[Tensor]) -> bool:
    """Whether numbers lie in the tensors' memory: one of another kind, such as a fake one, need have none."""
    plain = Tensor.__torch_dispatch__
    return all(type(tensor).__torch_dispatch__ is plain for tensor in tensors)


def unseen(function: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """What the function returns, run in a thread of its own, where nothing holds of what holds here.

    No mode, no trace, no hook on saved tensors (a checkpoint counts those), no default device, no autocast.

    >>> with torch.device("meta"):
    ...     unseen(torch.ones, 2).device
    device(type='cpu')
    """
    if getattr(_here, "unseen", False):  # what makes one cell may need another
        return function(*given, **named)
    with ThreadPoolExecutor(1, initializer=setattr, initargs=(_here, "unseen", True)) as elsewhere:
        return elsewhere.submit(function, *given, **named).result()
