"""``elman generate``: seeds, counts, prompts, stops, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import elman as package
from tests.cli.conftest import WORDS, Said, refused


def test_json_is_one_object_with_the_samples(elman: Callable[..., Said], folder: Path) -> None:
    said = elman(
        "generate",
        folder / "words",
        "--prompt",
        "the dog",
        "--tokens",
        9,
        "--seed",
        3,
        "--count",
        2,
        "--json",
    )
    found = json.loads(said.out)
    assert found.keys() == {"prompt", "samples", "seed"}
    assert (found["prompt"], found["seed"], len(found["samples"])) == ("the dog", 3, 2)
    run = package.load(folder / "words")
    assert found["samples"] == ["".join(run.generate("the dog", 9, seed=seed)) for seed in (3, 4)]
    assert found["samples"][0] != found["samples"][1]


def test_what_is_printed_is_prompt_and_sample(elman: Callable[..., Said], folder: Path) -> None:
    words = ("generate", folder / "words", "--prompt", "the dog", "--tokens", 12, "--seed", 5, "--count", 2)
    first, second = json.loads(elman(*words, "--json").out)["samples"]
    assert elman(*words).out == f"the dog{first}\n{'-' * 40}\nthe dog{second}\n"


def test_without_a_seed_each_time_is_another_and_can_be_repeated(
    elman: Callable[..., Said], folder: Path
) -> None:
    words = ("generate", folder / "words", "--tokens", 40, "--json")
    one, other = json.loads(elman(*words).out), json.loads(elman(*words).out)
    assert one["samples"] != other["samples"]
    assert json.loads(elman(*words, "--seed", one["seed"]).out) == one


def test_greedy_takes_the_likeliest_whatever_the_seed(elman: Callable[..., Said], folder: Path) -> None:
    run = package.load(folder / "words")
    prediction, expected = run.start(), []
    for _ in range(5):
        token = run.vocabulary.tokens[int(prediction.log_probabilities.argmax())]
        expected.append("\n" if token == "<eos>" else token)
        prediction = run.step(token, prediction.state)
    for seed in (1, 2):
        words = ("generate", folder / "words", "--greedy", "--tokens", 5, "--seed", seed, "--json")
        assert json.loads(elman(*words).out)["samples"][0].split() == " ".join(expected).split()


def test_the_text_ends_before_stop(elman: Callable[..., Said], folder: Path) -> None:
    words = ("generate", folder / "words", "--tokens", 200, "--seed", 2, "--json")
    (whole,) = json.loads(elman(*words).out)["samples"]
    assert "cat" in whole
    assert json.loads(elman(*words, "--stop", "cat").out)["samples"] == [whole.split("cat")[0]]


def test_sampling_options_reach_the_model(elman: Callable[..., Said], folder: Path) -> None:
    words = ("generate", folder / "words", "--tokens", 30, "--seed", 2, "--json")
    run = package.load(folder / "words")
    for option, keywords in (
        (("--temperature", 0.3), {"temperature": 0.3}),
        (("--top-k", 2), {"top_k": 2}),
        (("--top-p", 0.5), {"top_p": 0.5}),
    ):
        expected = "".join(run.generate("", 30, seed=2, **keywords))  # type: ignore[arg-type]
        assert json.loads(elman(*words, *option).out)["samples"] == [expected]
        assert expected != "".join(run.generate("", 30, seed=2))


def test_an_unknown_token_gets_the_nearest(elman: Callable[..., Said], folder: Path) -> None:
    lines = refused(elman("generate", folder / "words", "--prompt", "the brid"), "TokenError")
    assert lines == [
        "The model was to read 'brid'.",
        f"It is not among the {len(WORDS) + 2} tokens of the vocabulary; the nearest is 'bird'.",
        "Use tokens of the vocabulary, or write <unk> for a word that it lacks.",
    ]


@pytest.mark.parametrize(
    "options", [("--temperature", 0), ("--top-p", 1.5), ("--top-k", 0), ("--stop", ""), ("--seed", -1)]
)
def test_values_out_of_range_are_refused(
    options: tuple[str, object], elman: Callable[..., Said], folder: Path
) -> None:
    assert len(refused(elman("generate", folder / "words", *options), "OptionError")) == 3


def test_a_streamed_model_draws_the_same_text(elman: Callable[..., Said], folder: Path) -> None:
    words = ("generate", folder / "words", "--tokens", 30, "--seed", 7, "--json")
    assert json.loads(elman(*words, "--weights", "float32").out) == json.loads(elman(*words).out)
