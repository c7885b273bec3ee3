"""Gates that read no past, so that what is left of the recurrence is linear: minGRU and minLSTM."""

import torch
from torch.nn.functional import linear, softplus

from elman.axes import BG, BH, TBG, TBX
from elman.cells.cell import Cell, HiddenState


class MinGRU(Cell):
    """minGRU: gate and candidate read x alone; the past is only kept or replaced [feng2024].

    ::

        z = σ(W_z x + b_z)
        n = W_n x + b_n                     the candidate, without a nonlinearity
        h = (1 − z) ⊙ h + z ⊙ n

    Shapes: x (… X), h (… H); ``weight_x`` (2H X), ``bias`` (2H), blocks of rows in the order of ``GATES``;
    there is no ``weight_h``. All start as U(±1/√H). As nothing but the last line needs the past, ``project``
    gives 1 − z and z ⊙ n (G = 2H). z weighs the *candidate*, the opposite of :class:`GRU`. Where we differ:
    the variant of [feng2024] in log space, which keeps n positive, and its parallel scan are not here.

    Raises :class:`ShapeError` for sizes under 1.

    >>> import torch
    >>> outputs, state = MinGRU(input_size=2, hidden_size=3).scan(torch.ones(5, 4, 2))
    >>> bool((outputs[-1] == state.h).all())
    True
    """

    GATES = "z n"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_x = self._uniform(2 * hidden_size, input_size)
        self.bias = self._uniform(2 * hidden_size)

    def project(self, x: TBX) -> TBG:
        z, n = linear(x, self.weight_x, self.bias).chunk(2, dim=-1)
        z = torch.sigmoid(z)
        return torch.cat([1 - z, z * n], dim=-1)

    def advance(self, x: BG, state: HiddenState) -> tuple[BH, HiddenState]:
        kept, new = x.chunk(2, dim=-1)
        h = kept * state.h + self.candidate(new)
        return h, HiddenState(h)

    def initial_state(self, batch: int) -> HiddenState:
        return HiddenState(self.zeros(batch))


class MinLSTM(Cell):
    """minLSTM: forget and input gate read x alone and are shares of their sum [feng2024].

    ::

        f = σ(W_f x + b_f)
        i = σ(W_i x + b_i)
        n = W_n x + b_n                     the candidate, without a nonlinearity
        h = f / (f + i) ⊙ h + i / (f + i) ⊙ n

    Shapes: x (… X), h (… H); ``weight_x`` (3H X), ``bias`` (3H), blocks of rows in the order of ``GATES``;
    there is no ``weight_h``. All start as U(±1/√H). As nothing but the last line needs the past, ``project``
    gives both terms of it (G = 2H), the share of f as σ(log f − log i), which no two shut gates turn into
    0 / 0. Where we differ: the variant of [feng2024] in log space, which keeps n positive, and its parallel
    scan are not here.

    Raises :class:`ShapeError` for sizes under 1.

    >>> import torch
    >>> outputs, state = MinLSTM(input_size=2, hidden_size=3).scan(torch.ones(5, 4, 2))
    >>> bool((outputs[-1] == state.h).all())
    True
    """

    GATES = "f i n"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_x = self._uniform(3 * hidden_size, input_size)
        self.bias = self._uniform(3 * hidden_size)

    def project(self, x: TBX) -> TBG:
        f, i, n = linear(x, self.weight_x, self.bias).chunk(3, dim=-1)
        kept = torch.sigmoid(softplus(-i) - softplus(-f))
        return torch.cat([kept, (1 - kept) * n], dim=-1)

    def advance(self, x: BG, state: HiddenState) -> tuple[BH, HiddenState]:
        kept, new = x.chunk(2, dim=-1)
        h = kept * state.h + self.candidate(new)
        return h, HiddenState(h)

    def initial_state(self, batch: int) -> HiddenState:
        return HiddenState(self.zeros(batch))
