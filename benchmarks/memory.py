"""The most memory that training a layer takes, each in a process of its own; and how long recomputing takes.

``python -m benchmarks.memory "torch.nn.LSTM" 200x32x512`` prints megabytes.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks import scans
from benchmarks.rows import Goal, Row, compare
from benchmarks.scans import TRAINING_X, Shape, given
from benchmarks.timing import Budget, Timing, alternate
from elman.cells import CELLS
from elman.layers.torch_weights import to_torch

SHAPE = Shape(400, 32, 512)
ALL, RECOMPUTING, THEIRS = "Elman", "Elman, recomputing", "torch.nn.LSTM"
STEPS, PROCESSES = 3, 3


def memory(threads: int, quick: bool, budget: Budget) -> Iterator[Row]:
    """Megabytes; and the time that recomputing takes for what it saves."""
    shape, processes = (Shape(20, 4, 32), 1) if quick else (SHAPE, PROCESSES)
    found: dict[str, list[float]] = {name: [] for name in (ALL, RECOMPUTING, THEIRS)}
    for _ in range(processes):
        for who, megabytes in found.items():
            megabytes.append(_measured(who, shape, threads))
    times = {who: _spread(sorted(megabytes)) for who, megabytes in found.items()}
    for who, goal in ((ALL, 1.0), (RECOMPUTING, 0.5)):
        yield compare(
            "Peak memory of training",
            "LSTM",
            shape,
            TRAINING_X,
            times,
            who,
            THEIRS,
            Goal(most=goal),
            unit="MB",
        )
    times = alternate({who: _training(who, _cell(who, shape), shape) for who in found}, budget)
    for who in (THEIRS, ALL):
        yield compare("Time of training", "LSTM", shape, TRAINING_X, times, RECOMPUTING, who, Goal())


def _measured(who: str, shape: Shape, threads: int) -> float:
    command = [sys.executable, "-m", "benchmarks.memory", who, str(shape), str(threads)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _spread(values: list[float]) -> Timing:
    return Timing(values[len(values) // 2], values[0], values[-1], len(values))


def peak(who: str, shape: Shape) -> float:
    """Megabytes above what the process held with model and input, at the worst moment of a few steps."""
    cell = _cell(who, shape)
    run = _training(who, cell, shape)
    _training(who, cell, Shape(2, 2, shape.size))()  # once through all code, so that only the tensors count
    before = _status("VmRSS")
    for _ in range(STEPS):
        run()
    return (_status("VmHWM") - before) / 1024


def _cell(who: str, shape: Shape) -> Any:
    cell = CELLS["lstm"](shape.size, shape.size)
    cell.store = "recompute" if who == RECOMPUTING else "all"
    return cell


def _training(who: str, cell: Any, shape: Shape) -> scans.Call:
    if who == THEIRS:
        return scans.theirs(to_torch(cell), given(shape), TRAINING_X)
    return scans.ours(cell, given(shape), TRAINING_X)


def _status(key: str) -> int:
    """Kilobytes that the kernel counts of this process: held now (VmRSS), or at most so far (VmHWM)."""
    told = re.search(rf"^{key}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    if told is None:
        raise RuntimeError(f"this system does not tell {key} of a process")
    return int(told[1])


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    print(peak(sys.argv[1], Shape.parse(sys.argv[2])))
