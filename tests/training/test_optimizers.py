"""Two steps of each optimizer, against its published formula by hand."""

import math

import pytest
import torch
from torch import nn

from elman.training import optimizers
from elman.training.options import TrainingOptions

P, G1, G2, RATE, DECAY = 0.75, 0.5, -0.25, 0.1, 0.2


def two_steps(options: TrainingOptions) -> float:
    parameter = nn.Parameter(torch.tensor([P], dtype=torch.float64))
    optimizer = optimizers.build(options, [parameter])
    for gradient, rate in ((G1, RATE), (G2, RATE / 2)):
        optimizers.set_learning_rate(optimizer, rate)
        parameter.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
    return parameter.item()


def test_sgd_with_momentum_and_weight_decay() -> None:
    v = G1 + DECAY * P
    p = P - RATE * v
    v = 0.5 * v + G2 + DECAY * p
    options = TrainingOptions(momentum=0.5, weight_decay=DECAY)
    assert two_steps(options) == pytest.approx(p - RATE / 2 * v, rel=1e-12)


def test_adam() -> None:
    p, m, s = P, 0.0, 0.0
    for t, (gradient, rate) in enumerate(((G1, RATE), (G2, RATE / 2)), start=1):
        m = 0.8 * m + 0.2 * gradient
        s = 0.95 * s + 0.05 * gradient**2
        p -= rate * (m / (1 - 0.8**t)) / (math.sqrt(s / (1 - 0.95**t)) + 1e-8)
    assert two_steps(TrainingOptions(optimizer="adam", beta1=0.8, beta2=0.95)) == pytest.approx(p, rel=1e-9)


def test_rmsprop_with_momentum() -> None:
    p, s, v = P, 0.0, 0.0
    for gradient, rate in ((G1, RATE), (G2, RATE / 2)):
        s = 0.95 * s + 0.05 * gradient**2
        v = 0.3 * v + gradient / (math.sqrt(s) + 1e-8)
        p -= rate * v
    options = TrainingOptions(optimizer="rmsprop", alpha=0.95, momentum=0.3)
    assert two_steps(options) == pytest.approx(p, rel=1e-9)
