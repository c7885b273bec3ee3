"""Laws of every recurrence: one test each, swept over all cells of ``CELLS``, their variants, and a stack."""

from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from elman import states
from elman.cells import (
    CELLS,
    GRU,
    LSTM,
    MUT1,
    MUT2,
    RHN,
    Cell,
    Elman,
    GRUResetBefore,
    MogrifierLSTM,
    ProjectedLSTM,
)
from elman.cells.cell import Recurrence
from elman.layers import Stack
from tests.fused.running import by_definition_alone

Make = Callable[[int, int], Recurrence]

# Cells that (X, H) alone does not make at every size, and how it is made here.
WITH_MORE: dict[str, Make] = {
    "mut1": lambda x, h: MUT1(x, h, projected=True),
    "mut2": lambda x, h: MUT2(x, h, projected=True),
}
VARIANTS: dict[str, Make] = {
    "elman relu": lambda x, h: Elman(x, h, "relu"),
    "elman logistic": lambda x, h: Elman(x, h, "logistic"),
    "lstm forget bias": lambda x, h: LSTM(x, h, forget_bias=1.5),
    "lstmp as wide as its memory": lambda x, h: ProjectedLSTM(x, h, projection_size=h),
    "mogrifier of two rounds": lambda x, h: MogrifierLSTM(x, h, rounds=2),
    "rhn of one layer": lambda x, h: RHN(x, h, depth=1),
    "literal mut1 and mut2": lambda x, h: Stack([Elman(x, h), MUT1(h, h), MUT2(h, h)]),
    "stack": lambda x, h: Stack([LSTM(x, h + 1), GRU(h + 1, h), Elman(h, h + 2), GRUResetBefore(h + 2, h)]),
}
RECURRENCES: dict[str, Make] = {**CELLS, **WITH_MORE, **VARIANTS}
SIZES = [(1, 1, 1, 1), (4, 3, 2, 3), (5, 2, 7, 65)]  # T, B, X, H

everything = pytest.mark.parametrize("make", RECURRENCES.values(), ids=RECURRENCES.keys())
at_all_sizes = pytest.mark.parametrize("sizes", SIZES, ids=str)


def test_the_sweep_is_complete() -> None:
    assert len(CELLS) == 28
    assert len(RECURRENCES) == 28 + 8
    assert set(WITH_MORE) <= set(CELLS)
    assert {size[3] for size in SIZES} == {1, 3, 65}


@pytest.fixture(params=["chosen", "definition"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a law once by the way that ``choose`` picks and once by the definition."""
    if request.param == "definition":
        by_definition_alone(monkeypatch)
    return request.param


@everything
@at_all_sizes
@pytest.mark.usefixtures("way")
def test_scan_is_step_folded(make: Make, sizes: tuple[int, ...]) -> None:
    recurrence, x, state = drawn(make, *sizes)
    outputs, last = recurrence.scan(x, state)
    folded = []
    for t in range(sizes[0]):
        output, state = recurrence.step(x[t], state)
        folded.append(output)
    same(outputs, torch.stack(folded))
    same_states(last, state)


@everything
@pytest.mark.usefixtures("way")
def test_without_a_state_a_scan_starts_from_the_initial_one(make: Make) -> None:
    recurrence, x, _ = drawn(make, 4, 3, 2, 3)
    outputs, last = recurrence.scan(x)
    other, also = recurrence.scan(x, recurrence.initial_state(3))
    same(outputs, other)
    same_states(last, also)


@everything
@at_all_sizes
@pytest.mark.usefixtures("way")
def test_two_chunks_joined_are_one(make: Make, sizes: tuple[int, ...]) -> None:
    recurrence, x, state = drawn(make, *sizes)
    x.requires_grad_()
    cut = sizes[0] // 2
    whole, last = recurrence.scan(x, state)
    first, middle = recurrence.scan(x[:cut], state)
    second, end = recurrence.scan(x[cut:], middle)
    joined = torch.cat([first, second])
    same(whole, joined)
    same_states(last, end)
    weight = torch.randn_like(whole)
    one = torch.autograd.grad((whole * weight).sum(), [x, *recurrence.parameters()])
    two = torch.autograd.grad((joined * weight).sum(), [x, *recurrence.parameters()])
    for a, b in zip(one, two, strict=True):
        same(a, b)


@everything
@pytest.mark.parametrize("hidden", [1, 3, 65])
@pytest.mark.parametrize("lengths", [[0, 5, 1, 3], [1], [0], [5, 5], [2, 2, 4]], ids=str)
@pytest.mark.usefixtures("way")
def test_padding_changes_nothing(make: Make, hidden: int, lengths: list[int]) -> None:
    recurrence, x, state = drawn(make, 5, len(lengths), 2, hidden)
    for row, length in enumerate(lengths):
        x[length:, row] = float("nan")
    x.requires_grad_()
    leaves = [leaf.requires_grad_() for _, leaf in states.leaves(state)]
    inputs = [x, *leaves, *recurrence.parameters()]
    outputs, last = recurrence.scan(x, state, torch.tensor(lengths))
    weight = torch.randn_like(outputs)
    together = gradients((outputs * weight).sum() + total(last), inputs)

    apart: list[Tensor] = [torch.zeros_like(each) for each in inputs]
    for row, length in enumerate(lengths):
        assert (outputs[length:, row] == 0).all()
        start = states.select(state, torch.tensor([row]))
        alone, end = recurrence.scan(x[:length, row : row + 1], start)
        same(outputs[:length, row], alone[:, 0])
        same_states(states.select(last, torch.tensor([row])), end)
        if length == 0:
            assert all(torch.equal(a, b) for a, b in zip(flat(end), flat(start), strict=True))
        part = gradients((alone * weight[:length, row : row + 1]).sum() + total(end), inputs)
        apart = [a + b for a, b in zip(apart, part, strict=True)]
        assert (together[0][length:, row] == 0).all()
    for a, b in zip(together, apart, strict=True):
        same(a, b)


@everything
@pytest.mark.parametrize("lengths", [[5, 5], [0, 5, 1, 3]], ids=str)
@pytest.mark.usefixtures("way")
def test_reversed_each_sequence_is_read_from_its_end(make: Make, lengths: list[int]) -> None:
    recurrence, x, state = drawn(make, 5, len(lengths), 2, 3)
    for row, length in enumerate(lengths):
        x[length:, row] = float("nan")
    x.requires_grad_()
    leaves = [leaf.requires_grad_() for _, leaf in states.leaves(state)]
    inputs = [x, *leaves, *recurrence.parameters()]
    ragged = min(lengths) < 5
    outputs, last = recurrence.scan_reversed(x, state, torch.tensor(lengths) if ragged else None)
    weight = torch.randn_like(outputs)
    together = gradients((outputs * weight).sum() + total(last), inputs)

    apart: list[Tensor] = [torch.zeros_like(each) for each in inputs]
    for row, length in enumerate(lengths):
        assert (outputs[length:, row] == 0).all()
        start = states.select(state, torch.tensor([row]))
        turned, end = recurrence.scan(x[:length, row : row + 1].flip(0), start)
        same(outputs[:length, row], turned[:, 0].flip(0))
        same_states(states.select(last, torch.tensor([row])), end)
        part = gradients((turned.flip(0) * weight[:length, row : row + 1]).sum() + total(end), inputs)
        apart = [a + b for a, b in zip(apart, part, strict=True)]
    for a, b in zip(together, apart, strict=True):
        same(a, b)


@everything
@at_all_sizes
@pytest.mark.usefixtures("way")
def test_rows_of_a_batch_are_strangers(make: Make, sizes: tuple[int, ...]) -> None:
    steps, _, features, hidden = sizes
    recurrence, x, state = drawn(make, steps, 4, features, hidden)
    x.requires_grad_()
    mine = torch.tensor([2])
    outputs, last = recurrence.scan(x, state)
    (gradient,) = torch.autograd.grad(outputs[:, 2].sum() + total(states.select(last, mine)), x)
    assert (gradient[:, [0, 1, 3]] == 0).all()
    assert (gradient[:, 2] != 0).any()
    others = torch.randn_like(x)
    others[:, 2] = x[:, 2]
    outputs_of_others, last_of_others = recurrence.scan(others.detach(), state)
    assert torch.equal(outputs[:, 2], outputs_of_others[:, 2])
    assert not torch.equal(outputs, outputs_of_others)
    same_states(states.select(last, mine), states.select(last_of_others, mine))


@everything
@pytest.mark.parametrize("t", [0, 2])
@pytest.mark.usefixtures("way")
def test_no_output_sees_the_future(make: Make, t: int) -> None:
    recurrence, x, state = drawn(make, 5, 3, 2, 3)
    x.requires_grad_()
    outputs, _ = recurrence.scan(x, state)
    (gradient,) = torch.autograd.grad(outputs[t].sum(), x)
    assert (gradient[t + 1 :] == 0).all()
    assert all((gradient[s] != 0).any() for s in range(t + 1))


@pytest.mark.slow
@everything
@pytest.mark.parametrize("lengths", [None, [3, 0, 1]], ids=str)
@pytest.mark.usefixtures("way")
def test_gradients_are_those_of_finite_differences(make: Make, lengths: list[int] | None) -> None:
    recurrence, x, state = drawn(make, 3, 3, 2, 2)
    given = None if lengths is None else torch.tensor(lengths)
    x.requires_grad_()
    leaves = [leaf.requires_grad_() for _, leaf in states.leaves(state)]

    def values(*_: Tensor) -> tuple[Tensor, ...]:
        outputs, last = recurrence.scan(x, state, given)
        return outputs, *flat(last)

    assert torch.autograd.gradcheck(values, (x, *leaves, *recurrence.parameters()), fast_mode=False)


@everything
@at_all_sizes
@pytest.mark.parametrize("ragged", [False, True])
def test_the_chosen_way_equals_the_definition(
    make: Make, sizes: tuple[int, ...], ragged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, batch, features, hidden = sizes
    recurrence, x, state = drawn(make, steps, batch, features, hidden, torch.float32)
    lengths = torch.tensor([steps, 0, 1][:batch]) if ragged else None
    x.requires_grad_()
    leaves = [leaf.requires_grad_() for _, leaf in states.leaves(state)]
    inputs = [x, *leaves, *recurrence.parameters()]
    weight = torch.randn(steps, batch, recurrence.output_size)

    def run() -> Iterator[Tensor]:
        outputs, last = recurrence.scan(x, state, lengths)
        yield from (outputs, *flat(last))
        yield from gradients((outputs * weight).sum() + total(last), inputs)

    chosen = list(run())
    by_definition_alone(monkeypatch)
    defined = list(run())
    recurrence.double()
    x, state, weight = (
        x.detach().double().requires_grad_(),
        states.transform(Tensor.double, state),
        weight.double(),
    )
    inputs = [x, *flat(state), *recurrence.parameters()]
    exact = list(run())
    assert len(chosen) == len(defined) == len(exact) > len(inputs)
    for a, b, truth in zip(chosen, defined, exact, strict=True):
        # However small a result, values around 1 may stand before it, whose rounding stays: the gradient
        # through a layer norm over one column is nothing but that.
        rounding = 6e-8
        assert (a - b).norm() <= 1e-5 * b.norm() + rounding
        # Twice the definition's own distance from float64, and a floor: the definition may be exact by chance
        # (a gradient of a few numbers), 1e-6 being some 16 roundings in a row.
        assert (a - truth).norm() <= 2 * (b - truth).norm() + 1e-6 * truth.norm() + rounding


@pytest.mark.slow
@everything
def test_double_backward_works_by_the_definition(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    by_definition_alone(monkeypatch)
    recurrence, x, state = drawn(make, 2, 2, 1, 2)
    x.requires_grad_()

    def values(*_: Tensor) -> tuple[Tensor, ...]:
        return (recurrence.scan(x, state, torch.tensor([2, 1]))[0],)

    assert torch.autograd.gradgradcheck(values, (x, *recurrence.parameters()))


@pytest.mark.slow
@everything
@pytest.mark.parametrize("ragged", [False, True])
def test_compiled_whole_it_gives_the_same(make: Make, ragged: bool) -> None:
    """``torch.compile`` does not break: one graph, forward and backward."""
    recurrence, x, state = drawn(make, 4, 3, 2, 3, torch.float32)
    lengths = torch.tensor([4, 0, 1]) if ragged else None
    x.requires_grad_()
    inputs = [x, *(leaf.requires_grad_() for leaf in flat(state)), *recurrence.parameters()]
    weight = torch.randn(4, 3, recurrence.output_size)

    def run(scan: Callable[..., tuple[Tensor, Any]]) -> list[Tensor]:
        outputs, last = scan(x, state, lengths)
        return [outputs, *flat(last), *gradients((outputs * weight).sum() + total(last), inputs)]

    def scan(x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        return recurrence.scan(x, state, lengths)

    torch._dynamo.reset()
    compiled = torch.compile(scan, fullgraph=True, backend="aot_eager")
    for a, b in zip(run(scan), run(compiled), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


@everything
def test_exchanging_the_parts_of_a_state_changes_the_answer(make: Make) -> None:
    recurrence, x, state = drawn(make, 1, 3, 2, 3)
    if not isinstance(recurrence, Cell):
        return
    outputs, _ = recurrence.scan(x, state)
    for one, other in combinations(state._fields, 2):
        first, second = getattr(state, one), getattr(state, other)
        if first.shape == second.shape:
            exchanged, _ = recurrence.scan(x, state._replace(**{one: second, other: first}))
            assert ((outputs - exchanged).abs().amax(-1) > 1e-3).all(), f"{one} and {other}"


@everything
def test_a_step_is_traced_for_any_batch(make: Make) -> None:
    """No operation in place, no decision by value and no size of the batch stand in ``advance``."""
    recurrence, x, state = drawn(make, 1, 3, 2, 3)
    if not isinstance(recurrence, Cell):
        return

    def step(x: Tensor, state: Any) -> tuple[Tensor, Any]:
        return recurrence.advance(x, state)

    traced = make_fx(step)(recurrence.project(x[0]), state)
    _, x, state = drawn(make, 1, 5, 2, 3)
    given = recurrence.project(4 * x[0]), states.transform(lambda leaf: -3 * leaf, state)
    output, new = traced(*given)
    expected, after = recurrence.advance(*given)
    assert torch.equal(output, expected)
    assert all(torch.equal(a, b) for a, b in zip(flat(new), flat(after), strict=True))
    assert not [node for node in traced.graph.nodes if "_." in str(node.target)], "an operation in place"


@everything
def test_saved_and_reopened_it_is_the_same(make: Make, tmp_path: Path) -> None:
    recurrence, x, state = drawn(make, 4, 3, 2, 3, torch.float32)
    save_file(recurrence.state_dict(), tmp_path / "weights.safetensors")
    reopened = make(2, 3)
    reopened.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    outputs, last = recurrence.scan(x, state)
    again, end = reopened.scan(x, state)
    assert torch.equal(outputs, again)
    assert all(torch.equal(a, b) for a, b in zip(flat(last), flat(end), strict=True))


@everything
@pytest.mark.usefixtures("way")
def test_no_steps_leave_the_state_as_it_was(make: Make) -> None:
    recurrence, x, state = drawn(make, 4, 3, 2, 3)
    outputs, last = recurrence.scan(x[:0], state)
    assert outputs.shape == (0, 3, recurrence.output_size)
    assert all(torch.equal(a, b) for a, b in zip(flat(last), flat(state), strict=True))


def drawn(
    make: Make, steps: int, batch: int, features: int, hidden: int, dtype: torch.dtype = torch.float64
) -> tuple[Recurrence, Tensor, Any]:
    """A recurrence, an input and a state, all of distinct numbers other than zero."""
    recurrence = make(features, hidden).to(dtype)
    with torch.no_grad():
        for parameter in recurrence.parameters():
            lift = 0.6 if parameter.dim() == 1 else 0.05  # a bias that keeps most rectified units awake
            parameter.copy_(torch.randn_like(parameter) / parameter.shape[-1] ** 0.5 + lift)
    x = torch.randn(steps, batch, features, dtype=dtype)
    state = states.transform(
        lambda leaf: torch.randn(leaf.shape, dtype=dtype) * 0.7, recurrence.initial_state(batch)
    )
    if hasattr(state, "n"):  # a normaliser is a sum of positive numbers
        state = state._replace(n=state.n.abs() + 0.5)
    return recurrence, x, state


def flat(state: Any) -> list[Tensor]:
    return [leaf for _, leaf in states.leaves(state)]


def total(state: Any) -> Tensor:
    """A scalar that every number of a state moves, each by another amount."""
    return sum(
        ((leaf * torch.linspace(0.3, 1.7, leaf.shape[-1], dtype=leaf.dtype)).sum() for leaf in flat(state)),
        torch.zeros(()),
    )


def gradients(value: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(value, inputs, allow_unused=True)
    return [
        torch.zeros_like(one) if gradient is None else gradient
        for one, gradient in zip(inputs, found, strict=True)
    ]


def same(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def same_states(a: Any, b: Any) -> None:
    for (name, one), (also, other) in zip(states.leaves(a), states.leaves(b), strict=True):
        assert name == also
        same(one, other)
