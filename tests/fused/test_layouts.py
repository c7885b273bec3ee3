"""Passes laid out once and run on many tensors: of several sizes and strides in turn, by several threads."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from elman.cells import GRU, LSTM, Cell
from elman.fused import choose, compiled, definition
from elman.fused.compiled import Compiled
from tests.fused.running import compiled_here, poisoned  # noqa: F401

pytestmark = [compiled_here, pytest.mark.usefixtures("poisoned")]


def derived(cell: Cell, x: Tensor, weight: Tensor) -> list[Tensor]:
    y, _ = cell.scan(x)
    return [y, *torch.autograd.grad((y * weight).sum(), [x, *cell.parameters()])]


def wanted(cell: Cell, x: Tensor, weight: Tensor) -> list[Tensor]:
    y, _ = definition.scan(cell, x, cell.initial_state(x.shape[1]), None)
    return [y, *torch.autograd.grad((y * weight).sum(), [x, *cell.parameters()])]


def test_sizes_and_strides_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each twice, so that every one is found again, with few remembered as with many."""
    cell = LSTM(3, 5).double()
    made = choose.compile_cell(cell)
    assert isinstance(made, Compiled)
    shapes = [(4, 2), (5, 2), (4, 3), (2, 1), (1, 7)]
    for most, remembered in ((3, range(1, 4)), (256, range(30, 60))):
        monkeypatch.setattr(compiled, "REMEMBERED", most)
        for steps, batch in shapes * 2:
            given = [
                torch.randn(steps, batch, 3, dtype=torch.float64),
                torch.randn(batch, steps, 3, dtype=torch.float64).transpose(0, 1),
                torch.randn(steps, batch, 6, dtype=torch.float64)[..., ::2],
                torch.randn(3, dtype=torch.float64).expand(steps, batch, 3),
            ]
            for x in given:
                weight = torch.randn(steps, batch, 10, dtype=torch.float64)[..., :5]
                x = x.requires_grad_()
                for a, b in zip(derived(cell, x, weight), wanted(cell, x, weight), strict=True):
                    assert (a - b).norm() <= 1e-12 * (b.norm() + 1e-3)
        assert len(made._made) in remembered


def test_threads_that_scan_at_once_do_not_meet() -> None:
    """The same layouts, other tensors: each thread gets what it would get alone, bit by bit."""
    cell = GRU(6, 40)
    given = [(torch.randn(60, 9, 6, requires_grad=True), torch.randn(60, 9, 40)) for _ in range(4)]
    alone = [derived(cell, *each) for each in given]

    def again(k: int) -> bool:
        return all(
            torch.equal(a, b)
            for _ in range(10)
            for a, b in zip(derived(cell, *given[k]), alone[k], strict=True)
        )

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(again, range(4))) == [True] * 4
