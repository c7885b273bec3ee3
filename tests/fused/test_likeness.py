"""Cells that share what was traced of one of them, and cells that must not."""

import gc
from typing import Any
from weakref import ref

import pytest
import torch
from torch import Tensor, nn

from elman.cells import LSTM, Elman
from elman.cells.cell import HiddenState
from elman.fused import choose, definition
from elman.fused.likeness import likeness
from elman.fused.noise import traces


class Scaled(Elman):
    """h = tanh(factor · (W x + b) + U h)."""

    def __init__(self, factor: Any) -> None:
        super().__init__(3, 4)
        self.factor = factor

    def advance(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        factor = self.factor[0] if isinstance(self.factor, list | tuple) else self.factor
        h = torch.tanh(factor * x + nn.functional.linear(state.h, self.weight_h))
        return h, HiddenState(h)


def test_two_cells_of_one_kind_are_traced_once_and_keep_their_own_weights() -> None:
    first, second = LSTM(3, 4), LSTM(3, 4)
    x = torch.randn(5, 2, 3)
    found = [cell.scan(x)[0] for cell in (first, second)]
    assert traces(first, frozenset()) is traces(second, frozenset())
    assert (found[0] - found[1]).norm() > 0.1
    for cell, y in zip((first, second), found, strict=True):
        assert torch.allclose(y, definition.scan(cell, x, cell.initial_state(2), None)[0], atol=1e-6)


@pytest.mark.parametrize("pair", [(2.0, 3.0), (2.0, (2.0,)), (1.0, True), ([2.0], [3.0])], ids=str)
def test_cells_with_different_attributes_share_nothing(pair: tuple[Any, Any]) -> None:
    x = torch.randn(5, 2, 3)
    for factor in pair:
        cell = Scaled(factor)
        wanted = definition.scan(cell, x, cell.initial_state(2), None)[0]
        assert torch.allclose(cell.scan(x)[0], wanted, atol=1e-6)
        assert choose.objections(cell) == choose.objections(LSTM(3, 4)), "it is not the definition that ran"
    a, b = Scaled(pair[0]), Scaled(pair[1])
    assert traces(a, frozenset()) is not traces(b, frozenset())


def test_what_could_hold_anything_is_shared_with_no_one() -> None:
    assert likeness(Scaled([2.0])) is None
    assert likeness(Scaled((2.0, "two", None))) == likeness(Scaled((2.0, "two", None)))
    assert likeness(Scaled(2.0).double()) != likeness(Scaled(2.0))
    tied = Scaled(2.0)
    tied.again = tied.bias
    apart = Scaled(2.0)
    apart.again = nn.Parameter(apart.bias.detach().clone())
    assert likeness(tied) != likeness(apart)


def test_a_method_that_was_exchanged_is_traced_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    before = traces(Scaled(2.0), frozenset())
    monkeypatch.setattr(Scaled, "advance", Elman.advance)
    after = traces(Scaled(2.0), frozenset())
    assert after.advance.key != before.advance.key


def test_a_class_does_not_live_on_in_what_is_shared() -> None:
    class Passing(Elman):
        def advance(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
            return super().advance(2 * x, state)

    known = ref(Passing)
    Passing(2, 3).scan(torch.randn(4, 2, 2))
    del Passing
    gc.collect()
    assert known() is None
