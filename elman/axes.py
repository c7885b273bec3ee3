"""The shape alphabet: one letter per axis, and how a shape is said in a message.

====  =====================================================================
 T    time: steps of a sequence
 B    batch: sequences side by side (axis 0 of every state, axis 1 of every sequence)
 X    features of a cell's input
 H    features of a cell's output
 G    features of a cell's projected input (gates × hidden, usually)
 V    vocabulary
 E    features of an embedding
 N    positions, flattened (T·B)
 L    layers
====  =====================================================================

Sequences are ``T B …`` everywhere; nothing has a flag that swaps them.
"""

from collections.abc import Mapping
from typing import Annotated

import torch
from torch import Tensor

from elman.errors import ShapeError

TB = Annotated[Tensor, "T B", "token ids, int64"]
TBX = Annotated[Tensor, "T B X"]
TBG = Annotated[Tensor, "T B G"]
TBH = Annotated[Tensor, "T B H"]
BX = Annotated[Tensor, "B X"]
BG = Annotated[Tensor, "B G"]
BH = Annotated[Tensor, "B H"]
BV = Annotated[Tensor, "B V"]
NH = Annotated[Tensor, "N H"]
VE = Annotated[Tensor, "V E"]
B = Annotated[Tensor, "B", "lengths or token ids, int64"]
N = Annotated[Tensor, "N", "token ids, int64"]


def say(shape: tuple[int, ...] | Tensor, letters: str = "") -> str:
    """Writes a shape as messages do: ``35×20×300 (T B X)``."""
    sizes = tuple(shape.shape) if isinstance(shape, Tensor) else tuple(shape)
    written = "×".join(str(size) for size in sizes) or "a scalar"
    return f"{written} ({letters})" if letters else written


def require(
    tensor: Tensor, name: str, letters: str, sizes: Mapping[str, int], *, asked: str, do: str
) -> None:
    """Raises :class:`ShapeError` unless ``tensor`` has the axes ``letters``, with the given ``sizes``.

    ``sizes`` names only the axes that are fixed; the others may be anything.
    """
    axes = letters.split()
    if not isinstance(tensor, Tensor):
        raise ShapeError(asked, f"{name} is a {type(tensor).__name__}; it must be a tensor, {letters}.", do)
    if tensor.dim() == len(axes) and all(
        sizes.get(axis, size) == size for axis, size in zip(axes, tensor.shape, strict=True)
    ):
        return  # before a message is written that nobody reads, of sizes that a compiler leaves open
    wanted = ", ".join(f"{axis} must be {size}" for axis, size in sizes.items() if axis in axes)
    if tensor.dim() != len(axes):
        raise ShapeError(
            asked,
            f"{name} is {say(tensor)}: {tensor.dim()} axes; it must have the {len(axes)} axes {letters}"
            + (f", where {wanted}." if wanted else "."),
            do,
        )
    raise ShapeError(asked, f"{name} is {say(tensor, letters)}; {wanted}.", do)


def require_lengths(lengths: B, x: TBX) -> None:
    """Raises :class:`ShapeError` unless ``lengths`` holds one whole number from 0 to T per sequence.

    While PyTorch compiles there are no numbers to look at; the compiled graph looks at them.
    """
    steps, batch = x.shape[:2]
    if not isinstance(lengths, Tensor):
        raise ShapeError(
            f"A scan over {say(x, 'T B X')} was given lengths.",
            f"lengths is a {type(lengths).__name__}; it must be a tensor of {batch} int64 numbers.",
            "Write torch.tensor(lengths).",
        )
    fits = lengths.shape == (batch,) and lengths.dtype == torch.int64
    unknown = torch.compiler.is_compiling() or batch == 0
    if not fits or not (unknown or 0 <= int(lengths.min()) <= int(lengths.max()) <= steps):
        raise ShapeError(
            f"A scan over {say(x, 'T B X')} was given lengths.",
            f"lengths is {say(lengths)} of {lengths.dtype}, {lengths.tolist()[:8]}; "
            f"it must be {batch} int64 numbers from 0 to {steps}.",
            "Give one length per sequence of the batch, in the order of axis B.",
        )
