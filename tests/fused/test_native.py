"""The executor on single operations and small Programs, beside PyTorch's own values and gradients."""

import math

import pytest
import torch

from elman.fused import library, native
from elman.fused.plan import compile_program
from elman.fused.program import POINTWISE, Builder, Program
from tests.fused.running import (
    agree,
    by_definition,
    by_executor,
    compiled_here,
    cotangents_for,
    drawn,
    poisoned,  # noqa: F401
    shapes_of,
)

# Half a minute together; the laws run the executor too.
pytestmark = [compiled_here, pytest.mark.slow, pytest.mark.usefixtures("poisoned")]

LEVELS = [
    level for level in library.LEVELS if library.objection() is None and library.load(level) is not None
]


def compare(program: Program, steps: int, batch: int, within: float = 1e-12, **how: object) -> None:
    tensors = drawn(program, steps, batch, seed=steps + 7 * batch)
    given = cotangents_for(shapes_of(program, tensors), seed=batch)
    lengths, reverse = how.get("lengths"), bool(how.get("reverse"))
    mine = by_executor(program, tensors, given, lengths, reverse, how.get("level"))  # type: ignore[arg-type]
    agree(mine, by_definition(program, tensors, given, lengths, reverse), within)  # type: ignore[arg-type]


def recurrent(width: int) -> tuple[Builder, int, int, int]:
    """A Program's beginning: x, h and x + h W."""
    b = Builder()
    x = b.add("input", width=width, data=("x",))
    h = b.add("input", width=width, data=("state.h",))
    return b, x, h, b.add("add", x, b.add("product", h, width=width, data=("W", True)))


def ended(b: Builder, y: int, h: int | None = None) -> Program:
    return b.finish({"y": y, "state.h'": y if h is None else h})


def safe(b: Builder, op: str, value: int, other: int) -> tuple[int, ...]:
    """Arguments on which an operation is smooth and finite."""
    positive = b.add("add", b.add("mul", value, value), b.constant(0.5))
    if op in ("log", "sqrt", "log1p"):
        return (positive,)
    if op == "div":
        return other, positive
    if op == "where":
        return b.add("gt", value, other), value, other
    return (value, other)[: POINTWISE[op]]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("op", POINTWISE)
def test_every_pointwise_operation(op: str, level: str) -> None:
    b, x, _, s = recurrent(5)
    value = b.add(op, *safe(b, op, b.add("tanh", s), x))
    compare(ended(b, b.add("add", b.add("tanh", s), value), b.add("tanh", s)), 4, 3, level=level)


@pytest.mark.parametrize("op", [op for op, count in POINTWISE.items() if count == 2])
@pytest.mark.parametrize("left", [False, True])
def test_a_number_on_either_side(op: str, left: bool) -> None:
    b, _, _, s = recurrent(19)
    shifted = b.add("add", b.add("logistic", s), b.constant(0.75))
    args = (b.constant(1.25), shifted) if left else (shifted, b.constant(1.25))
    compare(ended(b, b.add("tanh", b.add("add", shifted, b.add(op, *args)))), 3, 2)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("op", "values", "worst"),
    [
        ("exp", (-100.0, 88.0), 2.5), ("log", (1e-38, 1e38), 2.5), ("log1p", (-0.999, 50.0), 4.0),
        ("sqrt", (0.0, 1e30), 1.0), ("erf", (-4.0, 4.0), 3.0), ("tanh", (-12.0, 12.0), 3.0),
        ("logistic", (-80.0, 80.0), 3.5), ("softplus", (-60.0, 60.0), 4.0),
    ],
)  # fmt: skip
def test_functions_in_float32_are_right_to_a_few_units(
    op: str, values: tuple[float, float], worst: float, level: str
) -> None:
    low, high = values
    spread = torch.linspace(low, high, 40_000, dtype=torch.float64)
    small = torch.logspace(-30, 0, 4_000, dtype=torch.float64)
    x = torch.cat([spread, small[small <= high], -small[-small >= low]])
    if op == "log":
        x = torch.logspace(-37.5, 38, 40_000, dtype=torch.float64)
    x = x.float()
    exact = {"logistic": torch.sigmoid, "softplus": torch.nn.functional.softplus}.get(op) or getattr(
        torch, op
    )
    wanted = exact(x.double()) if op != "softplus" else torch.log1p(torch.exp(x.double()))
    got = applied(op, x, level).double()
    unit = 2.0 ** (torch.floor(torch.log2(wanted.abs().clamp(min=2.0**-126))) - 23)
    assert float(((got - wanted).abs() / unit).max()) <= worst


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", library.PRECISIONS)
@pytest.mark.parametrize(
    "op", ["exp", "log", "log1p", "sqrt", "erf", "tanh", "logistic", "softplus", "abs", "neg"]
)
def test_functions_at_the_ends_of_the_numbers(op: str, dtype: torch.dtype, level: str) -> None:
    x = torch.tensor([0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, 200.0, -200.0], dtype=dtype)
    named = {"logistic": torch.sigmoid, "softplus": torch.nn.functional.softplus}
    wanted = named.get(op, getattr(torch, op, None))(x)  # type: ignore[misc]
    assert torch.allclose(applied(op, x, level), wanted, rtol=1e-6, atol=1e-30, equal_nan=True)


@pytest.mark.parametrize("op", ["max", "min"])
def test_a_maximum_of_anything_and_not_a_number_is_not_a_number(op: str) -> None:
    b = Builder()
    value = b.add(op, b.add("input", width=3, data=("x",)), b.add("vector", width=3, data=("v",)))
    x, nan = torch.tensor([[[math.nan, 1.0, 2.0]]]), torch.tensor([5.0, math.nan, 1.0])
    program = b.finish({"y": value})
    got = by_executor(program, {"x": x, "v": nan}, {"y": torch.zeros(1, 1, 3)}).outputs["y"]
    assert torch.equal(got.isnan(), torch.tensor([[[True, True, False]]]))


def applied(op: str, x: torch.Tensor, level: str) -> torch.Tensor:
    b = Builder()
    program = b.finish({"y": b.add(op, b.add("input", width=x.numel(), data=("x",)))})
    shaped = {"x": x.view(1, 1, -1)}
    return (
        by_executor(program, shaped, {"y": torch.zeros_like(shaped["x"])}, level=level).outputs["y"].flatten()
    )


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("batch", [1, 2, 5, 7, 20])
@pytest.mark.parametrize("width", [1, 3, 16, 65, 129])
def test_products_of_any_size(width: int, batch: int, level: str) -> None:
    b = Builder()
    x = b.add("input", width=7, data=("x",))
    h = b.add("input", width=width, data=("state.h",))
    left = b.add("add", b.add("product", h, width=7, data=("A", True)), x)
    right = b.add("product", left, width=width, data=("B", False))
    compare(ended(b, b.add("tanh", right)), 3, batch, level=level)


def test_products_deeper_than_a_block() -> None:
    b, _, h, s = recurrent(700)
    compare(ended(b, b.add("tanh", b.add("mul", s, h))), 2, 3)


def test_the_rows_of_many_steps_are_summed_in_blocks() -> None:
    b, _, _, s = recurrent(6)
    compare(ended(b, b.add("tanh", s)), 150, 17, within=1e-11)


def test_a_matrix_used_twice_and_both_ways() -> None:
    b, x, _, s = recurrent(9)
    again = b.add("product", b.add("tanh", s), width=9, data=("W", False))
    compare(ended(b, b.add("tanh", b.add("add", again, x))), 4, 3)


@pytest.mark.parametrize("width", [1, 3, 65])
def test_gates_are_columns_of_one_product(width: int) -> None:
    b = Builder()
    x = b.add("input", width=5 * width, data=("x",))
    h = b.add("input", width=width, data=("state.h",))
    s = b.add("add", x, b.add("product", h, width=5 * width, data=("W", True)))
    gates = [b.add("logistic", b.columns(s, k * width, (k + 1) * width)) for k in range(5)]
    value = gates[0]
    for gate in gates[1:]:
        value = b.add("sub", b.constant(1), b.add("mul", gate, value))
    compare(ended(b, value), 4, 3)


def test_columns_cut_at_odd_places_and_joined() -> None:
    b = Builder()
    x = b.add("input", width=11, data=("x",))
    h = b.add("input", width=7, data=("state.h",))
    s = b.add("product", b.add("concat", h, x, width=18), width=12, data=("W", True))
    left, right = b.columns(s, 0, 5), b.columns(s, 3, 12)
    joined = b.add(
        "concat", b.add("tanh", left), b.add("mul", b.columns(x, 2, 4), b.columns(right, 1, 3)), width=7
    )
    compare(ended(b, b.add("concat", joined, b.add("logistic", right), width=16), joined), 4, 3)


def test_columns_turned_in_a_circle() -> None:
    b, x, h, _ = recurrent(6)
    turned = b.add("concat", b.columns(h, 4, 6), b.columns(h, 0, 4), width=6)
    y = b.add("tanh", b.add("add", turned, x))
    compare(ended(b, y, b.add("concat", b.columns(y, 1, 6), b.columns(y, 0, 1), width=6)), 5, 2)


@pytest.mark.parametrize("op", ["sum", "max_row"])
@pytest.mark.parametrize("width", [1, 3, 65])
def test_sums_and_maxima_over_a_row(op: str, width: int) -> None:
    b, x, _, s = recurrent(width)
    scale = b.add("logistic", b.add(op, b.add("tanh", s), width=1))
    gated = b.add("where", b.add("gt", scale, x), b.add("mul", x, scale), b.add("div", scale, b.constant(3)))
    compare(ended(b, b.add("tanh", b.add("add", gated, s))), 4, 3)


@pytest.mark.parametrize("op", ["sum", "max_row"])
def test_a_row_that_is_read_may_be_wider_than_all_that_is_made_of_it(op: str) -> None:
    """It once was written past the end of the registers."""
    b = Builder()
    x, h = b.add("input", width=300, data=("x",)), b.add("input", width=3, data=("state.h",))
    program = ended(b, b.add("tanh", b.add("add", h, b.add(op, x, width=1))))
    chosen = library.load()
    assert chosen is not None
    plan = compile_program(program, {"state.h": "state.h'"}, chosen.operations)
    assert [stage.width for stage in plan.stages] == [300]
    compare(program, 4, 3)


def test_one_column_beside_many() -> None:
    b, x, h, s = recurrent(17)
    gate = b.add("logistic", b.add("product", h, width=1, data=("v", True)))
    scalar = b.add("vector", width=1, data=("a",))
    mixed = b.add("add", b.add("mul", gate, b.add("tanh", s)), b.add("mul", scalar, b.add("logistic", gate)))
    compare(ended(b, b.add("tanh", b.add("mul", mixed, x))), 4, 3)


def test_vectors_are_summed_over_steps_and_rows() -> None:
    b, x, h, s = recurrent(33)
    p = b.add("vector", width=33, data=("p",))
    compare(ended(b, b.add("tanh", b.add("add", b.add("mul", p, h), b.add("mul", x, s)))), 6, 20)


@pytest.mark.parametrize("level", LEVELS)
def test_the_sum_of_one_column_among_wider_values_is_written_nowhere_else(
    level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the first thread's stand those of the others; one vector further, that of the last one."""
    chosen = library.load(level)
    assert chosen is not None
    lanes = chosen.vector_bytes // 8
    monkeypatch.setattr(native, "WORK_PER_THREAD", 1)
    torch.set_num_threads(lanes + 1)
    b, _, _, s = recurrent(2 * lanes * (lanes + 1))  # two vectors of columns for each thread
    one = b.add("tanh", b.add("add", b.add("vector", width=1, data=("p",)), b.add("sum", s, width=1)))
    compare(b.finish({"y": one, "state.h'": b.add("tanh", s)}), 6, 2, within=1e-11, level=level)


def test_states_that_stand_still_or_are_never_read() -> None:
    b = Builder()
    x = b.add("input", width=3, data=("x",))
    h = b.add("input", width=3, data=("state.h",))
    program = b.finish({"y": b.add("mul", x, h), "state.h'": h, "state.c'": b.add("tanh", x)})
    tensors = drawn(program, 3, 2, seed=1) | {"state.c": torch.randn(2, 3, dtype=torch.float64)}
    given = cotangents_for(shapes_of(program, tensors), seed=2)
    agree(by_executor(program, tensors, given), by_definition(program, tensors, given), 1e-12)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 2, 20])
def test_threads_share_columns_and_rows(
    threads: int, batch: int, reverse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "WORK_PER_THREAD", 1)
    torch.set_num_threads(threads)
    b, x, _, s = recurrent(65)
    again = b.add("product", b.add("tanh", s), width=65, data=("A", False))
    mean = b.add("mul", b.add("sum", again, width=1), b.constant(1 / 65))
    program = ended(b, b.add("tanh", b.add("sub", again, mean)), b.add("mul", x, b.add("logistic", again)))
    lengths = torch.arange(batch) * 3 % 8
    for _ in range(5):  # a race shows only now and then
        compare(program, 7, batch, within=1e-11, reverse=reverse)
        compare(program, 7, batch, within=1e-11, reverse=reverse, lengths=lengths)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [[0, 5, 1, 3], [5, 5, 5, 5], [0, 0, 0, 0], [2, 2, 4, 1]], ids=str)
def test_past_the_end_nothing_is_read(lengths: list[int], reverse: bool) -> None:
    b, x, h, s = recurrent(3)
    p = b.add("vector", width=3, data=("p",))
    program = ended(b, b.add("tanh", b.add("add", s, b.add("mul", p, b.add("mul", x, h)))))
    tensors = drawn(program, 5, 4, seed=3)
    given = cotangents_for(shapes_of(program, tensors), seed=4)
    ends = torch.tensor(lengths)
    theirs = by_definition(program, tensors, given, ends, reverse)
    for row, length in enumerate(lengths):
        tensors["x"][length:, row] = math.nan
    mine = by_executor(program, tensors, given, ends, reverse)
    agree(mine, theirs, 1e-12)
    for row, length in enumerate(lengths):
        assert (mine.outputs["y"][length:, row] == 0).all()
        assert (mine.gradients["x"][length:, row] == 0).all()
