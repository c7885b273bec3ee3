"""Two scans in one native call, a thread for each: values, states and gradients of the definition."""

from typing import Any

import pytest
import torch
from torch import Tensor

from elman import states
from elman.cells import GRU, LSTM, RHN, SLSTM, Cell, Elman
from elman.cells.noise import Noise, Noisy
from elman.fused import definition, native
from elman.fused.library import Library
from elman.layers import Bidirectional
from elman.layers.bidirectional import BidirectionalState
from tests.fused.running import compiled_here, poisoned  # noqa: F401

pytestmark = [compiled_here, pytest.mark.usefixtures("poisoned")]


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Two threads, both worth it for anything; gets an entry for each native call of two scans."""
    calls: list[int] = []
    scan_both = Library.scan_both

    def counted(library: Library, *given: Any) -> None:
        calls.append(1)
        scan_both(library, *given)

    monkeypatch.setattr(Library, "scan_both", counted)
    monkeypatch.setattr(native, "WORK_PER_THREAD", 1)
    torch.set_num_threads(2)
    return calls


def by_definition(
    layer: Bidirectional, x: Tensor, start: BidirectionalState, lengths: Tensor | None
) -> tuple[Tensor, BidirectionalState]:
    there, last = definition.scan(layer.forwards, x, start.forwards, lengths)
    back, first = definition.scan(layer.backwards, x, start.backwards, lengths, reverse=True)
    return torch.cat([there, back], dim=-1), BidirectionalState(last, first)


def derived(layer: Bidirectional, way: Any, x: Tensor, start: Any, lengths: Tensor | None) -> list[Tensor]:
    """Outputs, last states, and the gradients of all that goes in."""
    y, last = way(x, start, lengths)
    values = [y, *(leaf for _, leaf in states.leaves(last))]
    generator = torch.Generator().manual_seed(8)
    total = sum((v * torch.randn(v.shape, generator=generator, dtype=v.dtype)).sum() for v in values)
    inputs = [x, *(leaf for _, leaf in states.leaves(start)), *layer.parameters()]
    return [*values, *torch.autograd.grad(total, inputs)]


@pytest.mark.parametrize("lengths", [None, [5, 0, 3]], ids=str)
@pytest.mark.parametrize(
    "cells", [(LSTM(3, 5), GRU(3, 2)), (RHN(3, 17), LSTM(3, 1)), (SLSTM(3, 4), Elman(3, 33))], ids=str
)
def test_both_directions_are_the_definition(
    cells: tuple[Cell, Cell], lengths: list[int] | None, together: list[int]
) -> None:
    layer = Bidirectional(*cells).double()
    x = torch.randn(5, 3, 3, dtype=torch.float64, requires_grad=True)
    start = states.transform(
        lambda leaf: (leaf + torch.rand_like(leaf)).detach().requires_grad_(), layer.initial_state(3)
    )
    ends = None if lengths is None else torch.tensor(lengths)
    mine = derived(layer, layer.scan, x, start, ends)
    assert len(together) == 2, "one call forward, one backward"
    theirs = derived(layer, lambda *given: by_definition(layer, *given), x, start, ends)
    for a, b in zip(mine, theirs, strict=True):
        assert (a - b).norm() <= 1e-11 * (b.norm() + 1e-3)
    with torch.no_grad():
        assert torch.equal(layer.scan(x, start, ends)[0], mine[0])
    assert len(together) == 3


def test_gradients_of_one_direction_alone_and_second_derivatives(together: list[int]) -> None:
    layer = Bidirectional(GRU(2, 3), GRU(2, 2)).double()
    layer.forwards.requires_grad_(False)
    x = torch.randn(4, 2, 2, dtype=torch.float64)
    found = torch.autograd.grad(layer.scan(x)[0][..., 3:].square().sum(), list(layer.backwards.parameters()))
    y, _ = definition.scan(layer.backwards, x, layer.backwards.initial_state(2), None, reverse=True)
    wanted = torch.autograd.grad(y.square().sum(), list(layer.backwards.parameters()))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)
    assert len(together) == 2
    assert torch.autograd.gradgradcheck(lambda x: layer.scan(x)[0], (x.requires_grad_(),))


def test_what_is_done_one_by_one_instead(together: list[int]) -> None:
    """Other numbers of threads, noise, what recomputes, bfloat16: the same values without the call of two."""
    layer, x = Bidirectional(LSTM(3, 4), LSTM(3, 4)), torch.randn(5, 2, 3)
    y, _ = layer.scan(x)
    assert len(together) == 1
    for threads in (1, 3):
        torch.set_num_threads(threads)
        torch.testing.assert_close(layer.scan(x)[0], y)
    torch.set_num_threads(2)
    noisy = Bidirectional(Noisy(layer.forwards, Noise(output=0.5)), layer.backwards)
    assert (noisy.scan(x)[0][..., :4] == 0).any()
    layer.forwards.store = "recompute"
    torch.testing.assert_close(layer.scan(x)[0], y)
    layer.forwards.store = "all"
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer.scan(x)[0], y, atol=2e-2, rtol=2e-2)
    assert len(together) == 1
