"""Estimated probabilities against arithmetic by hand and against the plain dictionaries of the oracle."""

import numpy as np
import pytest

from elman.ngrams import CountedModel, CountedOptions

from .dictionaries import Oracle
from .texts import END, WORDS, words

# "a b <eos> a c <eos>" with <eos> 0, a 1, b 2, c 3. Pairs: <s>a twice; ab, ac, b<eos>, c<eos> once.
SMALL = np.array([1, 2, 0, 1, 3, 0])


def after(model: CountedModel, *pairs: tuple[list[int], int]) -> list[float]:
    """P(word | history) for each pair, through ``score``."""
    return [float(np.exp(-model.score(np.array([*history, word]))[-1])) for history, word in pairs]


def test_witten_bell_by_hand() -> None:
    """Unigrams: 6 tokens of 4 kinds, a 2, b 1, c 1, <eos> 2. P(a) = (2 + 4/4)/10 = .3, b .2, c .2, <eos> .3.

    Contexts, (count + kinds · P) / (total + kinds):  P(a|<s>) = (2 + 1·.3)/3 = 23/30;
    P(b|a) = (1 + 2·.2)/4 = .35;  P(<eos>|a) = 2·.3/4 = .15;  P(<eos>|b) = (1 + .3)/2 = .65.
    """
    model = CountedModel.estimate(SMALL, 4, 0, CountedOptions(2, "witten-bell"), pytest.fail)
    found = after(model, ([], 1), ([1], 2), ([1], 0), ([1, 2], 0), ([1, 2, 0], 1))
    np.testing.assert_allclose(found, [23 / 30, 0.35, 0.15, 0.65, 23 / 30], rtol=1e-14)


def test_absolute_discounting_by_hand() -> None:
    """Pairs: n₁ 4, n₂ 1, so D = 4/6. Unigrams: n₁ 2, n₂ 2, so D = 2/6, left over 4·(1/3)/6, 1/18 for each.

    P(a) = (5/3)/6 + 1/18 = 1/3 = P(<eos>),  P(b) = (2/3)/6 + 1/18 = 1/6.
    P(a|<s>) = (4/3)/2 + (2/3)/2·1/3 = 7/9;  P(b|a) = (1/3)/2 + (4/3)/2·1/6 = 5/18;
    P(<eos>|a) = (4/3)/2·1/3 = 2/9;  P(<eos>|b) = 1/3 + 2/3·1/3 = 5/9.
    """
    model = CountedModel.estimate(SMALL, 4, 0, CountedOptions(2, "absolute-discounting"), pytest.fail)
    found = after(model, ([], 1), ([1], 2), ([1], 0), ([1, 2], 0))
    np.testing.assert_allclose(found, [7 / 9, 5 / 18, 2 / 9, 5 / 9], rtol=1e-14)


def test_kneser_ney_by_hand_where_modified_discounts_cannot_be_had() -> None:
    """Left neighbours: a 1 (<s>), b 1, c 1, <eos> 2: n₁ 3, n₂ 1, D = 3/5, left over 4·.6/5, .12 for each.

    P(a) = P(b) = P(c) = .4/5 + .12 = .2,  P(<eos>) = 1.4/5 + .12 = .4; pairs have D = 2/3 as above.
    P(a|<s>) = 2/3 + 1/3·.2 = 11/15;  P(b|a) = 1/6 + 2/3·.2 = .3;  P(<eos>|a) = 2/3·.4;
    P(<eos>|b) = 1/3 + 2/3·.4 = .6.
    """
    heard: list[str] = []
    model = CountedModel.estimate(SMALL, 4, 0, CountedOptions(2), heard.append)
    found = after(model, ([], 1), ([1], 2), ([1], 0), ([1, 2], 0))
    np.testing.assert_allclose(found, [11 / 15, 0.3, 0.8 / 3, 0.6], rtol=1e-14)
    assert [message.split(";")[0] for message in heard] == [
        "Order 1: modified Kneser–Ney cannot be estimated (no 1-gram has the count 3)",
        "Order 2: modified Kneser–Ney cannot be estimated (no 2-gram has the count 3)",
    ]


def test_modified_kneser_ney_unigrams_by_hand_and_a_word_never_seen() -> None:
    """Three words once, two twice, one 3 and one 4 times, one never: 14 tokens; D = 3/7, 19/14, 9/7, 9/7.

    Left over (3·3/7 + 2·19/14 + 2·9/7)/14 = (46/7)/14 = 23/49, shared by 8: 23/392.
    P(once) = (4/7)/14 + 23/392 = 39/392, P(twice) = (9/14)/14 + 23/392 = 41/392,
    P(3 times) = (12/7)/14 + 23/392 = 71/392, P(4 times) = (19/7)/14 + 23/392 = 99/392.
    """
    ids = np.repeat([0, 1, 2, 3, 4, 5, 6], [1, 1, 1, 2, 2, 3, 4])
    model = CountedModel.estimate(ids, 8, None, CountedOptions(1), pytest.fail)
    np.testing.assert_allclose(
        np.exp(-model.score(np.arange(8))) * 392, [39, 39, 39, 41, 41, 71, 99, 23], rtol=1e-13
    )


def test_a_cut_pair_gives_its_share_to_what_is_left_over() -> None:
    """Absolute discounting as above, pairs seen once cut: after a and b nothing is kept, P is the unigram's.

    P(a|<s>) keeps (4/3)/2 + (2/3)/2·1/3 = 7/9, and P(b|<s>) = 1/3·1/6.
    """
    options = CountedOptions(2, "absolute-discounting", cutoffs=(1, 2))
    model = CountedModel.estimate(SMALL, 4, 0, options, pytest.fail)
    assert model.ngrams == (4, 1)
    found = after(model, ([], 1), ([], 2), ([1], 2), ([1, 2], 0))
    np.testing.assert_allclose(found, [7 / 9, 1 / 18, 1 / 6, 1 / 3], rtol=1e-14)


@pytest.mark.parametrize("end", [END, None])
@pytest.mark.parametrize(
    ("order", "smoothing", "cutoffs"),
    [
        (1, "modified-kneser-ney", None),
        (2, "modified-kneser-ney", None),
        (3, "modified-kneser-ney", None),
        (3, "modified-kneser-ney", (1, 1, 2)),
        (3, "modified-kneser-ney", (2, 3, 2)),  # keeps triples whose first pair is cut
        (4, "witten-bell", None),
        (4, "witten-bell", (1, 4, 2, 1)),
        (3, "absolute-discounting", None),
        (3, "absolute-discounting", (1, 3, 2)),
    ],
)
def test_all_probabilities_are_the_oracles(end, order, smoothing, cutoffs) -> None:
    ids = words(5, end=end)
    options = CountedOptions(order, smoothing, cutoffs)
    model = CountedModel.estimate(ids, WORDS, end, options, pytest.fail)
    oracle = Oracle(ids.tolist(), WORDS, end, order, smoothing, cutoffs)
    text = np.concatenate([ids[:60], np.random.default_rng(6).integers(0, WORDS, 60)])
    expected = [float(oracle.p(word, text[:place].tolist())) for place, word in enumerate(text.tolist())]
    np.testing.assert_allclose(np.exp(-model.score(text)), expected, rtol=1e-11)


def test_the_count_of_ngrams_is_of_what_is_kept_and_of_its_prefixes() -> None:
    ids = words(5)
    whole = CountedModel.estimate(ids, WORDS, END, CountedOptions(3), pytest.fail)
    cut = CountedModel.estimate(ids, WORDS, END, CountedOptions(3, cutoffs=(1, 1, 2)), pytest.fail)
    oracle = Oracle(ids.tolist(), WORDS, END, 3, "modified-kneser-ney")
    pairs, triples = (list(oracle.counts[n].values()) for n in (2, 3))
    assert whole.ngrams == (WORDS, len(pairs), len(triples))
    assert cut.ngrams == (WORDS, len(pairs), sum(times >= 2 for times in triples))
    assert whole.parameters == WORDS + len(pairs) + len(triples)
