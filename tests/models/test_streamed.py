"""A streamed language model beside the model itself, and beside one whose weights were rounded by hand."""

import copy
import itertools

import pytest
import torch
from torch import Tensor

from elman import states
from elman.decoding import generate
from elman.decoding.generate import generate_many
from elman.errors import OptionError, ShapeError, TokenError
from elman.fused import library
from elman.measures import perplexity
from elman.models import RecurrentLanguageModel, RecurrentOptions, StreamedLanguageModel
from elman.protocols import LanguageModel

OPTIONS = {
    "one layer": RecurrentOptions(hidden_size=9),
    "tied, through a map": RecurrentOptions(hidden_size=9, embedding_size=5, tied=True, layers=2),
    "tied": RecurrentOptions(cell="gru", hidden_size=7, tied=True),
    "one-hot": RecurrentOptions(cell="mogrifier", hidden_size=7, one_hot=True),
    "rhn": RecurrentOptions(cell="rhn", hidden_size=7, depth=3, layers=2, dropout_between=0.5),
}

everything = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())


def made(options: RecurrentOptions, scale: float = 0.9) -> RecurrentLanguageModel:
    """A model far from a uniform distribution, so that every token matters."""
    model = RecurrentLanguageModel(31, options).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.uniform_(-scale, scale)
    return model


@everything
def test_steps_are_those_of_the_model(options: RecurrentOptions) -> None:
    model = made(options)
    streamed = StreamedLanguageModel(model)
    assert isinstance(streamed, LanguageModel)
    for batch in (1, 3):
        mine, theirs = streamed.start(batch), model.start(batch)
        for _ in range(5):
            tokens = torch.randint(31, (batch,))
            logs, mine = streamed.step(tokens, mine)
            wanted, theirs = model.step(tokens, theirs)
            torch.testing.assert_close(logs, wanted, rtol=1e-5, atol=1e-5)
        state = torch.cat([leaf for _, leaf in states.leaves(theirs)], 1)
        torch.testing.assert_close(mine, state, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", ["bfloat16", "int8"])
@everything
def test_a_format_is_a_rounding_of_all_matrices_but_the_embedding(
    options: RecurrentOptions, form: str
) -> None:
    model = made(options)
    streamed, rounded = StreamedLanguageModel(model, form), copy.deepcopy(model)
    embedding = None if options.one_hot else rounded.embedding.weight.clone()
    for matrix in [p for p in rounded.parameters() if p.dim() == 2]:
        by_hand(matrix, form)
    ids = torch.randint(31, (12, 2))
    if (
        embedding is not None
    ):  # where it is the softmax's too: looked up as it was, multiplied as it is rounded
        rounded.embedding.weight = torch.nn.Parameter(embedding)
    mine, end = streamed.log_probabilities(ids[:-1], ids[1:], streamed.start(2))
    theirs, _ = rounded.log_probabilities(ids[:-1], ids[1:], rounded.start(2))
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
    exact, _ = model.log_probabilities(ids[:-1], ids[1:], model.start(2))
    assert not torch.allclose(mine, exact, rtol=1e-5, atol=1e-5)
    assert end.shape == streamed.start(2).shape


def by_hand(matrix: Tensor, form: str) -> None:
    if form == "int8":
        step = matrix.abs().amax(1, keepdim=True) / 127
    else:
        step = 2.0 ** (torch.floor(torch.log2(matrix.abs())) - 7)
    matrix.copy_((matrix / step).round() * step)


def test_states_are_values() -> None:
    streamed = StreamedLanguageModel(made(OPTIONS["one layer"]))
    token = torch.tensor([4])
    start = streamed.start(1)
    _, state = streamed.step(token, start)
    assert torch.equal(start, streamed.start(1))
    kept = state.clone()
    one, after = streamed.step(token, state)
    two, _ = streamed.step(token, state)
    assert torch.equal(one, two)
    assert torch.equal(state, kept)
    assert not torch.equal(after, state)


@everything
def test_generation_is_that_of_the_model(options: RecurrentOptions) -> None:
    model = made(options)
    streamed = StreamedLanguageModel(model)
    for seed in (1, 2):
        mine, theirs = (list(generate(m, [4, 5], 60, start_id=0, seed=seed)) for m in (streamed, model))
        assert mine == theirs
    several = [generate_many(m, [4], 20, count=3, start_id=0, seed=9) for m in (streamed, model)]
    assert all(mine == theirs for mine, theirs in itertools.zip_longest(*several))


def test_perplexity_is_that_of_the_model() -> None:
    model = made(OPTIONS["tied, through a map"])
    ids = torch.randint(31, (300,)).numpy()
    for streams in (1, 4):
        mine, theirs = (
            perplexity.evaluate(m, ids, 0, streams=streams) for m in (StreamedLanguageModel(model), model)
        )
        assert mine.nats == pytest.approx(theirs.nats, rel=1e-6)
        assert mine.tokens == theirs.tokens


def test_it_is_a_snapshot_and_shares_nothing() -> None:
    model = made(OPTIONS["tied"])
    streamed = StreamedLanguageModel(model)
    before, _ = streamed.step(torch.tensor([3]), streamed.start(1))
    for parameter in model.parameters():
        parameter.zero_()
    assert torch.equal(streamed.step(torch.tensor([3]), streamed.start(1))[0], before)


def test_without_an_executor_the_results_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model, ids = made(OPTIONS["tied, through a map"]), torch.randint(31, (9, 2))
    compiled = StreamedLanguageModel(model, "int8")
    monkeypatch.setattr(library, "objection", lambda: "no compiler was there")
    plain = StreamedLanguageModel(model, "int8")
    (mine, end), (theirs, other) = (
        m.log_probabilities(ids[:-1], ids[1:], m.start(2)) for m in (compiled, plain)
    )
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(end, other, rtol=1e-5, atol=1e-5)


def test_what_does_not_fit_is_refused() -> None:
    model = made(OPTIONS["one layer"])
    streamed = StreamedLanguageModel(model)
    with pytest.raises(OptionError, match="The formats are float32, bfloat16, int8"):
        StreamedLanguageModel(model, "int4")
    with pytest.raises(TokenError, match="The ids go from 31 to 31; they must be from 0 to 30"):
        streamed.step(torch.tensor([31]), streamed.start(1))
    with pytest.raises(ShapeError, match="Give one target for every input"):
        streamed.log_probabilities(torch.zeros(2, 1, dtype=torch.int64), torch.zeros(3, 1, dtype=torch.int64),
                                   streamed.start(1))  # fmt: skip
