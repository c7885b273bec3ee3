"""``elman score``: line by line, each number when its line is there; the sum is tested with evaluate."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import elman as package
from tests.cli.conftest import Said, refused

ROOT = Path(__file__).parents[2]


def test_the_state_carries_over_unless_lines_are_independent(
    elman: Callable[..., Said], folder: Path
) -> None:
    lines = b"the dog sees\nthe dog sees\nthe dog sees\n"
    carried = [float(line) for line in elman("score", folder / "words", stdin=lines).out.split()]
    independent = [
        float(line) for line in elman("score", folder / "words", "--independent", stdin=lines).out.split()
    ]
    assert independent[0] == independent[1] == independent[2] == carried[0]
    assert carried[1] != carried[0]
    run = package.load(folder / "words")
    state, total = None, 0.0
    prediction = run.start()
    for token in ["the", "dog", "sees", "<eos>"]:
        total += prediction.log_probabilities[run.vocabulary.id(token)].item()
        prediction = run.step(token, prediction.state)
        state = prediction.state
    assert state is not None
    assert carried[0] == pytest.approx(total, rel=1e-5)


def test_json_is_one_object(elman: Callable[..., Said], folder: Path) -> None:
    found = json.loads(elman("score", folder / "words", "--json", stdin=b"the dog\n\na cat").out)
    assert found["lines"] == len(found["log_probabilities"]) == 3
    assert found["log_probabilities"][1] == 0
    assert found["sum"] == sum(found["log_probabilities"]) < 0


def test_no_line_gives_no_number(elman: Callable[..., Said], folder: Path) -> None:
    assert elman("score", folder / "words") == (0, "", "")


def test_line_ends_are_read_as_in_files(elman: Callable[..., Said], folder: Path) -> None:
    unix = elman("score", folder / "characters", stdin=b"the dog\na cat\n").out
    assert elman("score", folder / "characters", stdin=b"\xef\xbb\xbfthe dog\r\na cat\r").out == unix


@pytest.mark.parametrize(
    ("stdin", "came"),
    [
        (b"the\n" + b"a" * 1_000_001 + b"\n", "Line 2 has over 1,000,000 characters."),
        (b"the\ncaf\xe9\n", "Line 2 has bytes that are not UTF-8."),
        (b"t\0h", "Line 1 has a NUL byte: that is binary, or UTF-16."),
    ],
)
def test_lines_that_cannot_be_read(stdin: bytes, came: str, elman: Callable[..., Said], folder: Path) -> None:
    said = elman("score", folder / "words", stdin=stdin)
    assert said.status == 2
    assert said.out.count("\n") == stdin[:4].count(b"\n")  # what could be scored was
    assert said.err.splitlines()[0] == "TextError: Standard input was to be read as lines of UTF-8 text."
    assert said.err.splitlines()[1] == f"  {came}"


def test_a_line_of_the_limit_is_read(elman: Callable[..., Said], folder: Path) -> None:
    said = elman("score", folder / "words", "--json", stdin=b"the " * 250_000 + b"\n")
    assert json.loads(said.out)["lines"] == 1


def test_an_unknown_character_is_named(elman: Callable[..., Said], folder: Path) -> None:
    assert "'é'" in refused(elman("score", folder / "characters", stdin="é\n".encode()), "TokenError")[0]


@pytest.mark.slow
def test_each_number_comes_before_the_next_line_is_written(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "elman.cli.main", "score", str(folder / "characters")],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        for line in ("the dog\n", "sees\n"):
            running.stdin.write(line)
            running.stdin.flush()
            assert float(running.stdout.readline()) < 0
        running.stdin.close()
        assert running.wait() == 0
