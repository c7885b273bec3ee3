"""The independently recurrent network."""

import torch
from torch.nn.functional import linear

from elman.axes import BG, BH, TBG, TBX
from elman.cells.cell import Cell, HiddenState


class IndRNN(Cell):
    """Independently recurrent network: a feature remembers only itself, by a weight of its own [li2018].

    ::

        h = ReLU(W x + u ⊙ h + b)

    Shapes: x (… X), h (… H); ``weight_x`` (H X), ``weight_h`` (H), which is u, and ``bias`` (H).
    ``weight_x`` and ``bias`` start as U(±1/√H), u as U(0, 1): each feature with its own length of memory.
    Where we differ: [li2018] also keeps |u| within the T-th root of a bound, for sequences of T steps; that
    is the training's, not the cell's. A feature sees others only through further layers: stack two or more.

    Raises :class:`ShapeError` for sizes under 1.

    >>> import torch
    >>> outputs, state = IndRNN(input_size=2, hidden_size=3).scan(torch.ones(5, 4, 2))
    >>> bool((outputs >= 0).all())
    True
    """

    GATES = "h"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_x = self._uniform(hidden_size, input_size)
        self.weight_h = self._uniform(hidden_size)
        self.bias = self._uniform(hidden_size)
        self.adjust_start()

    def adjust_start(self) -> None:
        with torch.no_grad():
            self.weight_h.uniform_(0, 1)

    def project(self, x: TBX) -> TBG:
        return linear(x, self.weight_x, self.bias)

    def advance(self, x: BG, state: HiddenState) -> tuple[BH, HiddenState]:
        h = torch.relu(x + self.weight_h * state.h)
        return h, HiddenState(h)

    def initial_state(self, batch: int) -> HiddenState:
        return HiddenState(self.zeros(batch))
