"""Scans of whole sequences: what is compared at every shape."""

import importlib.util
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.rows import Goal, Row, compare
from benchmarks.scans import (
    FORWARD,
    MODES,
    TRAINING,
    TRAINING_X,
    Call,
    Given,
    Shape,
    by_definition,
    call,
    eager,
    given,
    ours,
    products_per_row,
    recurrent,
    theirs,
)  # fmt: skip
from benchmarks.timing import Budget, alternate
from elman.cells import CELLS, MGU, MUT1, NAS, PeepholeLSTM
from elman.layers import Bidirectional
from elman.layers.torch_weights import to_torch

TOGETHER = 6  # cells measured in one alternation, beside the LSTM


def counterparts(shape: Shape, threads: int, budget: Budget) -> Iterator[Row]:
    """LSTM, GRU and Elman beside torch.nn's; the LSTM beside jax, onnxruntime and torch.compile too."""
    large = shape.size > 256
    goals = {
        "lstm": 1.15 if shape.size >= 500 else 1.0,
        "gru": 1.1 if large else 1.5,
        "elman": 1.1 if large else 1.2,
    }
    for name, goal in goals.items():
        cell: Any = CELLS[name](shape.size, shape.size)
        module, data = to_torch(cell), given(shape)
        rival = f"torch.nn.{type(module).__name__}"
        what = type(cell).__name__
        for mode in MODES:
            mine = ours(cell, data, mode)
            pairs = {rival: (theirs(module, data, mode), f"{what} and {rival}", Goal(least=goal))}
            if name == "lstm":
                pairs |= _elsewhere(cell, data, mode, threads)
            # Each rival alone beside ours: threads of one that still spin would slow the next.
            for other, (run, heading, wanted) in pairs.items():
                times = alternate({"Elman": mine, other: run}, budget)
                yield compare(heading, what, shape, mode, times, "Elman", other, wanted)


def _elsewhere(cell: Any, data: Given, mode: str, threads: int) -> dict[str, tuple[Call, str, Goal]]:
    """The LSTM by jax and, forwards, by onnxruntime, where they are installed."""
    found: dict[str, tuple[Call, str, Goal]] = {}
    if importlib.util.find_spec("jax"):
        from benchmarks import jax_lstm

        run = jax_lstm.calls(cell, data.x, data.cotangent)[mode]
        found["jax.lax.scan"] = (run, "LSTM and jax.lax.scan", Goal(least=1.3))
    if mode == FORWARD and importlib.util.find_spec("onnxruntime"):
        from benchmarks import onnx_lstm

        found["onnxruntime"] = (onnx_lstm.scan(cell, data.x, threads), "LSTM and onnxruntime", Goal())
    return found


def compiled_loop(shapes: Sequence[Shape], budget: Budget) -> Iterator[Row]:
    """The LSTM's definition by torch.compile at the shape of the fewest steps: it unrolls them all."""
    shape = min(shapes)
    cell, data = CELLS["lstm"](shape.size, shape.size), given(shape)
    run = call(torch.compile(by_definition(cell)), list(cell.parameters()), data, TRAINING_X)
    before = time.perf_counter()
    run()
    seconds = time.perf_counter() - before
    times = alternate({"Elman": ours(cell, data, TRAINING_X), "torch.compile of the loop": run}, budget)
    yield compare(
        "LSTM and torch.compile of its definition", f"LSTM (compiled in {seconds:.0f} s)", shape, TRAINING_X,
        times, "Elman", "torch.compile of the loop", Goal(),
    )  # fmt: skip


def all_cells(shape: Shape, names: Sequence[str], eagerly: Sequence[str], budget: Budget) -> Iterator[Row]:
    """Every cell beside Elman's LSTM at equal products, some ``eagerly`` by their definition."""
    lstm, data = CELLS["lstm"](shape.size, shape.size), given(shape)
    base, others = products_per_row(lstm), [name for name in names if name != "lstm"]
    same = Goal(most=1.2 if shape.size >= 256 else 1.5)
    faster = Goal(least=3 if shape.size <= 128 else 2)
    for k in range(0, max(len(others), 1), TOGETHER):
        calls = {"LSTM": ours(lstm, data, TRAINING_X)}
        if k == 0 and "lstm" in eagerly:
            calls["LSTM, definition"] = eager(lstm, data, TRAINING_X)
        cells: dict[str, Any] = {
            name: CELLS[name](shape.size, shape.size) for name in others[k : k + TOGETHER]
        }
        for name, cell in cells.items():
            what, own = type(cell).__name__, given(shape, cell.output_size)
            calls[what] = ours(cell, own, TRAINING_X)
            if name in eagerly:
                calls[f"{what}, definition"] = eager(cell, own, TRAINING_X)
        times = alternate(calls, budget)
        for cell in cells.values():
            what = type(cell).__name__
            inside = recurrent(cell)
            yield compare(
                "Every cell and Elman's LSTM, per product" if inside else "Cells without recurrent products",
                what, shape, TRAINING_X, times, what, "LSTM", same if inside else Goal(most=None),
                products_per_row(cell) / base if inside else 1.0,
            )  # fmt: skip
        for what in calls:
            if f"{what}, definition" in calls:
                yield compare(
                    "Every cell and its definition, eagerly", what, shape, TRAINING_X, times, what,
                    f"{what}, definition", faster,
                )  # fmt: skip


def bfloat16(shape: Shape, budget: Budget) -> Iterator[Row]:
    """The LSTM with products in bfloat16, beside torch.nn's in bfloat16 and in float32."""
    cell: Any = CELLS["lstm"](shape.size, shape.size)
    module, data = to_torch(cell), given(shape)
    half, single = "torch.nn.LSTM bf16", "torch.nn.LSTM fp32"
    for mode in (FORWARD, TRAINING_X):
        calls = {
            "Elman bf16": ours(cell, data, mode, "bfloat16"),
            half: theirs(module, data, mode, "bfloat16"),
            single: theirs(module, data, mode),
        }
        times = alternate(calls, budget)
        for rival, goal in ((half, 1.15), (single, 1.8 if shape.size >= 500 else None)):
            yield compare(
                "LSTM in bfloat16",
                f"beside {rival}",
                shape,
                mode,
                times,
                "Elman bf16",
                rival,
                Goal(least=goal),
            )


def bidirectional(shape: Shape, budget: Budget) -> Iterator[Row]:
    """A layer that reads from both ends, beside torch.nn's."""
    pairs = {"lstm": nn.LSTM, "gru": nn.GRU}
    for name, module in pairs.items():
        layer = Bidirectional(CELLS[name](shape.size, shape.size), CELLS[name](shape.size, shape.size))
        rival, data = f"torch.nn.{module.__name__}", given(shape, 2 * shape.size)
        other = module(shape.size, shape.size, bidirectional=True)
        for mode in MODES:
            times = alternate({"Elman": ours(layer, data, mode), rival: theirs(other, data, mode)}, budget)
            yield compare(
                "Both directions and torch.nn's", module.__name__, shape, mode, times, "Elman", rival, Goal()
            )


def ragged(shape: Shape, budget: Budget) -> Iterator[Row]:
    """Sequences of half to all of the steps, beside as many full ones; and torch.nn's packed ones."""
    lengths = torch.randint(shape.steps // 2, shape.steps + 1, (shape.batch,))
    lengths[0] = shape.steps
    for name in ("lstm", "gru", "peephole", "rhn"):
        cell: Any = CELLS[name](shape.size, shape.size)
        data, what = given(shape), type(cell).__name__
        calls = {
            "ragged": ours(cell, data, TRAINING_X, lengths=lengths),
            "full": ours(cell, data, TRAINING_X),
        }
        if name == "lstm":
            calls["torch.nn.LSTM, packed"] = _packed(cell, data, lengths)
        times = alternate(calls, budget)
        yield compare(
            "Ragged and full sequences", what, shape, TRAINING_X, times, "ragged", "full", Goal(most=1.05)
        )
        if name == "lstm":
            yield compare(
                "Ragged sequences and torch.nn's packed ones", what, shape, TRAINING_X, times, "ragged",
                "torch.nn.LSTM, packed", Goal(),
            )  # fmt: skip


def _packed(cell: Any, data: Given, lengths: Tensor) -> Call:
    module: Any = to_torch(cell)

    def scan(x: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        return nn.utils.rnn.pad_packed_sequence(module(packed)[0], total_length=x.shape[0])[0]

    return call(scan, list(module.parameters()), data, TRAINING_X)


def other_library(shape: Shape, budget: Budget) -> Iterator[Row]:
    """Cells that torch.nn lacks, beside the same ones of torchrecurrent."""
    if not importlib.util.find_spec("torchrecurrent"):
        return
    import torchrecurrent

    theirs_maps_x = partial(MUT1, projected=True)
    for kind, goal in ((PeepholeLSTM, 3), (theirs_maps_x, 2), (NAS, 2), (MGU, 2)):
        cell, data = kind(shape.size, shape.size), given(shape)
        what = type(cell).__name__
        rival: nn.Module = getattr(torchrecurrent, what)(shape.size, shape.size)
        for mode in (TRAINING, FORWARD):
            times = alternate(
                {"Elman": ours(cell, data, mode), "torchrecurrent": theirs(rival, data, mode)}, budget
            )
            yield compare(
                "Cells of torchrecurrent",
                what,
                shape,
                mode,
                times,
                "Elman",
                "torchrecurrent",
                Goal(least=goal),
            )
