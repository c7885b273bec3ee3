"""Cells of many stages in one step, worked with plain arithmetic from their published equations."""

from math import tanh

import pytest
from by_hand import added, fill, sigma, step_is, tensor, times

from elman.cells import NAS, RHN
from elman.cells.cell import HiddenState, MemoryState

W_G, W_T = [[0.3, 0.15], [-0.5, 0.25]], [[0.8, -0.35], [0.2, 0.45]]
R_G = [[[0.7, -0.1], [0.4, 0.6]], [[-0.3, 0.5], [0.2, -0.8]], [[0.9, 0.35], [-0.55, 0.65]]]
R_T = [[[1.2, -0.7], [-0.4, 0.3]], [[0.05, -0.95], [0.85, 0.75]], [[-0.45, 0.15], [0.6, -0.2]]]
B_G, B_T = [[0.1, -0.2], [0.3, -0.4], [0.25, -0.15]], [[-1.1, -0.9], [-0.8, -1.2], [-0.7, -1.3]]


@pytest.mark.parametrize("depth", [1, 3])
def test_a_recurrent_highway(depth: int) -> None:
    cell = RHN(2, 2, depth)
    fill(cell, weight_x=W_G + W_T)
    fill(cell, weight_h=[row for k in range(depth) for row in R_G[k] + R_T[k]])
    fill(cell, bias=[number for k in range(depth) for number in B_G[k] + B_T[k]])
    s = [0.5, -0.4]
    state = HiddenState(tensor([s]))
    for x in ([0.6, -1.1], [-0.9, 0.4]):
        for k in range(depth):
            x_g, x_t = (times(W_G, x), times(W_T, x)) if k == 0 else ([0.0, 0.0], [0.0, 0.0])
            g = [tanh(a) for a in added(x_g, times(R_G[k], s), B_G[k])]
            t = [sigma(a) for a in added(x_t, times(R_T[k], s), B_T[k])]
            s = [g * t + s * (1 - t) for g, t, s in zip(g, t, s, strict=True)]
        state = step_is(cell, x, state, s)


def test_the_cell_that_a_search_found() -> None:
    w = [0.4, 0.7, -0.5, 1.1, 0.9, -0.6, 0.3, -0.8]
    u = [0.2, 0.5, 0.6, 0.9, -0.3, 0.8, -0.7, 0.1]
    cell = NAS(1, 1)
    fill(cell, weight_x=[[a] for a in w], weight_h=[[a] for a in u])
    h, c = 0.35, -0.8
    state = MemoryState(tensor([[h]]), tensor([[c]]))
    rectified = []
    for x in (0.9, -1.3):
        a, b = [one * x for one in w], [one * h for one in u]
        l0 = sigma(a[0] + b[0])
        l1 = max(0.0, a[1] + b[1])
        l2 = sigma(a[2] + b[2])
        l3 = max(0.0, a[3] * b[3])
        l4 = tanh(a[4] + b[4])
        l5 = sigma(a[5] + b[5])
        l6 = tanh(a[6] + b[6])
        l7 = sigma(a[7] + b[7])
        rectified.append((l1 > 0, l3 > 0))
        m0, m1, m2, m3 = tanh(l0 * l1), tanh(l2 + l3), tanh(l4 * l5), sigma(l6 + l7)
        c = tanh(m0 + c) * m1
        h = tanh(c * tanh(m2 + m3))
        state = step_is(cell, [x], state, [h], [c])
    assert rectified[0] == (True, True)
    assert rectified[1] != (True, True)
