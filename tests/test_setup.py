"""Wheels, built with a compiler, without one, and with one that fails: complete, saying what is left out."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


def built(tmp_path: Path, compiler: str) -> tuple[str, Path]:
    """What building the wheel said of the executor, and the folder that the wheel is unpacked in."""
    source, unpacked = tmp_path / "source", tmp_path / "unpacked"
    source.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "elman", source / "elman", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('.'))"
    done = subprocess.run(
        [sys.executable, "-c", build],
        cwd=source,
        env=os.environ | {"CXX": compiler},
        capture_output=True,
        text=True,
        check=True,
    )
    (wheel,) = source.glob("elman-*-py3-none-*.whl")
    shutil.unpack_archive(wheel, unpacked, "zip")
    (said,) = [line for line in done.stdout.splitlines() if line.startswith("elman: ")] or [""]
    return said, unpacked


def told(unpacked: Path) -> dict:
    """What ``elman kernels`` of the unpacked wheel tells, after one of its scans."""
    code = (
        "import torch; from elman.cells import NAS; from elman.cli import kernels; import json, elman;"
        "y, _ = NAS(3, 4).scan(torch.ones(5, 2, 3)); y.sum().backward();"
        "print(json.dumps({**kernels.machine(), 'file': elman.__file__}))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": str(unpacked)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=unpacked, env=environment, capture_output=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["file"] == str(unpacked / "elman/__init__.py")
    return found


def executors(unpacked: Path) -> list[str]:
    return sorted(path.name for path in (unpacked / "elman/fused/native").glob("executor.*"))


def test_without_a_compiler_the_wheel_is_complete_and_says_so(tmp_path: Path) -> None:
    said, unpacked = built(tmp_path, "/nonexistent/c++")
    assert said == ("elman: there is no C++ compiler /nonexistent/c++; cells run by their definition, slower")
    assert executors(unpacked) == []
    assert (unpacked / "elman/recipes/zaremba2014-ptb-small.toml").exists()
    found = told(unpacked)
    assert found["executor"] is None
    assert found["objection"] == "no compiler was there when the package was installed"


def test_what_a_compiler_cannot_build_is_said_once_and_left_out(tmp_path: Path) -> None:
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no compiler on this machine")
    poor = tmp_path / "poor"
    poor.write_text(
        '#!/bin/sh\ncase "$*" in *x86-64-v[34]*) echo "a: error: unknown processor" >&2; exit 1;; esac\n'
        f'exec {compiler} "$@" -O0\n'
    )
    poor.chmod(0o755)
    said, unpacked = built(tmp_path, str(poor))
    (only,) = executors(unpacked)
    if only == "executor.v2.so":
        assert said == (
            f"elman: {poor} failed for v3, v4, v4b (a: error: unknown processor); "
            "only executor.v2.so will be there"
        )
    assert told(unpacked)["executor"]["level"] == only.split(".")[1]
