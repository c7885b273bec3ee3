"""``elman recipes``: the list with both numbers, and each recipe as its file says or as it runs."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

from elman import recipe as recipes
from elman.study import results
from tests.cli.conftest import Said, refused

ROW = results.Result(
    name="karpathy2015-shakespeare",
    scale="laptop",
    measure="nats_per_character",
    seeds=1,
    minutes=12.5,
    tokens_per_second=900,
    device="a machine",
    commit="abc",
    date="2026-11-20",
    verdict="measured",
    valid=1.4321,
)


def test_the_list_has_what_was_published_and_ours(elman: Callable[..., Said], tmp_path: Path) -> None:
    path = tmp_path / "results.toml"
    results.add(path, ROW)
    lines = elman("recipes", "--results", path).out.splitlines()
    assert lines[0].split() == ["recipe", "text", "measure", "published", "ours", "laptop"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:-1]}
    assert lines[-1].startswith("ours: the test text")
    assert list(rows) == recipes.names()
    assert rows["zaremba2014-ptb-small"] == ["ptb-words", "perplexity", "114.50", "–", "–"]
    assert rows["karpathy2015-shakespeare"][-3:] == ["–", "–", "1.432"]
    listed = json.loads(elman("recipes", "--results", path, "--json").out)["recipes"]
    assert [each["name"] for each in listed] == recipes.names()
    (mine,) = next(each["results"] for each in listed if each["name"] == ROW.name)
    assert mine == results.as_table(ROW)
    assert next(each["claim"]["test"] for each in listed if each["name"].startswith("zaremba")) == 114.5


def test_show_prints_the_file_or_what_would_run(elman: Callable[..., Said], tmp_path: Path) -> None:
    name = "karpathy2015-shakespeare"
    assert elman("recipes", "show", name).out == recipes.source(name)
    laptop = recipes.at_scale(recipes.show(name), "laptop")
    assert recipes.parse(elman("recipes", "show", name, "--scale", "laptop").out, "") == laptop
    tables = json.loads(elman("recipes", "show", name, "--json").out)
    assert recipes.from_tables(tables, "") == recipes.show(name)
    cut = elman("recipes", "show", "mikolov2011-ptb-kn5:singletons-cut").out
    assert tomllib.loads(cut)["model"]["cutoffs"] == [1, 1, 1, 1, 2]
    (tmp_path / "mine.toml").write_text(recipes.source(name))
    assert recipes.parse(elman("recipes", "show", tmp_path / "mine.toml").out, "").name == "mine"


def test_what_cannot_be_shown(elman: Callable[..., Said]) -> None:
    assert "nearest: zaremba2014" in refused(elman("recipes", "show", "zaremba2014"), "RecipeError")[1]
    assert refused(elman("recipes", "show"), "OptionError")[1] == "It was not named."
    assert refused(elman("recipes", "list", "x"), "OptionError")[1] == "'x' was given too."
