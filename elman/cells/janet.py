"""JANET: an LSTM of which only the forget gate is left."""

import torch
from torch.nn.functional import linear

from elman.axes import BG, BH
from elman.cells.cell import HiddenState
from elman.cells.packed import ForgetGated


class JANET(ForgetGated):
    """Just another network: a forget gate alone, and the memory itself is the output [vanderwesthuizen2018].

    ::

        s = W_xf x + W_hf h + b_f
        n = tanh(W_xn x + W_hn h + b_n)             the candidate
        h = σ(s) ⊙ h + (1 − σ(s − β)) ⊙ n           memory and output are one: h = c

    Shapes: x (… X), h (… H); ``weight_x`` (2H X), ``weight_h`` (2H H), ``bias`` (2H), blocks of rows in the
    order of ``GATES``. ``beta`` lets more in than was forgotten; it is a constant, 1 as in
    [vanderwesthuizen2018] by default, and 0 couples the two gates. All start as U(±1/√H); ``forget_bias``
    is then added to b_f. Where we differ: they draw b_f by the longest time to remember, as
    log U(1, T − 1); give that with ``forget_bias``, or set ``bias``.

    Raises :class:`ShapeError` for sizes under 1.

    >>> import torch
    >>> outputs, state = JANET(input_size=2, hidden_size=3).scan(torch.ones(5, 4, 2))
    >>> bool((outputs[-1] == state.h).all())
    True
    """

    GATES = "f n"

    def __init__(
        self, input_size: int, hidden_size: int, beta: float = 1.0, forget_bias: float = 0.0
    ) -> None:
        super().__init__(input_size, hidden_size, forget_bias)
        self.beta = beta

    def advance(self, x: BG, state: HiddenState) -> tuple[BH, HiddenState]:
        s, n = (x + linear(state.h, self.weight_h)).chunk(2, dim=-1)
        h = torch.sigmoid(s) * state.h + (1 - torch.sigmoid(s - self.beta)) * self.candidate(torch.tanh(n))
        return h, HiddenState(h)

    def initial_state(self, batch: int) -> HiddenState:
        return HiddenState(self.zeros(batch))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, beta={self.beta}"
