"""Noise and everything else: bfloat16, stores, lengths, directions, compilers, streams; beside the equations
by hand of ``test_noise.py``."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from elman import states
from elman.cells import GRU, LSTM, SLSTM, Cell
from elman.cells.noise import Noise, Noisy
from elman.layers import Bidirectional, Stack, Streamer
from tests.cells.test_noise import REFERENCES, B, H, Own, T, X, by_hand, drawn, gradients
from tests.fused.running import Rounding, by_definition_alone, compiled_here
from tests.fused.test_bfloat16 import WITHIN, off

kinds = pytest.mark.parametrize("kind", REFERENCES, ids=lambda kind: kind.__name__)


def everything(kind: type[Cell], per_gate: bool) -> Noise:
    """Noise of every kind that the cell has a place for."""
    candidate = 0.0 if kind is Own else 0.2
    return Noise(0.2, 0.2, 0.2, candidate, 0.2, {"h": 0.2}, per_gate=per_gate)


def in_rows(
    cell: Any, x: Tensor, state: Any, masks: dict[str, Tensor], lengths: list[int], reverse: bool
) -> list[Tensor]:
    """Each sequence by itself, as long as it is and turned around by hand, and its masks with it."""
    outputs, ends = [], []
    for row, length in enumerate(lengths):
        order = list(range(length))[::-1] if reverse else list(range(length))
        here = {
            name: mask if name.startswith("weights") else mask[:, row : row + 1]
            for name, mask in masks.items()
        }
        here = {
            name: mask[order] if mask.dim() == 3 and len(mask) > 1 else mask for name, mask in here.items()
        }
        alone = [leaf[row : row + 1] for leaf in state]
        y = x.new_zeros(T, 1, H)
        if length:
            read, *alone = by_hand(cell, x[order, row : row + 1], alone, here)
            y = y.index_put((torch.tensor(order),), read)
        outputs.append(y)
        ends.append(alone)
    return [torch.cat(outputs, 1), *(torch.cat(leaves) for leaves in zip(*ends, strict=True))]


@kinds
@pytest.mark.parametrize("per_gate", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("way", ["all", "recompute", "definition"])
def test_ragged_and_reversed_a_mask_falls_on_the_step_it_was_drawn_for(
    kind: type[Cell], per_gate: bool, reverse: bool, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, x, state = drawn(kind)
    if way == "definition":
        by_definition_alone(monkeypatch)
    else:
        cell.store = way
    masks = Noisy(cell, everything(kind, per_gate)).draw(B, T)
    lengths = [3, T, 0, 1]
    inputs = [x.requires_grad_(), *(leaf.requires_grad_() for leaf in state), *cell.parameters()]
    scan = cell.scan_reversed if reverse else cell.scan
    outputs, last = scan(x, state, torch.tensor(lengths), noise=masks)
    mine, theirs = [outputs, *last], in_rows(cell, x, state, masks, lengths, reverse)
    for a, b in zip([*mine, *gradients(mine, inputs)], [*theirs, *gradients(theirs, inputs)], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_each_direction_has_its_masks() -> None:
    forwards, x, state = drawn(LSTM)
    backwards, _, other = drawn(GRU)
    both = Bidirectional(*(Noisy(cell, everything(type(cell), True)) for cell in (forwards, backwards)))
    lengths, masks = [2, T, 0, 5], both.draw(B, T)
    outputs, last = both.scan(x, (state, other), torch.tensor(lengths), masks)
    there, *ends = in_rows(forwards, x, state, masks[0], lengths, False)
    back, *starts = in_rows(backwards, x, other, masks[1], lengths, True)
    torch.testing.assert_close(outputs, torch.cat([there, back], -1))
    for mine, theirs in zip([*last.forwards, *last.backwards], [*ends, *starts], strict=True):
        torch.testing.assert_close(mine, theirs)


def rounded(
    cell: Any, x: Tensor, state: Any, masks: dict[str, Tensor]
) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """By hand in float64, every factor of a product rounded to bfloat16, in the gradient too."""
    exact = copy.deepcopy(cell).double()
    x, *leaves = (given.detach().double().requires_grad_() for given in (x, *state))
    with Rounding():
        values = by_hand(exact, x, leaves, {name: mask.double() for name, mask in masks.items()})
        return values, gradients(values, [x, *leaves, *exact.parameters()])


@compiled_here
@kinds
@pytest.mark.parametrize("per_gate", [False, True])
@pytest.mark.parametrize("store", ["all", "recompute"])
def test_under_autocast_to_bfloat16(kind: type[Cell], per_gate: bool, store: str) -> None:
    cell, x, state = drawn(kind, torch.float32)
    cell.store = store
    masks = Noisy(cell, everything(kind, per_gate)).draw(B, T)
    inputs = [x.requires_grad_(), *(leaf.requires_grad_() for leaf in state), *cell.parameters()]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs, last = cell.scan(x, state, noise=masks)
    values, found = rounded(cell, x, state, masks)
    mine = [outputs, *last]
    assert {value.dtype for value in mine} == {torch.float32}
    assert max(off([*mine, *gradients(mine, inputs)], [*values, *found])) <= 4 * WITHIN
    plain = cell.scan(x, state, noise=masks)[0]
    assert off([plain], [values[0]])[0] > 10 * off([outputs], [values[0]])[0]


@compiled_here
@kinds
def test_converted_to_bfloat16(kind: type[Cell]) -> None:
    cell, x, state = drawn(kind, torch.bfloat16)
    masks = Noisy(cell, everything(kind, True)).draw(B, T)
    assert {mask.dtype for mask in masks.values()} == {torch.bfloat16}
    shown = masks.pop("output")  # multiplies what was rounded before
    inputs = [x.requires_grad_(), *(leaf.requires_grad_() for leaf in state), *cell.parameters()]
    outputs, last = cell.scan(x, state, noise=masks)
    values, found = rounded(cell, x, state, masks)
    mine, theirs = [outputs, *last], [*values, *found]
    assert {value.dtype for value in mine} == {torch.bfloat16}
    assert max(off([*mine, *gradients(mine, inputs)], [each.bfloat16() for each in theirs])) <= 8 * WITHIN
    assert torch.equal(cell.scan(x, state, noise=masks | {"output": shown})[0], outputs * shown)


@compiled_here
@pytest.mark.slow
@pytest.mark.parametrize("kind", [LSTM, GRU, SLSTM])
@pytest.mark.parametrize("store", ["all", "recompute"])
def test_a_compiler_sees_one_graph_in_training_and_in_evaluation(kind: type[Cell], store: str) -> None:
    """What is drawn within the graph is what is drawn outside of it; lengths and direction as ever."""
    torch._dynamo.reset()
    cell = Noisy(kind(X, H), everything(kind, True))
    cell.store = store
    x, lengths = torch.randn(T, B, X, requires_grad=True), torch.tensor([2, T, 0, 5])

    def scan(x: Tensor) -> tuple[Tensor, ...]:
        outputs, last = cell.scan_reversed(x, None, lengths)
        return cell.scan(x)[0], outputs, *(leaf for name, leaf in states.leaves(last) if name != "state.m")

    for training in (True, False):
        cell.train(training)
        found = []
        for run in (torch.compile(scan, fullgraph=True, backend="aot_eager"), scan):
            torch.manual_seed(7)
            values = list(run(x))
            found.append([*values, *gradients(values, [x, *cell.parameters()])])
        assert max(off(*found)) <= 1e-5


@pytest.mark.parametrize("training", [True, False])
def test_streamed_nothing_is_dropped_and_zoneout_is_its_mean(training: bool) -> None:
    (lower, x, _), (upper, _, _) = drawn(LSTM, torch.float32), drawn(GRU, torch.float32)
    upper = GRU(H, H)
    noise = Noise(0.4, 0.4, 0.4, 0.4, 0.4, {"h": 0.3})
    stack = Stack([Noisy(lower, noise), Noisy(upper, noise)], dropout=0.5).train(training)
    streamer = Streamer(stack, batch=B)
    mine = torch.stack([streamer.step(each) for each in x])
    assert stack.training == training
    mean = {"zoneout.h": torch.full((1, B, H), 0.3)}
    below, *_ = by_hand(lower, x, lower.initial_state(B), mean)
    above, h = by_hand(upper, below, upper.initial_state(B), mean)
    torch.testing.assert_close(mine, above, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(streamer.state[1].h, h, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(stack.eval().scan(x)[0], above, rtol=1e-5, atol=1e-6)
