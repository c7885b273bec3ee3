"""Long short-term memory, with the forget gate."""

import torch
from torch.nn.functional import linear

from elman.axes import BG, BH
from elman.cells.cell import MemoryState
from elman.cells.packed import ForgetGated


class LSTM(ForgetGated):
    """Long short-term memory: gates decide what a memory takes, keeps and shows [hochreiter1997, gers2000].

    ::

        i = σ(W_xi x + W_hi h + b_i)      what is taken in
        f = σ(W_xf x + W_hf h + b_f)      what is kept
        g = tanh(W_xg x + W_hg h + b_g)   the candidate
        o = σ(W_xo x + W_ho h + b_o)      what is shown
        c = f ⊙ c + i ⊙ g
        h = o ⊙ tanh(c)

    Shapes: x (… X), h and c (… H); ``weight_x`` (4H X), ``weight_h`` (4H H), ``bias`` (4H), blocks of rows
    in the order of ``GATES``. All start as U(±1/√H); ``forget_bias`` is then added to b_f (1 lets a fresh
    memory last). The memory came with [hochreiter1997], the forget gate with [gers2000]. Where we differ:
    one bias for each gate where torch.nn keeps two that are only ever added. No peepholes and no projection
    here.

    Raises :class:`ShapeError` for sizes under 1.

    >>> import torch
    >>> cell = LSTM(input_size=2, hidden_size=3, forget_bias=1.0)
    >>> outputs, state = cell.scan(torch.ones(5, 4, 2))
    >>> tuple(state.c.shape), bool((outputs[-1] == state.h).all())
    ((4, 3), True)
    """

    GATES = "i f g o"
    TORCH_KERNEL = "lstm"

    def advance(self, x: BG, state: MemoryState) -> tuple[BH, MemoryState]:
        i, f, g, o = (x + linear(state.h, self.weight_h)).chunk(4, dim=-1)
        c = torch.sigmoid(f) * state.c + torch.sigmoid(i) * self.candidate(torch.tanh(g))
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, MemoryState(h, c)

    def initial_state(self, batch: int) -> MemoryState:
        return MemoryState(self.zeros(batch), self.zeros(batch))
