"""What a run ran on, as far as it matters to its numbers: no host names, no paths."""

import json
import os
import platform
from pathlib import Path

import torch

from elman.version import VERSION


def describe(format_version: int, device: str, precision: str) -> str:
    """The text of machine.toml."""
    gpu = torch.cuda.get_device_name() if device.startswith("cuda") and torch.cuda.is_available() else None
    lines = [
        f"format = {format_version}",
        f"elman = {json.dumps(VERSION)}",
        f"python = {json.dumps(platform.python_version())}",
        f"torch = {json.dumps(torch.__version__)}",
        f"system = {json.dumps(f'{platform.system()} {platform.machine()}')}",
        f"cpu = {json.dumps(_cpu(), ensure_ascii=False)}",
        f"cores = {os.cpu_count()}",
        f"threads = {torch.get_num_threads()}",
        f"device = {json.dumps(device)}",
        f"precision = {json.dumps(precision)}",
    ]
    if gpu is not None:
        lines.append(f"gpu = {json.dumps(gpu)}")
    return "\n".join(lines) + "\n"


def _cpu() -> str:
    told = Path("/proc/cpuinfo")
    if told.exists():
        for line in told.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
