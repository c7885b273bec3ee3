"""The simple recurrent network, which gave this library its name."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import linear

from elman.axes import BG, BH
from elman.cells.cell import HiddenState
from elman.cells.packed import Packed
from elman.errors import OptionError

NONLINEARITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "logistic": torch.sigmoid,
}


class Elman(Packed):
    """Elman's simple recurrent network: the hidden layer reads the input and its own last value [elman1990].

    ::

        h = φ(W_x x + W_h h + b)          φ: tanh, ReLU, or the logistic function

    Shapes: x (… X), h (… H); ``weight_x`` (H X), ``weight_h`` (H H), ``bias`` (H).
    All start as U(±1/√H), as ``torch.nn.RNN``'s do. Where we differ: Elman used the logistic function;
    the default here is today's tanh. The layer that reads h out is not here (see ``elman.layers``).

    Raises :class:`OptionError` for an unknown nonlinearity, :class:`ShapeError` for sizes under 1.

    >>> import torch
    >>> cell = Elman(input_size=2, hidden_size=3, nonlinearity="relu")
    >>> outputs, state = cell.scan(torch.ones(5, 4, 2))
    >>> bool((outputs[-1] == state.h).all())
    True
    """

    GATES = "h"
    TORCH_KERNEL = "rnn"

    def __init__(self, input_size: int, hidden_size: int, nonlinearity: str = "tanh") -> None:
        super().__init__(input_size, hidden_size)
        if nonlinearity not in NONLINEARITIES:
            raise OptionError(
                f"Elman(nonlinearity={nonlinearity!r}) was asked for.",
                f"{nonlinearity!r} is not a nonlinearity of this cell.",
                f"Choose one of {', '.join(NONLINEARITIES)}.",
            )
        self.nonlinearity = nonlinearity

    def advance(self, x: BG, state: HiddenState) -> tuple[BH, HiddenState]:
        h = NONLINEARITIES[self.nonlinearity](x + linear(state.h, self.weight_h))
        return h, HiddenState(h)

    def initial_state(self, batch: int) -> HiddenState:
        return HiddenState(self.zeros(batch))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, nonlinearity={self.nonlinearity!r}"
