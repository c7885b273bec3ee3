"""The loop over the definition. (Its laws stand in ``tests/laws``.)"""

import torch

from elman.cells import LSTM
from elman.fused import definition


def test_steps_within_their_sequence() -> None:
    inside = definition.within(torch.tensor([2, 0, 3]), steps=3)
    assert inside.tolist() == [[True, False, True], [True, False, True], [False, False, True]]


def test_the_projection_is_one_product_for_all_steps() -> None:
    cell, seen = LSTM(2, 3), []
    project = cell.project
    cell.project = lambda x: seen.append(tuple(x.shape)) or project(x)  # type: ignore[method-assign]
    definition.scan(cell, torch.randn(6, 4, 2), cell.initial_state(4), None)
    assert seen == [(6, 4, 2)]
