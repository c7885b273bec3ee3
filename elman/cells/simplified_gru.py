"""The gated recurrent unit with an update gate only."""

import torch
from torch.nn.functional import linear

from elman.axes import BG, BH
from elman.cells.cell import HiddenState
from elman.cells.packed import Packed


class SimplifiedGRU(Packed):
    """Simplified GRU: an update gate and no reset gate, as lectures introduce the GRU [ng2018].

    ::

        u = σ(W_xu x + W_hu h + b_u)        how much is replaced
        n = tanh(W_xn x + W_hn h + b_n)     the candidate
        h = u ⊙ n + (1 − u) ⊙ h

    Shapes: x (… X), h (… H); ``weight_x`` (2H X), ``weight_h`` (2H H), ``bias`` (2H), blocks of rows in the
    order of ``GATES``. All start as U(±1/√H). The lectures' c is our h and their Γ_u our u: it weighs the
    *candidate*, where z of :class:`GRU` weighs the old state, u = 1 − z.

    Raises :class:`ShapeError` for sizes under 1.

    >>> import torch
    >>> outputs, state = SimplifiedGRU(input_size=2, hidden_size=3).scan(torch.ones(5, 4, 2))
    >>> bool((outputs[-1] == state.h).all())
    True
    """

    GATES = "u n"

    def advance(self, x: BG, state: HiddenState) -> tuple[BH, HiddenState]:
        u, n = (x + linear(state.h, self.weight_h)).chunk(2, dim=-1)
        u = torch.sigmoid(u)
        h = u * self.candidate(torch.tanh(n)) + (1 - u) * state.h
        return h, HiddenState(h)

    def initial_state(self, batch: int) -> HiddenState:
        return HiddenState(self.zeros(batch))
