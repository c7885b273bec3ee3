"""How long importing takes, and the first step of a training, in fresh processes that take turns."""

import os
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.rows import Goal, Row, compare
from benchmarks.timing import Timing

TIMES = 9
TORCH, TORCH_STEP = "import torch", "import torch, first step of torch.nn.LSTM"
CODE = {
    TORCH: "import torch",
    "import elman": "import elman",
    "all that a training needs": "import elman.study.execute",
    TORCH_STEP: "import torch; torch.nn.LSTM(8, 8)(torch.randn(3, 2, 8))[0].sum().backward()",
    "first step of an LSTM": "import torch; from elman.cells import LSTM; "
    "LSTM(8, 8).scan(torch.randn(3, 2, 8))[0].sum().backward()",
}
COMPARED = (
    ("Importing", "import elman", TORCH, 1.2),
    ("Importing", "all that a training needs", TORCH, 1.2),
    ("Importing, and the first step of training", "first step of an LSTM", TORCH_STEP, None),
)


def imports(quick: bool) -> Iterator[Row]:
    """Milliseconds of whole processes; everything a user of the library imports counts too."""
    seconds: dict[str, list[float]] = {name: [] for name in CODE}
    for code in () if quick else CODE.values():
        _run(code)
    for _ in range(1 if quick else TIMES):
        for name, code in CODE.items():
            seconds[name].append(_run(code))
    times = {name: _spread(sorted(taken)) for name, taken in seconds.items()}
    for group, ours, theirs, goal in COMPARED:
        yield compare(group, ours, "", "fresh process", times, ours, theirs, Goal(most=goal))


def _run(code: str) -> float:
    """Seconds, told by the process itself: from its start to the end of the import.

    Modules are compiled once and kept, as those of installed packages are.
    """
    timed = f"import time; before = time.perf_counter(); {code}; print(time.perf_counter() - before)"
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", timed]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=kept)
    return float(done.stdout)


def _spread(seconds: list[float]) -> Timing:
    ms = [1000 * one for one in seconds]
    return Timing(ms[len(ms) // 2], ms[len(ms) // 4], ms[3 * len(ms) // 4], len(ms))
