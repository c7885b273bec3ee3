"""What was measured on, and whether it has anything else to do."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parent.parent
BUSY = 0.05  # of all cores: what others may use while we sleep
RIVALS = ("torch", "jax", "onnxruntime", "torchrecurrent")


def describe(threads: int) -> dict[str, Any]:
    """The machine and the versions of everything; no names of hosts or folders."""
    return {
        "cpu": _cpu(),
        "instructions": _instructions(),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "versions": {name: version for name in RIVALS if (version := _version(name))},
    }


def now() -> dict[str, str]:
    """What differs from one measurement on a machine to the next."""
    return {
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "load_before": _load(),
    }


def use(threads: int) -> None:
    """Lets this process, and those it starts, run on so many cores only: every rival counts those."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    torch.set_num_threads(threads)


def busy(seconds: float = 1.0) -> str | None:
    """What else runs here, in words; None where hardly anything does."""
    if not Path("/proc/stat").exists():
        return None
    before = _jiffies()
    time.sleep(seconds)
    used, whole = (after - first for after, first in zip(_jiffies(), before, strict=True))
    share = used / max(whole, 1)
    if share <= BUSY:
        return None
    return f"others use {share:.0%} of the processor (load averages {_load()})"


def _jiffies() -> tuple[int, int]:
    """What was used and what there was, of all cores together, since the machine started."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)


def _load() -> str:
    return " ".join(f"{one:.2f}" for one in os.getloadavg())


def _cpu() -> str:
    told = Path("/proc/cpuinfo")
    if told.exists():
        for line in told.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _instructions() -> str:
    told = Path("/proc/cpuinfo")
    flags = set(told.read_text(encoding="utf-8").split()) if told.exists() else set()
    return " ".join(
        name for name in ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16") if name in flags
    )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    asked = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
