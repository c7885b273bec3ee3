"""Generation: what is read and in which order, when it ends, and what a seed promises."""

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from elman.decoding import generate, generate_many
from elman.errors import OptionError
from elman.models import RecurrentLanguageModel, RecurrentOptions

V = 11


class Heard(NamedTuple):
    """What each stream has read: B × (so far), padded in front."""

    ids: Tensor


class Counter:
    """After reading a it gives (a + 3) mod 11 probability 0.9, and 0.01 to each other token."""

    vocabulary_size = V

    def __init__(self) -> None:
        self.steps: list[list[int]] = []

    def start(self, batch: int) -> Heard:
        return Heard(torch.full((batch, 8), -1))

    def step(self, tokens: Tensor, state: Heard) -> tuple[Tensor, Heard]:
        self.steps.append(tokens.tolist())
        p = torch.full((len(tokens), V), 0.01)
        p[torch.arange(len(tokens)), (tokens + 3) % V] = 0.9
        return p.log(), Heard(torch.cat([state.ids[:, 1:], tokens[:, None]], dim=1))

    def log_probabilities(self, inputs: Tensor, targets: Tensor, state: Any) -> tuple[Tensor, Any]:
        raise NotImplementedError


def test_it_reads_the_start_the_prompt_and_its_own_choices() -> None:
    model = Counter()
    assert list(generate(model, [5, 7], 4, start_id=0, greedy=True)) == [10, 2, 5, 8]
    assert model.steps == [[0], [5], [7], [10], [2], [5]], "one step for each token, and none after the last"


def test_without_a_prompt_it_follows_the_start() -> None:
    assert list(generate(Counter(), [], 2, start_id=4, greedy=True)) == [7, 10]


def test_each_token_is_given_as_soon_as_it_is_drawn() -> None:
    model = Counter()
    stream = generate(model, [], 100, start_id=0, greedy=True)
    assert [next(stream), next(stream)] == [3, 6]
    assert model.steps == [[0], [3]]
    assert torch.is_grad_enabled(), "nothing leaks between tokens"


def test_it_ends_before_a_stop() -> None:
    assert list(generate(Counter(), [], 100, start_id=0, greedy=True, stop=[1, 9])) == [3, 6]
    assert list(generate(Counter(), [], 100, start_id=0, greedy=True, stop={3})) == []


def test_no_tokens() -> None:
    assert list(generate(Counter(), [1], 0, start_id=0)) == []


def test_many_texts_share_one_reading_of_the_prompt_and_then_part() -> None:
    model = Counter()
    texts = list(generate_many(model, [5], 3, count=4, start_id=0, temperature=3.0, seed=1))
    assert model.steps[:2] == [[0], [5]]
    assert model.steps[2:] == texts[:2]
    assert len({tuple(text) for text in zip(*texts, strict=True)}) == 4


def test_text_k_of_many_is_the_text_of_seed_plus_k() -> None:
    texts = zip(
        *generate_many(Counter(), [5], 12, count=3, start_id=0, temperature=2.0, seed=20), strict=True
    )
    for k, text in enumerate(texts):
        assert list(text) == list(generate(Counter(), [5], 12, start_id=0, temperature=2.0, seed=20 + k))


def test_a_text_that_has_stopped_gives_none_until_all_have() -> None:
    steps = list(generate_many(Counter(), [], 200, count=3, start_id=0, temperature=2.0, seed=3, stop=[0]))
    texts = list(zip(*steps, strict=True))
    assert len(steps) < 200
    lengths = [sum(token is not None for token in text) for text in texts]
    assert len(set(lengths)) > 1
    assert max(lengths) == len(steps)
    for text, length in zip(texts, lengths, strict=True):
        assert all(token is not None and token != 0 for token in text[:length])
        assert set(text[length:]) <= {None}


def test_a_seed_repeats_and_no_seed_draws_from_torchs_own() -> None:
    model = RecurrentLanguageModel(V, RecurrentOptions(cell="gru", hidden_size=5)).eval()

    def text(seed: int | None) -> list[int]:
        return list(generate(model, [1, 2], 30, start_id=0, seed=seed))

    assert text(8) == text(8) != text(9)
    assert text(None) != text(None)
    torch.manual_seed(2)
    first = text(None)
    torch.manual_seed(2)
    assert text(None) == first


def test_a_recurrent_model_continues_as_its_steps_say() -> None:
    model = RecurrentLanguageModel(V, RecurrentOptions(layers=2, hidden_size=5, initial_scale=0.9)).eval()
    heard = [0, 3, 4]
    for token in generate(model, [3, 4], 15, start_id=0, greedy=True):
        hidden, _ = model.stack.scan(model.embedding(torch.tensor(heard)[:, None]))
        assert token == int((hidden[-1, 0] @ model.softmax.weight.T + model.softmax.bias).argmax())
        heard.append(token)
    assert len(heard) == 18


def test_values_out_of_range_are_refused_before_anything_is_read() -> None:
    model = Counter()
    with pytest.raises(OptionError, match="top_k is 0"):
        generate(model, [], 3, start_id=0, top_k=0)
    with pytest.raises(OptionError) as error:
        generate_many(model, [], -2, count=0, start_id=0)
    assert str(error.value) == (
        "0 texts of -2 tokens were to be generated.\n"
        "  tokens is -2, count is 0; they must be at least 0 and 1.\n"
        "  Ask for 0 tokens or more, and for at least one text."
    )
    assert model.steps == []


@pytest.mark.parametrize(("seed", "count"), [(-1, 1), (2**63, 1), (2**63 - 1, 2), (10**30, 1)])
def test_seeds_that_no_generator_takes(seed: int, count: int) -> None:
    model = RecurrentLanguageModel(30, RecurrentOptions(hidden_size=8))
    with pytest.raises(OptionError) as caught:
        generate_many(model, [], 3, count=count, start_id=0, seed=seed)
    assert str(caught.value).splitlines() == [
        f"{count} texts were to be drawn from the seed {seed} on.",
        "  A seed is a whole number from 0 to 2^63 − 1.",
        "  Give another, such as 1.",
    ]
