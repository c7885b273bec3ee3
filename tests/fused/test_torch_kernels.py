"""Which cells torch's own kernels run, and that they compute what the definition says."""

import pytest
import torch
from torch import Tensor, nn

from elman import states
from elman.axes import BG, BH
from elman.cells import CELLS, GRU, LSTM, Elman, GRUResetBefore
from elman.cells.cell import MemoryState
from elman.errors import ShapeError
from elman.fused import definition, torch_kernels


class Coupled(LSTM):
    """An LSTM with other equations: the input gate is 1 − f."""

    def advance(self, x: BG, state: MemoryState) -> tuple[BH, MemoryState]:
        _, f, g, o = (x + state.h @ self.weight_h.T).chunk(4, dim=-1)
        c = torch.sigmoid(f) * state.c + (1 - torch.sigmoid(f)) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, MemoryState(h, c)


def test_the_kernel_of_every_cell() -> None:
    found = {name: torch_kernels.kernel(kind(3, 3)) for name, kind in CELLS.items()}
    published = {"elman": "rnn tanh", "lstm": "lstm", "lstm-b": "lstm", "gru": "gru"}
    assert {name: kernel for name, kernel in found.items() if kernel} == published
    assert torch_kernels.kernel(Elman(2, 3, "relu")) == "rnn relu"
    assert torch_kernels.kernel(Elman(2, 3, "logistic")) is None
    assert torch_kernels.kernel(GRUResetBefore(2, 3)) is None


KERNELS = {
    "lstm": lambda: LSTM(5, 7),
    "gru": lambda: GRU(5, 7),
    "elman tanh": lambda: Elman(5, 7),
    "elman relu": lambda: Elman(5, 7, "relu"),
}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, [6, 0, 1, 4]], ids=["whole", "ragged"])
@pytest.mark.parametrize("name", KERNELS)
def test_values_and_gradients_are_those_of_the_definition(
    name: str, lengths: list[int] | None, reverse: bool
) -> None:
    cell = KERNELS[name]().double()
    ends = None if lengths is None else torch.tensor(lengths)
    found = []
    for scan in (torch_kernels.scan, definition.scan):
        torch.manual_seed(7)
        x = torch.randn(6, 4, 5, dtype=torch.float64, requires_grad=True)
        state = states.transform(lambda leaf: torch.randn_like(leaf).requires_grad_(), cell.initial_state(4))
        outputs, last = scan(cell, x, state, ends, reverse=reverse)
        leaves = [leaf for _, leaf in states.leaves(state)]
        ended = [leaf for _, leaf in states.leaves(last)]
        weighed = sum((part * torch.randn_like(part)).sum() for part in [outputs, *ended])
        gradients = torch.autograd.grad(weighed, [x, *leaves, *cell.parameters()])
        found.append([outputs, *ended, *gradients])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_a_subclass_with_other_equations_runs_by_its_own() -> None:
    cell, x = Coupled(2, 3), torch.randn(5, 4, 2)
    assert torch_kernels.kernel(cell) is None
    outputs, _ = torch_kernels.scan(cell, x, cell.initial_state(4), None)
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


@pytest.mark.parametrize("kind", [Elman, LSTM, GRU])
@pytest.mark.parametrize("name", ["weight_h", "bias"])
def test_a_weight_cut_by_hand_never_reaches_the_kernel(kind: type[LSTM], name: str) -> None:
    cell = kind(2, 3)
    setattr(cell, name, nn.Parameter(getattr(cell, name).detach()[:2].clone()))
    with pytest.raises((RuntimeError, ValueError), match=r"must match|shapes cannot|values to unpack"):
        cell.scan(torch.randn(5, 4, 2))


def test_another_precision_is_not_the_kernels() -> None:
    with pytest.raises(ShapeError, match=r"was given an input of float32\.\n  Its parameters are float64\."):
        LSTM(2, 3).double().scan(torch.randn(5, 4, 2))
