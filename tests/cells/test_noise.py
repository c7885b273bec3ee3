"""Noise: against the papers' equations written out here, with masks where the papers put them."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from elman import states
from elman.axes import BG, BH, TBG, TBX
from elman.cells import (
    GRU,
    LSTM,
    MUT3,
    RHN,
    SLSTM,
    Cell,
    Elman,
    FullPeepholeLSTM,
    GRUResetBefore,
    IndRNN,
)
from elman.cells.cell import HiddenState
from elman.cells.noise import Noise, Noisy
from elman.errors import OptionError, ShapeError
from elman.fused import choose, library, noise
from elman.layers import Stack
from tests.cells.own_cells import Asking, Counting, Sorted
from tests.fused.running import by_definition_alone

T, B, X, H = 6, 4, 3, 5
sigma = torch.sigmoid

#: What a mask is where none was drawn: of zoneout 0, of everything else 1.
Masks = defaultdict[str, Any]


def masks_of(given: dict[str, Tensor], t: int) -> Masks:
    """This step's masks. A gate's own mask falls back on the one that all gates share."""
    found: Masks = defaultdict(lambda: 1.0)
    for name, mask in given.items():
        found[name] = mask if mask.dim() == 2 else mask[t if mask.shape[0] > 1 else 0]
    return found


def on(m: Masks, site: str, k: int) -> Any:
    return m[f"{site}.{k}"] if f"{site}.{k}" in m else m[site]


def held(m: Masks, leaf: str, old: Tensor, new: Tensor) -> Tensor:
    stays = m.get(f"zoneout.{leaf}", 0.0)
    return stays * old + (1 - stays) * new


def lstm(cell: LSTM, x: Tensor, h: Tensor, c: Tensor, m: Masks) -> tuple[Tensor, ...]:
    wx, wh, b = (list(p.split(H)) for p in (cell.weight_x, cell.weight_h * m["weights.0"], cell.bias))
    i, f, g, o = (
        (x * on(m, "input", k)) @ wx[k].T + (h * on(m, "state.h", k)) @ wh[k].T + b[k] for k in range(4)
    )
    new_c = sigma(f) * c + sigma(i) * (torch.tanh(g) * m["candidate.0"])
    new_h = sigma(o) * torch.tanh(new_c)
    h, c = held(m, "h", h, new_h), held(m, "c", c, new_c)
    return h * m["output"], h, c


def gru(cell: GRU, x: Tensor, h: Tensor, m: Masks) -> tuple[Tensor, ...]:
    wx, wh, b = (list(p.split(H)) for p in (cell.weight_x, cell.weight_h * m["weights.0"], cell.bias))
    xs = [(x * on(m, "input", k)) @ wx[k].T + b[k] for k in range(3)]
    hs = [(h * on(m, "state.h", k)) @ wh[k].T for k in range(3)]
    r, z = sigma(xs[0] + hs[0]), sigma(xs[1] + hs[1])
    n = torch.tanh(xs[2] + r * (hs[2] + cell.bias_h)) * m["candidate.0"]
    h = held(m, "h", h, (1 - z) * n + z * h)
    return h * m["output"], h


def gru_reset_before(cell: GRUResetBefore, x: Tensor, h: Tensor, m: Masks) -> tuple[Tensor, ...]:
    wx, b = cell.weight_x.split(H), cell.bias.split(H)
    gates, candidate = cell.weight_h.split([2 * H, H])
    w_r, w_z = (gates * m["weights.0"]).split(H)
    w_n = candidate * m["weights.1"]
    xs = [(x * on(m, "input", k)) @ wx[k].T + b[k] for k in range(3)]
    r = sigma(xs[0] + (h * on(m, "state.h", 0)) @ w_r.T)
    z = sigma(xs[1] + (h * on(m, "state.h", 1)) @ w_z.T)
    n = torch.tanh(xs[2] + (r * h * on(m, "state.h", 2)) @ w_n.T) * m["candidate.0"]
    h = held(m, "h", h, (1 - z) * n + z * h)
    return h * m["output"], h


def mut3(cell: MUT3, x: Tensor, h: Tensor, m: Masks) -> tuple[Tensor, ...]:
    wx, wh, b = cell.weight_x.split(H), cell.weight_h.split(H), cell.bias.split(H)
    wh = [w * m[f"weights.{k}"] for k, w in enumerate(wh)]
    xs = [(x * on(m, "input", k)) @ wx[k].T + b[k] for k in range(3)]
    z = sigma(xs[0] + (torch.tanh(h) * on(m, "state.h", 0)) @ wh[0].T)
    r = sigma(xs[1] + (h * on(m, "state.h", 1)) @ wh[1].T)
    n = torch.tanh(xs[2] + (r * h * on(m, "state.h", 2)) @ wh[2].T) * m["candidate.0"]
    h = held(m, "h", h, z * n + (1 - z) * h)
    return h * m["output"], h


def rhn(cell: RHN, x: Tensor, h: Tensor, m: Masks) -> tuple[Tensor, ...]:
    s = h
    for k in range(cell.depth):
        wg, wt = (cell.weight_h.split(2 * H)[k] * m[f"weights.{k}"]).split(H)
        bg, bt = cell.bias.split(2 * H)[k].split(H)
        g = (s * on(m, "state.h", 2 * k)) @ wg.T + bg
        t = (s * on(m, "state.h", 2 * k + 1)) @ wt.T + bt
        if k == 0:
            g = g + (x * on(m, "input", 0)) @ cell.weight_x[:H].T
            t = t + (x * on(m, "input", 1)) @ cell.weight_x[H:].T
        t = sigma(t)
        s = t * (torch.tanh(g) * m[f"candidate.{k}"]) + (1 - t) * s
    h = held(m, "h", h, s)
    return h * m["output"], h


def full_peepholes(cell: FullPeepholeLSTM, x: Tensor, h: Tensor, c: Tensor, m: Masks) -> tuple[Tensor, ...]:
    wx, wh, b = (list(p.split(H)) for p in (cell.weight_x, cell.weight_h * m["weights.0"], cell.bias))
    gates, shown = cell.weight_c.split([2 * H, H])
    w_i, w_f = (gates * m["weights.1"]).split(H)
    w_o = shown * m["weights.2"]
    i, f, g, o = (
        (x * on(m, "input", k)) @ wx[k].T + (h * on(m, "state.h", k)) @ wh[k].T + b[k] for k in range(4)
    )
    i = sigma(i + (c * on(m, "state.c", 4)) @ w_i.T)
    f = sigma(f + (c * on(m, "state.c", 5)) @ w_f.T)
    new_c = f * c + i * (torch.tanh(g) * m["candidate.0"])
    o = sigma(o + (new_c * on(m, "state.c", 6)) @ w_o.T)
    new_h = o * torch.tanh(new_c)
    h, c = held(m, "h", h, new_h), held(m, "c", c, new_c)
    return h * m["output"], h, c


def slstm(
    cell: SLSTM, x: Tensor, h: Tensor, c: Tensor, n: Tensor, stabiliser: Tensor, m: Masks
) -> tuple[Tensor, ...]:
    """Without a stabiliser, whose exponential the state is multiplied by before and divided by afterwards."""
    wx, wh, b = (list(p.split(H)) for p in (cell.weight_x, cell.weight_h * m["weights.0"], cell.bias))
    i, f, z, o = (
        (x * on(m, "input", k)) @ wx[k].T + (h * on(m, "state.h", k)) @ wh[k].T + b[k] for k in range(4)
    )
    c, n = c * torch.exp(stabiliser), n * torch.exp(stabiliser)
    c = sigma(f) * c + torch.exp(i) * (torch.tanh(z) * m["candidate.0"])
    n = sigma(f) * n + torch.exp(i)
    h = held(m, "h", h, sigma(o) * c / n)
    stabiliser = torch.maximum(torch.log(sigma(f)) + stabiliser, i)
    return h * m["output"], h, c * torch.exp(-stabiliser), n * torch.exp(-stabiliser), stabiliser


class Own(Cell):
    """A cell of one's own: x and h side by side before one matrix, and nothing said of noise."""

    GATES = "h"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.weight = self._uniform(hidden_size, input_size + hidden_size)

    def project(self, x: TBX) -> TBG:
        return x

    def advance(self, x: BG, state: HiddenState) -> tuple[BH, HiddenState]:
        h = torch.tanh(linear(torch.cat([x, state.h], dim=-1), self.weight))
        return h, HiddenState(h)

    def initial_state(self, batch: int) -> HiddenState:
        return HiddenState(self.zeros(batch))


def own(cell: Own, x: Tensor, h: Tensor, m: Masks) -> tuple[Tensor, ...]:
    w = cell.weight * m["weights.0"]
    new = torch.tanh((x * on(m, "input", 0)) @ w[:, :X].T + (h * on(m, "state.h", 0)) @ w[:, X:].T)
    h = held(m, "h", h, new)
    return h * m["output"], h


REFERENCES: dict[type[Cell], Callable[..., tuple[Tensor, ...]]] = {
    LSTM: lstm,
    GRU: gru,
    GRUResetBefore: gru_reset_before,
    MUT3: mut3,
    RHN: rhn,
    FullPeepholeLSTM: full_peepholes,
    SLSTM: slstm,
    Own: own,
}
KINDS = {
    "input": Noise(input=0.3),
    "state": Noise(state=0.4),
    "output": Noise(output=0.3),
    "candidate": Noise(candidate=0.3),
    "weights": Noise(weights=0.4),
    "zoneout": Noise(zoneout={"h": 0.3}),
    "input and state per gate": Noise(input=0.3, state=0.4, per_gate=True),
    "all": Noise(0.2, 0.2, 0.2, 0.2, 0.2, {"h": 0.2}),
    "all per gate": Noise(0.2, 0.2, 0.2, 0.2, 0.2, {"h": 0.2}, per_gate=True),
}


def drawn(kind: type[Cell], dtype: torch.dtype = torch.float64) -> tuple[Any, Tensor, Any]:
    cell = kind(X, H).to(dtype)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.6)
    state = states.transform(lambda leaf: torch.randn_like(leaf) * 0.7, cell.initial_state(B))
    if kind is SLSTM:  # a normaliser is a sum of positive numbers
        state = state._replace(n=state.n.abs() + 0.5)
    return cell, torch.randn(T, B, X, dtype=dtype), state


def by_hand(cell: Any, x: Tensor, state: Any, masks: dict[str, Tensor]) -> list[Tensor]:
    outputs, leaves = [], list(state)
    for t in range(len(x)):
        y, *leaves = REFERENCES[type(cell)](cell, x[t], *leaves, masks_of(masks, t))
        outputs.append(y)
    return [torch.stack(outputs), *leaves]


def gradients(values: list[Tensor], inputs: list[Tensor]) -> tuple[Tensor, ...]:
    total = sum(
        (
            (value * torch.linspace(0.3, 1.9, value.numel()).bfloat16().to(value).view_as(value)).sum()
            for value in values
        ),
        torch.zeros(()),
    )
    return torch.autograd.grad(total, inputs)


@pytest.mark.parametrize("kind", REFERENCES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("way", ["chosen", "definition"])
def test_values_and_gradients_are_those_of_the_papers_equations(
    kind: type[Cell], name: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "definition":
        by_definition_alone(monkeypatch)
    cell, x, state = drawn(kind)
    made = KINDS[name]
    if kind is Own and made.candidate:
        with pytest.raises(OptionError, match="the cell marks no candidate"):
            Noisy(cell, made)
        return
    masks = Noisy(cell, made).draw(B, T)
    assert masks
    inputs = [x.requires_grad_(), *(leaf.requires_grad_() for leaf in state), *cell.parameters()]
    outputs, last = cell.scan(x, state, noise=masks)
    mine = [outputs, *last]
    theirs = by_hand(cell, x, state, masks)
    for a, b in zip([*mine, *gradients(mine, inputs)], [*theirs, *gradients(theirs, inputs)], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    plain, _ = cell.scan(x, state)
    assert not torch.allclose(outputs, plain, atol=1e-3)


def test_gradients_are_those_of_finite_differences_and_so_are_second_ones() -> None:
    cell, x, state = drawn(LSTM)
    x, state = x[:2, :2, :], states.select(state, torch.tensor([0, 1]))
    made = Noise(0.2, 0.2, 0.2, 0.2, 0.2, {"h": 0.2, "c": 0.3}, per_gate=True)
    masks = Noisy(cell, made).draw(2, 2)
    lengths = torch.tensor([2, 1])

    def values(x: Tensor, weight_h: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
        y, last = torch.func.functional_call(cell, {"weight_h": weight_h}, (x, leaves))
        return y, *last

    cell.forward = lambda x, leaves: cell.scan(x, type(state)(*leaves), lengths, noise=masks)
    given = (x.requires_grad_(), cell.weight_h, *(leaf.requires_grad_() for leaf in state))
    assert torch.autograd.gradcheck(values, given)
    assert torch.autograd.gradgradcheck(values, given)


def test_dropped_weights_are_trained_through_the_mask() -> None:
    cell, x, _ = drawn(LSTM)
    noisy = Noisy(cell, Noise(weights=0.5))
    masks = noisy.draw(B, T)
    noisy.scan(x, noise=masks)[0].sum().backward()
    dropped = masks["weights.0"] == 0
    assert 0.3 < dropped.double().mean() < 0.7
    assert (cell.weight_h.grad[dropped] == 0).all()
    assert (cell.weight_h.grad[~dropped] != 0).all()
    assert set(masks["weights.0"].unique().tolist()) == {0.0, 2.0}


def test_of_a_matrix_that_reads_x_and_h_only_what_reads_h_is_dropped() -> None:
    mask = Noisy(Own(X, H), Noise(weights=0.5)).draw(B, T)["weights.0"]
    assert (mask[:, :X] == 1).all()
    assert set(mask[:, X:].unique().tolist()) == {0.0, 2.0}


def test_masks_hold_for_all_steps_or_for_one_and_differ_between_rows() -> None:
    masks = Noisy(LSTM(X, 400), Noise(0.25, 0.25, 0.25, 0.25, 0, {"c": 0.25})).draw(B, T)
    assert {name: tuple(mask.shape) for name, mask in masks.items()} == {
        "input": (1, B, X),
        "state.h": (1, B, 400),
        "output": (1, B, 400),
        "candidate.0": (T, B, 400),
        "zoneout.c": (T, B, 400),
    }
    for name in ("state.h", "output", "candidate.0"):
        assert sorted(masks[name].unique().tolist()) == [0.0, pytest.approx(4 / 3)]
        assert (masks[name] == 0).double().mean().item() == pytest.approx(0.25, abs=0.05)
        assert not torch.equal(masks[name][:, 0], masks[name][:, 1])
    assert sorted(masks["zoneout.c"].unique().tolist()) == [0.0, 1.0]
    assert masks["zoneout.c"].mean().item() == pytest.approx(0.25, abs=0.02)


def test_in_evaluation_zoneout_is_the_mean_over_its_masks_and_the_rest_is_off() -> None:
    cell, x, state = drawn(LSTM)
    noisy = Noisy(cell, Noise(0.2, 0.2, 0.2, 0.2, 0.2, {"h": 0.3, "c": 0.6})).eval()
    outputs, last = noisy.scan(x, state)
    means: dict[str, Tensor] = {
        "zoneout.h": torch.full((1, B, H), 0.3, dtype=torch.float64),
        "zoneout.c": torch.full((1, B, H), 0.6, dtype=torch.float64),
    }
    theirs = by_hand(cell, x, state, means)
    for mine, other in zip([outputs, *last], theirs, strict=True):
        torch.testing.assert_close(mine, other)
    stepped = []
    for each in x:
        y, state = noisy.step(each, state)
        stepped.append(y)
    torch.testing.assert_close(torch.stack(stepped), outputs)


def test_over_one_step_the_mean_of_many_draws_is_what_evaluation_gives() -> None:
    cell, x, state = drawn(LSTM)
    many = 20_000
    x, state = x[:1, :1].expand(1, many, X), states.transform(lambda leaf: leaf[:1].expand(many, H), state)
    noisy = Noisy(cell, Noise(zoneout={"h": 0.3, "c": 0.6}))
    _, drawn_last = noisy.scan(x, state)
    _, mean = noisy.eval().scan(x[:, :1], states.transform(lambda leaf: leaf[:1], state))
    for a, b in zip(drawn_last, mean, strict=True):
        torch.testing.assert_close(a.mean(0, keepdim=True), b, atol=0.02, rtol=0)


def test_without_noise_a_noisy_cell_is_its_cell_and_draws_nothing() -> None:
    cell, x, state = drawn(GRU)
    before = torch.get_rng_state()
    for noisy in (Noisy(cell, Noise()), Noisy(cell, Noise(0.5, 0.5, 0.5, 0.5, 0.5)).eval()):
        outputs, last = noisy.scan(x, state)
        expected, end = cell.scan(x, state)
        assert torch.equal(outputs, expected)
        assert torch.equal(last.h, end.h)
        assert torch.equal(noisy.step(x[0], state)[0], cell.step(x[0], state)[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_the_same_masks_replay_and_a_generator_repeats() -> None:
    cell, x, state = drawn(RHN)
    noisy = Noisy(cell, KINDS["all"])
    assert not torch.equal(noisy.scan(x, state)[0], noisy.scan(x, state)[0])
    masks = noisy.draw(B, T, torch.Generator().manual_seed(3))
    again = noisy.draw(B, T, torch.Generator().manual_seed(3))
    assert torch.equal(noisy.scan(x, state, noise=masks)[0], noisy.eval().scan(x, state, noise=again)[0])


def test_steps_under_a_mask_are_the_scan_under_it() -> None:
    cell, x, state = drawn(GRUResetBefore)
    noisy = Noisy(cell, Noise(state=0.5, input=0.2, output=0.3))
    masks = noisy.draw(B, 1)
    outputs, last = noisy.scan(x, state, noise=masks)
    for t in range(T):
        y, state = noisy.step(x[t], state, masks)
        torch.testing.assert_close(y, outputs[t])
    torch.testing.assert_close(state.h, last.h)
    assert not torch.equal(
        noisy.step(x[0], state)[0], noisy.step(x[0], state)[0]
    )  # each with masks of its own


def test_a_stack_hands_each_layer_its_masks() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        lower, upper = LSTM(X, H), GRU(H, H)
        stack = Stack([Noisy(lower, Noise(state=0.4)), Elman(H, H), Noisy(upper, Noise(weights=0.4))])
        x = torch.randn(T, B, X)
        masks = stack.draw(B, T)
        assert masks[1] is None
        outputs, _ = stack.scan(x, noise=masks)
        below = by_hand(lower, x, lower.initial_state(B), masks[0])[0]
        between, _ = stack.cells[1].scan(below)
        above = by_hand(upper, between, upper.initial_state(B), masks[2])[0]
        torch.testing.assert_close(outputs, above)
        assert not torch.equal(stack.scan(x)[0], outputs)
    finally:
        torch.set_default_dtype(torch.float32)


def test_in_reverse_a_mask_falls_on_the_step_it_was_drawn_for() -> None:
    cell, x, state = drawn(LSTM)
    masks = Noisy(cell, Noise(candidate=0.4, zoneout={"h": 0.3}, state=0.2)).draw(B, T)
    outputs, last = cell.scan_reversed(x, state, noise=masks)
    turned = {name: mask.flip(0) for name, mask in masks.items()}
    expected = by_hand(cell, x.flip(0), state, turned)
    for mine, theirs in zip([outputs.flip(0), *last], expected, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.skipif(library.objection() is not None, reason="no compiled executor on this machine")
def test_one_mask_costs_one_product_of_features() -> None:
    plain = choose.compile_cell(LSTM(X, H))
    masked = choose.compile_cell(cell := LSTM(X, H), frozenset({"state.h"}))
    gates = choose.compile_cell(cell, frozenset(noise.sites(cell).state_per_gate))
    assert not isinstance(plain, str)
    assert not isinstance(masked, str)
    assert not isinstance(gates, str)

    def count(made: Any) -> int:
        return len(made.advance.forward(True).instructions)

    assert count(masked) - count(plain) <= 4  # two loads, a product, a store
    assert count(gates) - count(plain) <= 4 * 4 + 3  # and a group of products for each gate
    works = [made.advance.forward(True).work for made in (plain, masked, gates)]
    assert works[2] - works[0] <= 4 * H * 8 * 4  # no matrix is multiplied twice


def test_what_a_cell_has_no_place_for_is_refused() -> None:
    for cell, made, reason in (
        (Elman(X, H), Noise(candidate=0.2), "candidate: the cell marks no candidate by self.candidate."),
        (IndRNN(X, H), Noise(state=0.2), "state: the cell multiplies its state by no matrix."),
        (GRU(X, H), Noise(zoneout={"c": 0.2}), "zoneout.c: the state has h, not c."),
        (
            SLSTM(X, H),
            Noise(zoneout={"n": 0.2}),
            "zoneout.n: the cell's c, n, m mean something only together.",
        ),
        (GRU(X, H), Noise(input=1.0), "input: it is 1.0, but a rate goes from 0 to below 1."),
    ):
        with pytest.raises(OptionError) as raised:
            Noisy(cell, made)
        assert raised.value.came == reason
        assert str(raised.value).startswith(f"{type(cell).__name__}(input_size=3, hidden_size=5")


def test_a_cell_that_cannot_be_traced_has_noise_on_input_and_output_only() -> None:
    for kind in (Sorted, Asking):
        with pytest.raises(OptionError, match="state: the cell cannot be traced"):
            Noisy(kind(X, H), Noise(state=0.2))
    outputs, _ = Noisy(Sorted(X, H), Noise(output=0.5)).scan(torch.randn(T, B, X))
    assert (outputs == 0).any()
    with pytest.raises(OptionError, match="values in a way that tracing does not see"):
        Counting(X, H).scan(torch.randn(T, B, X), noise={"state.h": torch.ones(1, B, H)})


def test_masks_that_do_not_fit_are_refused() -> None:
    cell, x = GRU(X, H), torch.randn(T, B, X)
    for name, shape, came in (
        ("state.h", (1, B, H + 1), "The mask is 1×4×6; it must be 1 or 6 × 1 or 4 × 5 (T B H)."),
        ("output", (2, B, H), "The mask is 2×4×5; it must be 1 or 6 × 1 or 4 × 5 (T B H)."),
        ("weights.0", (H, H), "The mask is 5×5; it must be 15 × 5, the shape of that matrix."),
        (
            "state.c",
            (1, B, H),
            "The mask is 1×4×5; there is no state.c among input, output, input.0, input.1, input.2, state.h, "
            "state.h.0, state.h.1, state.h.2, candidate.0, zoneout.h, weights.0.",
        ),
    ):
        with pytest.raises(ShapeError) as raised:
            cell.scan(x, noise={name: torch.ones(shape)})
        assert raised.value.came == came
        assert f"over 6 steps of 4 sequences with a mask {name}." in raised.value.asked
