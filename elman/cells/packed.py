"""What most cells share: one block of rows per gate in each of two weights, and a forget gate's bias."""

import torch
from torch.nn.functional import linear

from elman.axes import TBG, TBX
from elman.cells.cell import Cell


class Packed(Cell):
    """A cell each of whose gates reads x and h through a block of rows of its own.

    Shapes: ``weight_x`` (G X), ``weight_h`` (G H), ``bias`` (G); G = gates × H, blocks in the order of
    ``GATES``. All start as U(±1/√H). Subclasses write ``advance`` and ``initial_state``.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        rows = len(self.GATES.split()) * hidden_size
        self.weight_x = self._uniform(rows, input_size)
        self.weight_h = self._uniform(rows, hidden_size)
        self.bias = self._uniform(rows)

    def project(self, x: TBX) -> TBG:
        return linear(x, self.weight_x, self.bias)


class ForgetGated(Packed):
    """A packed cell with a gate f that says what is kept; ``forget_bias`` is added to the start of b_f."""

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float = 0.0) -> None:
        super().__init__(input_size, hidden_size)
        self.forget_bias = forget_bias
        self._add_forget_bias()

    def adjust_start(self) -> None:
        self._add_forget_bias()

    def _add_forget_bias(self) -> None:
        before = self.GATES.split().index("f") * self.hidden_size
        with torch.no_grad():
            self.bias[before : before + self.hidden_size] += self.forget_bias
