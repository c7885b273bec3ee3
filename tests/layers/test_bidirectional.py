"""Both directions against torch.nn's, whose packed sequences know nothing of ours."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from elman import states
from elman.cells import GRU, LSTM, Cell, Elman, GRUResetBefore
from elman.cells.cell import Encoder, Recurrence
from elman.errors import OptionError, ShapeError
from elman.fused import native
from elman.layers import Bidirectional, EncoderStack, Stack
from elman.layers.bidirectional import BidirectionalState
from tests.fused.running import by_definition_alone

T, B, X, H = 6, 4, 3, 5
KINDS: dict[str, tuple[Callable[[int], Cell], Callable[[], nn.Module]]] = {
    "lstm": (lambda x: LSTM(x, H), lambda: nn.LSTM(X, H, 2, bidirectional=True)),
    "gru": (lambda x: GRU(x, H), lambda: nn.GRU(X, H, 2, bidirectional=True)),
    "elman": (lambda x: Elman(x, H), lambda: nn.RNN(X, H, 2, bidirectional=True)),
}


@pytest.mark.parametrize(("by_definition", "threads"), [(False, 1), (False, 2), (True, 1)])
@pytest.mark.parametrize("lengths", [[T] * B, [2, T, 1, 5]], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_two_layers_are_torchs_with_their_gradients(
    kind: str, lengths: list[int], by_definition: bool, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "WORK_PER_THREAD", 1)  # so that two threads take a direction each
    torch.set_num_threads(threads)
    if by_definition:
        by_definition_alone(monkeypatch)
    make, make_theirs = KINDS[kind]
    stack = EncoderStack([Bidirectional(make(size), make(size)) for size in (X, 2 * H)]).double()
    theirs: Any = make_theirs().double()
    cells: list[Any] = [cell for layer in stack.cells for cell in (layer.forwards, layer.backwards)]
    names = ["l0", "l0_reverse", "l1", "l1_reverse"]
    with torch.no_grad():
        for cell, name in zip(cells, names, strict=True):
            getattr(theirs, f"weight_ih_{name}").copy_(cell.weight_x)
            getattr(theirs, f"weight_hh_{name}").copy_(cell.weight_h)
            getattr(theirs, f"bias_ih_{name}").copy_(cell.bias)
            getattr(theirs, f"bias_hh_{name}").zero_()
            if kind == "gru":
                getattr(theirs, f"bias_hh_{name}")[2 * H :] = cell.bias_h
    x = torch.randn(T, B, X, dtype=torch.float64, requires_grad=True)
    start = states.transform(torch.randn_like, stack.initial_state(B))
    weight = torch.randn(T, B, 2 * H, dtype=torch.float64)
    ends = torch.tensor(lengths)

    outputs, last = stack.scan(x, start, None if min(lengths) == T else ends)
    leaves = [cell for layer in start for cell in (layer.forwards, layer.backwards)]
    given = [torch.stack([cell[k] for cell in leaves]) for k in range(len(leaves[0]))]
    packed, after = theirs(
        pack_padded_sequence(x, ends, enforce_sorted=False), tuple(given) if kind == "lstm" else given[0]
    )
    others, _ = pad_packed_sequence(packed)
    torch.testing.assert_close(outputs, others)
    ours = [cell for layer in last for cell in (layer.forwards, layer.backwards)]
    for k, their in enumerate(after if kind == "lstm" else [after]):
        torch.testing.assert_close(torch.stack([cell[k] for cell in ours]), their)

    parameters = [p for cell in cells for p in (cell.weight_x, cell.weight_h, cell.bias)]
    counterparts = [getattr(theirs, f"{p}_{n}") for n in names for p in ("weight_ih", "weight_hh", "bias_ih")]
    found = torch.autograd.grad((outputs * weight).sum(), [x, *parameters])
    expected = torch.autograd.grad((others * weight).sum(), [x, *counterparts])
    for our, their in zip(found, expected, strict=True):
        torch.testing.assert_close(our, their)


@pytest.mark.parametrize("lengths", [None, [2, 0, 6, 1]], ids=str)
def test_directions_of_two_kinds_equal_their_definition(
    lengths: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = Bidirectional(Stack([LSTM(X, H), GRUResetBefore(H, 3)]), GRU(X, 7))
    x = torch.randn(T, B, X, requires_grad=True)
    ends = None if lengths is None else torch.tensor(lengths)
    start = states.transform(torch.randn_like, both.initial_state(B))

    def run() -> list[Tensor]:
        outputs, last = both.scan(x, start, ends)
        value = (outputs * torch.linspace(-1, 2, outputs.numel()).view(outputs.shape)).sum()
        kept = [outputs, *(leaf for _, leaf in states.leaves(last))]
        return [*kept, *torch.autograd.grad(value, [x, *both.parameters()])]

    chosen = run()
    by_definition_alone(monkeypatch)
    for mine, defined in zip(chosen, run(), strict=True):
        assert (mine - defined).norm() <= 1e-5 * defined.norm()


def test_what_stands_past_the_end_reaches_neither_direction() -> None:
    both = Bidirectional(LSTM(X, H), GRU(X, 2))
    x, lengths = torch.randn(T, 3, X), torch.tensor([4, 0, 1])
    for row, length in enumerate(lengths):
        x[length:, row] = float("nan")
    outputs, last = both.scan(x, None, lengths)
    for row, length in enumerate(lengths):
        assert (outputs[length:, row] == 0).all()
        alone, end = both.scan(x[:length, row : row + 1])
        torch.testing.assert_close(outputs[:length, row], alone[:, 0])
        torch.testing.assert_close(last.backwards.h[row], end.backwards.h[0])


def test_it_starts_from_the_state_it_is_given() -> None:
    both = Bidirectional(Elman(X, H), Elman(X, 2))
    x = torch.randn(T, B, X)
    start = both.initial_state(B)
    assert torch.equal(both.scan(x)[0], both.scan(x, start)[0])
    other = BidirectionalState(start.forwards, type(start.backwards)(start.backwards.h + 1))
    changed = both.scan(x, other)[0] != both.scan(x)[0]
    assert changed[-1, :, H:].all()
    assert not changed[:, :, :H].any()


def test_what_reads_both_ways_has_no_step() -> None:
    both = Bidirectional(LSTM(X, H), LSTM(X, H))
    for encoder in (both, EncoderStack([both])):
        assert isinstance(encoder, Encoder)
        assert not isinstance(encoder, Recurrence)
        assert not hasattr(encoder, "step")
    with pytest.raises(OptionError) as error:
        Stack([both, LSTM(2 * H, 2)])  # type: ignore[list-item]
    assert str(error.value) == (
        "Stack(Bidirectional 3:10 → LSTM 10:2) was asked for.\n"
        "  Layer 1 is a Bidirectional, which has no step: it must have read a sequence to its end.\n"
        "  Stack encoders in an EncoderStack; what generates has recurrences only."
    )


def test_directions_that_read_different_inputs() -> None:
    with pytest.raises(ShapeError) as error:
        Bidirectional(LSTM(3, 5), GRU(4, 5))
    assert str(error.value) == (
        "Bidirectional(LSTM, GRU) was asked for.\n"
        "  One reads 3 features per step, the other 4.\n"
        "  Both read the same sequence: give them the same input_size."
    )


def test_directions_that_are_no_recurrences() -> None:
    both = Bidirectional(LSTM(3, 5), LSTM(3, 5))
    with pytest.raises(OptionError) as error:
        Bidirectional(both, LSTM(3, 5))  # type: ignore[arg-type]
    assert str(error.value) == (
        "A Bidirectional was asked for.\n"
        "  Bidirectional is no recurrence.\n"
        "  Give two cells or Stacks that were made; to put one Bidirectional on another take an EncoderStack."
    )
    with pytest.raises(OptionError, match="GRU is a class"):
        Bidirectional(LSTM(3, 5), GRU)  # type: ignore[arg-type]


def test_a_state_that_is_not_of_two_directions() -> None:
    both = Bidirectional(LSTM(3, 5), GRU(3, 2))
    with pytest.raises(ShapeError) as error:
        both.scan(torch.randn(7, 4, 3), (LSTM(3, 5).initial_state(4),))  # type: ignore[arg-type]
    assert str(error.value) == (
        "Bidirectional(LSTM, GRU) was given a state.\n"
        "  It is a tuple; it must be the states of both directions, forwards first.\n"
        "  Give one as initial_state and scan return it."
    )
    with pytest.raises(ShapeError, match=r"LSTM.* was given a state for a batch of 4\."):
        both.scan(torch.randn(7, 4, 3), both.initial_state(4)[::-1])  # type: ignore[arg-type]


def test_dropout_falls_between_encoders() -> None:
    first, second = (Bidirectional(Elman(x, h, "logistic"), Elman(x, h)) for x, h in ((4, 100), (200, 3)))
    stack = EncoderStack([first, second], dropout=0.3)
    seen: list[Tensor] = []
    scan = second.scan
    second.scan = lambda x, *rest: seen.append(x) or scan(x, *rest)  # type: ignore[method-assign,func-returns-value]
    x = torch.randn(6, 5, 4)
    outputs, _ = stack.scan(x)
    assert 0.66 < (seen[0] != 0).double().mean() < 0.74
    assert (outputs != 0).all()
    below, _ = first.scan(x)
    kept = seen[0] != 0
    torch.testing.assert_close(seen[0][kept], (below / 0.7)[kept])
    stack.eval()
    stack.scan(x)
    assert torch.equal(seen[1], below)
