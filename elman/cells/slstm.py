"""Long short-term memory with an exponential input gate, a normaliser and a stabiliser."""

from typing import NamedTuple

import torch
from torch.nn.functional import linear, softplus

from elman.axes import BG, BH
from elman.cells.packed import ForgetGated


class StabilisedState(NamedTuple):
    """Output ``h``; memory ``c`` and normaliser ``n``, both divided by exp(m); stabiliser ``m``."""

    h: BH
    c: BH
    n: BH
    m: BH


class SLSTM(ForgetGated):
    """sLSTM of one head: an exponential input gate may outweigh all that was stored before [beck2024].

    ::

        i = exp(W_xi x + W_hi h + b_i)
        f = σ(W_xf x + W_hf h + b_f)
        z = tanh(W_xz x + W_hz h + b_z)         the candidate
        o = σ(W_xo x + W_ho h + b_o)
        m = max(log f + m, log i)               the stabiliser: neither exponential below can overflow
        c = f′ ⊙ c + i′ ⊙ z                     f′ = exp(log f + m_before − m),  i′ = exp(log i − m)
        n = f′ ⊙ n + i′                         the normaliser, the sum of the weights in c
        h = o ⊙ c / n

    Shapes: x (… X), h, c, n and m (… H); ``weight_x`` (4H X), ``weight_h`` (4H H), ``bias`` (4H), blocks of
    rows in the order of ``GATES``. All start as U(±1/√H); ``forget_bias`` is then added to b_f. States c and
    n stand for c·exp(m) and n·exp(m), so m changes no output. From the start n is 0 and m as low as the
    number format allows: the first step then sets m = log i, as the authors' code does; n stays 1 or more.

    Where we differ from [beck2024], section 2.2: f is the logistic of its two choices; one head, whose
    recurrent weights are one full matrix per gate; no convolution or normalisation around the cell.

    Raises :class:`ShapeError` for sizes under 1.

    >>> import torch
    >>> outputs, state = SLSTM(input_size=2, hidden_size=3).scan(2000 * torch.ones(5, 4, 2))
    >>> bool((outputs.abs() <= 1).all())
    True
    """

    GATES = "i f z o"
    TOGETHER = ("c", "n", "m")

    def advance(self, x: BG, state: StabilisedState) -> tuple[BH, StabilisedState]:
        log_i, f, z, o = (x + linear(state.h, self.weight_h)).chunk(4, dim=-1)
        log_f = -softplus(-f)
        kept = log_f + state.m
        m = torch.maximum(kept, log_i)
        i = torch.exp(log_i - m)
        f = torch.exp(kept - m)
        c = f * state.c + i * self.candidate(torch.tanh(z))
        n = f * state.n + i
        h = torch.sigmoid(o) * c / n
        return h, StabilisedState(h, c, n, m)

    def initial_state(self, batch: int) -> StabilisedState:
        lowest = torch.finfo(self.bias.dtype).min / 2  # not −∞, which a mask of zeros would turn into NaN
        m = self.zeros(batch).fill_(lowest)
        return StabilisedState(self.zeros(batch), self.zeros(batch), self.zeros(batch), m)
