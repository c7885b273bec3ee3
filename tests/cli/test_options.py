"""Options shared by the verbs: settings as TOML, recipes by name or path, and JSON without infinities."""

import argparse
import json
import math
from pathlib import Path

import pytest

from elman import recipe as recipes
from elman.cli import options
from elman.errors import OptionError, RecipeError


def test_settings_are_toml_or_plain_texts() -> None:
    given = ["a.b=1", "a.c=0.5", "a.d=true", "a.e=gru", "a.f='x=y'", "a.g=[1, 2]", " a.h = x=y ", "a.b=2"]
    assert options.settings(given) == {
        **{"a.b": 2, "a.c": 0.5, "a.d": True, "a.e": "gru", "a.f": "x=y", "a.g": [1, 2], "a.h": "x=y"}
    }
    for wrong in ("a.b", "=3", " =3"):
        with pytest.raises(OptionError, match="It has no value"):
            options.settings([wrong])


def test_a_recipe_is_named_or_a_file(tmp_path: Path) -> None:
    assert options.named_recipe("mikolov2011-ptb-kn5") == recipes.show("mikolov2011-ptb-kn5")
    path = tmp_path / "mine"
    path.write_text(recipes.source("mikolov2011-ptb-kn5"))
    assert options.named_recipe(str(path)).name == "mine"
    with pytest.raises(RecipeError, match="It cannot be: No such file"):
        options.named_recipe("mine.toml")


def test_numbers_that_are_not_finite_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    options.print_json({"a": [1.5, -math.inf, {"b": math.nan}], "c": "é", "d": True, "e": None})
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == {"a": [1.5, None, {"b": None}], "c": "é", "d": True, "e": None}


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "x", ""])
def test_counts_are_whole_and_positive(text: str) -> None:
    with pytest.raises((argparse.ArgumentTypeError, ValueError)):
        options.positive(text)
    assert options.positive("12") == 12


@pytest.mark.parametrize("text", ["0", "-1", "inf", "nan", "x"])
def test_minutes_are_positive_and_finite(text: str) -> None:
    with pytest.raises((argparse.ArgumentTypeError, ValueError)):
        options.positive_float(text)
    assert options.positive_float("0.25") == 0.25
