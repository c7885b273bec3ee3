"""Long short-term memory, with the forget gate."""

import torch
from torch.nn.functional import linear

from elman.axes import BG, BH, TBG, TBX
from elman.cells.cell import Cell, MemoryState


class LSTM(Cell):
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

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float = 0.0) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_x = self._uniform(4 * hidden_size, input_size)
        self.weight_h = self._uniform(4 * hidden_size, hidden_size)
        self.bias = self._uniform(4 * hidden_size)
        self.forget_bias = forget_bias
        self.add_forget_bias()

    def add_forget_bias(self) -> None:
        """Adds ``forget_bias`` to b_f: once, after the bias was drawn."""
        with torch.no_grad():
            self.bias[self.hidden_size : 2 * self.hidden_size] += self.forget_bias

    def project(self, x: TBX) -> TBG:
        return linear(x, self.weight_x, self.bias)

    def advance(self, x: BG, state: MemoryState) -> tuple[BH, MemoryState]:
        i, f, g, o = (x + linear(state.h, self.weight_h)).chunk(4, dim=-1)
        c = torch.sigmoid(f) * state.c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, MemoryState(h, c)

    def initial_state(self, batch: int) -> MemoryState:
        return MemoryState(self._zeros(batch), self._zeros(batch))
