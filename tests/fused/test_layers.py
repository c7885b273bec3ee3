"""Scans of several cells in one native call: values, states, gradients of the definition, layer by layer."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from elman import states
from elman.cells import GRU, LSTM, MGU, RHN, SLSTM, Cell, Elman
from elman.cells.cell import Encoder
from elman.cells.noise import Noise, Noisy
from elman.errors import ShapeError
from elman.fused import definition, native
from elman.fused.library import Library
from elman.layers import Bidirectional, EncoderStack, Stack
from elman.layers.bidirectional import BidirectionalState
from tests.fused.running import compiled_here, poisoned  # noqa: F401

pytestmark = [compiled_here, pytest.mark.usefixtures("poisoned")]

PILES: dict[str, Callable[[], Encoder]] = {
    "both": lambda: Bidirectional(LSTM(3, 5), GRU(3, 2)),
    "both, deep": lambda: Bidirectional(RHN(3, 17), LSTM(3, 1)),
    "both, wide": lambda: Bidirectional(SLSTM(3, 4), Elman(3, 33)),
    "stack": lambda: Stack([LSTM(3, 5), GRU(5, 18), RHN(18, 2)]),
    "stack of one": lambda: Stack([MGU(3, 5)]),
    "encoders": lambda: EncoderStack(
        [
            GRU(3, 4),
            Bidirectional(LSTM(4, 5), Elman(4, 2)),
            Elman(7, 6),
            Bidirectional(GRU(6, 17), LSTM(6, 3)),
        ]
    ),
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Gets an entry for each native call: the scans of each of its layers. Any work is worth a thread."""
    seen: list[list[int]] = []
    scan = Library.scan

    def counted(library: Library, jobs: Any, products: torch.dtype) -> None:
        numbers = [job.layer for job in jobs]
        seen.append([numbers.count(layer) for layer in dict.fromkeys(numbers)])
        scan(library, jobs, products)

    monkeypatch.setattr(Library, "scan", counted)
    monkeypatch.setattr(native, "WORK_PER_THREAD", 1)
    return seen


def layers(net: Encoder, threads: int) -> list[list[int]]:
    """The scans of each layer: at once, or on one thread one by one."""
    each = getattr(net, "cells", [net])
    return [([2] if threads > 1 else [1, 1]) if isinstance(one, Bidirectional) else [1] for one in each]


def by_definition(
    net: Any, x: Tensor, start: Any, lengths: Tensor | None, reverse: bool = False
) -> tuple[Tensor, Any]:
    if isinstance(net, Cell):
        return definition.scan(net, x, start, lengths, reverse=reverse)
    if isinstance(net, Bidirectional):
        there, last = by_definition(net.forwards, x, start.forwards, lengths)
        back, first = by_definition(net.backwards, x, start.backwards, lengths, reverse=True)
        return torch.cat([there, back], dim=-1), BidirectionalState(last, first)
    ends = []
    for cell, state in zip(net.cells, start, strict=True):
        x, end = by_definition(cell, x, state, lengths, reverse)
        ends.append(end)
    return x, tuple(ends)


def begun(net: Encoder, batch: int) -> Any:
    return states.transform(
        lambda leaf: (leaf + torch.rand_like(leaf)).detach().requires_grad_(), net.initial_state(batch)
    )


def derived(net: Encoder, way: Any, x: Tensor, start: Any, lengths: Tensor | None) -> list[Tensor]:
    """Outputs, last states, and the gradients of all that goes in."""
    y, last = way(x, start, lengths)
    values = [y, *(leaf for _, leaf in states.leaves(last))]
    generator = torch.Generator().manual_seed(8)
    total = sum((v * torch.randn(v.shape, generator=generator, dtype=v.dtype)).sum() for v in values)
    inputs = [x, *(leaf for _, leaf in states.leaves(start)), *net.parameters()]
    return [*values, *torch.autograd.grad(total, inputs)]


def agree(mine: list[Tensor], theirs: list[Tensor]) -> None:
    for a, b in zip(mine, theirs, strict=True):
        assert (a - b).norm() <= 1e-11 * (b.norm() + 1e-3)


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("lengths", [None, [5, 0, 3]], ids=str)
@pytest.mark.parametrize("name", PILES)
def test_all_layers_are_the_definition(
    name: str, lengths: list[int] | None, threads: int, calls: list[list[int]]
) -> None:
    net, ends = PILES[name]().double(), None if lengths is None else torch.tensor(lengths)
    x, start = torch.randn(5, 3, 3, dtype=torch.float64, requires_grad=True), begun(net, 3)
    torch.set_num_threads(threads)
    net.scan(x, start, ends)  # what is compared with the definition at first is done
    calls.clear()
    mine = derived(net, net.scan, x, start, ends)
    forward = [[scans for layer in layers(net, threads) for scans in layer]]
    assert calls == forward + layers(net, threads)[::-1]
    agree(mine, derived(net, lambda *given: by_definition(net, *given), x, start, ends))
    calls.clear()
    with torch.no_grad():
        assert torch.equal(net.scan(x, start, ends)[0], mine[0])
    assert calls == forward


def test_a_stack_from_its_end(calls: list[list[int]]) -> None:
    net = Stack([LSTM(3, 5), GRU(5, 2)]).double()
    x, start = torch.randn(5, 3, 3, dtype=torch.float64, requires_grad=True), begun(net, 3)
    ends = torch.tensor([4, 5, 0])
    net.scan(x)
    calls.clear()
    mine = derived(net, net.scan_reversed, x, start, ends)
    assert calls == [[1, 1], [1], [1]]
    agree(mine, derived(net, lambda *given: by_definition(net, *given, reverse=True), x, start, ends))


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_gradients_of_some_layers_alone(frozen: int, calls: list[list[int]]) -> None:
    """Not run backwards: what lies below all that has a gradient, or above all that a loss reads."""
    net = Stack([LSTM(2, 3), GRU(3, 4), Elman(4, 2)]).double()
    net.cells[:frozen].requires_grad_(False)
    x, start = torch.randn(4, 2, 2, dtype=torch.float64), net.initial_state(2)
    asked = [p for p in net.parameters() if p.requires_grad]
    net.scan(x)
    calls.clear()
    mine = torch.autograd.grad(net.scan(x, start)[0].square().sum(), asked)
    assert calls == [[1, 1, 1]] + [[1]] * (3 - frozen)
    theirs = torch.autograd.grad(by_definition(net, x, start, None)[0].square().sum(), asked)
    agree(list(mine), list(theirs))
    if frozen == 2:
        return
    calls.clear()
    middle = list(net.cells[1].parameters())
    mine = torch.autograd.grad(net.scan(x, start)[1][1].h.square().sum(), middle)
    assert calls == [[1, 1, 1], [1]]
    theirs = torch.autograd.grad(by_definition(net, x, start, None)[1][1].h.square().sum(), middle)
    agree(list(mine), list(theirs))


def test_gradients_of_one_direction_alone(calls: list[list[int]]) -> None:
    torch.set_num_threads(2)
    layer = Bidirectional(GRU(2, 3), GRU(2, 2)).double()
    layer.forwards.requires_grad_(False)
    x = torch.randn(4, 2, 2, dtype=torch.float64)
    layer.scan(x)
    calls.clear()
    mine = torch.autograd.grad(layer.scan(x)[0].square().sum(), list(layer.backwards.parameters()))
    assert calls == [[2], [1]]
    y, _ = definition.scan(layer.backwards, x, layer.backwards.initial_state(2), None, reverse=True)
    agree(list(mine), list(torch.autograd.grad(y.square().sum(), list(layer.backwards.parameters()))))
    _, last = layer.scan(x)
    assert last.backwards.h.requires_grad
    assert not last.forwards.h.requires_grad  # or the next scan would take its gradient


def test_second_derivatives() -> None:
    net = EncoderStack([Bidirectional(GRU(2, 3), GRU(2, 2)), Elman(5, 2)]).double()
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: net.scan(x)[0], (x,))
    assert torch.autograd.gradgradcheck(lambda x: net.scan(x)[0], (x,))


def test_products_in_bfloat16(calls: list[list[int]]) -> None:
    """One call too, and no less exact than layer by layer, where outputs are rounded in between."""
    net = Stack([LSTM(6, 8), GRU(8, 5)])
    x = torch.randn(7, 4, 6)
    exact = net.scan(x)[0]
    with torch.autocast("cpu", torch.bfloat16):
        net.scan(x)
        calls.clear()
        y, (lstm, _) = net.scan(x)
    assert calls == [[1, 1]]
    assert y.dtype == lstm.c.dtype == torch.float32
    assert 1e-4 < (y - exact).norm() / exact.norm() < 1e-2
    half, given = net.to(torch.bfloat16), x.to(torch.bfloat16)
    y, (lstm, _) = half.scan(given)
    assert calls[-1] == [1, 1]
    assert y.dtype == lstm.c.dtype == torch.bfloat16
    z = given
    for cell in half.cells:
        z, _ = cell.scan(z)
    layerwise = (z.float() - exact).norm()
    assert (y.float() - exact).norm() <= 1.2 * layerwise
    total = y.float().square().sum()
    assert all(d.dtype == torch.bfloat16 for d in torch.autograd.grad(total, list(half.parameters())))


def test_a_team_smaller_than_planned() -> None:
    """OpenMP may give fewer threads than are asked for: then one scan comes after the other."""
    program = """if True:
        import torch
        from elman.cells import GRU, LSTM
        from elman.fused import native
        from elman.layers import Bidirectional, EncoderStack

        def found(threads):
            torch.set_num_threads(threads)
            torch.manual_seed(3)
            net = EncoderStack([Bidirectional(LSTM(3, 40), GRU(3, 17)), LSTM(57, 33)]).double()
            x = torch.randn(6, 5, 3, dtype=torch.float64, requires_grad=True)
            y, _ = net.scan(x)
            return [y, *torch.autograd.grad(y.square().sum(), [x, *net.parameters()])]

        one = found(1)
        native.WORK_PER_THREAD = 1
        for a, b in zip(one, found(5)):
            torch.testing.assert_close(a, b)
        print("alike")
    """
    given = {**os.environ, "OMP_THREAD_LIMIT": "2"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=given, capture_output=True, text=True, check=False
    )
    assert done.stdout == "alike\n", done.stderr


def test_what_is_done_layer_by_layer_instead(calls: list[list[int]]) -> None:
    """Dropout in between, noise, what recomputes, another scan in place of a cell's: a call for each."""
    first, second = LSTM(3, 4), LSTM(4, 4)
    stack, x = Stack([first, second], dropout=0.5), torch.randn(5, 2, 3)
    second.scan(first.scan(x)[0])

    def seen(net: Encoder = stack) -> list[list[int]]:
        calls.clear()
        net.scan(x)
        return list(calls)

    assert seen() == [[1], [1]]
    stack.eval()
    y, _ = stack.scan(x)
    assert seen() == [[1, 1]]
    noisy = Stack([first, Noisy(second, Noise(output=0.5))])
    noisy.scan(x)
    assert seen(noisy) == [[1], [1]]
    first.store = "recompute"
    torch.testing.assert_close(stack.scan(x)[0], y)
    assert len(seen()) > 1
    first.store = "all"
    inner = second.scan
    second.scan = lambda *given: (2 * inner(*given)[0], None)  # type: ignore[method-assign,assignment]
    torch.testing.assert_close(stack.scan(x)[0], 2 * y)

    class Louder(Bidirectional):
        def scan(self, *given: Any, **more: Any) -> Any:
            outputs, state = super().scan(*given, **more)
            return 3 * outputs, state

    torch.manual_seed(0)
    plain = Bidirectional(GRU(3, 2), GRU(3, 2))
    torch.manual_seed(0)
    louder = EncoderStack([Louder(GRU(3, 2), GRU(3, 2))])
    torch.testing.assert_close(louder.scan(x)[0], 3 * plain.scan(x)[0])


@pytest.mark.parametrize("reverse", [False, True])
def test_a_layer_that_was_exchanged_for_one_that_does_not_fit(reverse: bool) -> None:
    """It is not run on what lies beside its input."""
    stack, x = Stack([LSTM(3, 5), GRU(5, 2)]), torch.randn(4, 2, 3)
    stack.cells[1] = GRU(7, 2)
    with pytest.raises(ShapeError, match=r"x is 4×2×5 \(T B X\); X must be 7."):
        stack.scan_reversed(x) if reverse else stack.scan(x)
    both = EncoderStack([Bidirectional(LSTM(3, 5), GRU(3, 2)), GRU(7, 2)])
    both.cells[0].backwards = GRU(3, 1)
    with pytest.raises(ShapeError, match=r"x is 4×2×6 \(T B X\); X must be 7."):
        both.scan(x)


def test_a_layer_that_puts_out_more_than_it_says() -> None:
    class Wide(Elman):
        def advance(self, x: Tensor, state: Any) -> Any:
            h, after = super().advance(x, state)
            return torch.cat([h, h], dim=-1), after

    with pytest.raises(ShapeError, match=r"x is 4×2×10 \(T B X\); X must be 5."):
        Stack([Wide(3, 5), GRU(5, 2)]).scan(torch.randn(4, 2, 3))


def test_lengths_of_the_time_of_the_scan() -> None:
    """What is written over them afterwards changes no gradient."""
    net, lengths = PILES["encoders"]().double(), torch.tensor([5, 0, 3])
    x, start = torch.randn(5, 3, 3, dtype=torch.float64, requires_grad=True), begun(net, 3)

    def written_over(*given: Any) -> Any:
        found = net.scan(*given)
        given[2].fill_(5)
        return found

    mine = derived(net, written_over, x, start, lengths.clone())
    agree(mine, derived(net, lambda *given: by_definition(net, *given), x, start, lengths))


@pytest.mark.parametrize("store", ["all", "recompute"])
def test_many_gradients_at_once(store: str) -> None:
    """``is_grads_batched`` maps the backward pass over what is given."""
    net = EncoderStack([Bidirectional(GRU(2, 3), GRU(2, 2)), Elman(5, 2)]).double()
    net.cells[1].store = store
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    y, _ = net.scan(x)
    given, inputs = torch.randn(4, *y.shape, dtype=torch.float64), [x, *net.parameters()]
    found = torch.autograd.grad(y, inputs, given, is_grads_batched=True, retain_graph=True)
    assert not any(each.requires_grad for each in found)
    one_by_one = [torch.autograd.grad(y, inputs, each, retain_graph=True) for each in given]
    agree(list(found), [torch.stack(each) for each in zip(*one_by_one, strict=True)])
