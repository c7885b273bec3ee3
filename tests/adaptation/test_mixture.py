from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from elman.adaptation.mixture import CHUNK, Mixture, fit_weights
from elman.errors import ModelError, OptionError
from elman.ngrams import CountedModel, CountedOptions
from elman.protocols import LanguageModel


class Last(NamedTuple):
    token: Tensor


class Pairs(nn.Module):
    """P(next | last token) from a V×V table of probabilities, in float32. Notes its inputs."""

    def __init__(self, table: list[list[float]]) -> None:
        super().__init__()
        self.log_p = nn.Parameter(torch.tensor(table).log())
        self.read: list[int] = []
        self.modes: list[bool] = []

    @property
    def vocabulary_size(self) -> int:
        return len(self.log_p)

    def start(self, batch: int) -> Last:
        return Last(torch.full((batch,), -1))

    def step(self, tokens: Tensor, _: Last) -> tuple[Tensor, Last]:
        return self.log_p[tokens], Last(tokens)

    def log_probabilities(self, inputs: Tensor, targets: Tensor, _: Last) -> tuple[Tensor, Last]:
        self.read += inputs[:, 0].tolist()
        self.modes.append(self.training)
        return self.log_p[inputs, targets], Last(inputs[-1])


ONE = [[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.2, 0.2, 0.6]]
TWO = [[0.1, 0.1, 0.8], [0.25, 0.25, 0.5], [0.5, 0.3, 0.2]]


def test_the_mixture_is_the_weighted_mean_of_probabilities() -> None:
    """λ = (.25, .75). After 0: .25·(.5, .25, .25) + .75·(.1, .1, .8) = (.2, .1375, .6625)."""
    mixture = Mixture([Pairs(ONE), Pairs(TWO)], [0.25, 0.75])
    assert isinstance(mixture, LanguageModel)
    log_p, state = mixture.step(torch.tensor([0, 2]), mixture.start(2))
    expected = [[0.2, 0.1375, 0.6625], [0.425, 0.275, 0.3]]
    np.testing.assert_allclose(log_p.detach().exp(), expected, rtol=1e-6)
    assert [own.token.tolist() for own in state] == [[0, 2], [0, 2]]
    inputs, targets = torch.tensor([[0, 2], [1, 1]]), torch.tensor([[1, 1], [2, 0]])
    log_p, state = mixture.log_probabilities(inputs, targets, mixture.start(2))
    np.testing.assert_allclose(
        log_p.detach().exp(),
        [[0.1375, 0.275], [0.25 * 0.125 + 0.75 * 0.5, 0.25 * 0.125 + 0.75 * 0.25]],
        rtol=1e-6,
    )
    assert [own.token.tolist() for own in state] == [[1, 1], [1, 1]]


def test_a_weight_of_zero_leaves_a_model_out_even_where_it_is_certain() -> None:
    impossible = Pairs([[0.0, 1.0, 0.0]] * 3)
    mixture = Mixture([impossible, Pairs(TWO)], [0.0, 1.0])
    log_p, _ = mixture.step(torch.tensor([1]), mixture.start(1))
    np.testing.assert_allclose(log_p.detach().exp(), [TWO[1]], rtol=1e-6)


def test_weights_of_two_models_worked_by_hand() -> None:
    """P₁ .6, .6, .1; P₂ .2, .2, .3: 2·.4/(.2 + .4λ) = .2/(.3 − .2λ), .24 − .16λ = .04 + .08λ, λ = 5/6."""
    found = fit_weights(np.log([[0.6, 0.6, 0.1], [0.2, 0.2, 0.3]]))
    np.testing.assert_allclose(found, [5 / 6, 1 / 6], atol=1e-6)


def test_a_model_that_is_always_worse_gets_no_weight() -> None:
    found = fit_weights(np.log([[0.6, 0.2], [0.3, 0.1], [0.5, 0.15]]))
    np.testing.assert_allclose(found, [1, 0, 0], atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(models=st.integers(1, 5), seed=st.integers(0, 999))
def test_no_other_weights_are_better(models: int, seed: int) -> None:
    """The log-likelihood of 200 drawn weights, the corners, and steps toward them from the fitted ones."""
    generator = np.random.default_rng(seed)
    log_p = generator.normal(-6, 2, (models, 40))
    fitted = fit_weights(log_p)
    assert fitted.min() >= 0
    assert abs(fitted.sum() - 1) < 1e-12
    others = np.concatenate([generator.dirichlet(np.ones(models), 200), np.eye(models)])
    others = np.concatenate([others, 0.99 * fitted + 0.01 * others, 0.999999 * fitted + 0.000001 * others])
    p = np.exp(log_p)
    assert np.log(others @ p).mean(axis=1).max() <= np.log(fitted @ p).mean() + 1e-7


def test_very_small_probabilities_do_not_vanish() -> None:
    """e^−2000 is 0 in float64; only the ratios count, 3 : 1 and 1 : 3. As often each: equal weights.

    The first twice as often: 2·2/(1 + 2λ) = 2/(3 − 2λ), so 6 − 4λ = 1 + 2λ and λ = 5/6.
    """
    log_p = np.array([[-2000.0, -3000 - np.log(3)], [-2000 - np.log(3), -3000.0]])
    np.testing.assert_allclose(fit_weights(log_p), [0.5, 0.5], atol=1e-6)
    np.testing.assert_allclose(fit_weights(log_p[:, [0, 0, 1]]), [5 / 6, 1 / 6], atol=1e-6)


def test_fitting_reads_the_start_then_the_text_in_one_stream_without_dropout() -> None:
    one, two = Pairs(ONE).train(), Pairs(TWO).train()
    generator = np.random.default_rng(4)
    valid = np.zeros(2 * CHUNK + 100, np.uint16)
    for place in range(len(valid)):  # drawn from the mixture .4 : .6, started by token 2
        last = 2 if place == 0 else valid[place - 1]
        p = 0.4 * np.array(ONE[last]) + 0.6 * np.array(TWO[last])
        valid[place] = generator.choice(3, p=p / p.sum())
    mixture = Mixture.fit([one, two], valid, start_id=2)
    assert one.read == two.read == [2, *valid[:-1].tolist()]
    assert one.modes == [False] * 3
    places = np.concatenate([[2], valid[:-1]]), valid
    by_hand = fit_weights(np.log([np.array(ONE)[places], np.array(TWO)[places]]))
    np.testing.assert_allclose(mixture.weights, by_hand, atol=1e-5)
    assert abs(mixture.weights[0] - 0.4) < 0.1


def test_counted_and_other_models_mix_and_the_mixture_beats_each_on_the_text_it_was_fitted_on() -> None:
    generator = np.random.default_rng(8)
    text = generator.choice(3, 900, p=[0.2, 0.3, 0.5])
    counted = CountedModel.estimate(text[:400], 3, None, CountedOptions(2, "witten-bell"), pytest.fail)
    models = [counted, Pairs(ONE), Pairs(TWO)]
    valid = text[400:]
    mixture = Mixture.fit(models, valid, start_id=0)
    inputs = torch.from_numpy(np.concatenate([[0], valid[:-1]]))[:, None]
    targets = torch.from_numpy(valid)[:, None]
    with torch.no_grad():
        nats = [
            -float(model.log_probabilities(inputs, targets, model.start(1))[0].double().mean())
            for model in [mixture, *models]
        ]
    assert nats[0] <= min(nats[1:]) + 1e-6
    again = Mixture.fit([mixture, Pairs(ONE)], valid, start_id=0)  # a mixture is a language model too
    assert again.weights[0] > 0.999


def test_what_cannot_be_mixed_is_refused() -> None:
    small = Pairs([[0.5, 0.5], [0.5, 0.5]])
    with pytest.raises(ModelError) as refused:
        Mixture([Pairs(ONE), small], [0.5, 0.5])
    assert str(refused.value) == (
        "A mixture of 2 models with 2 weights was asked for.\n"
        "  Their vocabularies have 3, 2 tokens.\n"
        "  Mix models of one vocabulary: train them on one corpus with one [text] table."
    )
    with pytest.raises(ModelError, match=r"Their vocabularies have 3, 2 tokens"):
        Mixture.fit([Pairs(ONE), small], np.array([1]), 0)
    with pytest.raises(OptionError, match=r"2 models with 1 weights was asked for\.\n  They must be as many"):
        Mixture([Pairs(ONE), Pairs(TWO)], [1.0])
    with pytest.raises(OptionError, match=r"They are 0.5, 0.6; their sum is 1.1."):
        Mixture([Pairs(ONE), Pairs(TWO)], [0.5, 0.6])
    with pytest.raises(OptionError, match=r"They are -0.5, 1.5; their sum is 1."):
        Mixture([Pairs(ONE), Pairs(TWO)], [-0.5, 1.5])
    with pytest.raises(OptionError, match=r"There is nothing to mix."):
        Mixture([], [])
    with pytest.raises(ModelError, match=r"There is nothing to fit them on."):
        Mixture.fit([Pairs(ONE)], np.zeros(0, np.int64), 0)
    never = Pairs([[0.0, 1.0, 0.0]] * 3)
    with pytest.raises(ModelError, match=r"Token 2 of the text has a finite log-probability in no model."):
        Mixture.fit([never, never], np.array([1, 2]), 0)
