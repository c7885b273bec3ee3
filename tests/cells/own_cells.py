"""Cells that users might write: one that has all that can be stored, and some that cannot be."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from elman.cells import Cell, Elman
from elman.cells.cell import HiddenState


class TwoMemories(NamedTuple):
    quick: Tensor
    slow: tuple[Tensor, Tensor]


class Stateless(Elman):
    """Forgets to return its state."""

    def advance(self, x: Tensor, state: HiddenState) -> Any:
        return super().advance(x, state)[0]


class Narrow(Elman):
    """Puts out fewer columns than its output_size."""

    def advance(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        y, new = super().advance(x, state)
        return y[:, :2], new


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


class Detached(Elman):
    """Sends no gradient through one of the places of its gate."""

    def advance(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        g = torch.sigmoid(x + linear(state.h, self.weight_h))
        h = g.detach() * state.h + g * torch.tanh(x)
        return h, HiddenState(h)


class _Straight(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, weight: Tensor) -> Tensor:
        return torch.where(weight > 0, 0.5, -0.5)

    @staticmethod
    def backward(_: Any, d: Tensor) -> Tensor:
        return d


class Binary(Elman):
    """Its recurrent weights are ±½, and learnt as if they were not rounded."""

    def advance(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = torch.tanh(x + linear(state.h, _Straight.apply(self.weight_h)))
        return h, HiddenState(h)


class Deaf(Elman):
    """Does not listen: its input is projected and not read."""

    def advance(self, _: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = torch.tanh(linear(state.h, self.weight_h, self.bias))
        return h, HiddenState(h)


class Gappy(Elman):
    """Its masks are of bool and of whole numbers, and its state is summed over twice its columns."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.wide = self._uniform(2 * hidden_size, hidden_size)
        self.register_buffer("odd", torch.arange(hidden_size) % 2 == 1)
        self.register_buffer("place", torch.arange(hidden_size))

    def advance(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        shares = torch.softmax(linear(state.h, self.wide), dim=-1) * 0.3 * linear(x, self.wide)
        h = torch.tanh(x / (1 + self.place) + linear(state.h, self.weight_h) + shares.sum(-1, keepdim=True))
        return h, HiddenState(torch.where(self.odd, h, 0.5 * state.h))


class Twice(Elman):
    """Adds its bias to the projected input and in the step."""

    def advance(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = torch.tanh(x + self.bias * linear(state.h, self.weight_h))
        return h, HiddenState(h)


class Three(NamedTuple):
    h: Tensor
    most: Tensor
    wide: Tensor


class Shared(Elman):
    """Three tensors of state of three widths; a matrix used three times, also transposed; two in sequence."""

    def advance(self, x: Tensor, state: Three) -> tuple[Tensor, Three]:
        w = self.weight_h
        twice = torch.cat([linear(torch.relu(linear(state.h, w)), w), state.h @ w], dim=-1)
        wide = 0.5 * state.wide + torch.tanh(twice)
        most = torch.maximum(state.most, wide.amax(-1, keepdim=True))
        h = torch.tanh(x + wide[:, : self.hidden_size]) / most.abs().clamp_min(0.5)
        return h, Three(h, most, wide)

    def initial_state(self, batch: int) -> Three:
        h = self.zeros(batch)
        return Three(h, h[:, :1], torch.cat([h, h], dim=-1) + 0.2)


class Leaky(Elman):
    """A simple network whose output leaks away slowly, with its candidate marked for noise."""

    def advance(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = 0.5 * state.h + 0.5 * self.candidate(torch.tanh(x + linear(state.h, self.weight_h)))
        return h, HiddenState(h)


class Meeting(Elman):
    """Products whose results meet in one sum, before the scan and in it, with some matrices used twice: their
    gradients have the same left side."""

    def project(self, x: Tensor) -> Tensor:
        w = self.weight_x
        return linear(x, w) + torch.tanh(linear(x * x, w)) + linear(x, self.weight_h) + self.bias

    def advance(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        u = self.weight_h
        h = torch.tanh(x + linear(state.h, u) + linear(state.h * state.h, u))
        return h, HiddenState(h)


class Two(NamedTuple):
    h: Tensor
    s: Tensor


class Handed(Elman):
    """The gradient of its product is the one that the later step hands over, as it is."""

    def advance(self, x: Tensor, state: Two) -> tuple[Tensor, Two]:
        s = linear(torch.tanh(state.s), self.weight_h)
        h = torch.tanh(x + state.s * state.h)
        return h, Two(h, s)

    def initial_state(self, batch: int) -> Two:
        h = self.zeros(batch)
        return Two(h, h + 0.3)
