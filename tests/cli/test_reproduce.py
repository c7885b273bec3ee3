"""``elman reproduce``: one JSON object, one row more, and the page rendered again."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from elman.study import results
from tests.cli.conftest import Said, refused

RECIPE = """
[claim]
paper = "chen1998"
corpus = "{text}"
test = 9.5
tolerance = 0.5
[model]
kind = "counted"
order = 2
[[ablation]]
name = "unigrams"
model.order = 1
claim.test = 100.0
"""


@pytest.fixture
def recipe(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(RECIPE.format(text=folder / "text.txt"))
    return path


def test_a_result_is_printed_recorded_and_rendered(
    elman: Callable[..., Said], recipe: Path, tmp_path: Path
) -> None:
    table, out = tmp_path / "results.toml", tmp_path / "run"
    said = elman("reproduce", recipe, "--out", out, "--results", table, "--json")
    assert said.status == 0
    row = json.loads(said.out)
    assert list(row) == [
        *("name", "scale", "measure", "valid", "test", "published", "seeds", "minutes", "tokens_per_second"),
        *("device", "commit", "date", "verdict"),
    ]
    assert (row["name"], row["scale"], row["published"]) == ("small", "paper", 9.5)
    expected = "reproduced" if row["test"] <= 10 else f"missed by {row['test'] - 9.5:.2f}"
    assert row["verdict"] == expected
    (kept,) = results.read(table)
    assert results.as_table(kept) == row
    assert table.with_suffix(".md").read_text() == results.render([kept])
    evaluated = json.loads(elman("evaluate", out, "--json").out)
    assert row["test"] == pytest.approx(evaluated["perplexity"], abs=1e-4)


def test_an_ablation_is_a_row_of_its_own(elman: Callable[..., Said], recipe: Path, tmp_path: Path) -> None:
    table = tmp_path / "results.toml"
    words = ("reproduce", recipe, "--results", table)
    assert elman(*words, "--out", tmp_path / "a").status == 0
    said = elman(*words, "--out", tmp_path / "b", "--ablation", "unigrams")
    first, second = results.read(table)
    assert (second.name, second.published, second.verdict) == ("small:unigrams", 100.0, "reproduced")
    assert second.test != first.test
    assert said.out == results.to_toml(second)
    assert "It has none of that name" in refused(elman(*words, "--ablation", "trigrams"), "RecipeError")[1]


def test_a_results_file_that_cannot_be_read_is_refused_before_training(
    elman: Callable[..., Said], recipe: Path, tmp_path: Path
) -> None:
    table = tmp_path / "results.toml"
    table.write_text("[[result]]\nname = 3\n")
    said = elman("reproduce", recipe, "--out", tmp_path / "run", "--results", table)
    assert "result 1.name must be a text in quotes; it is 3." in refused(said, "RecipeError")[1]
    assert not (tmp_path / "run").exists()


def test_a_run_of_something_else_is_not_taken(
    elman: Callable[..., Said], folder: Path, recipe: Path, tmp_path: Path
) -> None:
    words = ("reproduce", recipe, "--out", folder / "words", "--results", tmp_path / "results.toml")
    assert "It was begun with another" in refused(elman(*words), "RunError")[1]
    assert refused(elman(*words, "--no-resume"), "RunError")[1] == "That folder is not empty."
    assert not (tmp_path / "results.toml").exists()


def test_what_ran_out_of_time_is_not_recorded(
    elman: Callable[..., Said], folder: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "trained.toml"
    recipe.write_text(
        f"""
        [claim]
        paper = "elman1990"
        corpus = "{folder / "text.txt"}"
        test = 9.5
        [model]
        kind = "recurrent"
        hidden_size = 4
        [train]
        epochs = 3
        """
    )
    table = tmp_path / "results.toml"
    words = ("reproduce", recipe, "--out", tmp_path / "run", "--results", table, "--json")
    said = elman(*words, "--max-minutes", "1e-9")
    assert (said.status, json.loads(said.out)) == (
        0,
        {"run": str(tmp_path / "run"), "reason": "max minutes"},
    )
    assert "Stopped by --max-minutes, nothing recorded yet; the same command goes on." in said.err
    assert not table.exists()
    assert json.loads(elman(*words).out)["name"] == "trained"
    assert len(results.read(table)) == 1
