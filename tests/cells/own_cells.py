"""Cells that users might write: one that has all that can be stored, and some that cannot be."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from elman.cells import Cell, Elman
from elman.cells.cell import HiddenState


class TwoMemories(NamedTuple):
    quick: Tensor
    slow: tuple[Tensor, Tensor]


class Rich(Cell):
    """Nested modules and states, buffers, a frozen and an invariant parameter, constants, a learnt start."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.output_size = hidden_size + 1
        self.inner = nn.ModuleDict({"read": nn.Linear(input_size, 2 * hidden_size)})
        self.turn = nn.Parameter(torch.randn(hidden_size, hidden_size))
        self.pace = nn.Parameter(torch.randn(hidden_size))
        self.floor = nn.Parameter(torch.full((hidden_size,), -0.7), requires_grad=False)
        self.start = nn.Parameter(torch.randn(hidden_size))
        self.register_buffer("signs", torch.tensor([1.0, -1.0]).repeat(hidden_size)[:hidden_size])

    def project(self, x: Tensor) -> Tensor:
        return self.inner["read"](x)

    def advance(self, x: Tensor, state: TwoMemories) -> tuple[Tensor, TwoMemories]:
        u, n = x.chunk(2, dim=-1)
        skew = (self.turn - self.turn.T) * torch.eye(self.hidden_size).logical_not()
        q = torch.tanh(n + state.quick @ skew) * torch.sigmoid(u) * self.signs * torch.tensor(0.75)
        a, b = state.slow
        a = torch.maximum(a + torch.exp(-nn.functional.softplus(self.pace)) * (q - a), self.floor)
        h = torch.cat([a, b[:, :1]], dim=-1)
        return h, TwoMemories(q, (a, torch.where(b > 0, b * 0.5, q)))

    def initial_state(self, batch: int) -> TwoMemories:
        first = self.start.expand(batch, -1)
        zeros = torch.zeros(batch, self.hidden_size, dtype=first.dtype)
        return TwoMemories(first, (zeros, zeros + 0.25))


class Sorted(Elman):
    """Sorts its features: nothing that can be expressed."""

    def advance(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = torch.tanh(x + state.h @ self.weight_h.T).sort(dim=-1).values
        return h, HiddenState(h)


class Asking(Elman):
    """Takes another way where a value is large: tracing sees neither way."""

    def advance(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = torch.tanh(x) if bool((state.h > 0.5).any()) else torch.relu(x)
        return h, HiddenState(h)


class Counting(Elman):
    """Computes something else once it was traced, at two sizes of the batch."""

    calls = 0

    def advance(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        self.calls += self.calls < 3
        h = torch.tanh(x * (1.0 if self.calls < 3 else 2.0) + state.h @ self.weight_h.T)
        return h, HiddenState(h)


class Moody(Elman):
    """Other equations in training than afterwards."""

    def advance(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = torch.tanh(x * (0.5 if self.training else 1.0) + linear(state.h, self.weight_h))
        return h, HiddenState(h)


class Orthogonal(Elman):
    """Makes its matrix by an operation that cannot be stored."""

    def advance(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = torch.tanh(x + state.h @ torch.linalg.qr(self.weight_h).Q)
        return h, HiddenState(h)


class Forgetful(Elman):
    """Has a buffer that no file of weights holds."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.register_buffer("scale", torch.full((hidden_size,), 0.5), persistent=False)

    def advance(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = torch.tanh(x * self.scale + linear(state.h, self.weight_h))
        return h, HiddenState(h)


class Attached(Elman):
    """Keeps a tensor that is neither parameter nor buffer."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.scale = torch.full((hidden_size,), 0.5)

    def advance(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = torch.tanh(x * self.scale + linear(state.h, self.weight_h))
        return h, HiddenState(h)


class Leaky(Elman):
    """A simple network whose output leaks away slowly, with its candidate marked for noise."""

    def advance(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = 0.5 * state.h + 0.5 * self.candidate(torch.tanh(x + linear(state.h, self.weight_h)))
        return h, HiddenState(h)
