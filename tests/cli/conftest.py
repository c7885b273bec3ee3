"""Two small runs that the verbs are tried on, and a way to call a verb within the test's own process."""

import io
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from elman.cli.main import main

WORDS = ["the", "a", "dog", "cat", "bird", "sees", "hears", "follows", "small", "house"]


class Said(NamedTuple):
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


def write_text(path: Path, lines: int = 200) -> Path:
    draw = random.Random(11)
    text = "".join(" ".join(draw.choices(WORDS, k=draw.randint(3, 6))) + "\n" for _ in range(lines))
    path.write_text(text)
    return path


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """``text.txt``, and runs made of it: ``words`` (an LSTM) and ``characters`` (counted)."""
    folder = tmp_path_factory.mktemp("runs")
    text = str(write_text(folder / "text.txt"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        small = ["--layers", "1", "--hidden-size", "8", "--set", "train.epochs=1", "--set", "train.batch=4"]
        quick = ["--device", "cpu", "--set", "train.steps=10"]
        assert main(["train", "--data", text, "--out", str(folder / "words"), *small, *quick]) == 0
        counted = ["--model", "counted", "--order", "3", "--unit", "characters"]
        assert main(["train", "--data", text, "--out", str(folder / "characters"), *counted]) == 0
        yield folder


@pytest.fixture
def elman(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """Calls ``elman`` with these words and, on standard input, ``stdin``."""

    def call(*words: object, stdin: bytes = b"") -> Said:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        status = main([os.fspath(word) if isinstance(word, Path) else str(word) for word in words])
        return Said(status, *capsys.readouterr())

    return call


def refused(said: Said, kind: str) -> list[str]:
    """The three lines of an error, without its name; nothing was printed on standard output."""
    assert (said.status, said.out) == (2, "")
    lines = said.err.rstrip("\n").split("\n")
    assert lines[0].startswith(f"{kind}: ")
    assert all(line.startswith("  ") for line in lines[1:])
    return [lines[0].removeprefix(f"{kind}: "), *(line.strip() for line in lines[1:])]
