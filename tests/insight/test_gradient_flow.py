"""Gradient flow against products of Jacobians written by hand, and against finite differences."""

import numpy as np
import pytest
import torch
from torch import Tensor

from elman import states
from elman.cells import GRU, LSTM, Elman
from elman.cells.cell import MemoryState, Recurrence
from elman.errors import OptionError, ShapeError
from elman.insight.gradient_flow import GradientFlow, gradient_flow, language_model_flow
from elman.layers.stack import Stack
from elman.models.language_model import RecurrentLanguageModel, RecurrentOptions


def quadratic(weight: Tensor):  # type: ignore[no-untyped-def]
    """L_t = ½ (t + 1) Σ_i w_i y_i², whose gradient (t + 1) w ⊙ y depends on the step and on the output."""
    return lambda t, y: 0.5 * (t + 1) * (weight * y.square()).sum(1)


@pytest.mark.parametrize("warm_up", [0, 2])
def test_elman_is_the_product_of_the_jacobians_written_on_the_slide(warm_up: int) -> None:
    cell = Elman(3, 4).double()
    x = torch.randn(9, 2, 3, dtype=torch.float64)
    weight = torch.tensor([0.7, -1.3, 2.1, 0.4], dtype=torch.float64)
    K = 5
    flow = gradient_flow(cell, x, quadratic(weight), distances=K, positions=99, warm_up=warm_up)

    W, U, b = (p.detach().numpy() for p in (cell.weight_h, cell.weight_x, cell.bias))
    h = np.zeros((10, 2, 4))  # h[t + 1] after step t
    for t in range(9):
        h[t + 1] = np.tanh(x[t].numpy() @ U.T + h[t] @ W.T + b)
    norms = np.zeros(K + 1)
    for t in range(warm_up + K, 9):  # 4 or 2 positions, 2 rows
        for row in range(2):
            g = (t + 1) * weight.numpy() * h[t + 1, row]
            norms[0] += np.linalg.norm(g)
            for k in range(1, K + 1):  # through step j = t−k+1: ∂h_j/∂h_{j−1} = diag(1 − h_j²) W
                g = g @ (np.diag(1 - h[t - k + 2, row] ** 2) @ W)
                norms[k] += np.linalg.norm(g)
    np.testing.assert_allclose(flow.norms, norms / (2 * (4 - warm_up)), rtol=1e-12)
    np.testing.assert_allclose(flow.relative, norms / norms[0], rtol=1e-12)


def test_a_linear_scalar_network_shrinks_by_its_weight_at_every_step() -> None:
    cell = Elman(1, 1).double()
    with torch.no_grad():
        cell.weight_h.fill_(0.6)
        cell.weight_x.zero_()
        cell.bias.zero_()  # h stays 0, where tanh' = 1
    x = torch.zeros(12, 1, 1, dtype=torch.float64)
    flow = gradient_flow(cell, x, lambda _, y: 3 * y[:, 0], distances=10, positions=1)
    np.testing.assert_allclose(flow.norms, 3 * 0.6 ** np.arange(11), rtol=1e-12)


def test_an_lstm_without_recurrent_weights_forgets_by_its_forget_gate_alone() -> None:
    cell = LSTM(1, 1).double()
    with torch.no_grad():
        cell.weight_h.zero_()
        cell.weight_x.zero_()
        cell.bias.zero_()
        cell.bias[cell.GATES.split().index("f")] = 1.5
    x = torch.zeros(9, 1, 1, dtype=torch.float64)
    flow = gradient_flow(cell, x, lambda _, y: 2 * y[:, 0], distances=8, positions=1)
    # all gates but f are ½ or 0, c stays 0: ∂L/∂h_t = 2, ∂L/∂c_{t−k} = 2 · o · f^k with o = ½
    f = 1 / (1 + np.exp(-1.5))
    np.testing.assert_allclose(flow.norms, [2, *(2 * 0.5 * f ** np.arange(1, 9))], rtol=1e-12)


@pytest.mark.parametrize(
    "make",
    [lambda: LSTM(2, 3), lambda: GRU(2, 3), lambda: Stack([LSTM(2, 3), Elman(3, 2)])],
    ids=["lstm", "gru", "stack"],
)
def test_the_whole_state_by_finite_differences(make) -> None:  # type: ignore[no-untyped-def]
    recurrence: Recurrence = make().double()
    x = torch.randn(6, 2, 2, dtype=torch.float64)
    weight = torch.linspace(0.5, 2.0, recurrence.output_size, dtype=torch.float64)
    loss = quadratic(weight)
    flow = gradient_flow(recurrence, x, loss, distances=4, positions=2)

    with torch.no_grad():
        after = [recurrence.initial_state(2)]
        for x_t in x:
            after.append(recurrence.step(x_t, after[-1])[1])
        norms = np.zeros(5)
        for t in (4, 5):
            y = recurrence.step(x[t], after[t])[0]
            norms[0] += float(((t + 1) * weight * y).norm(dim=1).sum())
            for k in range(1, 5):
                norms[k] += _differences(recurrence, x[: t + 1], after[t - k + 1], k, loss).norm(dim=1).sum()
    np.testing.assert_allclose(flow.norms, norms / 4, rtol=1e-6)


def _differences(recurrence: Recurrence, x: Tensor, state: object, k: int, loss) -> Tensor:  # type: ignore[no-untyped-def]
    """∂L_t/∂state, B × (all entries of the state): the last k steps run again from moved states."""

    def run(start: object) -> Tensor:
        for x_t in x[-k:]:
            y, start = recurrence.step(x_t, start)
        return loss(len(x) - 1, y)

    columns, step = [], 1e-5
    for path, leaf in states.leaves(state):
        for i in range(leaf.shape[1]):
            moved = []
            for sign in (1, -1):
                tensors = {name: tensor.clone() for name, tensor in states.leaves(state)}
                tensors[path][:, i] += sign * step
                moved.append(run(states.restore(state, tensors)))
            columns.append((moved[0] - moved[1]) / (2 * step))
    return torch.stack(columns, dim=1)


def test_memory_and_output_are_counted_apart() -> None:
    """∂L/∂c at the loss's own step is none: c_t reaches L_t only through h_t, a coordinate itself."""
    cell = LSTM(2, 3).double()
    x = torch.randn(3, 1, 2, dtype=torch.float64)
    flow = gradient_flow(cell, x, lambda _, y: y.sum(1), distances=1, positions=1)
    assert flow.norms[0] == pytest.approx(np.sqrt(3), rel=1e-12)
    state = MemoryState(*(torch.randn(1, 3, dtype=torch.float64) for _ in range(2)))
    assert {path for path, _ in states.leaves(state)} == {"state.h", "state.c"}


def test_a_language_model_is_measured_without_dropout_and_left_as_it_was() -> None:
    model = RecurrentLanguageModel(
        7,
        RecurrentOptions(
            cell="elman", hidden_size=3, embedding_size=2, dropout_input=0.5, dropout_output=0.5
        ),
    ).double()
    text = torch.randint(0, 7, (9, 2))
    flow = language_model_flow(model, text[:-1], text[1:], distances=4, positions=9)
    again = language_model_flow(model, text[:-1], text[1:], distances=4, positions=9)
    np.testing.assert_array_equal(flow.norms, again.norms)
    assert model.training
    assert all(p.grad is None for p in model.parameters())

    # norms[0] by hand: ∂(−log p)/∂h = Vᵀ (softmax − one-hot)
    model.eval()
    state, total = model.start(2), 0.0
    for t in range(8):
        log_p, state = model.step(text[t], state)
        error = log_p.exp()
        error[torch.arange(2), text[t + 1]] -= 1
        if t >= 4:
            total += float((error @ model.softmax.weight).norm(dim=1).sum().detach())
    assert flow.norms[0] == pytest.approx(total / 8, rel=1e-10)


def test_reach_is_the_distance_from_which_on_less_than_the_share_is_left() -> None:
    flow = GradientFlow(np.array([2.0, 0.8, 0.1, 0.5, 0.01, 0.001]))
    assert flow.reach(0.2) == 4  # 0.05 at distance 2 does not count: 0.25 comes after it
    assert flow.reach(0.9) == 1
    assert flow.reach(0.0001) is None


def test_too_short_a_text_and_no_distances_are_refused() -> None:
    cell = Elman(2, 3)
    with pytest.raises(ShapeError) as short:
        gradient_flow(cell, torch.zeros(50, 1, 2), lambda _, y: y.sum(1), distances=50)
    assert str(short.value).splitlines() == [
        "The gradient flow over 50 distances was asked for.",
        "  x is 50×1×2 (T B X): 50 steps; more than 50 are needed.",
        "  Give a longer text, or ask for fewer distances.",
    ]
    with pytest.raises(OptionError, match="distances is 0, positions is 16"):
        gradient_flow(cell, torch.zeros(5, 1, 2), lambda _, y: y.sum(1), distances=0)
