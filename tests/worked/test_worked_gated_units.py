"""Relatives of the GRU, worked with plain arithmetic from their published equations."""

from math import tanh

import pytest
import torch
from by_hand import added, fill, pack, sigma, step_is, tensor, times, total

from elman.cells import JANET, MGU, MUT1, MUT2, MUT3, Cell, IndRNN, LiGRU, MinGRU, MinLSTM, SimplifiedGRU
from elman.cells.cell import HiddenState

Z, N = (-0.7, 0.5, 0.6), (1.1, -0.9, -0.2)
XS = (0.9, -1.3)


def start(*h: float) -> HiddenState:
    return HiddenState(tensor([h]))


def test_an_update_gate_only() -> None:
    cell = SimplifiedGRU(1, 1)
    pack(cell, u=Z, n=N)
    h = 0.35
    state = start(h)
    for x in XS:
        u, n = sigma(total(Z, x, h)), tanh(total(N, x, h))
        h = u * n + (1 - u) * h
        state = step_is(cell, [x], state, [h])


@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_a_forget_gate_only(beta: float) -> None:
    cell = JANET(1, 1, beta=beta)
    pack(cell, f=Z, n=N)
    h = 0.35
    state = start(h)
    for x in XS:
        s, n = total(Z, x, h), tanh(total(N, x, h))
        h = sigma(s) * h + (1 - sigma(s - beta)) * n
        state = step_is(cell, [x], state, [h])


def test_a_rectified_candidate() -> None:
    cell = LiGRU(1, 1)
    pack(cell, z=Z, n=N)
    h = 0.35
    state = start(h)
    candidates = []
    for x in XS:
        z, n = sigma(total(Z, x, h)), max(0.0, total(N, x, h))
        candidates.append(n)
        h = z * h + (1 - z) * n
        state = step_is(cell, [x], state, [h])
    assert candidates[0] > 0 == candidates[1]


def test_features_that_remember_only_themselves() -> None:
    cell = IndRNN(1, 2)
    fill(cell, weight_x=[[0.4], [-0.7]], weight_h=[0.8, 0.6], bias=[0.1, -0.2])
    h = [0.35, 1.5]
    state = start(*h)
    for x, awake in ((0.9, [True, True]), (-3.3, [False, True])):
        h = [max(0.0, 0.4 * x + 0.8 * h[0] + 0.1), max(0.0, -0.7 * x + 0.6 * h[1] - 0.2)]
        assert [number > 0 for number in h] == awake
        state = step_is(cell, [x], state, h)


def test_a_gate_that_reads_no_past() -> None:
    cell = MinGRU(1, 1)
    fill(cell, weight_x=[[-0.7], [1.1]], bias=[0.6, -0.2])
    h = 0.35
    state = start(h)
    for x in XS:
        z = sigma(-0.7 * x + 0.6)
        h = (1 - z) * h + z * (1.1 * x - 0.2)
        state = step_is(cell, [x], state, [h])


def test_gates_that_are_shares_of_their_sum() -> None:
    cell = MinLSTM(1, 1)
    fill(cell, weight_x=[[-0.7], [0.4], [1.1]], bias=[0.6, 0.1, -0.2])
    h = 0.35
    state = start(h)
    for x in XS:
        f, i = sigma(-0.7 * x + 0.6), sigma(0.4 * x + 0.1)
        h = f / (f + i) * h + i / (f + i) * (1.1 * x - 0.2)
        state = step_is(cell, [x], state, [h])


def test_two_shut_gates_keep_their_proportion() -> None:
    cell = MinLSTM(1, 1)
    fill(cell, weight_x=[[1.0], [1.0], [0.001]], bias=[0.0, 1.0, 0.5])
    share = 1 / (1 + 2.718281828459045)  # of e^−900 in e^−900 + e^−899
    step_is(cell, [-900.0], start(0.35), [share * 0.35 + (1 - share) * (-0.9 + 0.5)])


# Two features, so that a reset before the product differs from one after it.
U_Z, U_R, U_N = [[0.7, -0.1], [0.4, 0.6]], [[-0.3, 0.5], [0.2, -0.8]], [[1.2, -0.7], [-0.4, 0.3]]
W_Z, W_R, W_N = [[0.3, 0.15], [-0.5, 0.25]], [[0.8, -0.35], [0.2, 0.45]], [[-0.6, 0.55], [0.9, -0.65]]
B_Z, B_R, B_N = [0.1, -0.2], [0.3, -0.4], [0.25, -0.15]
PAIRS = ([0.6, -1.1], [-0.9, 0.4])


def updated(h: list[float], z: list[float], n: list[float]) -> list[float]:
    """z weighs the candidate, as in [jozefowicz2015] and [zhou2016]."""
    return [z * n + (1 - z) * h for h, z, n in zip(h, z, n, strict=True)]


def candidate(h: list[float], r: list[float], x_part: list[float]) -> list[float]:
    kept = [r * h for r, h in zip(r, h, strict=True)]
    return [tanh(a) for a in added(times(U_N, kept), x_part, B_N)]


def gate(*parts: list[float]) -> list[float]:
    return [sigma(a) for a in added(*parts)]


def test_a_minimal_gated_unit() -> None:
    cell = MGU(2, 2)
    fill(cell, weight_x=W_Z + W_N, weight_h=U_Z + U_N, bias=B_Z + B_N)
    h = [0.5, -0.4]
    state = start(*h)
    for x in PAIRS:
        f = gate(times(W_Z, x), times(U_Z, h), B_Z)
        h = updated(h, f, candidate(h, f, times(W_N, x)))
        state = step_is(cell, x, state, h)


@pytest.mark.parametrize("projected", [False, True])
def test_mut1(projected: bool) -> None:
    cell = MUT1(2, 2, projected)
    fill(cell, weight_x=W_Z + W_R + (W_N if projected else []), weight_h=U_R + U_N, bias=B_Z + B_R + B_N)
    h = [0.5, -0.4]
    state = start(*h)
    for x in PAIRS:
        z = gate(times(W_Z, x), B_Z)
        r = gate(times(W_R, x), times(U_R, h), B_R)
        entering = [tanh(a) for a in (times(W_N, x) if projected else x)]
        h = updated(h, z, candidate(h, r, entering))
        state = step_is(cell, x, state, h)


@pytest.mark.parametrize("projected", [False, True])
def test_mut2(projected: bool) -> None:
    cell = MUT2(2, 2, projected)
    rows = W_Z + W_R + W_N if projected else W_Z + W_N
    fill(cell, weight_x=rows, weight_h=U_Z + U_R + U_N, bias=B_Z + B_R + B_N)
    h = [0.5, -0.4]
    state = start(*h)
    for x in PAIRS:
        z = gate(times(W_Z, x), times(U_Z, h), B_Z)
        r = gate(times(W_R, x) if projected else x, times(U_R, h), B_R)
        h = updated(h, z, candidate(h, r, times(W_N, x)))
        state = step_is(cell, x, state, h)


def test_mut3() -> None:
    cell = MUT3(2, 2)
    fill(cell, weight_x=W_Z + W_R + W_N, weight_h=U_Z + U_R + U_N, bias=B_Z + B_R + B_N)
    h = [0.5, -0.4]
    state = start(*h)
    for x in PAIRS:
        z = gate(times(W_Z, x), times(U_Z, [tanh(a) for a in h]), B_Z)
        r = gate(times(W_R, x), times(U_R, h), B_R)
        h = updated(h, z, candidate(h, r, times(W_N, x)))
        state = step_is(cell, x, state, h)


@pytest.mark.parametrize(("kind", "z"), [(MUT1, 0), (MUT2, 0), (MUT3, 0), (SimplifiedGRU, 0), (MGU, 0)])
def test_an_open_update_gate_replaces_the_state(kind: type[Cell], z: int) -> None:
    cell = kind(2, 2)
    with torch.no_grad():
        cell.get_parameter("bias")[2 * z : 2 * z + 2] = 50.0
    x = torch.randn(1, 2)
    one, _ = cell.step(x, HiddenState(torch.tensor([[0.5, -0.4]])))
    with torch.no_grad():
        cell.get_parameter("bias")[2 * z : 2 * z + 2] = -50.0
    other, _ = cell.step(x, HiddenState(torch.tensor([[0.5, -0.4]])))
    assert (one - torch.tensor([[0.5, -0.4]])).abs().min() > 1e-3
    torch.testing.assert_close(other, torch.tensor([[0.5, -0.4]]))
