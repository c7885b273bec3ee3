"""The variants of the LSTM, worked with plain arithmetic from their published equations."""

from math import exp, log, sqrt, tanh

import pytest
import torch
from by_hand import added, fill, pack, sigma, step_is, tensor, times, total

from elman.cells import (
    LSTM,
    SLSTM,
    CappedLSTM,
    Cell,
    CoupledLSTM,
    FullPeepholeLSTM,
    LayerNormLSTM,
    LSTMWithForgetBias,
    LSTMWithoutForgetGate,
    LSTMWithoutInputGate,
    LSTMWithoutOutputGate,
    MogrifierLSTM,
    PeepholeLSTM,
    ProjectedLSTM,
)
from elman.cells.cell import MemoryState
from elman.cells.projected import ProjectedState
from elman.cells.slstm import StabilisedState

I, F, G, O = (0.4, 0.2, 0.1), (-0.7, 0.5, 0.6), (1.1, -0.9, -0.2), (0.3, 0.8, -0.3)  # noqa: E741
XS = (0.9, -1.3)


def start(h: float, c: float) -> MemoryState:
    return MemoryState(tensor([[h]]), tensor([[c]]))


@pytest.mark.parametrize(
    ("cell", "missing"),
    [
        (LSTMWithoutForgetGate(1, 1), "f"),
        (LSTMWithoutInputGate(1, 1), "i"),
        (LSTMWithoutOutputGate(1, 1), "o"),
    ],
    ids=["lstm-f", "lstm-i", "lstm-o"],
)
def test_a_gate_that_is_missing_is_one(cell: Cell, missing: str) -> None:
    pack(cell, **{name: gate for name, gate in {"i": I, "f": F, "g": G, "o": O}.items() if name != missing})
    h, c = 0.35, -0.8
    state = start(h, c)
    for x in XS:
        i = 1 if missing == "i" else sigma(total(I, x, h))
        f = 1 if missing == "f" else sigma(total(F, x, h))
        o = 1 if missing == "o" else sigma(total(O, x, h))
        c = f * c + i * tanh(total(G, x, h))
        h = o * tanh(c)
        state = step_is(cell, [x], state, [h], [c])


def test_a_forget_bias_of_one() -> None:
    torch.manual_seed(3)
    plain = LSTM(2, 3)
    torch.manual_seed(3)
    lasting = LSTMWithForgetBias(2, 3)
    torch.testing.assert_close(lasting.bias - plain.bias, torch.tensor([0.0] * 3 + [1.0] * 3 + [0.0] * 6))
    x = torch.randn(4, 5, 2)
    lasting.load_state_dict(plain.state_dict())
    torch.testing.assert_close(lasting.scan(x)[0], plain.scan(x)[0])


def test_coupled_gates() -> None:
    cell = CoupledLSTM(1, 1)
    pack(cell, f=F, g=G, o=O)
    h, c = 0.35, -0.8
    state = start(h, c)
    for x in XS:
        f = sigma(total(F, x, h))
        c = f * c + (1 - f) * tanh(total(G, x, h))
        h = sigma(total(O, x, h)) * tanh(c)
        state = step_is(cell, [x], state, [h], [c])


def test_a_capped_input_gate() -> None:
    cell = CappedLSTM(1, 1)
    pack(cell, i=I, f=F, g=G, o=O)
    h, c = 0.35, -0.8
    state = start(h, c)
    capped = []
    for x in (0.9, 3.0):
        i, f = sigma(total(I, x, h)), sigma(total(F, x, h))
        capped.append(1 - f < i)
        c = f * c + (1 - f if 1 - f < i else i) * tanh(total(G, x, h))
        h = sigma(total(O, x, h)) * tanh(c)
        state = step_is(cell, [x], state, [h], [c])
    assert capped == [True, False]


def test_peepholes_and_the_output_gate_sees_the_new_memory() -> None:
    cell = PeepholeLSTM(1, 1)
    pack(cell, i=I, f=F, g=G, o=O)
    fill(cell, weight_c=[0.7, -0.4, 1.3])
    h, c = 0.35, -0.8
    state = start(h, c)
    for x in XS:
        i = sigma(total(I, x, h) + 0.7 * c)
        f = sigma(total(F, x, h) - 0.4 * c)
        c = f * c + i * tanh(total(G, x, h))
        h = sigma(total(O, x, h) + 1.3 * c) * tanh(c)
        state = step_is(cell, [x], state, [h], [c])


# One input, two features: W_X has a row for each feature of i, f, g, o.
W_X = [[0.3], [-0.5], [0.8], [0.2], [-0.6], [0.9], [0.45], [-0.15]]
W_H = [
    [0.7, -0.1],
    [0.4, 0.6],
    [-0.3, 0.5],
    [0.2, -0.8],
    [1.2, -0.7],
    [-0.4, 0.3],
    [0.55, 0.65],
    [-0.9, 0.25],
]
BIAS = [0.1, -0.2, 0.3, -0.4, 0.25, -0.15, 0.05, 0.35]


def memory(i: list[float], f: list[float], g: list[float], c: list[float]) -> list[float]:
    return [
        sigma(f) * c + sigma(i) * tanh(g) for i, f, g, c in zip(i, f, g, c, strict=True)
    ]  # fmt: skip


def shown(o: list[float], c: list[float]) -> list[float]:
    return [sigma(a) * tanh(b) for a, b in zip(o, c, strict=True)]


def test_peepholes_of_full_matrices() -> None:
    cell = FullPeepholeLSTM(1, 2)
    w_i, w_f, w_o = [[0.7, -0.2], [0.1, 0.9]], [[-0.4, 0.6], [0.8, -0.3]], [[1.3, 0.35], [-0.65, 0.15]]
    fill(cell, weight_x=W_X, weight_h=W_H, bias=BIAS, weight_c=w_i + w_f + w_o)
    h, c = [0.5, -0.4], [-0.8, 1.1]
    state = MemoryState(tensor([h]), tensor([c]))
    for x in XS:
        sums = added(times(W_X, [x]), times(W_H, h), BIAS)
        c = memory(added(sums[0:2], times(w_i, c)), added(sums[2:4], times(w_f, c)), sums[4:6], c)
        h = shown(added(sums[6:8], times(w_o, c)), c)
        state = step_is(cell, [x], state, h, c)


def test_a_projected_output() -> None:
    cell = ProjectedLSTM(1, 2, projection_size=1)
    w_r = [row[:1] for row in W_H]
    fill(cell, weight_x=W_X, weight_h=w_r, bias=BIAS, weight_p=[[0.75, -1.4]])
    r, c = [0.5], [-0.8, 1.1]
    state = ProjectedState(tensor([r]), tensor([c]))
    for x in XS:
        sums = added(times(W_X, [x]), times(w_r, r), BIAS)
        c = memory(sums[0:2], sums[2:4], sums[4:6], c)
        m = shown(sums[6:8], c)
        r = [0.75 * m[0] - 1.4 * m[1]]
        state = step_is(cell, [x], state, r, c)


def test_a_mogrifier_of_three_rounds() -> None:
    cell = MogrifierLSTM(1, 2, rounds=3)
    fill(cell, weight_x=W_X, weight_h=W_H, bias=BIAS)
    q_1, r_1, q_3 = [[0.6, -1.1]], [[0.35], [-0.85]], [[-0.25, 0.95]]
    for parameter, values in zip([*cell.weights_q, *cell.weights_r], (q_1, q_3, r_1), strict=True):
        parameter.data = tensor(values)
    h, c = [0.5, -0.4], [-0.8, 1.1]
    state = MemoryState(tensor([h]), tensor([c]))
    for x in XS:
        x_1 = 2 * sigma(times(q_1, h)[0]) * x
        h_2 = [2 * sigma(a) * b for a, b in zip(times(r_1, [x_1]), h, strict=True)]
        x_3 = 2 * sigma(times(q_3, h_2)[0]) * x_1
        sums = added(times(W_X, [x_3]), times(W_H, h_2), BIAS)
        c = memory(sums[0:2], sums[2:4], sums[4:6], c)
        h = shown(sums[6:8], c)
        state = step_is(cell, [x], state, h, c)


def test_layer_normalisation() -> None:
    cell = LayerNormLSTM(1, 2)
    gain_x = [1.1, 0.9, 1.2, 0.8, 1.3, 0.7, 1.4, 0.6]
    gain_h = [0.65, 1.35, 0.75, 1.25, 0.85, 1.15, 0.95, 1.05]
    fill(cell, weight_x=W_X, weight_h=W_H, bias=BIAS, gain_x=gain_x, gain_h=gain_h)
    fill(cell, gain_c=[1.5, 0.5], bias_c=[0.2, -0.1])

    def ln(a: list[float], gain: list[float]) -> list[float]:
        mean = sum(a) / len(a)
        deviation = sqrt(sum((one - mean) ** 2 for one in a) / len(a) + 1e-5)
        return [g * (one - mean) / deviation for g, one in zip(gain, a, strict=True)]

    h, c = [0.5, -0.4], [-0.8, 1.1]
    state = MemoryState(tensor([h]), tensor([c]))
    for x in XS:
        sums = added(ln(times(W_X, [x]), gain_x), ln(times(W_H, h), gain_h), BIAS)
        c = memory(sums[0:2], sums[2:4], sums[4:6], c)
        h = shown(sums[6:8], added(ln(c, [1.5, 0.5]), [0.2, -0.1]))
        state = step_is(cell, [x], state, h, c)


def test_an_exponential_input_gate_without_its_stabiliser() -> None:
    """By the equations before stabilisation: c and n are the state's times exp(m), and h = o c / n."""
    cell = SLSTM(1, 1)
    pack(cell, i=I, f=F, z=G, o=O)
    state = cell.initial_state(1)
    h = c = n = 0.0
    for x in (0.9, -1.3, 0.4):
        i, f = exp(total(I, x, h)), sigma(total(F, x, h))
        c = f * c + i * tanh(total(G, x, h))
        n = f * n + i
        h = sigma(total(O, x, h)) * c / n
        output, state = cell.step(tensor([[x]]), state)
        assert output.item() == state.h.item() == pytest.approx(h, abs=1e-12)
        assert (state.c * state.m.exp()).item() == pytest.approx(c, abs=1e-12)
        assert (state.n * state.m.exp()).item() == pytest.approx(n, abs=1e-12)


def test_an_exponential_input_gate_with_its_stabiliser() -> None:
    cell = SLSTM(1, 1)
    pack(cell, i=I, f=F, z=G, o=O)
    h, c, n, m = 0.35, -0.8, 1.2, 0.15
    state = StabilisedState(*(tensor([[number]]) for number in (h, c, n, m)))
    for x in XS:
        log_i, f = total(I, x, h), sigma(total(F, x, h))
        before, m = m, max(log(f) + m, log_i)
        i, f = exp(log_i - m), f * exp(before - m)
        c = f * c + i * tanh(total(G, x, h))
        n = f * n + i
        h = sigma(total(O, x, h)) * c / n
        state = step_is(cell, [x], state, [h], [c], [n], [m])


@pytest.mark.parametrize("x", [3000.0, -3000.0])
def test_exponentials_beyond_every_number_cancel(x: float) -> None:
    """log i = 0.4 x + 0.1 is ±1200; what the first step shows is o times its candidate all the same."""
    cell = SLSTM(1, 1)
    pack(cell, i=I, f=F, z=(0.0002, -0.9, -0.2), o=(0.0001, 0.8, -0.3))
    state = cell.initial_state(1)
    shows = sigma(0.0001 * x - 0.3) * tanh(0.0002 * x - 0.2)
    output, state = cell.step(tensor([[x]]), state)
    assert output.item() == pytest.approx(shows, abs=1e-12)
    gradient = torch.autograd.grad(cell.scan(tensor([[[x]], [[0.5]]]))[0].sum(), [*cell.parameters()])
    assert all(part.isfinite().all() for part in gradient)
