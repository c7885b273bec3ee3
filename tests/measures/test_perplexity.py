import math

import numpy as np
import pytest
import torch
from torch import Tensor

from elman.measures.perplexity import Perplexity, evaluate
from elman.models.language_model import RecurrentLanguageModel, RecurrentOptions
from elman.ngrams import CountedModel, CountedOptions

TEXT = np.random.default_rng(4).integers(0, 13, 101).astype(np.uint16)


def lstm() -> RecurrentLanguageModel:
    options = RecurrentOptions(layers=2, hidden_size=9, dropout_output=0.5, initial_scale=0.7)
    return RecurrentLanguageModel(13, options, start_id=4)


class Bigrams:
    """log P(next | last) from a table; knows nothing but the step."""

    vocabulary_size = 3
    table = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]], dtype=torch.float64).log()

    def start(self, _: int) -> None:
        return None

    def step(self, tokens: Tensor, _: None) -> tuple[Tensor, None]:
        return self.table[tokens], None

    def log_probabilities(self, inputs: Tensor, targets: Tensor, _: None) -> tuple[Tensor, None]:
        return self.table[inputs, targets], None


@pytest.mark.parametrize("chunk", [1, 2, 3, 1000])
def test_a_worked_text(chunk: int) -> None:
    """Start token 2, text 0 1 1 2: 0.3 · 0.25 · 0.2 · 0.7."""
    cost = evaluate(Bigrams(), np.array([0, 1, 1, 2]), 2, chunk)
    assert cost.tokens == 4
    assert cost.nats == pytest.approx(-math.log(0.3 * 0.25 * 0.2 * 0.7), rel=1e-12)
    assert cost.perplexity == pytest.approx((0.3 * 0.25 * 0.2 * 0.7) ** -0.25)
    assert cost.bits_per_token == pytest.approx(-math.log2(0.3 * 0.25 * 0.2 * 0.7) / 4)


def test_a_text_is_one_stream_read_token_by_token() -> None:
    model = lstm().eval()
    state, last, nats = model.start(1), 4, 0.0
    with torch.no_grad():
        for token in TEXT.tolist():
            log_p, state = model.step(torch.tensor([last]), state)
            nats -= float(log_p[0, token])
            last = token
    assert evaluate(model, TEXT, 4).nats == pytest.approx(nats, rel=1e-6)


@pytest.mark.parametrize("chunk", [1, 7, 50, 100, 101, 102])
def test_the_length_of_the_chunks_does_not_matter(chunk: int) -> None:
    model = lstm()
    assert evaluate(model, TEXT, 4, chunk).nats == pytest.approx(evaluate(model, TEXT, 4).nats, rel=1e-6)


@pytest.mark.parametrize("streams", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("tokens", [1, 5, 256, 257, 300, 801])
def test_every_token_is_counted_once_in_every_number_of_streams(streams: int, tokens: int) -> None:
    ids = np.random.default_rng(tokens).integers(0, 3, tokens)
    cost = evaluate(Bigrams(), ids, 2, chunk=50, streams=streams)
    expected = -float(Bigrams.table[np.concatenate(([2], ids[:-1])), ids].sum())
    assert (cost.nats, cost.tokens) == (pytest.approx(expected, rel=1e-12), tokens)


def test_streams_side_by_side_warm_up_before_they_predict() -> None:
    """A state forgotten within 256 tokens costs nothing; an older one does."""
    model = lstm()
    text = np.random.default_rng(5).integers(0, 13, 1500).astype(np.uint16)
    assert evaluate(model, text, 4, streams=3).nats == pytest.approx(evaluate(model, text, 4).nats, rel=1e-6)


def test_dropout_is_off_and_the_mode_comes_back() -> None:
    model = lstm().train()
    assert evaluate(model, TEXT, 4).nats == evaluate(model.eval(), TEXT, 4).nats
    assert not model.training
    model.train()
    evaluate(model, TEXT, 4)
    assert model.training


@pytest.mark.parametrize("end_id", [None, 4])
def test_a_counted_models_own_way_gives_what_the_shared_one_gives(end_id: int | None) -> None:
    counted = CountedModel.estimate(TEXT, 13, end_id, CountedOptions(order=3), lambda _: None)

    class Plain:
        vocabulary_size = 13
        start, step, log_probabilities = counted.start, counted.step, counted.log_probabilities

    new = TEXT[::-1].copy()
    assert evaluate(counted, new, 4).nats == pytest.approx(evaluate(Plain(), new, 4, 10).nats, rel=1e-12)


def test_an_endless_perplexity_is_infinite() -> None:
    assert Perplexity(nats=3000.0, tokens=2).perplexity == math.inf
