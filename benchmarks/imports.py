"""How long importing takes, in fresh processes that take turns."""

import subprocess
import sys
from collections.abc import Iterator

from benchmarks.rows import Goal, Row, compare
from benchmarks.timing import Timing

TIMES = 9
CODE = {
    "import torch": "import torch",
    "import elman": "import elman",
    "all of Elman's library": "import elman.run, elman.cells, elman.layers, elman.models",
    "python, nothing imported": "pass",
}


def imports(quick: bool) -> Iterator[Row]:
    """Milliseconds of whole processes; everything a user of the library imports counts too."""
    seconds: dict[str, list[float]] = {name: [] for name in CODE}
    for name, code in CODE.items():
        _run(code)
        for _ in range(0 if not quick else 1):
            seconds[name].append(_run(code))
    for _ in range(0 if quick else TIMES):
        for name, code in CODE.items():
            seconds[name].append(_run(code))
    times = {name: _spread(sorted(taken)) for name, taken in seconds.items()}
    for ours in ("import elman", "all of Elman's library"):
        yield compare("Importing", ours, "", "fresh process", times, ours, "import torch", Goal(most=1.2))


def _run(code: str) -> float:
    """Seconds, told by the process itself: from its start to the end of the import."""
    timed = f"import time; before = time.perf_counter(); {code}; print(time.perf_counter() - before)"
    done = subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True, check=True)
    return float(done.stdout)


def _spread(seconds: list[float]) -> Timing:
    ms = [1000 * one for one in seconds]
    return Timing(ms[len(ms) // 2], ms[len(ms) // 4], ms[3 * len(ms) // 4], len(ms))
