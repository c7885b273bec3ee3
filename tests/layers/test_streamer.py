"""A Streamer beside ``step`` and ``scan`` of what it streams, and beside weights rounded by hand."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elman import states
from elman.cells import CELLS, GRU, LSTM, MUT1, MUT2, Elman, LayerNormLSTM, MogrifierLSTM, PeepholeLSTM
from elman.cells.cell import Cell, HiddenState, Recurrence
from elman.cells.stored import StoredCell, describe
from elman.errors import OptionError, ShapeError
from elman.fused import library
from elman.layers import Bidirectional, Stack, Streamer
from tests.fused.running import compiled_here, poisoned  # noqa: F401

pytestmark = pytest.mark.usefixtures("poisoned")

Make = Callable[[int, int], Recurrence]


def stored(inputs: int, hidden: int) -> Recurrence:
    cell = GRU(inputs, hidden)
    again = StoredCell(describe(cell))
    again.load_state_dict(cell.state_dict())
    return again


MADE: dict[str, Make] = {
    **CELLS,
    "mut1": lambda x, h: MUT1(x, h, projected=True),
    "mut2": lambda x, h: MUT2(x, h, projected=True),
    "stack": lambda x, h: Stack([LSTM(x, h + 1), Stack([GRU(h + 1, h), LayerNormLSTM(h, h)]), MUT1(h, h)]),
    "a cell without its source": stored,
}


def started(recurrence: Recurrence, batch: int) -> Any:
    """A state that is no one's initial one, and valid for all."""
    return states.transform(lambda leaf: leaf + torch.randn_like(leaf).abs(), recurrence.initial_state(batch))


def agree(mine: Any, theirs: Any, within: float = 1e-5) -> None:
    for (name, a), (other, b) in zip(states.leaves(mine), states.leaves(theirs), strict=True):
        assert name == other
        assert a.shape == b.shape
        assert float((a - b).norm()) <= within * float(b.norm()) + 1e-7, name


def follow(
    recurrence: Recurrence, streamer: Streamer, batch: int, within: float = 1e-5, steps: int = 4
) -> None:
    x, state = torch.randn(steps, batch, recurrence.input_size), started(recurrence, batch)
    streamer.state = state
    with torch.no_grad():
        for t in range(steps):
            y, state = recurrence.step(x[t], state)
            agree(streamer.step(x[t]), y, within)
            agree(streamer.state, state, within)


def test_the_sweep_is_complete() -> None:
    assert len(MADE) == 28 + 2


@compiled_here
@pytest.mark.parametrize("make", MADE.values(), ids=MADE.keys())
def test_every_cell_streams_as_it_steps(make: Make) -> None:
    for inputs, hidden, batch in ((3, 5, 3), (70, 33, 1)):
        recurrence = make(inputs, hidden)
        streamer = Streamer(recurrence, batch)
        assert streamer.objection is None
        follow(recurrence, streamer, batch)


@pytest.mark.parametrize("make", [MADE["lstm"], MADE["layer-norm"], MADE["stack"]])
def test_many_steps_are_a_scan(make: Make) -> None:
    recurrence = make(5, 7)
    streamer, x = Streamer(recurrence, 2), torch.randn(40, 2, 5)
    outputs, last = recurrence.scan(x)
    agree(torch.stack([streamer.step(x[t]) for t in range(40)]), outputs.detach())
    agree(streamer.state, states.detach(last))


@pytest.mark.parametrize("form", ["bfloat16", "int8"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: LSTM(19, 35),
        lambda: PeepholeLSTM(19, 35),
        lambda: MogrifierLSTM(19, 35),
        lambda: Stack([GRU(19, 35), LSTM(35, 21)]),
    ],
)
def test_a_format_is_a_rounding_of_the_weights_and_of_nothing_else(
    make: Callable[[], Recurrence], form: str
) -> None:
    recurrence = make()
    streamer = Streamer(recurrence, 2, form)
    with torch.no_grad():
        for parameter in recurrence.parameters():
            if parameter.dim() == 2:
                by_hand(parameter, form)
    follow(recurrence, streamer, 2)


def by_hand(matrix: Tensor, form: str) -> None:
    """Rounds in place: a row has 127 steps up to its largest; bfloat16 has 8 significant bits."""
    if form == "int8":
        step = matrix.abs().amax(1, keepdim=True) / 127
    else:
        step = 2.0 ** (torch.floor(torch.log2(matrix.abs())) - 7)
    matrix.copy_((matrix / step).round() * step)


def test_the_state_is_a_copy_both_ways() -> None:
    cell = LSTM(3, 4)
    streamer, given = Streamer(cell, 2), started(cell, 2)
    streamer.state = given
    taken, kept = streamer.state, states.transform(torch.clone, given)
    agree(taken, kept, 0)
    for state in (given, taken):
        for _, leaf in states.leaves(state):
            leaf.fill_(9)
    agree(streamer.state, kept, 0)
    x = torch.randn(2, 3)
    after = streamer.state
    once = streamer.step(x)
    agree(after, kept, 0)  # what was taken does not move with the stream
    streamer.state = kept
    assert torch.equal(streamer.step(x), once)


def test_swapped_h_and_c_are_another_state() -> None:
    cell = LSTM(3, 4)
    streamer, state, x = Streamer(cell), started(cell, 1), torch.randn(1, 3)
    streamer.state = state
    one = streamer.step(x)
    streamer.state = type(state)(state.c, state.h)
    assert not torch.allclose(streamer.step(x), one)


def test_reset_begins_anew_and_streamers_share_nothing() -> None:
    cell = GRU(3, 4)
    one, other, x = Streamer(cell), Streamer(cell), torch.randn(6, 1, 3)
    first = [one.step(x[t]) for t in range(6)]
    assert torch.equal(other.step(x[0]), first[0])
    one.reset()
    agree(one.state, cell.initial_state(1), 0)
    assert torch.equal(one.step(x[0]), first[0])
    assert torch.equal(other.step(x[1]), first[1])


def test_rows_are_strangers() -> None:
    cell = LayerNormLSTM(3, 4)
    x = torch.randn(5, 3, 3)
    together = Streamer(cell, 3)
    alone = [Streamer(cell) for _ in range(3)]
    for t in range(5):
        y = together.step(x[t])
        agree(torch.cat([streamer.step(x[t, k : k + 1]) for k, streamer in enumerate(alone)]), y, 1e-6)


def test_it_is_a_snapshot_without_dropout() -> None:
    stack = Stack([LSTM(3, 4), LSTM(4, 4)], dropout=0.9).train()
    before = copy.deepcopy(stack).eval()
    streamer = Streamer(stack)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.mul_(2)
    follow(before, streamer, 1)
    assert stack.training


@pytest.mark.parametrize("form", ["float32", "bfloat16", "int8"])
def test_without_an_executor_the_results_are_the_same(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack([LSTM(5, 7), MogrifierLSTM(7, 6)])
    compiled = Streamer(stack, 2, form)
    monkeypatch.setattr(library, "objection", lambda: "no compiler was there")
    plain = Streamer(stack, 2, form)
    assert plain.objection == "no compiler was there"
    start = started(stack, 2)
    compiled.state = plain.state = start
    for _ in range(3):
        x = torch.randn(2, 5)
        agree(plain.step(x), compiled.step(x))
        agree(plain.state, compiled.state)


def test_another_precision_streams_by_pytorch() -> None:
    cell = LSTM(5, 7).double()
    streamer = Streamer(cell)
    assert streamer.objection is not None
    x = torch.randn(1, 5, dtype=torch.float64)
    assert torch.equal(streamer.step(x), cell.step(x, cell.initial_state(1))[0].detach())


class Sorted(Cell):
    """A cell that cannot be traced: it sorts."""

    def __init__(self) -> None:
        super().__init__(3, 3)
        self.weight = nn.Parameter(torch.randn(3, 3))

    def project(self, x: Tensor) -> Tensor:
        return x

    def advance(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = torch.tanh(x + (state.h @ self.weight).sort(-1).values)
        return h, HiddenState(h)

    def initial_state(self, batch: int) -> HiddenState:
        return HiddenState(self.zeros(batch))


def test_what_cannot_be_traced_streams_by_its_definition_but_in_no_other_format() -> None:
    cell = Stack([Elman(3, 3), Sorted()])
    streamer = Streamer(cell, 2)
    assert streamer.objection is not None
    assert "sort" in streamer.objection
    follow(cell, streamer, 2, 0)
    with pytest.raises(OptionError) as caught:
        Streamer(cell, weights="int8")
    lines = str(caught.value).split("\n")
    assert lines[0] == "A Stack was to be streamed with weights in int8."
    assert lines[2] == '  Stream it with weights="float32".'


def test_what_does_not_fit_is_refused() -> None:
    streamer = Streamer(LSTM(3, 4), 2)
    with pytest.raises(ShapeError, match="A Streamer of 0 streams was asked for"):
        Streamer(LSTM(3, 4), 0)
    with pytest.raises(OptionError, match="A Bidirectional was to be streamed"):
        Streamer(Bidirectional(LSTM(3, 4), LSTM(3, 4)))  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="The formats are float32, bfloat16, int8"):
        Streamer(LSTM(3, 4), weights="int4")
    with pytest.raises(ShapeError) as caught:
        streamer.step(torch.zeros(1, 3))
    assert str(caught.value) == (
        "A Streamer of 2 streams was given an input of 1×3.\n"
        "  x is 1×3 (B X); B must be 2, X must be 3.\n"
        "  Give one row for each stream."
    )
    with pytest.raises(ShapeError, match=r"x is of torch.float64, the state of torch.float32"):
        streamer.step(torch.zeros(2, 3, dtype=torch.float64))
    with pytest.raises(ShapeError) as caught:
        streamer.state = LSTM(3, 4).initial_state(1)
    assert str(caught.value) == (
        "A Streamer of 2 streams was given a state.\n"
        "  It has state.h 1×4, state.c 1×4; it must have state.h 2×4, state.c 2×4.\n"
        "  Give a state of this recurrence, with one row for each stream."
    )
