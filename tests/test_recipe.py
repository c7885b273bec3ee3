"""Recipes: all mistakes at once, changes, scales, ablations, and writing as reading's inverse."""

import os
from pathlib import Path
from typing import Any

import pytest

from elman import recipe as recipes
from elman.errors import RecipeError
from elman.models.language_model import RecurrentOptions
from elman.ngrams import CountedOptions
from elman.recipe import Recipe, ablation, at_scale, parse, read, show, to_tables, to_toml, with_changes
from elman.training.options import TrainingOptions

OWN = """
[data]
path = "novel.txt"
[text]
unit = "characters"
[model]
kind = "recurrent"
cell = "gru"
hidden_size = 48
[train]
epochs = 2
learning_rate = 1
[laptop.train]
epochs = 1
[unstated]
"a key with spaces" = 'quotes " and a back\\slash'
[[ablation]]
name = "elman"
model.cell = "elman"
"""


def error(text: str) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        parse(text, "mine")
    return caught.value


def test_three_mistakes_are_shown_together() -> None:
    text = OWN.replace("hidden_size = 48", "hiden_size = 48").replace("epochs = 2", 'epochs = "two"')
    assert str(error(text.replace('cell = "gru"', 'cell = "gru"\ndropout_input = 1'))) == (
        "recipe mine has 3 mistakes.\n"
        "  model.hiden_size is not a key of [model]; nearest: model.hidden_size.\n"
        "  model.dropout_input must be from 0 to below 1; it is 1.0.\n"
        '  train.epochs must be a whole number; it is "two".\n'
        "  Correct them all; `elman recipes show zaremba2014-ptb-small --scale paper` prints a recipe's keys."
    )


def test_a_table_that_is_none_is_named_with_the_nearest() -> None:
    assert error(OWN.replace("[train]", "[trian]")).came.splitlines() == [
        "[trian] is not a table of a recipe; nearest: [train]."
    ]


def test_mistakes_of_laptop_and_ablation_are_mistakes_of_the_recipe() -> None:
    text = OWN.replace("epochs = 1", "epochs = 0\nbatsh = 3").replace(
        'model.cell = "elman"', "modle.cell = 1"
    )
    assert error(text).came.splitlines() == [
        "laptop: train.batsh is not a key of [train]; nearest: train.batch.",
        "  laptop: train.epochs is 0; it must be 1 or more.",
        "  ablation elman: modle is not a table that can be changed; nearest: [model].",
    ]
    assert "[[ablation]] needs a name" in error(OWN.replace('name = "elman"', "")).came
    assert "ablation must be a list of tables" in error("ablation = 3\n" + OWN.split("[[")[0]).came
    assert (
        "laptop must be tables" in error("laptop = 3\n" + OWN.replace("[laptop.train]\nepochs = 1", "")).came
    )


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            '[data]\npath = "novel.txt"',
            "",
            "[claim] or [data]: exactly one of the two must say which text is read.",
        ),
        ("[text]", "corpus = 'x'\n[text]", "data.corpus or data.path: exactly one of the two must be there."),
        ('kind = "recurrent"', "", 'model.kind must be "recurrent" or "counted"; it is missing.'),
        ('"recurrent"', '"counting"', 'model.kind must be "recurrent" or "counted"; it is "counting".'),
        ("[data]", 'scale = "huge"\n[data]', 'scale must be one of paper, laptop; it is "huge".'),
        ("[data]", "name = 3\n[data]", "name must be a text in quotes; it is 3."),
        ("[train]\nepochs = 2\nlearning_rate = 1", "", None),
        ('[text]\nunit = "characters"', "", None),
        ('"a key with spaces" = ', "why = 3 #", "unstated.why must be a text in quotes: our value and why."),
    ],
)
def test_other_mistakes(before: str, after: str, said: str | None) -> None:
    assert before in OWN
    text = OWN.replace(before, after)
    if said is None:
        parse(text, "mine")
    else:
        assert said in error(text).came


def test_tables_must_be_tables() -> None:
    text = 'text = 1\nmodel = "lstm"\n[data]\npath = "novel.txt"\n[laptop.model]\nlayers = 2'
    assert error(text).came.splitlines() == [
        "text must be a table, begun with [text].",
        "  model must be a table, begun with [model].",
        '  model.kind must be "recurrent" or "counted"; it is missing.',
    ]


def test_counted_models_have_no_train_table() -> None:
    text = '[data]\ncorpus = "ptb-words"\n[model]\nkind = "counted"\norder = 3\n'
    made = parse(text, "mine")
    assert (made.model, made.train, made.kind, made.corpus) == (
        CountedOptions(order=3),
        None,
        "counted",
        "ptb-words",
    )
    assert "[train] must be left out" in error(text + "[train]\nepochs = 3").came


def test_what_is_not_toml_or_not_there_is_said(tmp_path: Path) -> None:
    assert "It is not TOML: " in error("[train\nepochs = 3").came
    for name, said in (("absent.toml", "No such file"), ("latin.toml", "it is not UTF-8 text")):
        (tmp_path / "latin.toml").write_bytes(b"# caf\xe9")
        with pytest.raises(RecipeError, match=said):
            read(tmp_path / name)
    (tmp_path / "mine.toml").write_text(OWN)
    assert read(tmp_path / "mine.toml") == parse(OWN, "mine")


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(RecipeError) as caught:
        show("zaremba2014-ptb-smal")
    assert str(caught.value) == (
        "recipe 'zaremba2014-ptb-smal' was asked for.\n"
        "  There is none of that name; nearest: zaremba2014-ptb-small.\n"
        "  `elman recipes` lists them; a recipe of your own is named by its path, such as ./mine.toml."
    )
    with pytest.raises(RecipeError, match="There is none of that name"):
        show("../recipes/zaremba2014-ptb-small")


def test_changes_go_through_the_same_reader() -> None:
    made = parse(OWN, "mine")
    changed = with_changes(
        made, {"train.epochs": 9, "model.layers": 3, "train.clip_norm": 2, "text.min_count": 4}
    )
    assert (changed.train, changed.model) == (
        TrainingOptions(epochs=9, learning_rate=1.0, clip_norm=2.0),
        RecurrentOptions(cell="gru", hidden_size=48, layers=3),
    )
    assert with_changes(changed, {"train.clip_norm": "none"}).train == TrainingOptions(
        epochs=9, learning_rate=1.0
    )
    assert (changed.text.min_count, changed.laptop, changed.ablations, changed.name) == (4, {}, (), "mine")
    with pytest.raises(RecipeError) as caught:
        with_changes(made, {"train.epoch": 9, "train.steps": "x"})
    assert caught.value.came.splitlines() == [
        'train.steps must be a whole number; it is "x".',
        "  train.epoch is not a key of [train]; nearest: train.epochs.",
    ]
    with pytest.raises(RecipeError) as caught:
        with_changes(made, {"epochs": 9, "trian.epochs": 3, "train.a.b": 1})
    assert caught.value.came.splitlines() == [
        "epochs is not a key of a recipe: they are TABLE.KEY, such as train.epochs.",
        "  trian.epochs: [trian] is not a table of a recipe; nearest: [train].",
        "  train.a.b is not a key of a recipe: they are TABLE.KEY, such as train.epochs.",
    ]


def test_another_kind_begins_its_tables_afresh() -> None:
    counted = with_changes(parse(OWN, "mine"), {"model.kind": "counted", "model.order": 4})
    assert (counted.model, counted.train) == (CountedOptions(order=4), None)
    back = with_changes(counted, {"model.kind": "recurrent", "train.epochs": 5})
    assert (back.model, back.train) == (RecurrentOptions(), TrainingOptions(epochs=5))


def test_scales_and_ablations_change_only_their_keys() -> None:
    made = parse(OWN, "mine")
    paper, laptop, elman = at_scale(made, "paper"), at_scale(made, "laptop"), ablation(made, "elman")
    assert (paper.scale, laptop.scale, laptop.name) == ("paper", "laptop", "mine")
    assert paper.train == made.train
    assert laptop.train == TrainingOptions(epochs=1, learning_rate=1.0)
    assert laptop.model == made.model
    assert (elman.name, elman.model) == ("mine:elman", RecurrentOptions(cell="elman", hidden_size=48))
    assert all(each.laptop == {} and each.ablations == () for each in (paper, laptop, elman))
    assert at_scale(laptop, "laptop") == laptop
    with pytest.raises(RecipeError, match="scales paper and laptop"):
        at_scale(made, "huge")
    with pytest.raises(RecipeError, match="none of that name; nearest: elman"):
        ablation(made, "elma")
    with pytest.raises(RecipeError, match="This recipe has no ablations"):
        ablation(paper, "elman")


def test_a_recipe_without_laptop_is_the_same_at_both_scales() -> None:
    made = show("mikolov2011-ptb-kn5")
    assert at_scale(made, "laptop") == at_scale(made, "paper")
    assert at_scale(made, "laptop").scale == "paper"


def test_an_ablation_is_shown_by_name() -> None:
    cut = show("mikolov2011-ptb-kn5:singletons-cut")
    assert cut.model == CountedOptions(order=5, cutoffs=(1, 1, 1, 1, 2))
    assert cut.claim is not None
    assert (cut.claim.test, cut.claim.corpus) == (141.47, "ptb-words")


def test_writing_is_readings_inverse() -> None:
    made = parse(OWN, "mine")
    assert parse(to_toml(made), "another name") == made
    changed = with_changes(
        made, {"model.embedding_size": 16, "train.clip_value": 0.1, "text.shares": [1, 0, 0]}
    )
    assert parse(to_toml(changed), "") == changed
    assert recipes.from_tables(to_tables(changed), "") == changed


def test_corpus_and_measure_come_from_claim_or_data() -> None:
    own = parse(OWN, "mine")
    assert (own.corpus, own.measure) == ("novel.txt", "bits_per_character")
    words = with_changes(own, {"text.unit": "words"})
    assert words.measure == "perplexity"
    published: Recipe = show("karpathy2015-shakespeare")
    assert (published.corpus, published.measure) == ("tinyshakespeare", "nats_per_character")


def test_a_claim_is_checked() -> None:
    text = OWN.replace(
        '[data]\npath = "novel.txt"', '[claim]\npaper = "x"\nmeasure = "ppl"\ntest = -1\ntolerance = -2'
    )
    assert error(text).came.splitlines() == [
        "claim.corpus is missing; it is a text in quotes.",
    ]
    text = text.replace("[claim]", '[claim]\ncorpus = "c"')
    assert error(text).came.splitlines() == [
        'claim.measure must be one of perplexity, nats_per_character, bits_per_character; it is "ppl".',
        "  claim.test must be over 0; it is -1.0.",
        "  claim.tolerance must be 0 or more; it is -2.0.",
    ]


def test_a_path_that_is_not_utf8_is_a_mistake_before_anything_is_read() -> None:
    tables = {"data": {"path": os.fsdecode(b"caf\xe9")}, "model": {"kind": "counted"}}
    with pytest.raises(RecipeError, match=r"data\.path has bytes that are not UTF-8"):
        recipes.from_tables(tables, "own")


@pytest.mark.parametrize(
    ("changes", "mistake"),
    [
        ({"model.order": 3}, 'model.order is for model.kind = "counted"; the kind is "recurrent".'),
        ({"model.kind": "counted", "model.cell": "gru"},
         'model.cell is for model.kind = "recurrent"; the kind is "counted".'),
    ],
)  # fmt: skip
def test_a_key_of_the_other_kind_of_model(changes: dict[str, Any], mistake: str) -> None:
    with pytest.raises(RecipeError) as error:
        with_changes(parse(OWN, "mine"), changes)
    assert error.value.came == mistake
