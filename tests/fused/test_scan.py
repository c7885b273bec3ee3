"""Whole scans by the executor: beside ``torch.nn``, the definition and finite differences."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elman import states
from elman.cells import CELLS, GRU, LSTM, MGU, MUT1, Elman, GRUResetBefore
from elman.cells.cell import Cell
from elman.fused import choose, definition, layers, native
from elman.fused.compiled import Compiled
from tests.cells.own_cells import Handed, Meeting
from tests.fused.running import compiled_here, poisoned  # noqa: F401

# Half a minute together; the laws run the executor too.
pytestmark = [compiled_here, pytest.mark.slow, pytest.mark.usefixtures("poisoned")]

#: T, B, X, H: odd sizes, single steps, rows and features, and one that fills vectors and tiles.
SIZES = [(1, 1, 1, 1), (7, 1, 2, 3), (1, 20, 5, 65), (7, 2, 5, 129), (5, 20, 33, 64)]
WITH_THREADS = [(sizes, 1) for sizes in SIZES] + [(SIZES[-1], 2)]


def made(name: str, inputs: int, hidden: int, dtype: torch.dtype) -> Cell:
    if name.startswith("mut"):  # x is added to h as it is
        return CELLS[name](hidden, hidden).to(dtype)
    return CELLS[name](inputs, hidden).to(dtype)


def started(cell: Cell, batch: int) -> Any:
    """Distinct numbers to one side of the initial state, where every cell's equations behave well."""
    dtype = next(cell.parameters()).dtype
    return states.transform(
        lambda leaf: (leaf + torch.rand(leaf.shape, dtype=dtype)).requires_grad_(), cell.initial_state(batch)
    )


def derived(cell: Cell, x: Tensor, state: Any, lengths: Tensor | None, way: Any) -> list[Tensor]:
    """Outputs, last state, and the gradients of all that goes in."""
    outputs, last = way(cell, x, state, lengths)
    values = [outputs, *(leaf for _, leaf in states.leaves(last))]
    generator = torch.Generator().manual_seed(8)
    total = sum(
        (v * torch.randn(v.shape, generator=generator, dtype=torch.float64).to(v.dtype)).sum() for v in values
    )
    inputs = [x, *(leaf for _, leaf in states.leaves(state)), *cell.parameters()]
    found = torch.autograd.grad(total, inputs, allow_unused=True)
    return [*values, *(torch.zeros_like(i) if g is None else g for g, i in zip(found, inputs, strict=True))]


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(("sizes", "threads"), WITH_THREADS, ids=str)
def test_every_cell_in_float32(
    name: str, sizes: tuple[int, ...], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "WORK_PER_THREAD", 1)
    steps, batch, inputs, hidden = sizes
    cell = made(name, inputs, hidden, torch.float32)
    x = torch.randn(steps, batch, cell.input_size, requires_grad=True)
    state = started(cell, batch)
    torch.set_num_threads(threads)
    mine = derived(cell, x, state, None, choose.scan)
    theirs = derived(cell, x, state, None, definition.scan)
    exact_cell, exact_state = (
        copy.deepcopy(cell).double(),
        states.transform(lambda leaf: leaf.detach().double().requires_grad_(), state),
    )
    exact = derived(exact_cell, x.detach().double().requires_grad_(), exact_state, None, definition.scan)
    for a, b, c in zip(mine, theirs, exact, strict=True):
        size = c.norm() + 1e-3
        if name == "layer-norm" and hidden == 1:
            continue  # a row of one feature has no variance: what is divided by it is rounding alone
        if name != "layer-norm" or hidden > 3:  # one of few features divides by almost nothing
            assert (a - b).norm() <= 1e-5 * size
        # No farther from the exact result than twice the definition, but for a few units where that is lucky.
        assert (a - c).norm() <= 2 * (b - c).norm() + 1e-6 * size


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("lengths", [[0, 5, 1, 3], [1, 1, 1, 1], [5, 5, 5, 5]], ids=str)
def test_ragged_sequences_of_every_cell(name: str, lengths: list[int]) -> None:
    cell = made(name, 4, 6, torch.float64)
    x = torch.randn(5, 4, cell.input_size, dtype=torch.float64)
    for row, length in enumerate(lengths):
        x[length:, row] = float("nan")
    x.requires_grad_()
    state, ends = started(cell, 4), torch.tensor(lengths)
    mine = derived(cell, x, state, ends, choose.scan)
    theirs = derived(cell, x, state, ends, definition.scan)
    for a, b in zip(mine, theirs, strict=True):
        assert (a - b).norm() <= 1e-11 * (b.norm() + 1e-3)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_are_those_of_finite_differences(name: str, reverse: bool) -> None:
    cell = made(name, 2, 2, torch.float64)
    compiled = choose.compile_cell(cell)
    assert isinstance(compiled, Compiled)
    x = torch.randn(3, 3, cell.input_size, dtype=torch.float64, requires_grad=True)
    leaves = [leaf for _, leaf in states.leaves(started(cell, 3))]
    lengths = torch.tensor([3, 0, 2])

    def values(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        y, last = layers.scan(compiled, x, rest[: len(leaves)], compiled.prepare(cell), lengths, reverse)
        return y, *last

    if name == "ligru":  # its rectified units have corners
        with torch.no_grad():
            cell.bias += 2.0
    stabiliser = name == "slstm"  # starts at the lowest number there is, where differences vanish
    if stabiliser:
        leaves = [leaf.detach().clamp(min=-1).requires_grad_() for leaf in leaves]
    assert torch.autograd.gradcheck(values, (x, *leaves, *cell.parameters()), fast_mode=True)


@pytest.mark.parametrize(
    ("cell", "module", "gates"),
    [
        (Elman(5, 7), nn.RNN(5, 7), [0]),
        (LSTM(5, 7), nn.LSTM(5, 7), [0, 1, 2, 3]),
        (GRU(5, 7), nn.GRU(5, 7), [0, 1, 2]),
    ],
    ids=["elman", "lstm", "gru"],
)
@pytest.mark.parametrize("reverse", [False, True])
def test_beside_torch_nn(cell: Cell, module: nn.RNNBase, gates: list[int], reverse: bool) -> None:
    """Values and gradients of PyTorch's modules, whose weights are given to ours, gate by gate."""
    cell, module = cell.double(), module.double()
    size = len(gates) * 7
    with torch.no_grad():
        cell.weight_x.copy_(module.weight_ih_l0)
        cell.weight_h.copy_(module.weight_hh_l0)
        cell.bias.copy_(module.bias_ih_l0)
        if isinstance(cell, GRU):
            cell.bias[:14] += module.bias_hh_l0[:14]
            cell.bias_h.copy_(module.bias_hh_l0[14:])
        else:
            cell.bias += module.bias_hh_l0
    x = torch.randn(6, 4, 5, dtype=torch.float64, requires_grad=True)
    start = started(cell, 4)
    given = tuple(leaf.unsqueeze(0) for leaf in start)
    wanted, last = module(x.flip(0) if reverse else x, given if len(given) > 1 else given[0])
    wanted = wanted.flip(0) if reverse else wanted
    compiled = choose.compile_cell(cell)
    assert isinstance(compiled, Compiled)
    y, end = layers.scan(compiled, x, tuple(start), compiled.prepare(cell), None, reverse)
    torch.testing.assert_close(y, wanted)
    for mine, theirs in zip(end, last if isinstance(last, tuple) else (last,), strict=True):
        torch.testing.assert_close(mine, theirs.squeeze(0))
    weight = torch.randn_like(y)
    mine = torch.autograd.grad((y * weight).sum(), [x, *start, cell.weight_x, cell.weight_h, cell.bias])
    theirs = torch.autograd.grad(
        (wanted * weight).sum(), [x, *start, module.weight_ih_l0, module.weight_hh_l0, module.bias_ih_l0]
    )
    assert mine[-1].shape == (size,)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", ["elman", "lstm", "gru", "layer-norm", "rhn"])
def test_second_derivatives(name: str) -> None:
    cell = made(name, 2, 3, torch.float64)
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: choose.scan(cell, x, cell.initial_state(2), None)[0], (x,))


def test_the_loop_over_the_programs_is_the_definition() -> None:
    cell = LSTM(3, 4).double()
    compiled = choose.compile_cell(cell)
    assert isinstance(compiled, Compiled)
    x, state, lengths = torch.randn(5, 3, 3, dtype=torch.float64), started(cell, 3), torch.tensor([5, 0, 2])
    outputs, last = definition.scan(cell, x, state, lengths)
    y, end = definition.fold(compiled.traces, x, tuple(state), compiled.prepare(cell), (), lengths, False)
    for a, b in zip([y, *end], [outputs, *last], strict=True):
        torch.testing.assert_close(a, b)


def test_only_what_is_asked_for_is_derived() -> None:
    cell, x = LSTM(3, 4), torch.randn(5, 2, 3, requires_grad=True)
    full = torch.autograd.grad(
        choose.scan(cell, x, cell.initial_state(2), None)[0].sum(), [x, *cell.parameters()]
    )
    for parameter in cell.parameters():
        parameter.requires_grad_(False)
    y, _ = choose.scan(cell, x, cell.initial_state(2), None)
    (alone,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(alone, full[0])
    cell.weight_h.requires_grad_()
    y, _ = choose.scan(cell, x.detach(), cell.initial_state(2), None)
    (alone,) = torch.autograd.grad(y.sum(), cell.weight_h)
    assert torch.equal(alone, full[2])


def test_steps_and_rows_may_lie_in_any_order() -> None:
    cell = GRU(3, 4).double()
    x = torch.randn(6, 2, 5, 3, dtype=torch.float64).transpose(0, 2)[:, 1].requires_grad_()
    start = cell.initial_state(6)._replace(h=torch.randn(4, 6, dtype=torch.float64).T.requires_grad_())
    mine, theirs = (derived(cell, x, start, None, way) for way in (choose.scan, definition.scan))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_an_input_changed_before_the_backward_pass_is_noticed() -> None:
    cell, x = LSTM(3, 4), torch.randn(5, 2, 3)
    y, _ = choose.scan(cell, x, cell.initial_state(2), None)
    with torch.no_grad():
        cell.weight_h.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_an_unused_output_or_state_has_no_part_in_the_gradient() -> None:
    cell, x = LSTM(3, 4).double(), torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
    for pick in (lambda out: out[0][2].sum(), lambda out: out[1].h.sum(), lambda out: out[1].c.sum()):
        mine, theirs = (
            torch.autograd.grad(pick(way(cell, x, cell.initial_state(2), None)), [x, *cell.parameters()])
            for way in (choose.scan, definition.scan)
        )
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("steps", [3, pytest.param(300, id="in chunks")])
@pytest.mark.parametrize("kind", [Meeting, Handed, MUT1, MGU, GRUResetBefore])
def test_gradients_of_matrices_that_share_what_they_read(
    kind: type[Cell], steps: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One left side for two; columns of what comes in or goes out; what the later step hands over."""
    monkeypatch.setattr(native, "WORK_PER_THREAD", 1)
    torch.set_num_threads(threads)
    cell = kind(37, 37).double()
    assert choose.objections(cell) == []
    x = torch.randn(steps, 5, 37, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([steps, steps - 1, 1, 0, steps - 2])
    state = started(cell, 5)
    mine = derived(cell, x, state, lengths, choose.scan)
    theirs = derived(cell, x, state, lengths, definition.scan)
    for a, b in zip(mine, theirs, strict=True):
        assert (a - b).norm() <= 1e-11 * (b.norm() + 1e-3)
