"""``elman train``: what it makes of recipes and of one's own text, and what it refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import elman as package
from elman.models.language_model import RecurrentOptions
from elman.ngrams import CountedOptions
from elman.recipe import read
from elman.training import journal
from tests.cli.conftest import Said, refused, write_text

ROOT = Path(__file__).parents[2]


def test_ones_own_text_becomes_a_complete_recipe(folder: Path) -> None:
    words, characters = read(folder / "words/recipe.toml"), read(folder / "characters/recipe.toml")
    assert isinstance(words.model, RecurrentOptions)
    assert words.train is not None
    assert (words.name, words.corpus) == ("text", str(folder / "text.txt"))
    assert (words.model.cell, words.model.layers, words.model.hidden_size) == ("lstm", 1, 8)
    assert (words.train.epochs, words.train.optimizer, words.train.loss) == (1, "adam", "mean-over-time")
    assert (characters.model, characters.train) == (CountedOptions(order=3), None)
    assert (words.text.unit, characters.text.unit) == ("words", "characters")


def test_a_recipe_file_is_trained_and_summed_up(
    elman: Callable[..., Said], tmp_path: Path, folder: Path
) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(f"[data]\npath = '{folder / 'text.txt'}'\n[model]\nkind = 'counted'\norder = 2\n")
    out = tmp_path / "run"
    said = elman("train", recipe, "--out", out, "--set", "model.order=3", "--json")
    assert said.status == 0
    summary = json.loads(said.out)
    run = package.load(out)
    assert summary.keys() == {
        *("run", "name", "reason", "parameters", "valid", "test", "minutes", "tokens_per_second")
    }
    assert (summary["run"], summary["name"], summary["reason"]) == (str(out), "mine", "epochs")
    assert summary["test"] == pytest.approx(run.evaluate("test").perplexity)
    assert summary["valid"] == pytest.approx(run.evaluate("valid").perplexity)
    assert run.recipe.model == CountedOptions(order=3)
    again = elman("train", "--resume", "--out", out)
    assert (
        f"mine: valid perplexity {summary['valid']:.1f}, test perplexity {summary['test']:.1f} · "
        in again.out
    )
    assert f"Next: elman generate {out}" in again.out


def test_what_an_averaged_training_reports_is_what_its_run_reaches(
    elman: Callable[..., Said], tmp_path: Path, folder: Path
) -> None:
    small = ("--layers", 1, "--hidden-size", 4, "--set", "train.epochs=2", "--set", "train.average=0.95")
    text, out, cut = ("train", "--data", folder / "text.txt"), tmp_path / "run", tmp_path / "cut"
    summary = json.loads(elman(*text, *small, "--out", out, "--json").out)
    told = [line for line in journal.read(out / "journal.jsonl") if line["event"] == "evaluation"]
    run = package.load(out)
    assert run.recipe.train is not None
    assert run.recipe.train.average == 0.95
    reached = run.evaluate("valid")
    assert reached.nats_per_token == pytest.approx(min(line["nats_per_token"] for line in told), rel=1e-6)
    assert summary["valid"] == pytest.approx(reached.perplexity)
    assert summary["test"] == pytest.approx(run.evaluate("test").perplexity)
    assert elman(*text, *small, "--out", cut, "--max-minutes", 1e-9).status == 0
    assert json.loads(elman("train", "--resume", "--out", cut, "--json").out)["test"] == summary["test"]


def test_a_published_corpus_is_read_as_it_usually_is(
    elman: Callable[..., Said], data: Path, tmp_path: Path
) -> None:
    words = ("--data", "tinyshakespeare", "--data-dir", data, "--model", "counted", "--order", 1)
    assert elman("train", *words, "--out", tmp_path / "run").status == 0
    recipe = read(tmp_path / "run/recipe.toml")
    assert (recipe.name, recipe.corpus) == ("tinyshakespeare", "tinyshakespeare")
    assert (recipe.text.unit, recipe.text.shares) == ("characters", (0.95, 0.05, 0.0))


def test_resume_alone_tells_of_characters_in_nats(
    elman: Callable[..., Said], tmp_path: Path, folder: Path
) -> None:
    out = tmp_path / "a run"
    small = ("--unit", "characters", "--layers", 1, "--hidden-size", 4, "--set", "train.epochs=1")
    cut = elman("train", "--data", folder / "text.txt", *small, "--max-minutes", 1e-9, "--out", out)
    assert f"more: elman train --resume --out '{out}'" in cut.out
    again = elman("train", "--resume", "--out", out)
    assert "nats per character" in again.err
    assert "perplexity" not in again.err + again.out


def test_resume_begins_where_there_is_nothing_yet(
    elman: Callable[..., Said], tmp_path: Path, folder: Path
) -> None:
    words = (
        "train",
        "--data",
        folder / "text.txt",
        "--model",
        "counted",
        "--resume",
        "--out",
        tmp_path / "run",
    )
    assert elman(*words).status == 0
    assert elman(*words).status == 0
    assert "model.order is 5, not 2" in refused(elman(*words, "--order", 2), "RunError")[1]


def test_a_recipe_with_three_mistakes_shows_all(elman: Callable[..., Said], tmp_path: Path) -> None:
    recipe = tmp_path / "wrong.toml"
    recipe.write_text(
        "[data]\npath = 'x'\n[model]\nkind = 'recurrent'\nlayer = 2\n"
        "[train]\nepochs = 1.5\nlearning_rate = 0\n"
    )
    assert refused(elman("train", recipe, "--out", tmp_path / "run"), "RecipeError") == [
        "recipe wrong has 3 mistakes.",
        "model.layer is not a key of [model]; nearest: model.layers.",
        "train.epochs must be a whole number; it is 1.5.",
        "train.learning_rate is 0.0; it must be over 0.",
        "Correct them all; `elman recipes show zaremba2014-ptb-small --scale paper` prints a recipe's keys.",
    ]
    assert not (tmp_path / "run").exists()


def test_set_goes_through_the_same_reader(elman: Callable[..., Said], folder: Path, tmp_path: Path) -> None:
    words = ("train", "--data", folder / "text.txt", "--out", tmp_path / "run", "--set")
    assert refused(elman(*words, "train.epoch=3"), "RecipeError")[1] == (
        "train.epoch is not a key of [train]; nearest: train.epochs."
    )
    assert refused(elman(*words, "train.epochs"), "OptionError") == [
        "--set train.epochs was given.",
        "It has no value: a setting is TABLE.KEY=VALUE.",
        "Write for instance --set train.epochs=3.",
    ]
    assert not (tmp_path / "run").exists()


def test_what_is_to_be_trained_must_be_clear(elman: Callable[..., Said], folder: Path) -> None:
    text = folder / "text.txt"
    for words in (
        (),
        ("mikolov2011-ptb-kn5", "--data", text),
        ("--task", "language-model"),
        ("--resume",),
        ("--data", text, "--scale", "laptop"),
        ("--resume", "--out", folder / "words", "--set", "train.epochs=3"),
    ):
        assert "It needs either a RECIPE, or --data" in refused(elman("train", *words), "OptionError")[1]
    resumed = elman("train", "--resume", "--out", folder / "words", "--from", folder / "words")
    assert refused(resumed, "OptionError")[1] == "A run that goes on has its own weights."


def test_bad_texts_leave_nothing(elman: Callable[..., Said], tmp_path: Path) -> None:
    files = {
        "empty.txt": (b"", "TextError", "It is empty."),
        "binary.txt": (b"a\0b", "TextError", "NUL byte at offset 1"),
        "latin.txt": (b"one\ncaf\xe9\n", "TextError", "Byte 0xE9 at offset 7 (line 2)"),
        "long.txt": (b"a" * 10_000_000, "TextError", "Line 1 has over 1,000,000 characters."),
        "blank.txt": (b"\n\n\n", "CorpusError", "It has no words"),
    }
    for name, (content, kind, came) in files.items():
        (tmp_path / name).write_bytes(content)
        assert came in refused(elman("train", "--data", tmp_path / name, "--out", tmp_path / "run"), kind)[1]
    assert (
        "no file or folder of that path"
        in refused(elman("train", "--data", tmp_path / "absent"), "CorpusError")[1]
    )
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_there_is_not_overwritten(elman: Callable[..., Said], folder: Path) -> None:
    before = (folder / "words/recipe.toml").read_bytes()
    said = elman("train", "--data", folder / "text.txt", "--out", folder / "words")
    assert refused(said, "RunError")[1] == "That folder is not empty."
    assert (folder / "words/recipe.toml").read_bytes() == before


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for another process")
def test_ctrl_c_saves_and_the_run_goes_on(tmp_path: Path) -> None:
    text, out = write_text(tmp_path / "text.txt", lines=2000), tmp_path / "run"
    words = [
        "train",
        "--data",
        str(text),
        "--out",
        str(out),
        "--hidden-size",
        "8",
        "--set",
        "train.epochs=10000",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(
        [sys.executable, "-m", "elman.cli.main", *words],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (out / "best.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    printed, told = running.communicate(timeout=60)
    assert (running.returncode, printed) == (130, "")
    assert told.endswith(f"Saved. Go on with: elman train --resume --out {out}\nInterrupted.\n")
    assert package.load(out).evaluate("test").tokens > 100
