"""What a cell starts as, and what it says to input that does not fit."""

import pytest
import torch

from elman.cells import CELLS, GRU, LSTM, Cell, Elman
from elman.errors import OptionError, ShapeError


@pytest.mark.parametrize("kind", CELLS.values(), ids=CELLS.keys())
def test_tensors_start_uniform_within_one_over_root_h(kind: type[Cell]) -> None:
    cell = kind(5, 64)
    for parameter in cell.parameters():
        assert 0.115 < parameter.max() <= 0.125
        assert -0.115 > parameter.min() >= -0.125


@pytest.mark.parametrize("kind", CELLS.values(), ids=CELLS.keys())
def test_packed_weights_have_the_rows_that_gates_names(kind: type[Cell]) -> None:
    cell = kind(5, 4)
    rows = 4 * len(kind.GATES.split())
    assert {name: tuple(p.shape) for name, p in cell.named_parameters() if name != "bias_h"} == {
        "weight_x": (rows, 5),
        "weight_h": (rows, 4),
        "bias": (rows,),
    }


def test_the_initial_state_is_zero_on_the_parameters_dtype() -> None:
    state = LSTM(2, 3).double().initial_state(4)
    assert state._fields == ("h", "c")
    assert torch.equal(state.h, torch.zeros(4, 3, dtype=torch.float64))
    assert torch.equal(state.c, state.h)


def test_forget_bias_is_added_to_the_forget_gate_alone() -> None:
    torch.manual_seed(3)
    plain = LSTM(2, 3)
    torch.manual_seed(3)
    lasting = LSTM(2, 3, forget_bias=1.25)
    added = lasting.bias - plain.bias
    torch.testing.assert_close(added, torch.tensor([0.0] * 3 + [1.25] * 3 + [0.0] * 6))


def test_a_memory_with_open_forget_gate_and_shut_input_gate_lasts() -> None:
    cell = LSTM(1, 2)
    with torch.no_grad():
        cell.bias.copy_(torch.tensor([-50.0, -50, 50, 50, 0, 0, 0, 0]))
    state = cell.initial_state(1)._replace(c=torch.tensor([[0.5, -2.0]]))
    _, last = cell.scan(torch.randn(30, 1, 1), state)
    torch.testing.assert_close(last.c, state.c)


def test_unknown_nonlinearity() -> None:
    with pytest.raises(OptionError) as error:
        Elman(2, 3, "swish")
    assert str(error.value) == (
        "Elman(nonlinearity='swish') was asked for.\n"
        "  'swish' is not a nonlinearity of this cell.\n"
        "  Choose one of tanh, relu, logistic."
    )


def test_size_below_one() -> None:
    with pytest.raises(ShapeError) as error:
        GRU(4, 0)
    assert str(error.value) == (
        "GRU(input_size=4, hidden_size=0) was asked for.\n"
        "  hidden_size is 0.\n"
        "  Sizes are whole numbers from 1."
    )


def test_input_of_other_features() -> None:
    with pytest.raises(ShapeError) as error:
        LSTM(650, 650).scan(torch.zeros(35, 20, 300))
    assert str(error.value) == (
        "LSTM(input_size=650, hidden_size=650) was given an input of 35×20×300.\n"
        "  x is 35×20×300 (T B X); X must be 650.\n"
        "  Sequences are T B X (time first); a single step is B X."
    )


def test_a_single_step_given_a_sequence() -> None:
    cell = Elman(3, 2)
    with pytest.raises(ShapeError, match=r"3 axes; it must have the 2 axes B X, where X must be 3\."):
        cell.step(torch.zeros(5, 4, 3), cell.initial_state(4))


@pytest.mark.parametrize(
    "lengths",
    [torch.tensor([6, 1]), torch.tensor([-1, 1]), torch.tensor([1]), torch.tensor([1.0, 2.0])],
    ids=str,
)
def test_lengths_that_do_not_fit(lengths: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match="it must be 2 int64 numbers from 0 to 5"):
        LSTM(3, 2).scan(torch.zeros(5, 2, 3), None, lengths)
