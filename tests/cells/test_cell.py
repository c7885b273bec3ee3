"""What a cell starts as, and what it says to input that does not fit."""

import pytest
import torch

from elman.cells import (
    CELLS,
    GRU,
    LSTM,
    MUT1,
    MUT2,
    RHN,
    SLSTM,
    Cell,
    Elman,
    ForgetGated,
    IndRNN,
    LayerNormLSTM,
    LSTMWithForgetBias,
    MogrifierLSTM,
    ProjectedLSTM,
)
from elman.cells.cell import HiddenState
from elman.errors import OptionError, ShapeError

FORGET_GATED = [name for name, kind in CELLS.items() if issubclass(kind, ForgetGated)]
# For X = 5, H = 4: the tensors beside, or in the place of, the three that GATES counts the rows of.
OTHERWISE: dict[str, dict[str, tuple[int, ...] | None]] = {
    "gru": {"bias_h": (4,)},
    "peephole": {"weight_c": (12,)},
    "peephole-full": {"weight_c": (12, 4)},
    "lstmp": {"weight_h": (16, 1), "weight_p": (1, 4)},
    "layer-norm": {"gain_x": (16,), "gain_h": (16,), "gain_c": (4,), "bias_c": (4,)},
    "mogrifier": {
        **{f"weights_q.{k}": (5, 4) for k in range(3)},
        **{f"weights_r.{k}": (4, 5) for k in range(2)},
    },
    "mut1": {"weight_h": (8, 4)},
    "indrnn": {"weight_h": (4,)},
    "mingru": {"weight_h": None},
    "minlstm": {"weight_h": None},
    "rhn": {"weight_h": (24, 4), "bias": (24,)},
    "nas": {"bias": None},
}
# What starts otherwise than uniform within 1/√H, by name of the cell.
ITS_OWN_START = {
    "lstm-b": {"bias"},
    "layer-norm": {"gain_x", "gain_h", "gain_c", "bias_c"},
    "indrnn": {"weight_h"},
    "rhn": {"bias"},
}


def made(name: str, input_size: int, hidden_size: int) -> Cell:
    if name in ("mut1", "mut2"):
        return {"mut1": MUT1, "mut2": MUT2}[name](input_size, hidden_size, projected=True)
    return CELLS[name](input_size, hidden_size)


@pytest.mark.parametrize("name", CELLS)
def test_tensors_start_uniform_within_one_over_root_h(name: str) -> None:
    for key, parameter in made(name, 5, 64).named_parameters():
        if key not in ITS_OWN_START.get(name, ()):
            nearly = 0.115 if parameter.numel() > 300 else 0.09
            assert nearly < parameter.max() <= 0.125
            assert -nearly > parameter.min() >= -0.125


def test_what_starts_otherwise() -> None:
    torch.testing.assert_close(LSTMWithForgetBias(5, 64).bias[64:128].mean().item(), 1.0, atol=0.05, rtol=0)
    depth = RHN(5, 64, depth=2, transform_bias=-3.0).bias.view(2, 2, 64)
    torch.testing.assert_close(depth.mean(-1).round(), torch.tensor([[0.0, -3.0], [0.0, -3.0]]))
    weight = IndRNN(5, 64).weight_h
    assert 0 <= weight.min() < 0.1
    assert 0.9 < weight.max() <= 1
    cell = LayerNormLSTM(5, 64)
    assert all((gain == 1).all() for gain in (cell.gain_x, cell.gain_h, cell.gain_c))
    assert (cell.bias_c == 0).all()


@pytest.mark.parametrize("name", CELLS)
def test_adjusting_a_start_again_after_drawing_again(name: str) -> None:
    """A model that draws every tensor anew gets back what the cell's start asks for."""
    cell = made(name, 5, 64)
    for parameter in cell.parameters():
        torch.nn.init.uniform_(parameter, -1e-3, 1e-3)
    cell.adjust_start()
    moved = {key for key, parameter in cell.named_parameters() if parameter.abs().max() > 1e-3}
    assert moved == ITS_OWN_START.get(name, set()) - {"bias_c"}


@pytest.mark.parametrize("name", CELLS)
def test_packed_weights_have_the_rows_that_gates_names(name: str) -> None:
    rows = 4 * len(CELLS[name].GATES.split())
    expected = {"weight_x": (rows, 5), "weight_h": (rows, 4), "bias": (rows,), **OTHERWISE.get(name, {})}
    assert {key: tuple(p.shape) for key, p in made(name, 5, 4).named_parameters()} == {
        key: shape for key, shape in expected.items() if shape is not None
    }


@pytest.mark.parametrize("name", FORGET_GATED)
def test_every_forget_gate_takes_a_bias(name: str) -> None:
    kind = CELLS[name]
    assert issubclass(kind, ForgetGated)
    torch.manual_seed(3)
    plain = kind(2, 3, forget_bias=0.0)
    torch.manual_seed(3)
    lasting = kind(2, 3, forget_bias=1.25)
    added = (lasting.bias - plain.bias).view(-1, 3).round(decimals=5).tolist()
    assert added == [[1.25 * (gate == "f")] * 3 for gate in kind.GATES.split()]


def test_the_initial_state_is_zero_on_the_parameters_dtype() -> None:
    state = LSTM(2, 3).double().initial_state(4)
    assert state._fields == ("h", "c")
    assert torch.equal(state.h, torch.zeros(4, 3, dtype=torch.float64))
    assert torch.equal(state.c, state.h)


def test_the_first_step_of_an_slstm_forgets_what_it_started_from() -> None:
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        state = SLSTM(2, 3).to(dtype).initial_state(4)
        assert state.m.dtype == dtype
        assert (torch.exp(state.m) == 0).all()
        assert ((2 * state.m).isinf() | (2 * state.m <= torch.finfo(dtype).min)).all()
        assert not (0 * state.m).isnan().any()


def test_an_output_smaller_than_the_memory() -> None:
    cell = ProjectedLSTM(5, 9)
    assert (cell.hidden_size, cell.output_size) == (9, 3)
    state = cell.initial_state(2)
    assert (tuple(state.r.shape), tuple(state.c.shape)) == ((2, 3), (2, 9))
    assert repr(ProjectedLSTM(5, 8, 6)) == "ProjectedLSTM(input_size=5, hidden_size=8, projection_size=6)"


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


@pytest.mark.parametrize("kind", [MUT1, MUT2])
def test_a_literal_input_of_another_size(kind: type[MUT1] | type[MUT2]) -> None:
    with pytest.raises(ShapeError) as error:
        kind(200, 650)
    name = kind.__name__
    assert str(error.value) == (
        f"{name}(input_size=200, hidden_size=650) was asked for.\n"
        "  Its equations add x (200 features) to h (650 features) as it is.\n"
        f"  Give both one size, or say {name}(…, projected=True), which learns a map of x."
    )


def test_a_depth_or_a_number_below_the_least() -> None:
    with pytest.raises(ShapeError) as error:
        RHN(4, 3, depth=0)
    assert str(error.value) == ("RHN(depth=0) was asked for.\n  depth is 0.\n  Give a whole number from 1.")
    with pytest.raises(ShapeError, match=r"rounds is -1\.\n  Give a whole number from 0\."):
        MogrifierLSTM(4, 3, rounds=-1)
    with pytest.raises(ShapeError, match=r"projection_size is 0\."):
        ProjectedLSTM(4, 3, projection_size=0)


def test_a_mogrifier_of_no_rounds_is_an_lstm() -> None:
    cell, plain = MogrifierLSTM(4, 3, rounds=0), LSTM(4, 3)
    plain.load_state_dict(cell.state_dict())
    x = torch.randn(5, 2, 4)
    torch.testing.assert_close(cell.scan(x)[0], plain.scan(x)[0])


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


def test_lengths_that_are_no_tensor() -> None:
    with pytest.raises(ShapeError) as error:
        LSTM(3, 2).scan(torch.zeros(5, 2, 3), None, [5, 1])  # type: ignore[arg-type]
    assert str(error.value) == (
        "A scan over 5×2×3 (T B X) was given lengths.\n"
        "  lengths is a list; it must be a tensor of 2 int64 numbers.\n"
        "  Write torch.tensor(lengths)."
    )


@pytest.mark.parametrize("way", ["scan", "scan_reversed", "step"])
def test_input_of_another_type(way: str) -> None:
    cell = LSTM(3, 2)
    given = (torch.ones(2, 3), cell.initial_state(2)) if way == "step" else (torch.ones(5, 2, 3),)
    for kind, came, do in (
        (torch.float64, "float64", "Convert one: x.to(torch.float32), or cell.to(x.dtype)."),
        (torch.int64, "int64", "Token ids are looked up first: in an Embedding, or a OneHot."),
    ):
        with pytest.raises(ShapeError) as error:
            getattr(cell, way)(given[0].to(kind), *given[1:])
        assert str(error.value) == (
            f"LSTM(input_size=3, hidden_size=2) was given an input of {came}.\n"
            f"  Its parameters are float32.\n  {do}"
        )


def test_input_of_another_type_that_a_cell_converts() -> None:
    class Converting(Elman):
        def project(self, x: torch.Tensor) -> torch.Tensor:
            return super().project(x.float())

    cell, x = Converting(3, 2), torch.randn(5, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(cell.scan(x)[0], cell.scan(x.float())[0])


def test_input_that_is_no_tensor() -> None:
    with pytest.raises(ShapeError) as error:
        Elman(3, 2).scan([[[1.0, 2.0, 3.0]]])  # type: ignore[arg-type]
    assert str(error.value) == (
        "Elman(input_size=3, hidden_size=2, nonlinearity='tanh') was given an input.\n"
        "  x is a list; it must be a tensor, T B X.\n"
        "  Sequences are T B X (time first); a single step is B X."
    )


@pytest.mark.parametrize("reverse", [False, True])
def test_every_cell_refuses_the_state_of_another_batch(reverse: bool) -> None:
    seen = 0
    for name in CELLS:
        cell = made(name, 5, 4)
        for rows in (1, 2, 4):
            scan = cell.scan_reversed if reverse else cell.scan
            with pytest.raises(ShapeError, match=r"was given a state for a batch of 3\."):
                scan(torch.randn(7, 3, 5), cell.initial_state(rows))
            seen += 1
    assert seen == 3 * 28


@pytest.mark.parametrize("way", ["scan", "step"])
def test_the_state_of_another_cell(way: str) -> None:
    cell, x = LSTM(3, 2), torch.randn(5, 4, 3)
    given = (x[0] if way == "step" else x, HiddenState(torch.zeros(4, 2)))
    with pytest.raises(ShapeError) as error:
        getattr(cell, way)(*given)
    assert str(error.value) == (
        "LSTM(input_size=3, hidden_size=2) was given a state for a batch of 4.\n"
        "  It has state.h 4×2; it must have state.h 4×2, state.c 4×2.\n"
        "  Give one as this cell's initial_state(4) and scan return it."
    )


def test_what_a_step_itself_raises_is_not_hidden() -> None:
    class Broken(Elman):
        def advance(self, *_: object) -> tuple[torch.Tensor, HiddenState]:
            raise KeyError("a mistake of its own")

    cell = Broken(3, 2)
    with pytest.raises(KeyError, match="a mistake of its own"):
        cell.step(torch.zeros(4, 3), cell.initial_state(4))
