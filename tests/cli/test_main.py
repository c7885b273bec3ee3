"""The table of verbs: help that is quick and true, and every way a command ends."""

import argparse
import errno
import importlib
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from elman.cli import main as module
from elman.cli.main import VERBS, main
from elman.errors import ShapeError
from tests.cli.conftest import Said, refused

ELMAN = [sys.executable, "-m", "elman.cli.main"]
ROOT = Path(__file__).parents[2]


def test_without_words_the_verbs_are_listed(elman: Callable[..., Said]) -> None:
    for words in ([], ["--help"], ["-h"], ["help"]):
        said = elman(*words)
        assert said.status == 0
        assert all(f"  {verb} " in said.out for verb in VERBS)
    assert list(VERBS) == [
        "demo",
        "train",
        "evaluate",
        "score",
        "generate",
        "recipes",
        "reproduce",
        "kernels",
        "corpora",
    ]
    assert elman("--version").out == "elman 0.1.0\n"


@pytest.mark.parametrize("verb", VERBS)
def test_help_ends_in_an_example_that_the_verb_understands(verb: str, elman: Callable[..., Said]) -> None:
    said = elman(verb, "--help")
    assert said.status == 0
    *_, example = said.out.split("example:\n")
    lines = [line.strip() for line in example.rstrip().split("\n")]
    assert example.rstrip().split("\n")[-1].startswith("  ")
    imported = importlib.import_module(f"elman.cli.{verb}")
    parser = argparse.ArgumentParser(allow_abbrev=False)
    imported.arguments(parser)
    for line in lines:
        words = shlex.split(line.split(" | ")[-1])
        assert words[0] == "elman"
        assert words[1] in VERBS
        if words[1] == verb:
            parser.parse_args(words[2:])
    assert any(f"elman {verb}" in line for line in lines)


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys; from elman.cli.main import VERBS, main; main([])\n"
        "for verb in VERBS: main([verb, '--help'])\n"
        "assert not {'torch', 'numpy', 'rich'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_verb_gets_the_nearest(elman: Callable[..., Said]) -> None:
    said = elman("trian")
    assert said == (2, "", "elman: 'trian' is not a verb; nearest: train.\n`elman` alone lists them.\n")


def test_what_argparse_refuses_exits_with_2(elman: Callable[..., Said]) -> None:
    said = elman("evaluate")
    assert (said.status, said.out) == (2, "")
    assert "the following arguments are required: RUN" in said.err
    assert elman("train", "--no-such-option").status == 2


def raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def dispatch(_: list[str]) -> None:
        print("printed before")
        raise error

    monkeypatch.setattr(module, "_dispatch", dispatch)


def test_an_error_of_elman_is_three_lines_without_a_traceback(
    elman: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    raising(ShapeError("This was asked.", "That came.", "Do so."), monkeypatch)
    assert elman("train") == (2, "printed before\n", "ShapeError: This was asked.\n  That came.\n  Do so.\n")


def test_ctrl_c_exits_with_130(elman: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    raising(KeyboardInterrupt(), monkeypatch)
    assert elman("train") == (130, "printed before\n", "Interrupted.\n")


def test_a_full_disk_is_said(elman: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    raising(OSError(errno.ENOSPC, "No space left on device", "a/file"), monkeypatch)
    said = elman("train", "recipe", "--out", "x")
    assert said.status == 2
    assert said.err == (
        "OSError: `elman train recipe` was to read or write a/file.\n"
        "  The system refused: No space left on device (ENOSPC).\n"
        "  Free some space and repeat the command; a training goes on with --resume.\n"
    )


def test_a_mistake_in_elman_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (ZeroDivisionError("a bug"), OSError(errno.EBADF, "Bad file descriptor")):
        raising(error, monkeypatch)
        with pytest.raises(type(error)):
            main(["train"])


def test_a_mistake_in_elman_exits_with_1() -> None:
    code = "import sys, elman.cli.main as m; m._dispatch = lambda given: 1 / 0; sys.exit(m.main([]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_output_to_a_full_disk_is_one_error() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [*ELMAN, "--help"], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr.startswith("OSError: `elman --help` was to read or write its files.")
    assert done.stderr.count("\n") == 3


@pytest.mark.parametrize("lines", [1, 10_000])
def test_a_reader_that_goes_away_is_no_error(lines: int) -> None:
    much = f"lambda given: [sys.stdin.read(), *(print('x' * 70) for _ in range({lines}))]"
    code = f"import sys, elman.cli.main as m; m._dispatch = {much}; sys.exit(m.main([]))"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, **pipes) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        running.stdin.close()
        assert running.stderr.read() == b""
        assert running.wait() == 141


def test_refusals_print_nothing_on_stdout(elman: Callable[..., Said], tmp_path: Path) -> None:
    lines = refused(elman("evaluate", tmp_path / "absent"), "RunError")
    assert lines[1:] == ["There is no such folder.", "Give the folder that elman train wrote (its --out)."]


def test_output_is_utf_8_whatever_the_locale() -> None:
    done = subprocess.run(
        [*ELMAN, "--help"],
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert "usage: elman VERB …" in done.stdout.decode("utf-8")
