"""Named tensors and a few words in one safetensors file, read back whole or not at all."""

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from elman.axes import say
from elman.errors import RunError

LOOP = "loop/"
"""What the names of the loop's own tensors begin with in last.safetensors; no parameter has a slash."""


def to_bytes(tensors: Mapping[str, Tensor], words: Mapping[str, str]) -> bytes:
    """The content of a safetensors file; ``words`` go into its header."""
    stored = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(stored, metadata=dict(words))


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the words of a file. Raises :class:`RunError` where it is missing or cut short."""
    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError as error:
        raise RunError(
            f"{path} was to be read.", "There is no such file.", "Train the run first, or name another."
        ) from error
    except (SafetensorError, OSError) as error:
        raise RunError(
            f"{path} was to be read ({path.stat().st_size:,} bytes).",
            f"It is cut short or damaged: {error}.",
            "Copy the run again from where it was trained, or train it again.",
        ) from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights alone of best.safetensors or last.safetensors, by name."""
    return without_loop(read(path)[0])


def without_loop(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(LOOP)}


def weights(model: nn.Module) -> dict[str, Tensor]:
    """What a model has learnt: every parameter and buffer once, under its first name (tied ones share it)."""
    stored = model.state_dict().keys()
    kept = {name: parameter.detach() for name, parameter in model.named_parameters()}
    return kept | {name: buffer for name, buffer in model.named_buffers() if name in stored}


@torch.no_grad()
def put_weights(model: nn.Module, stored: Mapping[str, Tensor], source: Path) -> None:
    """Copies ``stored`` into ``model``. Raises :class:`RunError` unless names and shapes are the same."""
    own = weights(model)
    missing, strange = sorted(own.keys() - stored.keys()), sorted(stored.keys() - own.keys())
    unlike = [
        f"{name} is {say(stored[name])}, not {say(own[name])}"
        for name in sorted(own.keys() & stored.keys())
        if own[name].shape != stored[name].shape
    ]
    if missing or strange or unlike:
        said = [f"{name} is missing" for name in missing[:3]] + [f"{name} is unknown" for name in strange[:3]]
        raise RunError(
            f"The weights of {source} were to be put into this model.",
            f"They do not fit: {'; '.join(said + unlike[:3])}.",
            "Use weights of the same cell, sizes and vocabulary as model.* and text.* say.",
        )
    for name, tensor in own.items():
        tensor.copy_(stored[name])
