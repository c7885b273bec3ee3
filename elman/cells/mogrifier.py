"""Long short-term memory whose input and output gate each other before they are read."""

import torch
from torch import nn
from torch.nn.functional import linear

from elman.axes import BG, BH, TBG, TBX
from elman.cells.cell import MemoryState, require_at_least
from elman.cells.packed import ForgetGated


class MogrifierLSTM(ForgetGated):
    """Mogrifier: x and h gate each other for some rounds, then an LSTM reads what became of them [melis2020].

    ::

        x⁰, h⁰ = x, h
        xᵏ = 2 σ(Q_k h) ⊙ x        in rounds k = 1, 3, 5 … by the last h
        hᵏ = 2 σ(R_k x) ⊙ h        in rounds k = 2, 4, 6 … by the last x
        i, f, g, o = W_x x + W_h h + b             of the last x and h; σ and tanh as in an LSTM
        c = σ(f) ⊙ c + σ(i) ⊙ tanh(g)
        h = σ(o) ⊙ tanh(c)

    Shapes: x (… X), h and c (… H); ``weight_x`` (4H X), ``weight_h`` (4H H), ``bias`` (4H), blocks of rows
    in the order of ``GATES``; ``weights_q`` holds one matrix (X H) per odd round, ``weights_r`` one (H X)
    per even round. ``rounds`` is 0 (an LSTM) or more. All start as U(±1/√H);
    ``forget_bias`` is then added to b_f. As x is gated by the past, nothing is projected ahead: G = X.

    Where we differ: Q and R are full matrices, where [melis2020] also factors them into two of low rank;
    their experiments cap the input gate (:class:`CappedLSTM`).

    Raises :class:`ShapeError` for sizes under 1 or a negative number of rounds.

    >>> import torch
    >>> outputs, state = MogrifierLSTM(input_size=2, hidden_size=3, rounds=4).scan(torch.ones(5, 4, 2))
    >>> bool((outputs[-1] == state.h).all())
    True
    """

    GATES = "i f g o"

    def __init__(self, input_size: int, hidden_size: int, rounds: int = 5, forget_bias: float = 0.0) -> None:
        super().__init__(input_size, hidden_size, forget_bias)
        require_at_least(0, "rounds", rounds, "MogrifierLSTM")
        self.rounds = rounds
        odd, even = (rounds + 1) // 2, rounds // 2
        self.weights_q = nn.ParameterList(self._uniform(input_size, hidden_size) for _ in range(odd))
        self.weights_r = nn.ParameterList(self._uniform(hidden_size, input_size) for _ in range(even))

    def project(self, x: TBX) -> TBG:
        return x

    def advance(self, x: BG, state: MemoryState) -> tuple[BH, MemoryState]:
        h = state.h
        for k in range(self.rounds):
            if k % 2 == 0:
                x = 2 * torch.sigmoid(linear(h, self.weights_q[k // 2])) * x
            else:
                h = 2 * torch.sigmoid(linear(x, self.weights_r[k // 2])) * h
        gates = linear(x, self.weight_x) + linear(h, self.weight_h) + self.bias
        i, f, g, o = gates.chunk(4, dim=-1)
        c = torch.sigmoid(f) * state.c + torch.sigmoid(i) * self.candidate(torch.tanh(g))
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, MemoryState(h, c)

    def initial_state(self, batch: int) -> MemoryState:
        return MemoryState(self.zeros(batch), self.zeros(batch))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, rounds={self.rounds}"
