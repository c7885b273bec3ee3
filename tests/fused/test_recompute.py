"""Scans that recompute: beside those that keep everything, the definition and finite differences."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from elman.cells import CELLS, GRU, LSTM
from elman.cells.cell import Cell
from elman.cells.noise import Noise, Noisy
from elman.errors import OptionError
from elman.fused import choose, definition, recompute
from elman.fused.compiled import Compiled
from elman.fused.scan import Shape, Task, shaped
from tests.fused.running import compiled_here, poisoned  # noqa: F401
from tests.fused.test_scan import derived, made, started

pytestmark = [compiled_here, pytest.mark.usefixtures("poisoned")]

ALL_NOISE = Noise(
    input=0.3, state=0.4, candidate=0.3, weights=0.2, output=0.2, zoneout={"h": 0.3}, per_gate=True
)


def recomputed(*given: Any, **named: Any) -> Any:
    """``choose.scan`` of a cell that is to recompute, for this once."""
    cell = given[0]
    cell.store = "recompute"
    found = choose.scan(*given, **named)
    cell.store = "all"
    return found


def agree(mine: list[Tensor], theirs: list[Tensor], within: float) -> None:
    for a, b in zip(mine, theirs, strict=True):
        assert (a - b).norm() <= within * (b.norm() + 1e-3)


def kept(run: Callable[[], Any]) -> int:
    """Bytes that autograd is handed to keep."""
    sizes: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel() * tensor.element_size())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(sizes)


def test_the_sweep_is_complete() -> None:
    assert len(CELLS) == 28


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(
    ("lengths", "reverse"), [(None, False), ([11, 0, 5, 1], False), ([3, 11, 0, 8], True)], ids=str
)
def test_every_cell(name: str, lengths: list[int] | None, reverse: bool) -> None:
    """Eleven steps are three segments, one shorter; some have no step of a sequence, some only a few."""
    cell = made(name, 3, 5, torch.float64)
    x, ends = torch.randn(11, 4, cell.input_size, dtype=torch.float64), None
    if lengths is not None:
        ends = torch.tensor(lengths)
        for row, length in enumerate(lengths):
            x[length:, row] = float("nan")
    x.requires_grad_()
    state = started(cell, 4)
    mine, everything, theirs = (
        derived(cell, x, state, ends, partial(way, reverse=reverse))
        for way in (recomputed, choose.scan, definition.scan)
    )
    assert "Recomputed" in mine[0].grad_fn.name()
    agree(mine, everything, 1e-13)
    agree(mine, theirs, 1e-11)


@pytest.mark.parametrize("steps", [1, 2, 3, 16, 17, 23])
@pytest.mark.parametrize("lengths", [False, True])
def test_any_number_of_steps_in_float32(steps: int, lengths: bool) -> None:
    cell, x = GRU(9, 33), torch.randn(steps, 5, 9, requires_grad=True)
    ends = torch.tensor([0, steps, steps // 2, 0, 1]) if lengths else None
    state = started(cell, 5)
    mine, everything = (derived(cell, x, state, ends, way) for way in (recomputed, choose.scan))
    agree(mine, everything, 1e-6)


def test_segments_cover_all_steps_in_the_order_of_the_scan() -> None:
    for steps in range(1, 150):
        cuts = recompute.segments(Shape(steps, 1, False, None))
        assert [t for cut in cuts for t in range(cut.start, cut.stop)] == list(range(steps))
        assert max(cut.stop - cut.start for cut in cuts) - 1 < steps**0.5 >= len(cuts) - 1
        assert recompute.segments(Shape(steps, 1, True, None)) == cuts[::-1]


@pytest.mark.parametrize("kind", [LSTM, GRU])
@pytest.mark.parametrize("reverse", [False, True])
def test_masks_of_one_step_and_of_every_step(kind: type[Cell], reverse: bool) -> None:
    cell = Noisy(kind(3, 4), ALL_NOISE).double()
    masks = cell.draw(3, 10)
    assert {len(mask) for mask in masks.values() if mask.dim() == 3} == {1, 10}
    x = torch.randn(10, 3, 3, dtype=torch.float64, requires_grad=True)
    ends, state = torch.tensor([10, 0, 6]), started(cell, 3)
    found = []
    for store in ("recompute", "all"):
        cell.store = store
        assert cell.cell.store == store
        scan = cell.scan_reversed if reverse else cell.scan
        way = lambda _, x, state, lengths, scan=scan: scan(x, state, lengths, masks)  # noqa: E731
        found.append(derived(cell, x, state, ends, way))
    agree(*found, 1e-13)


@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_are_those_of_finite_differences(reverse: bool) -> None:
    cell = made("lstm", 2, 3, torch.float64)
    compiled = choose.compile_cell(cell)
    assert isinstance(compiled, Compiled)
    x, leaves = torch.randn(5, 3, 2, dtype=torch.float64, requires_grad=True), tuple(started(cell, 3))

    def values(x: Tensor, h: Tensor, c: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
        fixed, lengths = compiled.prepare(cell), torch.tensor([5, 0, 4])
        y, last = recompute.run(x, Task(compiled, shaped(x, lengths, reverse), (h, c, *fixed)))
        return y, *last

    assert torch.autograd.gradcheck(values, (x, *leaves, *cell.parameters()), fast_mode=True)


def test_second_derivatives() -> None:
    cell = made("gru", 2, 3, torch.float64)
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: recomputed(cell, x, cell.initial_state(2), None)[0], (x,))


def test_products_in_bfloat16_are_rounded_the_same() -> None:
    cell, x = LSTM(6, 10), torch.randn(11, 4, 6, requires_grad=True)
    state = started(cell, 4)
    single = derived(cell, x, state, None, recomputed)
    with torch.autocast("cpu", torch.bfloat16):
        mine, everything = (derived(cell, x, state, None, way) for way in (recomputed, choose.scan))
    agree(mine, everything, 1e-5)
    assert all((a - b).norm() > 1e-4 * b.norm() for a, b in zip(mine, single, strict=True))


def test_only_what_is_asked_for_is_derived() -> None:
    cell, x = LSTM(3, 4), torch.randn(7, 2, 3)
    weight = torch.randn(2, 4)
    wanted = []
    for way in (recomputed, choose.scan):
        cell.requires_grad_()
        _, last = way(cell, x, cell.initial_state(2), None)  # no gradient of the outputs either
        full = torch.autograd.grad((last.c * weight).sum(), list(cell.parameters()))
        cell.weight_x.requires_grad_(False)
        cell.bias.requires_grad_(False)
        _, last = way(cell, x, cell.initial_state(2), None)
        (alone,) = torch.autograd.grad((last.c * weight).sum(), cell.weight_h)
        wanted.append([*full, alone])
    agree(*wanted, 1e-6)
    assert torch.equal(wanted[0][1], wanted[0][3])


def test_weights_changed_before_the_backward_pass_are_noticed() -> None:
    cell, x = LSTM(3, 4), torch.randn(5, 2, 3)
    y, _ = recomputed(cell, x, cell.initial_state(2), None)
    with torch.no_grad():
        cell.weight_h.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_little_is_kept() -> None:
    """At a hundred steps: what comes in, and nine states beside it. Without a gradient nothing."""
    cell, x = LSTM(16, 16), torch.randn(100, 8, 16, requires_grad=True)
    state = cell.initial_state(8)
    everything = kept(lambda: choose.scan(cell, x, state, None))
    mine = kept(lambda: recomputed(cell, x, state, None))
    assert mine < everything / 3
    given = sum(t.numel() for t in (x, *state, *cell.parameters()))
    assert mine == 4 * (given + 9 * 2 * 8 * 16)
    with torch.no_grad():
        assert kept(lambda: recomputed(cell, x, state, None)) == 0


def test_what_a_cell_can_store() -> None:
    cell = LSTM(3, 4)
    assert cell.store == "all"
    with pytest.raises(OptionError) as error:
        cell.store = "some"
    assert str(error.value) == (
        "LSTM(input_size=3, hidden_size=4) was to store 'some' for its gradient.\n"
        "  A cell can store 'all' or 'recompute'.\n"
        "  Set one of these."
    )
    assert cell.store == "all"
