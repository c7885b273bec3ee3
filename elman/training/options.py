"""How a model is trained: the [train] table of a recipe."""

from dataclasses import dataclass

LOSSES = ("sum-over-time", "mean-over-time")
OPTIMIZERS = ("sgd", "adam", "rmsprop")
SCHEDULES = ("constant", "hold-then-divide", "divide-on-plateau", "cosine")


@dataclass(frozen=True)
class TrainingOptions:
    """Every choice of a training.

    ``steps`` is T, the steps of truncated backpropagation through time; ``batch`` is B, the streams side by
    side. With ``loss = "sum-over-time"`` the gradient is that of Σ_t mean_b −log p, as in [zaremba2014];
    with ``"mean-over-time"`` that of the mean over all T·B predictions. A recipe moves from the first to the
    second by multiplying the learning rate by T and dividing the clipping norm by T.

    ``schedule``: ``"hold-then-divide"`` keeps the rate for ``hold_epochs`` epochs, then divides it by
    ``divide_by`` before each later one; ``"divide-on-plateau"`` divides after ``patience`` evaluations in a
    row without a new best; ``"cosine"`` falls from the rate to zero over all steps of the training.

    ``momentum`` is for sgd and rmsprop, ``beta1`` and ``beta2`` for adam, ``alpha`` (the weight of the past
    in the mean square) for rmsprop. ``weight_decay`` w adds w·p to the gradient of each parameter p, after
    clipping. ``average`` is the decay per step of a moving average of the weights
    (:class:`~elman.training.average.Average`), which is evaluated and kept as the best in place of the
    weights themselves; 0 is none. ``stop_after`` stops after so many evaluations without a new best.
    ``evaluate_every`` counts steps; left out, the validation text is read after each epoch.

    >>> for said in TrainingOptions(epochs=0, schedule="hold-then-divide", hold_epochs=4).problems():
    ...     print(said)
    train.epochs is 0; it must be 1 or more.
    train.divide_by is missing; the schedule "hold-then-divide" needs it.
    """

    epochs: int = 10
    batch: int = 20
    steps: int = 35
    loss: str = "sum-over-time"
    optimizer: str = "sgd"
    learning_rate: float = 1.0
    momentum: float = 0.0
    alpha: float = 0.99
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0
    schedule: str = "constant"
    hold_epochs: int | None = None
    divide_by: float | None = None
    patience: int = 1
    clip_norm: float | None = None
    clip_value: float | None = None
    average: float = 0.0
    stop_after: int | None = None
    evaluate_every: int | None = None
    seed: int = 1

    def problems(self) -> list[str]:
        """What is wrong with these options, one sentence each, naming its key; empty when nothing is."""
        return [f"train.{said}" for said in self._choices() + self._ranges() + self._company()]

    def _choices(self) -> list[str]:
        tables = {"loss": LOSSES, "optimizer": OPTIMIZERS, "schedule": SCHEDULES}
        return [
            f'{key} is "{getattr(self, key)}"; it must be one of {", ".join(table)}.'
            for key, table in tables.items()
            if getattr(self, key) not in table
        ]

    def _ranges(self) -> list[str]:
        said = [
            f"{key} is {value}; it must be 1 or more."
            for key in ("epochs", "batch", "steps", "hold_epochs", "patience", "stop_after", "evaluate_every")
            if (value := getattr(self, key)) is not None and value < 1
        ]
        said += [
            f"{key} is {value}; it must be over 0."
            for key in ("learning_rate", "clip_norm", "clip_value")
            if (value := getattr(self, key)) is not None and not value > 0
        ]
        said += [
            f"{key} is {value}; it must be at least 0 and under 1."
            for key in ("momentum", "alpha", "beta1", "beta2", "average")
            if not 0 <= (value := getattr(self, key)) < 1
        ]
        if not self.weight_decay >= 0:
            said.append(f"weight_decay is {self.weight_decay}; it must be 0 or more.")
        if self.divide_by is not None and not self.divide_by > 1:
            said.append(f"divide_by is {self.divide_by}; it must be over 1.")
        if not 0 <= self.seed < 2**63:
            said.append(f"seed is {self.seed}; it must be from 0 to 2^63 − 1.")
        return said

    def _company(self) -> list[str]:
        """Options that another option needs, or that would do nothing beside it."""
        said = []
        needed = {"hold-then-divide": ("hold_epochs", "divide_by"), "divide-on-plateau": ("divide_by",)}
        for key in ("hold_epochs", "divide_by"):
            if key in needed.get(self.schedule, ()):
                if getattr(self, key) is None:
                    said.append(f'{key} is missing; the schedule "{self.schedule}" needs it.')
            elif getattr(self, key) is not None:
                said.append(f'{key} does nothing with the schedule "{self.schedule}"; leave it out.')
        users = {
            "patience": ("schedule", ("divide-on-plateau",)),
            "momentum": ("optimizer", ("sgd", "rmsprop")),
            "alpha": ("optimizer", ("rmsprop",)),
            "beta1": ("optimizer", ("adam",)),
            "beta2": ("optimizer", ("adam",)),
        }
        for key, (choice, values) in users.items():
            if getattr(self, key) != getattr(TrainingOptions, key) and getattr(self, choice) not in values:
                said.append(f'{key} does nothing with the {choice} "{getattr(self, choice)}"; leave it out.')
        if self.clip_norm is not None and self.clip_value is not None:
            said.append("clip_norm and train.clip_value are both given; choose one.")
        return said
