"""How much of a loss's gradient is left k steps back: the vanishing gradient, measured."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from elman import axes, states
from elman.axes import BH, TB, TBX, B
from elman.cells.cell import Recurrence
from elman.errors import OptionError, ShapeError
from elman.models.language_model import RecurrentLanguageModel


class GradientFlow(NamedTuple):
    """Mean gradient norms by distance: ``norms[k]``, k = 0 … K, float64, nats per unit of state."""

    norms: np.ndarray

    @property
    def relative(self) -> np.ndarray:
        """The norms as shares of the one at distance 0; zeros where that one is zero."""
        return self.norms / self.norms[0] if self.norms[0] > 0 else np.zeros_like(self.norms)

    def reach(self, share: float = 0.01) -> int | None:
        """The first distance, in steps, from which on less than ``share`` of the gradient is left.

        None where ``share`` or more is left at the greatest distance measured.
        """
        kept = np.flatnonzero(self.relative >= share)
        first = int(kept[-1]) + 1 if len(kept) else 0
        return first if first < len(self.norms) else None


def gradient_flow(
    recurrence: Recurrence,
    x: TBX,
    loss: Callable[[int, BH], B],
    distances: int = 50,
    positions: int = 16,
    warm_up: int = 0,
) -> GradientFlow:
    """The mean norm of ∂L_t/∂s_{t−k} by distance k, from one backward pass per position t.

    The state s is the *whole* state: (h, c) of an LSTM as one vector, h and c taken as independent, all
    layers of a stack. So norms[k] = mean over t and over the rows of the batch of ‖∂L_t/∂s_{t−k}‖, where::

        ∂L_t/∂s_{t−k} = ∂L_t/∂y_t · ∂y_t/∂s_{t−1} · J_{t−1} · … · J_{t−k+1},    J_j = ∂s_j/∂s_{j−1}
        norms[0]      = mean ‖∂L_t/∂y_t‖,  y_t the output (h_t in every cell: the loss reads no c_t)

    The first ``warm_up`` steps only lead the state away from its initial one: just after that, where hardly
    anything was read, losses hang on the state more, and the greatest distances reach back there. The rest
    is run step by step through ``recurrence.step``; the positions t are spread evenly over all but its first
    ``distances``. Weights are left without gradients.

    ``x``: T×B×X, T > ``warm_up`` + ``distances``. ``loss(t, y)`` returns the B losses of step t, in nats,
    from the output y (B×H). Raises :class:`ShapeError` for too few steps. Not here: which inputs the
    gradient reaches. Source: the product of Jacobians in [pascanu2013], §2; that it vanishes, [bengio1994].

    >>> from elman.cells import Elman
    >>> cell = Elman(3, 4)
    >>> flow = gradient_flow(cell, torch.randn(12, 2, 3), lambda _, y: y.sum(1), distances=5)
    >>> flow.norms.shape, flow.relative[0].item()
    ((6,), 1.0)
    """
    if distances < 1 or positions < 1 or warm_up < 0:
        raise OptionError(
            f"The gradient flow over {distances} distances at {positions} positions was asked for.",
            f"distances is {distances}, positions is {positions}, warm_up is {warm_up}.",
            "The first two are whole numbers from 1, warm_up one from 0.",
        )
    steps, batch = x.shape[:2]
    if steps <= warm_up + distances:
        raise ShapeError(
            f"The gradient flow over {distances} distances was asked for.",
            f"x is {axes.say(x, 'T B X')}: {steps} steps; more than {warm_up + distances} are needed.",
            "Give a longer text, or ask for fewer distances.",
        )
    with torch.enable_grad():
        outputs, passed = _run(recurrence, x[warm_up:], _warm(recurrence, x[:warm_up]))
        total = torch.zeros(distances + 1, dtype=torch.float64)
        measured = np.unique(
            np.linspace(distances, steps - warm_up - 1, positions).round().astype(int)
        ).tolist()
        for t in measured:
            behind = [[leaf for _, leaf in states.leaves(passed[t - k])] for k in range(1, distances + 1)]
            wanted = [outputs[t], *(leaf for leaves in behind for leaf in leaves)]
            found = iter(
                torch.autograd.grad(
                    loss(warm_up + t, outputs[t]).sum(), wanted, retain_graph=True, allow_unused=True
                )
            )
            total[0] += _norms([next(found)], batch).sum()
            for k, leaves in enumerate(behind, start=1):
                total[k] += _norms([next(found) for _ in leaves], batch).sum()
    return GradientFlow((total / (len(measured) * batch)).numpy())


def language_model_flow(
    model: RecurrentLanguageModel,
    inputs: TB,
    targets: TB,
    distances: int = 50,
    positions: int = 16,
    warm_up: int = 0,
) -> GradientFlow:
    """:func:`gradient_flow` through a language model's recurrence: L_t = −log P(targets[t] | inputs[..t]).

    Dropout is off. ``inputs``, ``targets``: T×B ids. The model is left in the mode it was in.
    """
    with _evaluation_mode(model):
        x = model.embedding(inputs).detach()

        def loss(t: int, y: BH) -> B:
            read = y if model.map is None else model.map(y)
            return -model.softmax.log_probabilities(read).gather(1, targets[t, :, None])[:, 0]

        return gradient_flow(model.stack, x, loss, distances, positions, warm_up)


@torch.no_grad()
def _warm(recurrence: Recurrence, x: TBX) -> Any:
    state = recurrence.initial_state(x.shape[1])
    for x_t in x:
        _, state = recurrence.step(x_t, state)
    return state


def _run(recurrence: Recurrence, x: TBX, state: Any) -> tuple[list[BH], list[object]]:
    """The outputs of all steps, and the states *as handed on*: aliases, so that ∂/∂c_t does not count what
    reaches the loss through h_t of the same step."""
    state = states.transform(lambda leaf: leaf.detach().requires_grad_(), state)
    outputs: list[BH] = []
    passed: list[object] = []
    for x_t in x:
        y, new = recurrence.step(x_t, state)
        state = states.transform(lambda leaf: leaf.view_as(leaf), new)
        outputs.append(y.view_as(y))
        passed.append(state)
    return outputs, passed


def _norms(gradients: list[Tensor | None], batch: int) -> Tensor:
    """Row by row of the batch, the norm of the gradients laid end to end (float64); None is zero."""
    squares = torch.zeros(batch, dtype=torch.float64)
    for gradient in gradients:
        if gradient is not None:
            squares += gradient.detach().to("cpu", torch.float64).flatten(1).square().sum(1)
    return squares.sqrt()


@contextmanager
def _evaluation_mode(model: nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
