"""The counted model behind the contract of all language models."""

import itertools
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.errors import ModelError, OptionError, TokenError
from elman.ngrams import CountedModel, CountedOptions
from elman.ngrams.model import HistoryState
from elman.protocols import LanguageModel

from .texts import END, WORDS, words


def estimated(order: int, smoothing: str, cutoffs: tuple[int, ...] | None, end: int | None) -> CountedModel:
    options = CountedOptions(order, smoothing, cutoffs)
    return CountedModel.estimate(words(5, end=end), WORDS, end, options, pytest.fail)


MODELS = {
    "words": estimated(3, "modified-kneser-ney", None, END),
    "words, cut": estimated(3, "modified-kneser-ney", (2, 3, 2), END),
    "characters": estimated(3, "modified-kneser-ney", (1, 1, 2), None),
    "long": estimated(5, "witten-bell", (1, 1, 2, 1, 1), END),
    "alone": estimated(1, "absolute-discounting", None, END),
}
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
histories = st.lists(st.integers(0, WORDS - 1), max_size=8)
seen = st.integers(0, 880).flatmap(
    lambda first: st.integers(0, 8).map(lambda n: words(5)[first : first + n].tolist())
)


def after(model: CountedModel, history: list[int]) -> HistoryState:
    """The state after ``history``, read step by step, for one stream."""
    state = model.start(1)
    for token in history:
        _, state = model.step(torch.tensor([token]), state)
    return state


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(MODELS)), history=st.one_of(histories, seen), token=st.integers(0, WORDS - 1)
)
def test_probabilities_after_any_history_sum_to_one(name: str, history: list[int], token: int) -> None:
    model = MODELS[name]
    log_p, _ = model.step(torch.tensor([token]), after(model, history))
    assert log_p.shape == (1, WORDS)
    assert log_p.dtype == torch.float64
    assert abs(float(log_p.exp().sum()) - 1) < 1e-9
    assert float(log_p.min()) > -np.inf


@every_model
def test_the_three_ways_to_ask_agree(model: CountedModel) -> None:
    """Step by step, many steps at once in two pieces, and the score of a whole stream."""
    assert isinstance(model, LanguageModel)
    ids = np.concatenate([words(5)[40:80], np.random.default_rng(1).integers(0, WORDS, 40)])
    stream = torch.from_numpy(ids)
    stepped, state = [], model.start(1)
    for token, following in itertools.pairwise(stream):
        log_p, state = model.step(token[None], state)
        stepped.append(float(log_p[0, following]))
    first, middle = model.log_probabilities(stream[:30, None], stream[1:31, None], model.start(1))
    second, last = model.log_probabilities(stream[30:-1, None], stream[31:, None], middle)
    at_once = torch.cat([first, second])[:, 0]
    np.testing.assert_allclose(at_once, stepped, rtol=1e-12)
    np.testing.assert_allclose(-model.score(ids)[1:], stepped, rtol=1e-12)
    assert torch.equal(last.history, state.history)


@every_model
def test_streams_of_a_batch_do_not_see_each_other(model: CountedModel) -> None:
    text = torch.from_numpy(words(5)[:120].reshape(3, 40).T.copy())
    together, state = model.log_probabilities(text[:-1], text[1:], model.start(3))
    dense, _ = model.step(text[-1], state)
    for b in range(3):
        alone, state = model.log_probabilities(text[:-1, b : b + 1], text[1:, b : b + 1], model.start(1))
        assert torch.equal(alone[:, 0], together[:, b])
        assert torch.equal(model.step(text[-1, b : b + 1], state)[0][0], dense[b])


def test_the_end_of_a_sentence_leads_back_to_the_start() -> None:
    model = MODELS["words"]
    begun, state = model.step(torch.tensor([END]), model.start(1))
    later, other = model.step(torch.tensor([END]), after(model, [7, 1, 9]))
    assert torch.equal(begun, later)
    assert state.history[0].tolist()[-1] == other.history[0].tolist()[-1] == WORDS
    # The first word of a text is scored as the first after an end.
    score = model.score(np.array([5, 2, END, 5, 2]))
    np.testing.assert_array_equal(score[:2], score[3:])


def test_without_an_end_the_start_knows_nothing_and_the_stream_is_unbroken() -> None:
    model = MODELS["characters"]
    assert model.start(2).history.tolist() == [[-1, -1]] * 2
    unigrams = MODELS["characters"].score(np.arange(WORDS))[:1]
    np.testing.assert_allclose(model.score(np.array([0])), unigrams)
    text = words(5, end=None)
    np.testing.assert_allclose(
        model.score(text[11:20], start_id=int(text[10]))[0], model.score(text[10:20])[1]
    )
    np.testing.assert_array_equal(
        model.score(text[11:20], start_id=int(text[10]))[1:], model.score(text[10:20])[2:]
    )


def test_a_state_after_a_long_text_holds_only_what_it_needs() -> None:
    text = torch.from_numpy(np.tile(words(5), 200))[:, None]
    tracemalloc.start()
    state = MODELS["words"].log_probabilities(text[:-1], text[1:], MODELS["words"].start(1))[1]
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert state.history.shape == (1, 2)
    assert held < 100_000  # the text has 1.4 MB


@every_model
def test_a_model_restored_from_its_arrays_is_the_same_to_the_bit(model: CountedModel) -> None:
    arrays = model.to_arrays()
    restored = CountedModel.from_arrays(arrays)
    ids = words(6)
    assert model.score(ids).tobytes() == restored.score(ids).tobytes()
    assert (restored.vocabulary_size, restored.end_id, restored.order) == (WORDS, model.end_id, model.order)
    assert restored.ngrams == model.ngrams
    assert {name: array.tobytes() for name, array in restored.to_arrays().items()} == {
        name: array.tobytes() for name, array in arrays.items()
    }


def test_arrays_that_are_cut_short_or_of_another_version_are_refused() -> None:
    arrays = MODELS["words"].to_arrays()
    del arrays["2.keys"]
    with pytest.raises(
        ModelError, match=r"There is no array '2.keys'\.\n  The file is not a counted model, or"
    ):
        CountedModel.from_arrays(arrays)
    arrays = MODELS["words"].to_arrays()
    arrays["counted"] = arrays["counted"] + [7, 0, 0, 0]
    with pytest.raises(ModelError, match=r"Their format is 8; this version reads 1."):
        CountedModel.from_arrays(arrays)


def test_options_with_problems_no_text_and_ids_of_another_vocabulary_are_refused() -> None:
    with pytest.raises(OptionError, match=r"model.order must be a whole number from 1 to 20; it is 0."):
        CountedModel.estimate(words(5), WORDS, END, CountedOptions(0), print)
    with pytest.raises(
        ModelError, match=r"order 5 was to be estimated from 0 tokens\.\n  There is nothing to count"
    ):
        CountedModel.estimate(words(5)[:0], WORDS, END, CountedOptions(), print)
    with pytest.raises(TokenError, match=r"There is the id 119; the vocabulary has the ids 0 … 99."):
        CountedModel.estimate(np.array([3, 99, 119, 120]), 100, END, CountedOptions(), print)
    model = MODELS["words"]
    with pytest.raises(TokenError, match=r"There is the id -1; the vocabulary has the ids 0 … 119."):
        model.step(torch.tensor([-1]), model.start(1))
    with pytest.raises(TokenError, match=r"There is the id 120"):
        model.score(np.array([1, 120]))


def test_a_text_of_one_token_gives_every_token_a_share_and_says_what_it_did() -> None:
    """One token of V = 4, Witten–Bell: P(it) = (1 + 1/4)/2 = 5/8, the others (1/4)/2 = 1/8 each."""
    heard: list[str] = []
    model = CountedModel.estimate(np.array([2]), 4, None, CountedOptions(3), heard.append)
    np.testing.assert_allclose(np.exp(-model.score(np.array([2]))), 5 / 8)
    log_p, _ = model.step(torch.tensor([2]), model.start(1))
    np.testing.assert_allclose(log_p.exp()[0], [1 / 8, 1 / 8, 5 / 8, 1 / 8])
    assert [message[:8] for message in heard] == ["Order 1:", "Order 2:", "Order 3:"]
