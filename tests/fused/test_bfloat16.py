"""Products in bfloat16, beside PyTorch's in float64 of operands that were rounded to bfloat16."""

import pytest
import torch
from torch import Tensor

from elman.fused import library, native
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
