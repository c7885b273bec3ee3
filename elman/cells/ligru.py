"""The light gated recurrent unit."""

import torch
from torch.nn.functional import linear

from elman.axes import BG, BH
from elman.cells.cell import HiddenState
from elman.cells.packed import Packed


class LiGRU(Packed):
    """Light GRU: no reset gate, and a rectified candidate [ravanelli2018].

    ::

        z = σ(W_xz x + W_hz h + b_z)
        n = ReLU(W_xn x + W_hn h + b_n)     the candidate
        h = z ⊙ h + (1 − z) ⊙ n

    Shapes: x (… X), h (… H); ``weight_x`` (2H X), ``weight_h`` (2H H), ``bias`` (2H), blocks of rows in the
    order of ``GATES``. All start as U(±1/√H). Where we differ: [ravanelli2018] normalises W_x x over the
    batch, which keeps the rectified state from growing; batch normalisation is not here, and a bias stands
    in its place. Without it, train with small steps and clip the gradient. W_h starts orthogonal there.

    Raises :class:`ShapeError` for sizes under 1.

    >>> import torch
    >>> outputs, state = LiGRU(input_size=2, hidden_size=3).scan(torch.ones(5, 4, 2))
    >>> bool((outputs >= 0).all())
    True
    """

    GATES = "z n"

    def advance(self, x: BG, state: HiddenState) -> tuple[BH, HiddenState]:
        z, n = (x + linear(state.h, self.weight_h)).chunk(2, dim=-1)
        z = torch.sigmoid(z)
        h = z * state.h + (1 - z) * self.candidate(torch.relu(n))
        return h, HiddenState(h)

    def initial_state(self, batch: int) -> HiddenState:
        return HiddenState(self.zeros(batch))
