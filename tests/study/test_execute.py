"""A recipe carried out: what is left, what it says, how it goes on, and what a failure leaves behind."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import elman
from elman import recipe as recipes
from elman.corpora import open_corpus
from elman.errors import CorpusError, OptionError, RunError, TokenError
from elman.recipe import with_changes
from elman.study.execute import Setting, Trained, begin, resume
from elman.text import Vocabulary
from elman.training.folder import RunFolder
from elman.training.progress import Silent
from tests.study.conftest import COUNTED, RECURRENT, recipe_for, write_text

CPU = Setting(device="cpu")


def same_weights(one: Trained, other: Trained) -> bool:
    mine, others = load_file(one.folder.best), load_file(other.folder.best)
    return mine.keys() == others.keys() and all(torch.equal(mine[name], others[name]) for name in mine)


def test_a_training_is_left_whole_and_says_what_the_run_says(text: Path, tmp_path: Path) -> None:
    recipe = recipe_for(text, RECURRENT)
    trained = begin(recipe, tmp_path / "run", CPU, Silent())
    run = elman.load(tmp_path / "run")
    assert run.recipe == recipe
    for split, cost in (("valid", trained.valid), ("test", trained.test)):
        assert cost == pytest.approx(run.evaluate(split), rel=1e-9)
    events = [json.loads(line) for line in trained.folder.journal.read_text().splitlines()]
    evaluated = [event["nats_per_token"] for event in events if event["event"] == "evaluation"]
    assert trained.valid.nats_per_token == pytest.approx(min(evaluated), rel=1e-6)
    assert trained.parameters == sum(tensor.numel() for tensor in load_file(trained.folder.best).values())
    assert trained.reason == "epochs"
    assert 0 < trained.seconds < 60
    words = sum(len(line.split()) + 1 for line in text.read_text().splitlines())
    assert trained.tokens_per_second * trained.seconds == pytest.approx(2 * 0.8 * words, rel=0.02)


def test_what_is_evaluated_are_the_best_weights_not_the_last(text: Path, tmp_path: Path) -> None:
    wild = {"train.learning_rate": 0.3, "train.epochs": 6}
    trained = begin(with_changes(recipe_for(text, RECURRENT), wild), tmp_path / "run", CPU, Silent())
    events = [json.loads(line) for line in trained.folder.journal.read_text().splitlines()]
    evaluated = [event["nats_per_token"] for event in events if event["event"] == "evaluation"]
    assert evaluated[-1] > min(evaluated) + 0.01
    assert trained.valid.nats_per_token == pytest.approx(min(evaluated), rel=1e-6)


def test_a_counted_model_goes_the_same_way(text: Path, tmp_path: Path) -> None:
    trained = begin(recipe_for(text, COUNTED), tmp_path / "run", CPU, Silent())
    run = elman.load(tmp_path / "run")
    assert trained.test == run.evaluate("test")
    assert trained.parameters == run.model.parameters  # type: ignore[attr-defined]
    again = resume(tmp_path / "run", trained.recipe, CPU, Silent())
    assert (again.valid, again.test) == (trained.valid, trained.test)


def test_the_same_seed_gives_the_same_weights_and_another_others(text: Path, tmp_path: Path) -> None:
    recipe = recipe_for(text, RECURRENT)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = begin(recipe, tmp_path / "first", CPU, Silent())
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    second = begin(recipe, tmp_path / "second", CPU, Silent())
    other = begin(with_changes(recipe, {"train.seed": 6}), tmp_path / "other", CPU, Silent())
    assert same_weights(first, second)
    assert first.test != other.test


def test_a_finished_run_is_only_evaluated_again(text: Path, tmp_path: Path) -> None:
    first = begin(recipe_for(text, RECURRENT), tmp_path / "run", CPU, Silent())
    best = first.folder.best.stat().st_mtime_ns
    again = resume(tmp_path / "run", None, CPU, Silent())
    assert (again.valid, again.test, again.recipe) == (first.valid, first.test, first.recipe)
    assert again.folder.best.stat().st_mtime_ns == best
    assert again.seconds == pytest.approx(first.seconds, abs=1)


def test_a_training_that_was_stopped_goes_on(text: Path, tmp_path: Path) -> None:
    recipe = recipe_for(text, RECURRENT)
    whole = begin(recipe, tmp_path / "whole", CPU, Silent())
    stopped = begin(recipe, tmp_path / "stopped", replace(CPU, max_minutes=1e-9), Silent())
    assert stopped.reason == "max minutes"
    assert stopped.test != whole.test
    ended = resume(tmp_path / "stopped", recipe, CPU, Silent())
    assert ended.reason == "epochs"
    assert same_weights(ended, whole)
    assert ended.test == whole.test


def test_a_run_goes_on_only_with_its_own_recipe(text: Path, tmp_path: Path) -> None:
    recipe = recipe_for(text, RECURRENT)
    begin(recipe, tmp_path / "run", CPU, Silent())
    reworded = recipe_for(text, RECURRENT, claim="test = 8.0\nwhere = 'elsewhere'")
    assert resume(tmp_path / "run", reworded, CPU, Silent()).recipe == recipe
    other = with_changes(recipe, {"model.hidden_size": 9, "train.clip_norm": 1.5})
    with pytest.raises(RunError) as caught:
        resume(tmp_path / "run", other, CPU, Silent())
    run = tmp_path / "run"
    assert str(caught.value) == (
        f"The run {run} was to go on with the recipe small.\n"
        "  It was begun with another: model.hidden_size is 8, not 9; train.clip_norm is absent, not 1.5.\n"
        f"  Go on with its own (elman train --resume --out {run}), or name another folder with --out."
    )
    elsewhere = recipe_for(write_text(tmp_path / "other.txt"), RECURRENT)
    with pytest.raises(RunError, match=r"corpus is .*text\.txt, not .*other\.txt"):
        resume(run, elsewhere, CPU, Silent())
    with pytest.raises(RunError, match="That folder is not empty"):
        begin(recipe, run, CPU, Silent())


def test_what_fails_before_the_first_checkpoint_leaves_no_folder(text: Path, tmp_path: Path) -> None:
    recipe = recipe_for(text, RECURRENT)
    with pytest.raises(OptionError, match="less than one per stream"):
        begin(with_changes(recipe, {"train.batch": 10_000}), tmp_path / "run", CPU, Silent())
    with pytest.raises(OptionError, match="There is no such device"):
        begin(recipe, tmp_path / "run", Setting(device="abacus"), Silent())
    with pytest.raises(CorpusError, match='The split "valid" of'):
        begin(with_changes(recipe, {"text.shares": [0.9, 0, 0.1]}), tmp_path / "run", CPU, Silent())
    assert not (tmp_path / "run").exists()


def test_without_a_test_text_there_is_no_test_number(text: Path, tmp_path: Path) -> None:
    recipe = with_changes(recipe_for(text, COUNTED), {"text.shares": [0.9, 0.1, 0]})
    trained = begin(recipe, tmp_path / "run", CPU, Silent())
    assert trained.test is None
    assert trained.valid.tokens > 50


def test_a_run_begins_from_anothers_weights_and_vocabulary(text: Path, tmp_path: Path) -> None:
    first = begin(recipe_for(text, RECURRENT), tmp_path / "first", CPU, Silent())
    other = write_text(tmp_path / "other.txt", lines=100, seed=9)
    still = {"train.learning_rate": 1e-12, "train.epochs": 1}  # what it begins with is what it ends with
    recipe = with_changes(recipe_for(other, RECURRENT), still)
    second = begin(recipe, tmp_path / "second", CPU, Silent(), start=tmp_path / "first")
    before, after = load_file(first.folder.best), load_file(second.folder.best)
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-7)
    assert Vocabulary.load(second.folder.vocabulary) == Vocabulary.load(first.folder.vocabulary)
    wider = with_changes(recipe, {"model.hidden_size": 9})
    with pytest.raises(RunError, match=r"of .*/first/best\.safetensors were .*\n  They do not fit"):
        begin(wider, tmp_path / "third", CPU, Silent(), start=tmp_path / "first")
    with pytest.raises(OptionError, match="made of counts"):
        begin(recipe_for(text, COUNTED), tmp_path / "third", CPU, Silent(), start=tmp_path / "first")
    assert not (tmp_path / "third").exists()


def test_the_recipe_in_the_folder_is_complete(text: Path, tmp_path: Path) -> None:
    recipe = recipe_for(text, COUNTED)
    begin(recipe, tmp_path / "run", CPU, Silent())
    assert recipes.read(RunFolder.open(tmp_path / "run").recipe) == recipe


def test_a_run_goes_on_in_its_own_precision(text: Path, tmp_path: Path) -> None:
    recipe, double = recipe_for(text, RECURRENT), Setting(device="cpu", precision="float64")
    whole = begin(recipe, tmp_path / "whole", double, Silent())
    begin(recipe, tmp_path / "run", replace(double, max_minutes=1e-9), Silent())
    assert same_weights(whole, resume(tmp_path / "run", None, CPU, Silent()))
    assert {tensor.dtype for tensor in load_file(tmp_path / "run/best.safetensors").values()} == {
        torch.float64
    }


def test_a_token_that_only_the_test_text_has_is_met_before_a_training_from_another_run(
    tmp_path: Path,
) -> None:
    write_text(tmp_path / "train.txt")
    write_text(tmp_path / "valid.txt", seed=5)
    recipe = recipes.parse(f"[data]\npath = '{tmp_path}'\n[text]\nunit = 'characters'\n{RECURRENT}", "own")
    begin(recipe, tmp_path / "first", CPU, Silent())
    (tmp_path / "test.txt").write_text((tmp_path / "valid.txt").read_text() + "Z\n")
    with pytest.raises(TokenError, match=r"The test part .* 'Z'"):
        begin(recipe, tmp_path / "second", CPU, Silent(), tmp_path / "first")
    assert not (tmp_path / "second").exists()


def test_a_run_begins_from_another_only_with_the_same_tokens(text: Path, tmp_path: Path) -> None:
    cut = with_changes(recipe_for(text, RECURRENT), {"text.vocabulary_size": 9})
    first = begin(cut, tmp_path / "first", CPU, Silent())
    for changes, said in (
        ({"text.unit": "characters"}, "text.unit is words there, characters here"),
        ({"text.lowercase": True}, "text.lowercase is False there, True here"),
        ({"text.vocabulary_size": 8}, "text.vocabulary_size is 9 there, 8 here"),
    ):
        with pytest.raises(RunError, match=said):
            begin(with_changes(cut, changes), tmp_path / "second", CPU, Silent(), first.folder.path)
        assert not (tmp_path / "second").exists()
    usual = with_changes(cut, {"text.vocabulary_size": "none"})
    second = begin(usual, tmp_path / "second", CPU, Silent(), first.folder.path)
    assert elman.load(second.folder.path).recipe.text.vocabulary_size == 9


def test_a_run_is_evaluated_from_any_folder(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipes.parse(f"[data]\npath = '{text.name}'\n{COUNTED}", "own")
    monkeypatch.chdir(text.parent)
    trained = begin(recipe, tmp_path / "run", CPU, Silent())
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert elman.load(tmp_path / "run").evaluate("test") == trained.test
    monkeypatch.chdir(text.parent)
    assert resume(tmp_path / "run", recipe, CPU, Silent()).test == trained.test


def test_a_long_text_is_announced_before_it_is_read(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    class Heard(Silent):
        def say(self, text: str) -> None:
            said.append(text)

    test = len(open_corpus(str(text), recipe_for(text, COUNTED).text).test)
    valid = len(open_corpus(str(text), recipe_for(text, COUNTED).text).valid)
    longest = max(("valid", valid), ("test", test), key=lambda split: split[1])
    monkeypatch.setattr("elman.study.execute.TOKENS_SOON_READ", min(valid, test))
    begin(recipe_for(text, COUNTED), tmp_path / "run", CPU, Heard())
    assert said == [f"The {longest[0]} text is read as one stream: {longest[1]:,} tokens."]
