"""One epoch of a word language model: Elman's training loop beside the PyTorch project's example."""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks import word_language_model as example
from benchmarks.rows import Goal, Row, compare
from benchmarks.timing import Timing
from elman.models import RecurrentLanguageModel
from elman.models.language_model import RecurrentOptions
from elman.training.folder import RunFolder
from elman.training.loop import train
from elman.training.options import TrainingOptions
from elman.training.progress import Silent

BLOCKS, STEPS = 6, 50  # of training each; an epoch is extrapolated from them
DROPPED = 3  # first steps of a block: memory is found, caches fill
OURS, OURS_HALF = "Elman", "Elman bf16"
THEIRS, THEIRS_HALF = "word_language_model", "word_language_model bf16"


class _Clock(Silent):
    """Hears of every step that the training loop takes."""

    def __init__(self) -> None:
        self.ticks: list[float] = []

    def begin(self, step: int, total_steps: int, epochs: int, seconds_left: float | None) -> None:  # noqa: ARG002
        self.ticks.append(time.perf_counter())

    def advance(self, step: int, epoch: int, nats_per_token: float, tokens: int) -> None:  # noqa: ARG002
        self.ticks.append(time.perf_counter())


def epochs(quick: bool) -> Iterator[Row]:
    """Seconds for an epoch of training, without its validation: blocks of steps that take turns."""
    ids = example.penn_treebank()
    if ids is None:
        print("No epochs: ELMAN_DATA names no folder with the Penn Treebank in it.", file=sys.stderr)
        return
    blocks, steps = (1, 2) if quick else (BLOCKS, STEPS)
    words = int(ids.max()) + 1
    piece = ids[: example.BATCH * (example.STEPS * steps + 1)]
    ways: dict[str, Callable[[], list[float]]] = {
        OURS: lambda: _ours(words, piece, "float32"),
        THEIRS: lambda: example.train(example.Model(words), piece, steps, bfloat16=False),
        OURS_HALF: lambda: _ours(words, piece, "bfloat16"),
        THEIRS_HALF: lambda: example.train(example.Model(words), piece, steps, bfloat16=True),
    }
    means: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(blocks):
        for name, way in ways.items():
            torch.manual_seed(1)
            seconds = way()[0 if quick else DROPPED :]
            means[name].append(statistics.fmean(seconds))
    whole = len(ids) / (example.BATCH * example.STEPS)
    times = {name: _epoch([whole * mean for mean in taken]) for name, taken in means.items()}
    shape = f"2 layers × {example.HIDDEN}, {words} words, {example.STEPS}×{example.BATCH}"
    mode = f"extrapolated from {blocks} blocks of {steps} steps"
    for mine, other, goal in (
        (OURS, THEIRS, 0.7),
        (OURS_HALF, THEIRS, 0.5),
        (OURS_HALF, THEIRS_HALF, None),
    ):
        yield compare(
            "An epoch of word_language_model", "training on the Penn Treebank", shape, mode, times, mine,
            other, Goal(most=goal), unit="s",
        )  # fmt: skip


def _ours(words: int, ids: np.ndarray, precision: str) -> list[float]:
    options = RecurrentOptions(
        cell="lstm",
        layers=example.LAYERS,
        hidden_size=example.HIDDEN,
        dropout_input=example.DROPOUT,
        dropout_between=example.DROPOUT,
        dropout_output=example.DROPOUT,
    )
    training = TrainingOptions(
        epochs=1,
        batch=example.BATCH,
        steps=example.STEPS,
        loss="mean-over-time",
        learning_rate=example.RATE,
        clip_norm=example.CLIP,
    )
    clock = _Clock()
    with tempfile.TemporaryDirectory() as folder:
        model = RecurrentLanguageModel(words, options)
        train(
            model, ids[:-example.BATCH], ids[: 2 * example.BATCH], 0, training, RunFolder(Path(folder)),
            device="cpu", precision=precision, progress=clock,
        )  # fmt: skip
    return [after - before for before, after in zip(clock.ticks, clock.ticks[1:], strict=False)]


def _epoch(seconds: list[float]) -> Timing:
    """A :class:`Timing` in seconds."""
    low, middle, high = (
        statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else seconds * 3
    )
    return Timing(middle, low, high, len(seconds))
