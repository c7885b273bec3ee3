"""What is timed side by side computes the same; and the count of its products is right."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import scans
from benchmarks.scans import FORWARD, TRAINING, TRAINING_X, Shape, given
from elman.cells import CELLS, LSTM, MGU, MUT1, NAS, IndRNN, PeepholeLSTM, ProjectedLSTM
from elman.fused import library
from elman.layers.torch_weights import to_torch

SHAPE = Shape(5, 3, 7)
needs_executor = pytest.mark.skipif(library.objection() is not None, reason="no compiled executor")


def close(found: Any, wanted: Any) -> None:
    torch.testing.assert_close(torch.as_tensor(found), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["lstm", "gru", "elman"])
def test_elman_its_definition_and_torch_compute_the_same(name: str) -> None:
    cell: Any = CELLS[name](7, 7)
    data = given(SHAPE)
    for mode in (FORWARD, TRAINING, TRAINING_X):
        ours, eager = scans.ours(cell, data, mode)(), scans.eager(cell, data, mode)()
        for mine, defined in zip(_list(ours), _list(eager), strict=True):
            close(mine, defined)
    weight_x, weight_h, *_, x = scans.theirs(to_torch(cell), data, TRAINING_X)()
    close(weight_x, ours[0])
    close(weight_h, ours[1])
    close(x, ours[-1])


def test_jax_computes_the_same() -> None:
    pytest.importorskip("jax")
    from benchmarks import jax_lstm

    cell, data = LSTM(7, 7), given(SHAPE)
    calls = jax_lstm.calls(cell, data.x, data.cotangent)
    ours = scans.ours(cell, data, FORWARD)()
    close(_tensor(calls[FORWARD]()), ours)
    for mode in (TRAINING, TRAINING_X):
        y, found = calls[mode]()
        found = [*found[0], *found[1:]]
        close(_tensor(y), ours)
        for theirs, mine in zip(found, scans.ours(cell, data, mode)(), strict=True):
            close(_tensor(theirs), mine)


def test_onnxruntime_computes_the_same() -> None:
    pytest.importorskip("onnxruntime")
    from benchmarks import onnx_lstm

    cell, data = LSTM(7, 7), given(SHAPE)
    close(onnx_lstm.scan(cell, data.x, 1)()[:, 0], scans.ours(cell, data, FORWARD)())
    step, x = onnx_lstm.step(cell, data.x[0, :1], 1), data.x[:1, :1].expand(3, 1, 7)
    found = [step().copy() for _ in range(3)]
    close(torch.from_numpy(np.stack(found))[:, 0, 0], cell.scan(x)[0][:, 0].detach())


def test_cells_of_torchrecurrent_have_our_sizes() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    for kind in (PeepholeLSTM, partial(MUT1, projected=True), NAS, MGU):
        ours = kind(7, 7)
        theirs = getattr(torchrecurrent, type(ours).__name__)(7, 7)
        assert theirs(torch.randn(5, 3, 7))[0].shape == (5, 3, 7)
        matrices = sum(p.numel() for p in theirs.parameters() if p.dim() == 2)
        assert matrices == scans.products_per_row(ours)  # they multiply as much as we do


@needs_executor
def test_the_products_of_a_step() -> None:
    assert scans.products_per_row(LSTM(5, 7)) == 4 * 7 * (5 + 7)
    assert scans.products_per_row(ProjectedLSTM(5, 7, projection_size=3)) == 4 * 7 * (5 + 3) + 7 * 3
    assert scans.products_per_row(IndRNN(5, 7)) == 5 * 7
    assert scans.recurrent(LSTM(5, 7))
    assert not scans.recurrent(IndRNN(5, 7))


def test_shapes_are_read_in_either_spelling() -> None:
    assert Shape.parse("35x20×200") == Shape(35, 20, 200)
    assert str(Shape(35, 20, 200)) == "35×20×200"


def _list(found: Any) -> list[Tensor]:
    return [found] if isinstance(found, Tensor) else list(found)


def _tensor(array: Any) -> Tensor:
    return torch.from_numpy(np.array(array))
