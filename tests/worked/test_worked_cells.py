"""One step of each cell, worked with plain arithmetic."""

from math import log, tanh

import pytest
import torch
from by_hand import fill, sigma, tensor

from elman.cells import GRU, LSTM, Elman, GRUResetBefore
from elman.cells.cell import HiddenState, MemoryState
from elman.layers import Softmax


@pytest.mark.parametrize(
    ("nonlinearity", "expected"),
    [
        # 0.5·1 − 0.3·2 + 0.4·0.25 − 0.7·0.5 + 0.1 = −0.25 and −0.2·1 + 0.6·2 − 0.6·0.25 + 0.2·0.5 + 0.05 = 1
        ("tanh", [tanh(-0.25), tanh(1.0)]),
        ("relu", [0.0, 1.0]),
        ("logistic", [0.43782349911420193, 0.7310585786300049]),
    ],
)
def test_elman(nonlinearity: str, expected: list[float]) -> None:
    cell = Elman(2, 2, nonlinearity)
    fill(
        cell,
        weight_x=[[0.5, -0.3], [-0.2, 0.6]],
        weight_h=[[0.4, 0.7], [-0.6, -0.2]],
        bias=[0.1, 0.05],
    )
    output, state = cell.step(tensor([[1.0, 2.0]]), HiddenState(tensor([[0.25, -0.5]])))
    torch.testing.assert_close(output, tensor([expected]), rtol=0, atol=1e-12)
    assert torch.equal(output, state.h)


def test_lstm_for_two_steps() -> None:
    cell = LSTM(1, 1)
    fill(cell, weight_x=[[0.4], [-0.7], [1.1], [0.3]], weight_h=[[0.2], [0.5], [-0.9], [0.8]])
    fill(cell, bias=[0.1, 0.6, -0.2, -0.3])
    h, c = 0.35, -0.8
    state = MemoryState(tensor([[h]]), tensor([[c]]))
    for x in (0.9, -1.3):
        i = sigma(0.4 * x + 0.2 * h + 0.1)
        f = sigma(-0.7 * x + 0.5 * h + 0.6)
        g = tanh(1.1 * x - 0.9 * h - 0.2)
        o = sigma(0.3 * x + 0.8 * h - 0.3)
        c = f * c + i * g
        h = o * tanh(c)
        output, state = cell.step(tensor([[x]]), state)
        torch.testing.assert_close(output, tensor([[h]]), rtol=0, atol=1e-12)
        torch.testing.assert_close(state, MemoryState(tensor([[h]]), tensor([[c]])), rtol=0, atol=1e-12)


# Two features, so that resetting before the product differs from resetting after it.
X, H = 0.6, [0.5, -0.4]
W_X = [[0.3], [-0.5], [0.8], [0.2], [-0.6], [0.9]]
W_H = [[0.7, -0.1], [0.4, 0.6], [-0.3, 0.5], [0.2, -0.8], [1.2, -0.7], [-0.4, 0.3]]
BIAS = [0.1, -0.2, 0.3, -0.4, 0.25, -0.15]
R = [sigma(0.3 * X + 0.7 * 0.5 + 0.04 + 0.1), sigma(-0.5 * X + 0.4 * 0.5 - 0.24 - 0.2)]
Z = [sigma(0.8 * X - 0.15 - 0.2 + 0.3), sigma(0.2 * X + 0.1 + 0.32 - 0.4)]


def test_gru_resets_after_the_product() -> None:
    cell = GRU(1, 2)
    fill(cell, weight_x=W_X, weight_h=W_H, bias=BIAS, bias_h=[0.45, -0.55])
    n = [
        tanh(-0.6 * X + 0.25 + R[0] * (1.2 * 0.5 + 0.7 * 0.4 + 0.45)),
        tanh(0.9 * X - 0.15 + R[1] * (-0.4 * 0.5 - 0.3 * 0.4 - 0.55)),
    ]
    gru_step_is(cell, n)


def test_gru_resets_before_the_product() -> None:
    cell = GRUResetBefore(1, 2)
    fill(cell, weight_x=W_X, weight_h=W_H, bias=BIAS)
    n = [
        tanh(-0.6 * X + 0.25 + 1.2 * (R[0] * 0.5) - 0.7 * (R[1] * -0.4)),
        tanh(0.9 * X - 0.15 - 0.4 * (R[0] * 0.5) + 0.3 * (R[1] * -0.4)),
    ]
    gru_step_is(cell, n)


def gru_step_is(cell: GRU | GRUResetBefore, n: list[float]) -> None:
    expected = [(1 - z) * new + z * old for z, new, old in zip(Z, n, H, strict=True)]
    output, state = cell.step(tensor([[X]]), HiddenState(tensor([H])))
    torch.testing.assert_close(output, tensor([expected]), rtol=0, atol=1e-12)
    assert torch.equal(output, state.h)


def test_an_update_gate_that_weighs_the_candidate_is_ours_negated() -> None:
    """h = (1 − z) ⊙ h + z ⊙ n, as in lectures: its weights become ours when that gate's change their sign."""
    cell = GRU(1, 2)
    fill(cell, weight_x=W_X, weight_h=W_H, bias=BIAS, bias_h=[0.45, -0.55])
    theirs_z = Z
    n = [
        tanh(-0.6 * X + 0.25 + R[0] * (0.6 + 0.28 + 0.45)),
        tanh(0.9 * X - 0.15 + R[1] * (-0.2 - 0.12 - 0.55)),
    ]
    expected = [(1 - z) * old + z * new for z, new, old in zip(theirs_z, n, H, strict=True)]
    with torch.no_grad():
        for packed in (cell.weight_x, cell.weight_h, cell.bias):
            packed[2:4] *= -1
    output, _ = cell.step(tensor([[X]]), HiddenState(tensor([H])))
    torch.testing.assert_close(output, tensor([expected]), rtol=0, atol=1e-12)


def test_the_loss_of_three_words() -> None:
    """The words were given 0.3, 0.5 and 0.2: the loss is −log 0.3 − log 0.5 − log 0.2 = log (1 / 0.03)."""
    softmax = Softmax(hidden_size=3, vocabulary_size=4).double()
    given = tensor([[0.3, 0.4, 0.2, 0.1], [0.2, 0.2, 0.5, 0.1], [0.7, 0.05, 0.05, 0.2]])
    fill(softmax, weight=given.log().T.tolist())
    nats = softmax.loss(torch.eye(3, dtype=torch.float64), torch.tensor([0, 2, 3]))
    assert nats.item() == pytest.approx(-log(0.3) - log(0.5) - log(0.2), abs=1e-12)
    assert nats.item() == pytest.approx(3.506557897319982, abs=1e-12)
