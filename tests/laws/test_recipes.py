"""Every recipe that comes with Elman: readable, complete, and of the size that its sources say."""

import re
import tomllib
from pathlib import Path

import pytest

from elman import recipe as recipes
from elman.corpora import CORPORA
from elman.models.language_model import RecurrentLanguageModel, RecurrentOptions
from elman.recipe import at_scale, parse, show, source, to_toml

ROOT = Path(__file__).parents[2]
VOCABULARIES = {"ptb-words": 10_000, "tinyshakespeare": 65, "python-code": 96}
NAMES = recipes.names()
SCALED = [(name, scale) for name in NAMES for scale in ("paper", "laptop")]


def test_how_many_there_are() -> None:
    assert len(NAMES) == 5


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_reads_and_writes_as_itself(name: str) -> None:
    recipe = show(name)
    assert recipe.name == name
    assert parse(to_toml(recipe), "") == recipe
    for each in recipe.ablations:
        shown = show(f"{name}:{each['name']}")
        assert parse(to_toml(shown), "") == shown


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_what_it_is_about(name: str) -> None:
    recipe, text = show(name), source(name)
    bibliography = (ROOT / "docs/references.bib").read_text(encoding="utf-8")
    assert recipe.claim is not None
    assert recipe.claim.paper == name.split("-")[0]
    assert re.search(rf"^@\w+{{{recipe.claim.paper},$", bibliography, re.M)
    assert recipe.claim.where
    assert recipe.corpus in CORPORA
    assert recipe.unstated
    assert text.startswith("# ")
    assert text.count("\n") <= 70
    # A claim without a number has no tolerance to be judged by.
    assert bool(recipe.claim.tolerance) == (recipe.claim.test is not None or recipe.claim.valid is not None)
    assert "scale" not in tomllib.loads(text)


@pytest.mark.parametrize(("name", "scale"), SCALED)
def test_the_model_can_be_made_and_has_the_parameters_of_its_equations(name: str, scale: str) -> None:
    recipe = at_scale(show(name), scale)
    if not isinstance(recipe.model, RecurrentOptions):
        return
    options, vocabulary = recipe.model, VOCABULARIES[recipe.corpus]
    hidden = options.hidden_size
    embedding = vocabulary if options.one_hot else options.embedding_size or hidden
    inputs = [embedding] + [hidden] * (options.layers - 1)
    assert options.cell in ("lstm", "mogrifier")
    rounds = options.rounds or 0  # each gates x by h or h by x, through a matrix of their sizes
    cells = sum(4 * hidden * (size + hidden) + 4 * hidden + rounds * size * hidden for size in inputs)
    looked_up = 0 if options.one_hot else vocabulary * embedding
    read_out = vocabulary if options.tied else vocabulary * hidden + vocabulary
    model = RecurrentLanguageModel(vocabulary, options)
    assert model.parameter_count == looked_up + cells + read_out


def test_the_parameters_that_are_printed_elsewhere() -> None:
    """By hand: two LSTM layers of 200 (4·200·(200+200) + 4·200 each), 10,000 × 200 twice, a bias per word."""
    small = show("zaremba2014-ptb-small").model
    assert isinstance(small, RecurrentOptions)
    assert (
        RecurrentLanguageModel(10_000, small).parameter_count
        == 2 * 320_800 + 2 * 2_000_000 + 10_000
        == 4_651_600
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_laptop_does_less(name: str) -> None:
    paper, laptop = (at_scale(show(name), scale) for scale in ("paper", "laptop"))
    if paper.train is None or laptop.train is None:
        assert laptop == paper
        return
    assert isinstance(paper.model, RecurrentOptions)
    assert isinstance(laptop.model, RecurrentOptions)
    assert laptop.train.epochs < paper.train.epochs
    assert laptop.model.hidden_size * laptop.model.layers <= paper.model.hidden_size * paper.model.layers
