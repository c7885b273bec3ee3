"""Plain arithmetic for worked examples: no tensors until a result is compared."""

from collections.abc import Sequence
from math import exp
from typing import Any

import torch
from torch import Tensor

from elman.cells import Cell

Gate = tuple[float, float, float]  # a weight of x, a weight of h, a bias


def tensor(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def sigma(a: float) -> float:
    return 1 / (1 + exp(-a))


def fill(module: torch.nn.Module, **values: object) -> None:
    for name, value in values.items():
        getattr(module, name).data = tensor(value)


def pack(cell: Cell, **gates: Gate) -> None:
    """Gives a cell of one input and one feature its gates by name, in the order of its ``GATES``."""
    rows = [gates[name] for name in cell.GATES.split()]
    assert len(rows) == len(gates)
    fill(cell, weight_x=[[x] for x, _, _ in rows], weight_h=[[h] for _, h, _ in rows])
    fill(cell, bias=[b for _, _, b in rows])


def total(gate: Gate, x: float, h: float) -> float:
    weight_x, weight_h, bias = gate
    return weight_x * x + weight_h * h + bias


def times(matrix: Sequence[Sequence[float]], vector: Sequence[float]) -> list[float]:
    return [sum(w * v for w, v in zip(row, vector, strict=True)) for row in matrix]


def added(*vectors: Sequence[float]) -> list[float]:
    return [sum(numbers) for numbers in zip(*vectors, strict=True)]


def step_is(cell: Cell, x: Sequence[float], state: Any, *expected: Sequence[float]) -> Any:
    """One step of one sequence: its output is the first of ``expected``, its new state all of them."""
    output, state = cell.step(tensor([x]), state)
    torch.testing.assert_close(output, tensor([expected[0]]), rtol=0, atol=1e-12)
    assert len(state) == len(expected)
    for part, numbers in zip(state, expected, strict=True):
        torch.testing.assert_close(part, tensor([numbers]), rtol=0, atol=1e-12)
    return state
