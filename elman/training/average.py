"""An exponential moving average of the weights: evaluated and kept, while training goes on beside it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """The average of a model's weights over its training, recent steps weighing most.

    ::

        dₙ = min(decay, (1 + n) / (10 + n))
        āₙ = dₙ āₙ₋₁ + (1 − dₙ) pₙ              ā₀ = p₀, pₙ the parameters after step n ≥ 1

    Late in a training āₙ looks back over about 1 / (1 − decay) steps. That an average of the iterates is
    better than the last of them is [polyak1992]'s; there all weigh the same, here as is usual in practice.
    The bound on dₙ lets a young average forget where it began. It is kept in the numbers of the weights.

    Parameters alone are averaged, those that are trained, tied ones once; buffers stay the model's own.
    decay: 0 ≤ decay < 1. With 0 there is no average: nothing is kept, and the weights are used as they are.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> average = Average(model, decay=0.998)
    >>> with torch.no_grad():
    ...     before, _ = model.weight.item(), model.weight.add_(11)
    >>> average.update(step=1)  # d₁ = 2/11
    >>> with average.in_use():
    ...     print(round(model.weight.item() - before, 5))
    9.0
    >>> round(model.weight.item() - before, 5)
    11.0
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        named = model.named_parameters() if decay else ()
        self.decay = decay
        self.parameters = {name: parameter for name, parameter in named if parameter.requires_grad}
        self.tensors: dict[str, Tensor] = {}
        self.restart()

    def restart(self) -> None:
        """Forgets all: the average of no steps is the weights as they are now."""
        self.tensors = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the weights after step ``step``, counted from 1 over the whole training."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, parameter in self.parameters.items():
            self.tensors[name].lerp_(parameter, 1 - decay)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Within it the model holds the average; after it its own weights again, whatever happened inside.

        Nothing is copied: the parameters point to other memory for the while. They must not be changed.
        """
        own = {name: parameter.data for name, parameter in self.parameters.items()}
        try:
            for name, parameter in self.parameters.items():
                parameter.data = self.tensors[name]
            yield
        finally:
            for name, parameter in self.parameters.items():
                parameter.data = own[name]

    def restore(self, kept: Mapping[str, Tensor]) -> None:
        """Takes up the ``tensors`` of before. Raises KeyError where one is missing, ValueError if unlike."""
        for name, tensor in self.tensors.items():
            if kept[name].shape != tensor.shape:
                raise ValueError(f"the average of {name} has another shape")
            tensor.copy_(kept[name])
