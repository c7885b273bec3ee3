"""The cell that a search over architectures found."""

import torch
from torch.nn.functional import linear

from elman.axes import BG, BH, TBG, TBX
from elman.cells.cell import Cell, MemoryState


class NAS(Cell):
    """The cell that neural architecture search found on the Penn Treebank [zoph2016].

    ::

        a_k = W_k x,  b_k = U_k h                                  k = 0 … 7
        l_0 = σ(a_0 + b_0)       l_1 = ReLU(a_1 + b_1)     l_2 = σ(a_2 + b_2)       l_3 = ReLU(a_3 ⊙ b_3)
        l_4 = tanh(a_4 + b_4)    l_5 = σ(a_5 + b_5)        l_6 = tanh(a_6 + b_6)    l_7 = σ(a_7 + b_7)
        m_0 = tanh(l_0 ⊙ l_1)    m_1 = tanh(l_2 + l_3)     m_2 = tanh(l_4 ⊙ l_5)    m_3 = σ(l_6 + l_7)
        c = tanh(m_0 + c) ⊙ m_1
        h = tanh(c ⊙ tanh(m_2 + m_3))

    Shapes: x (… X), h and c (… H); ``weight_x`` (8H X) and ``weight_h`` (8H H), blocks of rows in the order
    of ``GATES``; no biases. All start as U(±1/√H). [zoph2016] draws the cell; these are the equations of the
    code of [melis2017], whose eight blocks stand in the same order.

    Raises :class:`ShapeError` for sizes under 1.

    >>> import torch
    >>> outputs, state = NAS(input_size=2, hidden_size=3).scan(torch.ones(5, 4, 2))
    >>> bool((outputs[-1] == state.h).all())
    True
    """

    GATES = "l0 l1 l2 l3 l4 l5 l6 l7"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_x = self._uniform(8 * hidden_size, input_size)
        self.weight_h = self._uniform(8 * hidden_size, hidden_size)

    def project(self, x: TBX) -> TBG:
        return linear(x, self.weight_x)

    def advance(self, x: BG, state: MemoryState) -> tuple[BH, MemoryState]:
        a0, a1, a2, a3, a4, a5, a6, a7 = x.chunk(8, dim=-1)
        b0, b1, b2, b3, b4, b5, b6, b7 = linear(state.h, self.weight_h).chunk(8, dim=-1)
        m0 = torch.tanh(torch.sigmoid(a0 + b0) * torch.relu(a1 + b1))
        m1 = torch.tanh(torch.sigmoid(a2 + b2) + torch.relu(a3 * b3))
        m2 = torch.tanh(torch.tanh(a4 + b4) * torch.sigmoid(a5 + b5))
        m3 = torch.sigmoid(torch.tanh(a6 + b6) + torch.sigmoid(a7 + b7))
        c = torch.tanh(self.candidate(m0) + state.c) * m1
        h = torch.tanh(c * torch.tanh(m2 + m3))
        return h, MemoryState(h, c)

    def initial_state(self, batch: int) -> MemoryState:
        return MemoryState(self.zeros(batch), self.zeros(batch))
