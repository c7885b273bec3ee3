"""The learning rate, as a function of how far training is. Nothing is remembered here."""

import math

from elman.training.options import TrainingOptions


def learning_rate(
    options: TrainingOptions, *, epoch: int, step: int, total_steps: int, divisions: int
) -> float:
    """The rate of the step after ``step`` steps were taken, in epoch ``epoch`` (from 1).

    constant: η · hold-then-divide: η / d^max(0, epoch − hold_epochs) · divide-on-plateau: η / d^divisions ·
    cosine: η (1 + cos(π step / total_steps)) / 2.

    ``hold_epochs`` counts the epochs at the first rate. [zaremba2014]'s ``max_epoch = 4`` divides first for
    epoch 6 in the authors' Lua code (``hold_epochs = 5``), and for epoch 5 in TensorFlow's tutorial (4).

    >>> small = TrainingOptions(schedule="hold-then-divide", hold_epochs=4, divide_by=2)
    >>> [learning_rate(small, epoch=e, step=0, total_steps=9, divisions=0) for e in (1, 4, 5, 6)]
    [1.0, 1.0, 0.5, 0.25]
    """
    if options.schedule == "cosine":
        return options.learning_rate * (1 + math.cos(math.pi * step / total_steps)) / 2
    if options.schedule == "hold-then-divide" and options.hold_epochs and options.divide_by:
        divisions = max(0, epoch - options.hold_epochs)
    return options.learning_rate / (options.divide_by or 1.0) ** divisions
