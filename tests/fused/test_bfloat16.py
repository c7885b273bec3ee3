"""Products in bfloat16, beside PyTorch's in float64 of operands that were rounded to bfloat16."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from elman import states
from elman.cells import CELLS, GRU, LSTM
from elman.cells.cell import Cell
from elman.fused import choose, definition, library, native
from elman.fused.program import Builder, Program
from tests.fused.running import (
    Rounding,
    agree,
    by_definition,
    by_executor,
    compiled_here,
    cotangents_for,
    drawn,
    poisoned,  # noqa: F401
    shapes_of,
)

pytestmark = [compiled_here, pytest.mark.usefixtures("poisoned")]

LEVELS = [
    level for level in library.LEVELS if library.objection() is None and library.load(level) is not None
]

#: Relative in norm. Where a sum ends close to the middle between two bfloat16 numbers, its own rounding in
#: float32 decides which of them it becomes: a few values in ten thousand differ by their last bit. Products
#: without any rounding to bfloat16 are farther off by ten times.
WITHIN = 2e-4


def compare(program: Program, steps: int, batch: int, **how: object) -> None:
    tensors = drawn(program, steps, batch, seed=steps + 7 * batch, dtype=torch.float32)
    given = cotangents_for(shapes_of(program, tensors), seed=batch)
    exact = {name: tensor.double() for name, tensor in tensors.items()}
    with Rounding():
        theirs = by_definition(program, exact, {n: g.double() for n, g in given.items()}, **how)  # type: ignore[arg-type]
    for level in LEVELS:
        mine = by_executor(program, tensors, given, level=level, half=True, **how)  # type: ignore[arg-type]
        agree(mine, theirs, WITHIN)


def two_products(inputs: int, width: int) -> Program:
    """A product of a product, so that the gradient has one whose left side is no leaf."""
    b = Builder()
    x = b.add("input", width=inputs, data=("x",))
    h = b.add("input", width=width, data=("state.h",))
    left = b.add("tanh", b.add("add", b.add("product", h, width=inputs, data=("A", True)), x))
    y = b.add("tanh", b.add("product", left, width=width, data=("B", False)))
    return b.finish({"y": y, "state.h'": y})


@pytest.mark.parametrize("batch", [1, 2, 5, 20])
@pytest.mark.parametrize("width", [1, 3, 16, 65, 129])
def test_products_of_any_size(width: int, batch: int) -> None:
    compare(two_products(7, width), 3, batch)


def test_more_rows_than_are_rounded_at_once() -> None:
    compare(two_products(700, 30), 2, 300)


@pytest.mark.parametrize("reverse", [False, True])
def test_sequences_that_have_ended(reverse: bool) -> None:
    compare(two_products(9, 33), 5, 4, lengths=torch.tensor([0, 5, 1, 3]), reverse=reverse)


def test_threads_share_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "WORK_PER_THREAD", 1)
    torch.set_num_threads(3)
    compare(two_products(65, 129), 7, 5)


def product_of(x: Tensor, matrix: Tensor, level: str) -> Tensor:
    b = Builder()
    left = b.add("input", width=x.shape[1], data=("x",))
    program = b.finish({"y": b.add("product", left, width=matrix.shape[1], data=("W", False))})
    shaped = x.unsqueeze(0)
    given = {"y": torch.ones(1, len(x), matrix.shape[1])}
    return by_executor(program, {"x": shaped, "W": matrix}, given, level=level, half=True).outputs["y"][0]


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_multiplied_is_rounded_to_the_nearest_and_ties_to_even(level: str) -> None:
    ulp = 2.0**-7
    given = torch.tensor([1 + ulp / 2, 1 + 3 * ulp / 2, 1 + ulp * 0.51, 1 + ulp * 0.49, -1 - ulp / 2, 3.0e38])
    wanted = given.bfloat16().float()
    assert wanted[:5].tolist() == [1, 1 + 2 * ulp, 1 + ulp, 1, -1]
    assert torch.equal(product_of(given.diag(), torch.eye(6), level).diag(), wanted)
    assert torch.equal(product_of(torch.eye(6), given.diag(), level).diag(), wanted)


@pytest.mark.parametrize("level", LEVELS)
def test_sums_are_float32(level: str) -> None:
    x = torch.full((1, 4097), 2.0**-12)
    x[0, 0] = 1.0
    (total,) = product_of(x, torch.ones(4097, 1), level)
    assert total.item() == 2.0  # in bfloat16, 1 + 2⁻¹² is 1


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_stays_so(value: float, level: str) -> None:
    x = torch.ones(1, 3)
    x[0, 1] = value
    got = product_of(x, torch.ones(3, 2), level)
    assert torch.equal(got.isnan(), x[:, :2].new_full((1, 2), value).isnan())
    assert torch.allclose(got, x.sum().expand(1, 2), equal_nan=True)


def test_every_bit_pattern_of_a_nan_stays_one() -> None:
    patterns = torch.tensor([0x7FFFFFFF, 0x7F800001, -1, 0x7FC00000], dtype=torch.int32).view(torch.float32)
    for level in LEVELS:
        assert product_of(patterns.unsqueeze(1), torch.ones(1, 1), level).isnan().all()


def derived(cell: Cell, x: Tensor, state: Any, way: Any, **how: Any) -> list[Tensor]:
    """Outputs, last state, and the gradients of all that goes in, for cotangents that bfloat16 holds."""
    x = x.detach().requires_grad_()
    state = states.transform(lambda leaf: leaf.detach().requires_grad_(), state)
    outputs, last = way(cell, x, state, how.get("lengths"), reverse=how.get("reverse", False))
    values = [outputs, *(leaf for _, leaf in states.leaves(last))]
    generator = torch.Generator().manual_seed(8)
    given = [torch.randn(v.shape, generator=generator).bfloat16().to(v.dtype) for v in values]
    inputs = [x, *(leaf for _, leaf in states.leaves(state)), *cell.parameters()]
    found = torch.autograd.grad(values, inputs, given, allow_unused=True)
    return [*values, *(torch.zeros_like(i) if g is None else g for g, i in zip(found, inputs, strict=True))]


def emulated(cell: Cell, x: Tensor, state: Any, **how: Any) -> list[Tensor]:
    """By the loop over the equations in float64, all factors of products rounded."""
    exact = states.transform(lambda leaf: leaf.double(), state)
    with Rounding():
        return derived(copy.deepcopy(cell).double(), x.double(), exact, definition.scan, **how)


def started(cell: Cell, batch: int) -> Any:
    dtype = next(cell.parameters()).dtype
    return states.transform(lambda leaf: leaf + torch.rand(leaf.shape).to(dtype), cell.initial_state(batch))


def off(mine: list[Tensor], theirs: list[Tensor]) -> list[float]:
    """How far apart, relative in norm."""
    assert all(torch.isfinite(a).all() for a in mine)
    return [
        float((a.detach().double() - b.detach().double()).norm() / (b.detach().double().norm() + 1e-3))
        for a, b in zip(mine, theirs, strict=True)
    ]


SEQUENCES: list[dict[str, Any]] = [{}, {"lengths": torch.tensor([0, 7, 1, 4, 6]), "reverse": True}]


@pytest.mark.parametrize("how", SEQUENCES, ids=["whole", "lengths, reversed"])
@pytest.mark.parametrize("name", CELLS)
def test_every_cell_under_autocast_is_its_definition_with_rounded_factors(
    name: str, how: dict[str, Any]
) -> None:
    cell = CELLS[name](33, 33)
    x, state = torch.randn(7, 5, 33), started(cell, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mine = derived(cell, x, state, choose.scan, **how)
    assert {value.dtype for value in mine} == {torch.float32}
    assert max(off(mine, emulated(cell, x, state, **how))) <= (10 if name == "layer-norm" else 2) * WITHIN
    plain = off(mine, derived(cell, x, state, choose.scan, **how))
    assert 1e-3 < max(plain) < 0.2
    assert plain[0] < 0.02


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_in_bfloat16_rounds_what_leaves_it(name: str) -> None:
    cell = CELLS[name](33, 33).bfloat16()
    x, state = torch.randn(7, 5, 33).bfloat16(), started(cell, 5)
    mine = derived(cell, x, state, choose.scan)
    assert {value.dtype for value in mine} == {torch.bfloat16}
    theirs = [value.bfloat16() for value in emulated(cell, x, state)]
    # A value near the middle between two bfloat16 numbers may become either.
    assert max(off(mine, theirs)) <= (10 if name == "layer-norm" else 4) * WITHIN


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (7, 1, 2, 3), (1, 20, 5, 65), (7, 2, 5, 129)], ids=str)
@pytest.mark.parametrize("name", ["lstm", "gru", "gru-reset-before", "peephole-full", "rhn", "nas"])
def test_odd_sizes(name: str, sizes: tuple[int, ...]) -> None:
    steps, batch, inputs, hidden = sizes
    cell = CELLS[name](inputs, hidden)
    x, state = torch.randn(steps, batch, inputs), started(cell, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mine = derived(cell, x, state, choose.scan)
    assert max(off(mine, emulated(cell, x, state))) <= 2 * WITHIN


def test_it_is_closer_to_float32_than_torch_under_autocast() -> None:
    cell, reference = LSTM(65, 65), torch.nn.LSTM(65, 65)
    with torch.no_grad():
        for mine, theirs in zip(
            cell.parameters(),
            [reference.weight_ih_l0, reference.weight_hh_l0, reference.bias_ih_l0],
            strict=True,
        ):
            theirs.copy_(mine)
        reference.bias_hh_l0.zero_()
        x = torch.randn(20, 5, 65)
        exact, _ = reference(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            torchs, mine = reference(x)[0], cell.scan(x)[0]
    assert 1e-3 < off([mine], [exact])[0] < off([torchs], [exact])[0]


def test_what_is_mixed_is_returned_in_float32() -> None:
    cell = GRU(2, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs, state = cell.scan(torch.randn(5, 4, 2).bfloat16())
        assert (outputs.dtype, state.h.dtype) == (torch.float32, torch.float32)
        outputs, state = copy.deepcopy(cell).bfloat16().scan(torch.randn(5, 4, 2).bfloat16())
        assert (outputs.dtype, state.h.dtype) == (torch.bfloat16, torch.bfloat16)


def test_float64_under_autocast_stays_exact() -> None:
    cell, x = LSTM(5, 7).double(), torch.randn(4, 3, 5).double()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mine, _ = cell.scan(x)
    assert torch.equal(mine, cell.scan(x)[0])


def test_a_second_derivative_is_that_of_float32() -> None:
    cell, x = GRU(3, 5), torch.randn(4, 2, 3, requires_grad=True)

    def penalty() -> Tensor:
        (d,) = torch.autograd.grad(cell.scan(x)[0].square().sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(d.square().sum(), cell.weight_h)
        return second

    with torch.autocast("cpu", dtype=torch.bfloat16):
        mine = penalty()
    assert off([mine], [penalty()])[0] < 0.05
