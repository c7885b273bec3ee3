"""One step at batch 1: what a model that reads or writes token by token waits for."""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.rows import Goal, Row, compare
from benchmarks.scans import products_per_row, recurrent
from benchmarks.timing import Budget, alternate
from elman.cells import CELLS, Cell
from elman.layers.streamer import Streamer
from elman.layers.torch_weights import to_torch

SIZES = (256, 512, 1024)
OTHERS_AT = 512  # the size at which all other cells take a step


def steps(threads: int, names: Sequence[str], budget: Budget, quick: bool) -> Iterator[Row]:
    for size in (8,) if quick else SIZES:
        yield from _lstm(size, threads, budget)
    yield from _all_cells(8 if quick else OTHERS_AT, names, budget)


def _lstm(size: int, threads: int, budget: Budget) -> Iterator[Row]:
    """The LSTM beside the ways there are elsewhere, and beside itself with smaller weights."""
    cell: Any = CELLS["lstm"](size, size)
    x, shape = torch.randn(1, size), f"1×1×{size}"
    single = _ours(cell, x, "float32")
    rivals = {"torch.nn.LSTMCell": _lstm_cell(cell, x), "torch.nn.LSTM, T = 1": _one_step(cell, x)}
    if importlib.util.find_spec("onnxruntime"):
        from benchmarks import onnx_lstm

        rivals["onnxruntime"] = onnx_lstm.step(cell, x, threads)
    for rival, run in rivals.items():  # in pairs: threads of one that still spin would slow the next
        times = alternate({"Elman": single, rival: run}, budget)
        yield compare("One step of an LSTM", "LSTM", shape, "step", times, "Elman", rival, Goal(least=1.0))
    smaller = {"Elman int8": _ours(cell, x, "int8"), "Elman bf16": _ours(cell, x, "bfloat16")}
    times = alternate({"Elman": single, **smaller}, budget)
    for ours, goal in (("Elman int8", 2.0 if size >= 512 else None), ("Elman bf16", None)):
        yield compare(
            "One step with smaller weights", "LSTM", shape, "step", times, ours, "Elman", Goal(least=goal)
        )


def _all_cells(size: int, names: Sequence[str], budget: Budget) -> Iterator[Row]:
    """Every other cell beside the LSTM, per weight."""
    cells: list[Cell] = [CELLS[name](size, size) for name in names if name != "lstm"]
    lstm, x = CELLS["lstm"](size, size), torch.randn(1, size)
    times = alternate({type(cell).__name__: _ours(cell, x, "float32") for cell in [*cells, lstm]}, budget)
    for cell in cells:
        yield compare(
            "One step of every cell and of the LSTM, per weight", type(cell).__name__, f"1×1×{size}", "step",
            times, type(cell).__name__, "LSTM", Goal(most=1.2 if recurrent(cell) else None),
            products_per_row(cell) / products_per_row(lstm),
        )  # fmt: skip


def _ours(cell: Cell, x: Tensor, weights: str) -> Callable[[], Any]:
    streamer = Streamer(cell, batch=1, weights=weights)
    return lambda: streamer.step(x)


def _lstm_cell(cell: Any, x: Tensor) -> Callable[[], Any]:
    module = nn.LSTMCell(cell.input_size, cell.hidden_size)
    module.load_state_dict(
        {name.removesuffix("_l0"): weight for name, weight in to_torch(cell).state_dict().items()}
    )
    state = [torch.zeros(1, cell.hidden_size)] * 2

    def call() -> Tensor:
        with torch.inference_mode():
            state[0], state[1] = module(x, (state[0], state[1]))
        return state[0]

    return call


def _one_step(cell: Any, x: Tensor) -> Callable[[], Any]:
    module, row = to_torch(cell), x.unsqueeze(0)
    state = [torch.zeros(1, 1, cell.hidden_size)] * 2

    def call() -> Tensor:
        with torch.inference_mode():
            y, (state[0], state[1]) = module(row, (state[0], state[1]))
        return y

    return call
