"""``docs/your-own-cell.md`` does what it says: its file is written, its sessions and commands are run."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from elman.fused import library

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/your-own-cell.md"


def blocks() -> list[tuple[str, str, int]]:
    """Kind, text and line of every fenced block."""
    text = PAGE.read_text(encoding="utf-8")
    return [
        (found[1], found[2], text.count("\n", 0, found.start()) + 1)
        for found in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.M | re.S)
    ]


def test_the_page_has_blocks_of_every_kind() -> None:
    kinds = [kind for kind, _, _ in blocks()]
    assert {kind: kinds.count(kind) for kind in kinds} == {"python": 1, "pycon": 8, "console": 2}


@pytest.mark.slow
@pytest.mark.skipif(library.objection() is not None, reason="the page is about the compiled executor")
def test_every_block_runs_and_gives_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "elman").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m elman.cli.main "$@"\n')
    (commands / "elman").chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    names: dict[str, Any] = {}
    ran = 0
    for kind, text, line in blocks():
        if kind == "python":
            (tmp_path / "undertow.py").write_text(text)
        elif kind == "pycon":
            ran += session(text, names, line)
        else:
            ran += console(text, line)
    assert ran > 60
    sys.modules.pop("undertow")


class Speeds(doctest.OutputChecker):
    """A speed is another number each time."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        if want.endswith("times as fast\n"):
            want, got = blurred(want), blurred(got)
        return super().check_output(want, got, optionflags)


def session(text: str, names: dict[str, Any], line: int) -> int:
    """Runs a session of Python; returns how many statements it has."""
    test = doctest.DocTestParser().get_doctest(text, names, f"line {line}", str(PAGE), line)
    runner = doctest.DocTestRunner(Speeds(), verbose=False, optionflags=doctest.ELLIPSIS)
    said: list[str] = []
    result = runner.run(test, out=said.append, clear_globs=False)
    assert result.failed == 0, "".join(said)
    names.update(test.globs)
    return result.attempted


def console(text: str, line: int) -> int:
    """Runs commands; what they print is as shown, whatever the numbers. Returns how many there are."""
    commands = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.M)
    for command, shown in commands:
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"line {line}: {command}\n{done.stderr}"
        assert blurred(done.stdout) == blurred(shown), f"line {line}: {command}"
    return len(commands)


def blurred(text: str) -> str:
    return re.sub(r"\d[\d.,]*", "#", text)
