"""The minimal gated unit."""

import torch
from torch.nn.functional import linear

from elman.axes import BG, BH
from elman.cells.cell import HiddenState
from elman.cells.packed import Packed


class MGU(Packed):
    """Minimal gated unit: one gate resets and updates, a GRU with r = z [zhou2016].

    ::

        f = σ(W_xf x + W_hf h + b_f)
        n = tanh(W_xn x + W_hn (f ⊙ h) + b_n)       the candidate
        h = (1 − f) ⊙ h + f ⊙ n

    Shapes: x (… X), h (… H); ``weight_x`` (2H X), ``weight_h`` (2H H), ``bias`` (2H), blocks of rows in the
    order of ``GATES``. All start as U(±1/√H). Though it is called f, an open gate *replaces* the state.

    Raises :class:`ShapeError` for sizes under 1.

    >>> import torch
    >>> outputs, state = MGU(input_size=2, hidden_size=3).scan(torch.ones(5, 4, 2))
    >>> bool((outputs[-1] == state.h).all())
    True
    """

    GATES = "f n"

    def advance(self, x: BG, state: HiddenState) -> tuple[BH, HiddenState]:
        gate, candidate = self.weight_h.chunk(2)
        x_f, x_n = x.chunk(2, dim=-1)
        f = torch.sigmoid(x_f + linear(state.h, gate))
        n = self.candidate(torch.tanh(x_n + linear(f * state.h, candidate)))
        h = (1 - f) * state.h + f * n
        return h, HiddenState(h)

    def initial_state(self, batch: int) -> HiddenState:
        return HiddenState(self.zeros(batch))
