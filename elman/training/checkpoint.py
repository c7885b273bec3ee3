"""Where a training goes on: one file that holds everything, replaced in one move.

Weights, their average, optimizer, carried state, random numbers, and the place in the text and in the
journal belong together: in one file they cannot be torn apart, whenever the process is killed.
best.safetensors is written *before* a last.safetensors that knows of it; after a kill in between, the
training reaches that best again.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from elman import states
from elman.errors import RunError
from elman.text.files import write_atomically
from elman.training import tensorfile
from elman.training.average import Average
from elman.training.folder import FORMAT, RunFolder, saving
from elman.training.tensorfile import LOOP


@dataclass
class Place:
    """How far a training is. All of it is stored, and a resumed training goes on from exactly here."""

    epoch: int = 1  # being read, from 1
    piece: int = 0  # of the epoch, to be read next
    step: int = 0  # taken in all
    tokens: int = 0  # read in all
    nats_since: float = 0.0  # loss and tokens since the journal's last line of progress
    tokens_since: int = 0
    divisions: int = 0  # of the learning rate, by divide-on-plateau
    evaluated_step: int = -1  # when the validation text was read last
    best_nats_per_token: float | None = None
    best_epoch: int | None = None
    best_step: int | None = None
    evaluations_since_best: int = 0
    seconds: float = 0.0  # of training, all invocations together
    journal_bytes: int = 0
    setting: str = (
        ""  # what no later invocation may change: text, batch, steps, optimizer, average, precision
    )


def save(
    folder: RunFolder, model: nn.Module, optimizer: Optimizer, average: Average, state: Any, place: Place
) -> None:
    """Writes last.safetensors. Raises :class:`RunError` on a full disk; the one before then stays."""
    tensors = tensorfile.weights(model)
    tensors.update((LOOP + name, leaf) for name, leaf in states.leaves(state))
    for index, memory in optimizer.state_dict()["state"].items():
        held = {key: value for key, value in memory.items() if isinstance(value, Tensor)}
        tensors.update((f"{LOOP}optimizer/{index}/{key}", value) for key, value in held.items())
    tensors.update((f"{LOOP}average/{name}", tensor) for name, tensor in average.tensors.items())
    tensors[LOOP + "random/cpu"] = torch.get_rng_state()
    if _on_gpu(model):
        tensors[LOOP + "random/cuda"] = torch.cuda.get_rng_state()
    words = {"format": str(FORMAT), "place": json.dumps(asdict(place))}
    with saving(folder.last):
        write_atomically(folder.last, tensorfile.to_bytes(tensors, words))


def restore(
    folder: RunFolder, model: Any, optimizer: Optimizer, average: Average, batch: int, setting: str
) -> tuple[Any, Place]:
    """Takes up last.safetensors: fills model, optimizer, average and random numbers.

    Returns the carried state and the place. Where there is no checkpoint yet: ``(None, Place())``, and the
    weights of initial.safetensors if the run begins from others.
    """
    if not folder.last.exists():
        if folder.initial.exists():
            tensorfile.put_weights(model, tensorfile.read(folder.initial)[0], folder.initial)
            average.restart()
        return None, Place(setting=setting)
    tensors, words = tensorfile.read(folder.last)
    try:
        place = Place(**json.loads(words["place"]))
    except (KeyError, ValueError, TypeError) as error:
        raise _damaged(folder, error) from error
    if place.setting != setting:
        raise RunError(
            f"The training of {folder.path} was to be resumed with {setting}.",
            f"It was begun with {place.setting}.",
            "Resume with the same text, options and precision, or begin anew with another --out.",
        )
    tensorfile.put_weights(model, tensorfile.without_loop(tensors), folder.last)
    loop = {name.removeprefix(LOOP): tensor for name, tensor in tensors.items() if name.startswith(LOOP)}
    try:
        _put_optimizer(optimizer, loop)
        averaged = {name: tensor for name, tensor in loop.items() if name.startswith("average/")}
        average.restore({name.removeprefix("average/"): tensor for name, tensor in averaged.items()})
        torch.set_rng_state(loop["random/cpu"])
        if _on_gpu(model) and "random/cuda" in loop:
            torch.cuda.set_rng_state(loop["random/cuda"])
        return (states.restore(model.start(batch), loop) if place.piece else None), place
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise _damaged(folder, error) from error


def step_of(folder: RunFolder) -> int:
    """The step after which last.safetensors was written; 0 before the first."""
    return json.loads(tensorfile.read(folder.last)[1]["place"])["step"] if folder.last.exists() else 0


def save_best(folder: RunFolder, model: nn.Module, place: Place) -> None:
    """Writes best.safetensors: the weights alone, with what they reached."""
    write_weights(
        folder,
        tensorfile.weights(model),
        {"nats_per_token": repr(place.best_nats_per_token), "step": str(place.best_step)},
    )


def write_weights(folder: RunFolder, tensors: Mapping[str, Tensor], words: Mapping[str, str]) -> None:
    """Writes best.safetensors from named tensors, with ``words`` in its header."""
    with saving(folder.best):
        write_atomically(folder.best, tensorfile.to_bytes(tensors, {"format": str(FORMAT), **words}))


def _damaged(folder: RunFolder, error: Exception) -> RunError:
    return RunError(
        f"The training of {folder.path} was to be resumed.",
        f"Its {folder.last.name} is damaged, or from another version of Elman: {error!r}.",
        "Copy it again from where it was trained, or train anew with another --out.",
    )


def _put_optimizer(optimizer: Optimizer, loop: dict[str, Tensor]) -> None:
    memory: dict[int, dict[str, Tensor]] = {}
    for name, tensor in loop.items():
        if name.startswith("optimizer/"):
            _, index, key = name.split("/")
            memory.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": memory, "param_groups": optimizer.state_dict()["param_groups"]})


def _on_gpu(model: nn.Module) -> bool:
    return next(model.parameters()).is_cuda
