"""Which cells torch's own kernels run. (That they run them rightly is a law of ``tests/laws``.)"""

import pytest
import torch
from torch import Tensor

from elman.axes import BG, BH
from elman.cells import CELLS, GRU, LSTM, Elman, GRUResetBefore
from elman.cells.cell import MemoryState
from elman.fused import choose, definition


class Coupled(LSTM):
    """An LSTM with other equations: the input gate is 1 − f."""

    def advance(self, x: BG, state: MemoryState) -> tuple[BH, MemoryState]:
        _, f, g, o = (x + state.h @ self.weight_h.T).chunk(4, dim=-1)
        c = torch.sigmoid(f) * state.c + (1 - torch.sigmoid(f)) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, MemoryState(h, c)


def test_the_kernel_of_every_cell() -> None:
    found = {name: choose.kernel(kind(2, 3)) for name, kind in CELLS.items()}
    published = {"elman": "rnn tanh", "lstm": "lstm", "gru": "gru"}
    assert {name: kernel for name, kernel in found.items() if kernel} == published
    assert choose.kernel(Elman(2, 3, "relu")) == "rnn relu"
    assert choose.kernel(Elman(2, 3, "logistic")) is None
    assert choose.kernel(GRUResetBefore(2, 3)) is None


def test_a_subclass_with_other_equations_runs_by_its_own() -> None:
    cell, x = Coupled(2, 3), torch.randn(5, 4, 2)
    assert choose.kernel(cell) is None
    outputs, _ = cell.scan(x)
    defined, _ = definition.scan(cell, x, cell.initial_state(4), None)
    assert torch.equal(outputs, defined)
    as_lstm = LSTM(2, 3)
    as_lstm.load_state_dict(cell.state_dict())
    assert not torch.allclose(outputs, as_lstm.scan(x)[0], atol=1e-3)


@pytest.mark.parametrize("cell", [Elman(2, 3), LSTM(2, 3), GRU(2, 3)], ids=lambda cell: type(cell).__name__)
@pytest.mark.parametrize("lengths", [None, [5, 0, 2, 1]], ids=str)
def test_the_kernel_is_what_runs(
    cell: LSTM, lengths: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Tensor:
        raise AssertionError("the loop ran")

    monkeypatch.setattr(cell, "advance", refuse)
    cell.scan(torch.randn(5, 4, 2), None, None if lengths is None else torch.tensor(lengths))
