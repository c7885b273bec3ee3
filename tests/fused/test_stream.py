"""Products of few rows with packed weights beside float64, at every level of instructions; and memory."""

import pytest
import torch
from torch import Tensor

from elman.cells import LSTM, Elman
from elman.fused import library, native, stream
from elman.fused.chain import Chain
from elman.fused.stream import Stream
from elman.fused.weights import FORMATS
from tests.fused.running import compiled_here, poisoned  # noqa: F401

pytestmark = [compiled_here, pytest.mark.usefixtures("poisoned")]

LEVELS = [
    level for level in library.LEVELS if library.objection() is None and library.load(level) is not None
]


def by_hand(matrix: Tensor, form: str) -> Tensor:
    """What a format makes of a matrix, told once more: 127 steps to a row's largest; 8 significant bits."""
    if form == "bfloat16":
        step = 2.0 ** (torch.floor(torch.log2(matrix.abs())) - 7)
        matrix = torch.round(matrix / step) * step
    if form == "int8":  # in float32: in more bits a tie would fall elsewhere
        step = matrix.abs().amax(1, keepdim=True) / 127
        matrix = torch.round(matrix / step) * step
    return matrix.double()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("batch", [1, 2, 3, 7, 29])
def test_products_of_every_format(batch: int, form: str, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = library.load(level)
    monkeypatch.setattr(library, "load", lambda: chosen)
    for inputs, outputs in ((1, 1), (2, 17), (5, 64), (66, 131)):
        cell = Elman(inputs, outputs, "relu").requires_grad_(False)
        chain = Chain([("state", cell)])
        x, h = torch.randn(batch, inputs), torch.randn(batch, outputs)
        y, after = Stream(chain, form).step(x, h)
        from_x = x.double() @ by_hand(cell.weight_x, form).T
        wanted = torch.relu(from_x + h.double() @ by_hand(cell.weight_h, form).T + cell.bias)
        torch.testing.assert_close(y.double(), wanted, rtol=1e-5, atol=3e-6)
        assert torch.equal(y, after)


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_threads_share_a_step(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain([("state.0", LSTM(70, 90)), ("state.1", LSTM(90, 33))])
    chain.linear("softmax", torch.randn(300, 33), torch.randn(300))
    chain.log_softmax()
    x, before = torch.randn(2, 70), torch.randn(2, 246)
    alone = Stream(chain, "int8").step(x, before)
    monkeypatch.setattr(stream, "BYTES_PER_THREAD", 1)
    torch.set_num_threads(threads)
    together = Stream(chain, "int8")
    for _ in range(50):
        for mine, theirs in zip(together.step(x, before), alone, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


def test_rows_and_states_that_do_not_lie_side_by_side() -> None:
    chain = Chain([("state", LSTM(5, 7))])
    made = Stream(chain, "float32")
    x, before = torch.randn(5, 3), torch.randn(14, 3)
    for mine, theirs in zip(
        made.step(x.T, before.T), made.step(x.T.contiguous(), before.T.contiguous()), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_a_chain_ends_in_log_probabilities() -> None:
    cell, weight, bias = LSTM(5, 7), torch.randn(131, 7) * 9, torch.randn(131)
    chain = Chain([("state", cell)])
    chain.linear("softmax", weight, bias)
    chain.log_softmax()
    x, h, c = torch.randn(3, 5), torch.randn(3, 7), torch.randn(3, 7)
    y, _ = Stream(chain, "float32").step(x, torch.cat([h, c], 1))
    state = type(cell.initial_state(3))(h, c)
    wanted = torch.log_softmax((cell.step(x, state)[0].double() @ weight.double().T + bias), 1)
    torch.testing.assert_close(y.double(), wanted, rtol=1e-5, atol=1e-5)


def test_nothing_is_allocated_but_what_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Stream(Chain([("state", LSTM(5, 7))]), "float32")
    x, before = torch.randn(1, 5), torch.randn(1, 14)
    first = made.step(x, before)

    def refuse(*_: object) -> Tensor:
        raise AssertionError("memory was asked for anew")

    monkeypatch.setattr(native, "empty", refuse)
    monkeypatch.setattr(native, "lent", refuse)
    second = made.step(x, before)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert {t.data_ptr() for t in first}.isdisjoint(t.data_ptr() for t in second)
