"""Long short-term memory with one gate taken away, or with its forget gate opened at the start."""

import torch
from torch.nn.functional import linear

from elman.axes import BG, BH
from elman.cells.cell import MemoryState
from elman.cells.lstm import LSTM
from elman.cells.packed import ForgetGated, Packed


class LSTMWithoutForgetGate(Packed):
    """LSTM-f: the memory only adds up, f = 1, as in the first LSTM [jozefowicz2015, hochreiter1997].

    ::

        i = σ(W_xi x + W_hi h + b_i)
        g = tanh(W_xg x + W_hg h + b_g)
        o = σ(W_xo x + W_ho h + b_o)
        c = c + i ⊙ g
        h = o ⊙ tanh(c)

    Shapes: x (… X), h and c (… H); ``weight_x`` (3H X), ``weight_h`` (3H H), ``bias`` (3H), blocks of rows
    in the order of ``GATES``. All start as U(±1/√H), where [jozefowicz2015] searches over scales.

    Raises :class:`ShapeError` for sizes under 1.

    >>> import torch
    >>> outputs, state = LSTMWithoutForgetGate(input_size=2, hidden_size=3).scan(torch.ones(5, 4, 2))
    >>> bool((outputs[-1] == state.h).all())
    True
    """

    GATES = "i g o"

    def advance(self, x: BG, state: MemoryState) -> tuple[BH, MemoryState]:
        i, g, o = (x + linear(state.h, self.weight_h)).chunk(3, dim=-1)
        c = state.c + torch.sigmoid(i) * self.candidate(torch.tanh(g))
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, MemoryState(h, c)

    def initial_state(self, batch: int) -> MemoryState:
        return MemoryState(self.zeros(batch), self.zeros(batch))


class LSTMWithoutInputGate(ForgetGated):
    """LSTM-i: the memory takes in the whole candidate, i = 1 [jozefowicz2015].

    ::

        f = σ(W_xf x + W_hf h + b_f)
        g = tanh(W_xg x + W_hg h + b_g)
        o = σ(W_xo x + W_ho h + b_o)
        c = f ⊙ c + g
        h = o ⊙ tanh(c)

    Shapes: x (… X), h and c (… H); ``weight_x`` (3H X), ``weight_h`` (3H H), ``bias`` (3H), blocks of rows
    in the order of ``GATES``. All start as U(±1/√H); ``forget_bias`` is then added to b_f.

    Raises :class:`ShapeError` for sizes under 1.

    >>> import torch
    >>> outputs, state = LSTMWithoutInputGate(input_size=2, hidden_size=3).scan(torch.ones(5, 4, 2))
    >>> bool((outputs[-1] == state.h).all())
    True
    """

    GATES = "f g o"

    def advance(self, x: BG, state: MemoryState) -> tuple[BH, MemoryState]:
        f, g, o = (x + linear(state.h, self.weight_h)).chunk(3, dim=-1)
        c = torch.sigmoid(f) * state.c + self.candidate(torch.tanh(g))
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, MemoryState(h, c)

    def initial_state(self, batch: int) -> MemoryState:
        return MemoryState(self.zeros(batch), self.zeros(batch))


class LSTMWithoutOutputGate(ForgetGated):
    """LSTM-o: the memory is always shown, o = 1 [jozefowicz2015].

    ::

        i = σ(W_xi x + W_hi h + b_i)
        f = σ(W_xf x + W_hf h + b_f)
        g = tanh(W_xg x + W_hg h + b_g)
        c = f ⊙ c + i ⊙ g
        h = tanh(c)

    Shapes: x (… X), h and c (… H); ``weight_x`` (3H X), ``weight_h`` (3H H), ``bias`` (3H), blocks of rows
    in the order of ``GATES``. All start as U(±1/√H); ``forget_bias`` is then added to b_f.

    Raises :class:`ShapeError` for sizes under 1.

    >>> import torch
    >>> outputs, state = LSTMWithoutOutputGate(input_size=2, hidden_size=3).scan(torch.ones(5, 4, 2))
    >>> torch.allclose(outputs[-1], state.c.tanh())
    True
    """

    GATES = "i f g"

    def advance(self, x: BG, state: MemoryState) -> tuple[BH, MemoryState]:
        i, f, g = (x + linear(state.h, self.weight_h)).chunk(3, dim=-1)
        c = torch.sigmoid(f) * state.c + torch.sigmoid(i) * self.candidate(torch.tanh(g))
        h = torch.tanh(c)
        return h, MemoryState(h, c)

    def initial_state(self, batch: int) -> MemoryState:
        return MemoryState(self.zeros(batch), self.zeros(batch))


class LSTMWithForgetBias(LSTM):
    """LSTM-b: the :class:`LSTM` with 1 added to b_f at the start, so that a memory lasts [jozefowicz2015].

    Equations, shapes and errors are the LSTM's; only ``forget_bias`` differs. The advice is that of
    [gers2000]. Where we differ: 1 is added to what was drawn, where [jozefowicz2015] sets the bias to 1.

    >>> import torch
    >>> outputs, state = LSTMWithForgetBias(input_size=2, hidden_size=3).scan(torch.ones(5, 4, 2))
    >>> bool((outputs[-1] == state.h).all())
    True
    """

    TORCH_KERNEL = "lstm"

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float = 1.0) -> None:
        super().__init__(input_size, hidden_size, forget_bias)
