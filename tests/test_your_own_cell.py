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


class Measured(doctest.OutputChecker):
    """A speed is another number each time, and a perplexity nearly the same."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        if want.endswith("times as fast\n"):
            want, got = blurred(want), blurred(got)
        elif "perplexity" in want and alike(want, got):
            want = got
        return super().check_output(want, got, optionflags)


def session(text: str, names: dict[str, Any], line: int) -> int:
    """Runs a session of Python; returns how many statements it has."""
    test = doctest.DocTestParser().get_doctest(text, names, f"line {line}", str(PAGE), line)
    runner = doctest.DocTestRunner(Measured(), verbose=False, optionflags=doctest.ELLIPSIS)
    said: list[str] = []
    result = runner.run(test, out=said.append, clear_globs=False)
    assert result.failed == 0, "".join(said)
    names.update(test.globs)
    return result.attempted


def console(text: str, line: int) -> int:
    """Runs commands; what they print is as shown, numbers nearly so. Returns how many there are.

    Times and speeds may be any, and so may all that a training reaches that ``--max-minutes`` stops.
    """
    commands = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.M)
    for command, shown in commands:
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"line {line}: {command}\n{done.stderr}"
        assert blurred(done.stdout) == blurred(shown), f"line {line}: {command}"
        if "--max-minutes" not in command:
            assert alike(shown, done.stdout), f"line {line}: {command}\n{done.stdout}"
    return len(commands)


NUMBER = re.compile(r"\d[\d.,]*")


def blurred(text: str) -> str:
    return NUMBER.sub("#", text)


def alike(one: str, other: str) -> bool:
    """Whether two texts differ in nothing but their numbers, and in these by at most 3 %, lines of speeds
    left aside. Another version of Python comes with other texts: then 20 %."""
    tolerance = 0.03 if sys.version_info[:2] == (3, 11) else 0.2
    found = ([line for line in text.splitlines() if "tokens/s" not in line] for text in (one, other))
    one, other = ("\n".join(lines) for lines in found)
    pairs = zip(*(map(_value, NUMBER.findall(text)) for text in (one, other)), strict=False)
    return blurred(one) == blurred(other) and all(a == pytest.approx(b, rel=tolerance) for a, b in pairs)


def _value(number: str) -> float:
    return float(number.rstrip(".,").replace(",", ""))


def test_numbers_that_went_stale_are_noticed() -> None:
    shown = "valid perplexity 318.7, test perplexity 322.7 · 761,486 parameters\n0.5 minutes at 9 tokens/s\n"
    assert alike(shown, shown.replace("318.7", "319.1").replace("0.5", "7.5"))
    assert not alike(shown, shown.replace("322.7", "591.8"))
    assert not alike(shown, shown.replace("test", "best"))
