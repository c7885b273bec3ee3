"""Long short-term memory with its sums normalised over features."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from elman.axes import BG, BH, TBG, TBX
from elman.cells.cell import MemoryState
from elman.cells.packed import ForgetGated

EPSILON = 1e-5


class LayerNormLSTM(ForgetGated):
    """Layer-normalised LSTM: both products and the memory are normalised before they are used [ba2016].

    ::

        LN(a; γ) = γ ⊙ (a − mean(a)) / √(variance(a) + 1e-5)       over all features of a
        i, f, g, o = LN(W_x x; γ_x) + LN(W_h h; γ_h) + b           one LN over the 4H sums, not one per gate
        c = σ(f) ⊙ c + σ(i) ⊙ tanh(g)
        h = σ(o) ⊙ tanh(LN(c; γ_c) + b_c)

    Shapes: x (… X), h and c (… H); ``weight_x`` (4H X), ``weight_h`` (4H H), ``bias`` (4H), blocks of rows
    in the order of ``GATES``; ``gain_x`` and ``gain_h`` (4H), ``gain_c`` and ``bias_c`` (H). Gains start at
    1 and ``bias_c`` at 0, the rest as U(±1/√H); ``forget_bias`` is then added to b_f. The equations are
    those of the supplement to [ba2016]; its two further shifts of the gates are only ever added to b, so
    they are part of it here.

    Raises :class:`ShapeError` for sizes under 1.

    >>> import torch
    >>> outputs, state = LayerNormLSTM(input_size=2, hidden_size=3).scan(torch.randn(5, 4, 2))
    >>> bool((outputs[-1] == state.h).all())
    True
    """

    GATES = "i f g o"

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float = 0.0) -> None:
        super().__init__(input_size, hidden_size, forget_bias)
        self.gain_x = nn.Parameter(torch.ones(4 * hidden_size))
        self.gain_h = nn.Parameter(torch.ones(4 * hidden_size))
        self.gain_c = nn.Parameter(torch.ones(hidden_size))
        self.bias_c = nn.Parameter(torch.zeros(hidden_size))

    def adjust_start(self) -> None:
        super().adjust_start()
        with torch.no_grad():
            for gain in (self.gain_x, self.gain_h, self.gain_c):
                gain.fill_(1)
            self.bias_c.zero_()

    def project(self, x: TBX) -> TBG:
        return normalised(linear(x, self.weight_x), self.gain_x) + self.bias

    def advance(self, x: BG, state: MemoryState) -> tuple[BH, MemoryState]:
        i, f, g, o = (x + normalised(linear(state.h, self.weight_h), self.gain_h)).chunk(4, dim=-1)
        c = torch.sigmoid(f) * state.c + torch.sigmoid(i) * self.candidate(torch.tanh(g))
        h = torch.sigmoid(o) * torch.tanh(normalised(c, self.gain_c) + self.bias_c)
        return h, MemoryState(h, c)

    def initial_state(self, batch: int) -> MemoryState:
        return MemoryState(self.zeros(batch), self.zeros(batch))


def normalised(a: Tensor, gain: Tensor) -> Tensor:
    """``a`` with mean 0 and variance 1 over its last axis, times ``gain``."""
    centred = a - a.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    return gain * (centred / torch.sqrt(variance + EPSILON))
