"""What can be done to any state.

A state is a value: a NamedTuple (or tuple) of tensors or of states, with the batch on axis 0 of every
tensor in it. ``None`` is the state of what remembers nothing. A stack's state is the tuple of its layers'.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor

from elman import axes
from elman.errors import ShapeError

S = TypeVar("S")


def transform(function: Callable[[Tensor], Tensor], state: S) -> S:
    """The same state with ``function`` applied to every tensor in it."""
    return _zip_transform(lambda leaves: function(leaves[0]), (state,))


def detach(state: S) -> S:
    """The same values, cut from the graph: where truncated backpropagation through time stops."""
    return transform(lambda leaf: leaf.detach(), state)


def zeros_like(state: S) -> S:
    return transform(torch.zeros_like, state)


def select(state: S, rows: Tensor) -> S:
    """The rows ``rows`` (int64, B′) of the batch: for beams, and for samples drawn from one prompt."""
    return transform(lambda leaf: leaf.index_select(0, rows), state)


def where(keep: Tensor, new: S, old: S) -> S:
    """Row by row of the batch, ``new`` where ``keep`` (bool, B) is true and ``old`` elsewhere."""

    def choose(leaves: tuple[Tensor, ...]) -> Tensor:
        mask = keep.view(-1, *[1] * (leaves[0].dim() - 1))
        return torch.where(mask, leaves[0], leaves[1])

    return _zip_transform(choose, (new, old))


def leaves(state: Any, name: str = "state") -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a state with its path, such as ``("state.0.c", …)``: what checkpoints store."""
    if isinstance(state, Tensor):
        yield name, state
    elif isinstance(state, tuple):
        keys = getattr(state, "_fields", range(len(state)))
        for key, part in zip(keys, state, strict=True):
            yield from leaves(part, f"{name}.{key}")
    elif state is not None:
        raise TypeError(f"{name} is a {type(state).__name__}: states are tensors, tuples and None")


def require(state: Any, like: Any, *, asked: str, do: str) -> None:
    """Raises :class:`ShapeError` unless ``state`` has the tensors of ``like``, by paths and sizes."""
    given, wanted = ({name: tuple(leaf.shape) for name, leaf in leaves(each)} for each in (state, like))
    if given != wanted:
        raise ShapeError(asked, f"It has {_said(given)}; it must have {_said(wanted)}.", do)


def replace(like: S, tensors: dict[str, Tensor], name: str = "state") -> S:
    """A state of the structure of ``like`` whose tensors are exactly the given ones, by path."""
    given = iter([tensors[path] for path, _ in leaves(like, name)])
    return transform(lambda _: next(given), like)


def restore(like: S, tensors: dict[str, Tensor], name: str = "state") -> S:
    """The inverse of :func:`leaves`: as :func:`replace`, on the device and in the precision of ``like``."""
    return _zip_transform(lambda pair: pair[0].to(pair[1]), (replace(like, tensors, name), like))


def _zip_transform(function: Callable[[tuple[Tensor, ...]], Tensor], states: tuple[Any, ...]) -> Any:
    first = states[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        return function(states)
    parts = [_zip_transform(function, part) for part in zip(*states, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)


def _said(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {axes.say(shape)}" for name, shape in shapes.items()) or "no tensors"
