"""``elman evaluate``: its keys, its texts, and the sum of the lines' scores."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import elman as package
from elman.measures.perplexity import Perplexity
from elman.run import Run
from tests.cli.conftest import Said, refused


def test_the_keys_are_those_of_the_design(elman: Callable[..., Said], folder: Path) -> None:
    words = json.loads(elman("evaluate", folder / "words", "--json").out)
    characters = json.loads(elman("evaluate", folder / "characters", "--json").out)
    assert words.keys() == {"perplexity", "nats_per_token", "tokens"}
    assert characters.keys() == {"perplexity", "nats_per_token", "bits_per_character", "tokens"}
    assert words["perplexity"] == pytest.approx(math.exp(words["nats_per_token"]))
    assert characters["bits_per_character"] == pytest.approx(math.log2(characters["perplexity"]))
    assert words["tokens"] == package.load(folder / "words").evaluate("test").tokens


def test_split_and_data_choose_the_text(elman: Callable[..., Said], folder: Path, tmp_path: Path) -> None:
    text = (folder / "text.txt").read_text()
    (tmp_path / "valid.txt").write_text(text[int(0.9 * len(text)) : int(0.95 * len(text))])
    split = json.loads(elman("evaluate", folder / "characters", "--split", "valid", "--json").out)
    data = json.loads(
        elman("evaluate", folder / "characters", "--data", tmp_path / "valid.txt", "--json").out
    )
    assert split == data
    assert split != json.loads(elman("evaluate", folder / "characters", "--json").out)


def test_without_a_test_text_the_validation_text_is_read(
    elman: Callable[..., Said], folder: Path, tmp_path: Path
) -> None:
    words = ("--model", "counted", "--order", 2, "--set", "text.shares=[0.9, 0.1, 0]")
    assert elman("train", "--data", folder / "text.txt", "--out", tmp_path / "run", *words).status == 0
    found = json.loads(elman("evaluate", tmp_path / "run", "--json").out)
    assert found == json.loads(elman("evaluate", tmp_path / "run", "--split", "valid", "--json").out)
    assert (
        "It has train, valid"
        in refused(elman("evaluate", tmp_path / "run", "--split", "test"), "CorpusError")[1]
    )


def test_the_result_does_not_depend_on_the_chunk(
    elman: Callable[..., Said], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, evaluate_ids = [], Run.evaluate_ids

    def spy(run: Run, ids: np.ndarray, *, chunk: int) -> Perplexity:
        asked.append(chunk)
        return evaluate_ids(run, ids, chunk=chunk)

    monkeypatch.setattr(Run, "evaluate_ids", spy)
    found = [
        json.loads(elman("evaluate", folder / "words", "--chunk", chunk, "--json").out)["nats_per_token"]
        for chunk in (1, 7, 5000)
    ]
    assert asked == [1, 7, 5000]
    assert found == pytest.approx([found[0]] * 3, rel=1e-6)


@pytest.mark.parametrize("run", ["words", "characters"])
@pytest.mark.parametrize("ending", ["\n", ""])
def test_the_lines_scores_add_up_to_it(
    run: str, ending: str, elman: Callable[..., Said], folder: Path, tmp_path: Path
) -> None:
    lines = (folder / "text.txt").read_text().splitlines()[:30]
    lines[3] = ""
    text = "\n".join(lines) + ending
    (tmp_path / "some.txt").write_text(text)
    cost = json.loads(elman("evaluate", folder / run, "--data", tmp_path / "some.txt", "--json").out)
    scores = [float(line) for line in elman("score", folder / run, stdin=text.encode()).out.splitlines()]
    assert len(scores) == 30
    assert -sum(scores) / cost["tokens"] == pytest.approx(cost["nats_per_token"], abs=1e-6)


def test_people_read_a_table(elman: Callable[..., Said], folder: Path) -> None:
    cost = package.load(folder / "characters").evaluate("test")
    lines = [line.rsplit("  ", 1) for line in elman("evaluate", folder / "characters").out.splitlines()]
    assert lines.pop(0)[1] == f"test of {folder / 'text.txt'}"
    assert [name.strip() for name, _ in lines] == [
        "perplexity",
        "nats per token",
        "bits per character",
        "tokens",
    ]
    assert lines[0][1] == f"{cost.perplexity:.4f}"


def test_what_cannot_be_evaluated(elman: Callable[..., Said], folder: Path, tmp_path: Path) -> None:
    (tmp_path / "odd.txt").write_text("the dög\n")
    assert (
        "It has train, valid, test"
        in refused(elman("evaluate", folder / "words", "--split", "dev"), "CorpusError")[1]
    )
    assert (
        "'ö'"
        in refused(elman("evaluate", folder / "characters", "--data", tmp_path / "odd.txt"), "TokenError")[0]
    )
    cut = tmp_path / "cut"
    cut.mkdir()
    for path in (folder / "words").iterdir():
        (cut / path.name).write_bytes(path.read_bytes())
    (cut / "best.safetensors").write_bytes((cut / "best.safetensors").read_bytes()[:200])
    assert "It is cut short or damaged" in refused(elman("evaluate", cut), "RunError")[1]
    (cut / "machine.toml").write_text("format = 99\n")
    assert "It is in format 99" in refused(elman("evaluate", cut), "RunError")[1]


def test_weights_are_read_in_the_format_that_is_named(elman: Callable[..., Said], folder: Path) -> None:
    run = package.load(folder / "words")
    words = ("evaluate", folder / "words", "--split", "valid", "--json")
    exact = json.loads(elman(*words).out)["nats_per_token"]
    found = json.loads(elman(*words, "--weights", "int8").out)["nats_per_token"]
    assert found == run.streamed("int8").evaluate("valid").nats_per_token
    assert found == pytest.approx(exact, rel=1e-2)
    assert found != exact
    said = elman(*words, "--weights", "int4")
    assert refused(said, "OptionError")[1] == "The formats are float32, bfloat16, int8."
