"""Long short-term memory whose input gate is tied to the forget gate: coupled to it, or capped by it."""

import torch
from torch.nn.functional import linear

from elman.axes import BG, BH
from elman.cells.cell import MemoryState
from elman.cells.packed import ForgetGated


class CoupledLSTM(ForgetGated):
    """Coupled gates: what a memory forgets it takes in, i = 1 − f [greff2017].

    ::

        f = σ(W_xf x + W_hf h + b_f)
        g = tanh(W_xg x + W_hg h + b_g)
        o = σ(W_xo x + W_ho h + b_o)
        c = f ⊙ c + (1 − f) ⊙ g
        h = o ⊙ tanh(c)

    Shapes: x (… X), h and c (… H); ``weight_x`` (3H X), ``weight_h`` (3H H), ``bias`` (3H), blocks of rows
    in the order of ``GATES``. All start as U(±1/√H); ``forget_bias`` is then added to b_f.

    [greff2017] keeps the input gate and sets f = 1 − i (its CIFG, there with peepholes): the same function,
    but that gate's weights and bias change their sign when they are carried over.

    Raises :class:`ShapeError` for sizes under 1.

    >>> import torch
    >>> outputs, state = CoupledLSTM(input_size=2, hidden_size=3).scan(torch.ones(5, 4, 2))
    >>> bool((outputs[-1] == state.h).all())
    True
    """

    GATES = "f g o"

    def advance(self, x: BG, state: MemoryState) -> tuple[BH, MemoryState]:
        f, g, o = (x + linear(state.h, self.weight_h)).chunk(3, dim=-1)
        f = torch.sigmoid(f)
        c = f * state.c + (1 - f) * self.candidate(torch.tanh(g))
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, MemoryState(h, c)

    def initial_state(self, batch: int) -> MemoryState:
        return MemoryState(self.zeros(batch), self.zeros(batch))


class CappedLSTM(ForgetGated):
    """Capped input gate: a memory never takes in more than it forgets, so it stays within ±1 [melis2017].

    ::

        i = σ(W_xi x + W_hi h + b_i)
        f = σ(W_xf x + W_hf h + b_f)
        g = tanh(W_xg x + W_hg h + b_g)
        o = σ(W_xo x + W_ho h + b_o)
        c = f ⊙ c + min(1 − f, i) ⊙ g
        h = o ⊙ tanh(c)

    Shapes: x (… X), h and c (… H); ``weight_x`` (4H X), ``weight_h`` (4H H), ``bias`` (4H), blocks of rows
    in the order of ``GATES``. All start as U(±1/√H); ``forget_bias`` is then added to b_f. Where we differ:
    the order of the gates (theirs is j o f i, j our g), and the start (theirs: a truncated normal scaled by
    the size of the input, b_f = 1). Their sum over layers and state dropout are not here.

    Raises :class:`ShapeError` for sizes under 1.

    >>> import torch
    >>> _, state = CappedLSTM(input_size=2, hidden_size=3).scan(9 * torch.ones(50, 4, 2))
    >>> bool((state.c.abs() <= 1).all())
    True
    """

    GATES = "i f g o"

    def advance(self, x: BG, state: MemoryState) -> tuple[BH, MemoryState]:
        i, f, g, o = (x + linear(state.h, self.weight_h)).chunk(4, dim=-1)
        f = torch.sigmoid(f)
        c = f * state.c + torch.minimum(1 - f, torch.sigmoid(i)) * self.candidate(torch.tanh(g))
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, MemoryState(h, c)

    def initial_state(self, batch: int) -> MemoryState:
        return MemoryState(self.zeros(batch), self.zeros(batch))
