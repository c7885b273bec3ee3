"""The gated recurrent unit, with the reset after the recurrent product and, as first published, before it."""

import torch
from torch.nn.functional import linear

from elman.axes import BG, BH
from elman.cells.cell import HiddenState
from elman.cells.packed import Packed


class GRU(Packed):
    """Gated recurrent unit, reset *after* the product: cuDNN's and ``torch.nn.GRU``'s form of [cho2014].

    ::

        r = σ(W_xr x + W_hr h + b_r)                    reset
        z = σ(W_xz x + W_hz h + b_z)                    update
        n = tanh(W_xn x + b_n + r ⊙ (W_hn h + b_hn))    candidate
        h = (1 − z) ⊙ n + z ⊙ h

    Shapes: x (… X), h (… H); ``weight_x`` (3H X), ``weight_h`` (3H H), ``bias`` (3H), blocks of rows in the
    order of ``GATES``; ``bias_h`` (H) is b_hn, which the reset gate weighs and no other bias can stand for.
    All start as U(±1/√H).

    z weighs the *old state*, as in torch.nn and [cho2014]. In [chung2014], and in lectures that follow it,
    the update gate weighs the candidate, h = (1 − z) ⊙ h + z ⊙ n: their z is our 1 − z, so carrying weights
    over negates that gate's rows and bias. One product for all gates makes this form faster than
    :class:`GRUResetBefore`, which is the published one; trained weights of one are not weights of the
    other.

    Raises :class:`ShapeError` for sizes under 1.

    >>> import torch
    >>> outputs, state = GRU(input_size=2, hidden_size=3).scan(torch.ones(5, 4, 2))
    >>> bool((outputs[-1] == state.h).all())
    True
    """

    GATES = "r z n"
    TORCH_KERNEL = "gru"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.bias_h = self._uniform(hidden_size)

    def advance(self, x: BG, state: HiddenState) -> tuple[BH, HiddenState]:
        x_r, x_z, x_n = x.chunk(3, dim=-1)
        h_r, h_z, h_n = linear(state.h, self.weight_h).chunk(3, dim=-1)
        r = torch.sigmoid(x_r + h_r)
        z = torch.sigmoid(x_z + h_z)
        n = self.candidate(torch.tanh(x_n + r * (h_n + self.bias_h)))
        h = (1 - z) * n + z * state.h
        return h, HiddenState(h)

    def initial_state(self, batch: int) -> HiddenState:
        return HiddenState(self.zeros(batch))


class GRUResetBefore(Packed):
    """Gated recurrent unit, reset *before* the product: the published form [cho2014].

    ::

        r = σ(W_xr x + W_hr h + b_r)                    reset
        z = σ(W_xz x + W_hz h + b_z)                    update
        n = tanh(W_xn x + W_hn (r ⊙ h) + b_n)           candidate
        h = (1 − z) ⊙ n + z ⊙ h

    Shapes: x (… X), h (… H); ``weight_x`` (3H X), ``weight_h`` (3H H), ``bias`` (3H), blocks of rows in the
    order of ``GATES``. All start as U(±1/√H). z weighs the old state, as in [cho2014] (and the opposite of
    [chung2014]; see :class:`GRU`). Where we differ: biases, which [cho2014] leaves out of its equations.

    Raises :class:`ShapeError` for sizes under 1.

    >>> import torch
    >>> outputs, state = GRUResetBefore(input_size=2, hidden_size=3).scan(torch.ones(5, 4, 2))
    >>> bool((outputs[-1] == state.h).all())
    True
    """

    GATES = "r z n"

    def advance(self, x: BG, state: HiddenState) -> tuple[BH, HiddenState]:
        gates, candidate = self.weight_h.split([2 * self.hidden_size, self.hidden_size])
        x_r, x_z, x_n = x.chunk(3, dim=-1)
        h_r, h_z = linear(state.h, gates).chunk(2, dim=-1)
        r = torch.sigmoid(x_r + h_r)
        z = torch.sigmoid(x_z + h_z)
        n = self.candidate(torch.tanh(x_n + linear(r * state.h, candidate)))
        h = (1 - z) * n + z * state.h
        return h, HiddenState(h)

    def initial_state(self, batch: int) -> HiddenState:
        return HiddenState(self.zeros(batch))
