"""Long short-term memory whose gates see the memory: through one weight per feature, or through matrices."""

import torch
from torch.nn.functional import linear

from elman.axes import BG, BH
from elman.cells.cell import MemoryState
from elman.cells.packed import ForgetGated


class PeepholeLSTM(ForgetGated):
    """Peepholes: each gate also sees its own feature of the memory, the output gate the new one [gers2000b].

    ::

        i = σ(W_xi x + W_hi h + p_i ⊙ c + b_i)
        f = σ(W_xf x + W_hf h + p_f ⊙ c + b_f)
        g = tanh(W_xg x + W_hg h + b_g)
        c = f ⊙ c + i ⊙ g
        o = σ(W_xo x + W_ho h + p_o ⊙ c + b_o)      this c is the new one
        h = o ⊙ tanh(c)

    Shapes: x (… X), h and c (… H); ``weight_x`` (4H X), ``weight_h`` (4H H), ``bias`` (4H), blocks of rows
    in the order of ``GATES``; ``weight_c`` (3H) is p_i, p_f, p_o. All start as U(±1/√H); ``forget_bias`` is
    then added to b_f. These are the equations (7) to (11) of [graves2013]. Where we differ from
    [gers2000b]: gradients flow through the peepholes too.

    Raises :class:`ShapeError` for sizes under 1.

    >>> import torch
    >>> outputs, state = PeepholeLSTM(input_size=2, hidden_size=3).scan(torch.ones(5, 4, 2))
    >>> bool((outputs[-1] == state.h).all())
    True
    """

    GATES = "i f g o"

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float = 0.0) -> None:
        super().__init__(input_size, hidden_size, forget_bias)
        self.weight_c = self._uniform(3 * hidden_size)

    def advance(self, x: BG, state: MemoryState) -> tuple[BH, MemoryState]:
        i, f, g, o = (x + linear(state.h, self.weight_h)).chunk(4, dim=-1)
        p_i, p_f, p_o = self.weight_c.chunk(3)
        i = torch.sigmoid(i + p_i * state.c)
        f = torch.sigmoid(f + p_f * state.c)
        c = f * state.c + i * self.candidate(torch.tanh(g))
        o = torch.sigmoid(o + p_o * c)
        h = o * torch.tanh(c)
        return h, MemoryState(h, c)

    def initial_state(self, batch: int) -> MemoryState:
        return MemoryState(self.zeros(batch), self.zeros(batch))


class FullPeepholeLSTM(ForgetGated):
    """Full peepholes, gates over [x, h, c]: each sees all of the memory, the output gate the new one.

    ::

        i = σ(W_xi x + W_hi h + W_ci c + b_i)
        f = σ(W_xf x + W_hf h + W_cf c + b_f)
        g = tanh(W_xg x + W_hg h + b_g)
        c = f ⊙ c + i ⊙ g
        o = σ(W_xo x + W_ho h + W_co c + b_o)       this c is the new one
        h = o ⊙ tanh(c)

    Shapes: x (… X), h and c (… H); ``weight_x`` (4H X), ``weight_h`` (4H H), ``bias`` (4H), blocks of rows
    in the order of ``GATES``; ``weight_c`` (3H H) holds the rows of W_ci, W_cf, W_co. All start as U(±1/√H);
    ``forget_bias`` is then added to b_f. This is how lectures write peepholes; in [gers2000b] and in other
    libraries the three matrices are diagonal (:class:`PeepholeLSTM`).

    Raises :class:`ShapeError` for sizes under 1.

    >>> import torch
    >>> outputs, state = FullPeepholeLSTM(input_size=2, hidden_size=3).scan(torch.ones(5, 4, 2))
    >>> bool((outputs[-1] == state.h).all())
    True
    """

    GATES = "i f g o"

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float = 0.0) -> None:
        super().__init__(input_size, hidden_size, forget_bias)
        self.weight_c = self._uniform(3 * hidden_size, hidden_size)

    def advance(self, x: BG, state: MemoryState) -> tuple[BH, MemoryState]:
        before, after = self.weight_c.split([2 * self.hidden_size, self.hidden_size])
        i, f, g, o = (x + linear(state.h, self.weight_h)).chunk(4, dim=-1)
        c_i, c_f = linear(state.c, before).chunk(2, dim=-1)
        c = torch.sigmoid(f + c_f) * state.c + torch.sigmoid(i + c_i) * self.candidate(torch.tanh(g))
        o = torch.sigmoid(o + linear(c, after))
        h = o * torch.tanh(c)
        return h, MemoryState(h, c)

    def initial_state(self, batch: int) -> MemoryState:
        return MemoryState(self.zeros(batch), self.zeros(batch))
