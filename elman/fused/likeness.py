"""When cells are traced alike: then one's Programs are the other's, for nothing takes as long as tracing."""

from types import FunctionType
from typing import Any
from weakref import ref

import torch
from torch import nn

from elman.fused.trace import named_tensors, settings

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def likeness(cell: nn.Module) -> Any:
    """A key that cells of one class share only if they are traced alike; None for one that shares with none.

    It holds the methods that are traced, every attribute, and of tensors all but their values. An attribute
    that is neither a number nor text, nor made of those, could hold anything.
    """
    methods = [getattr(type(cell), name, None) for name in ("project", "advance", "initial_state")]
    if not all(isinstance(method, FunctionType) for method in methods):
        return None
    tensors = [(name, t.shape, t.dtype, t.device) for name, t in named_tensors(cell).items()]
    attributes = []
    for prefix, module in cell.named_modules():
        own = {name: value for name, value in vars(module).items() if name not in _OF_EVERY_MODULE}
        if not all(map(_plain, own.values())):
            return None
        attributes.append((prefix, ref(type(module)), *((n, type(v), v) for n, v in own.items())))
    # Weak references: a method knows its class, which would otherwise live for as long as the key.
    return settings(cell), tuple(map(ref, methods)), tuple(tensors), tuple(attributes)


def _plain(value: Any) -> bool:
    """Whether it is all that it says."""
    if type(value) is tuple:
        return all(map(_plain, value))
    return value is None or type(value) in (bool, int, float, str, torch.dtype)
