"""A tiny training with all kinds of noise and momentum, so that every kind of state matters.

As a program it trains in each folder that a line of stdin names, in a process of its own that can be killed.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from elman.models.language_model import RecurrentLanguageModel, RecurrentOptions
from elman.text.vocabulary import Vocabulary
from elman.training.folder import RunFolder
from elman.training.loop import Outcome, train
from elman.training.options import TrainingOptions
from elman.training.progress import Progress, Silent

VOCABULARY = Vocabulary([*"abcdefghij\n"])
START = VOCABULARY.start_id
TEXT = np.random.default_rng(3).integers(0, 11, 330).astype(np.uint16)
TRAIN, VALID = TEXT[:290], TEXT[290:]
CERTAIN = RecurrentOptions(layers=2, hidden_size=6)
MODEL = replace(
    CERTAIN,
    dropout_between=0.3,
    dropout_output=0.4,
    dropout_state=0.2,
    dropout_candidate=0.1,
    dropout_weights=0.2,
    zoneout_h=0.1,
    zoneout_c=0.2,
)
OPTIONS = TrainingOptions(
    epochs=3,
    batch=4,
    steps=6,
    learning_rate=0.3,
    momentum=0.5,
    clip_norm=1.0,
    schedule="divide-on-plateau",
    divide_by=2.0,
    evaluate_every=7,
)


def new_model(options: RecurrentOptions = MODEL) -> RecurrentLanguageModel:
    torch.manual_seed(5)
    return RecurrentLanguageModel(len(VOCABULARY), options, START)


def new_folder(path: Path) -> RunFolder:
    return RunFolder.create(path, "", VOCABULARY)


def run(
    folder: RunFolder,
    options: TrainingOptions = OPTIONS,
    progress: Progress | None = None,
    max_minutes: float | None = None,
    checkpoint_seconds: float = 0.0,
) -> Outcome:
    """Trains a new model in ``folder``, or goes on with what is there; saves after every step."""
    return train(
        new_model(),
        TRAIN,
        VALID,
        START,
        options,
        folder,
        max_minutes=max_minutes,
        device="cpu",
        progress=progress,
        checkpoint_seconds=checkpoint_seconds,
    )


class Telling(Silent):
    """Prints the number of each step taken."""

    def advance(self, step: int, *_: object) -> None:
        print("step", step, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.optim.SGD([torch.zeros(1)])  # all that is imported late, before the first fork
    for line in sys.stdin:
        path = Path(line.strip())
        child = os.fork()
        if child == 0:
            run(RunFolder.open(path) if path.exists() else new_folder(path), progress=Telling())
            os._exit(0)
        print("child", child, flush=True)
        print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
