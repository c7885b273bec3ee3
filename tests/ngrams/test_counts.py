from collections import Counter, defaultdict

import numpy as np
import pytest

from elman.ngrams.counts import Counts, continuations, count

from .texts import END, WORDS, words

START = WORDS


def spelled(orders: list[Counts], n: int) -> list[tuple[int, ...]]:
    """The n-grams of order n, in the order of their rows, each from its chain of prefixes."""
    grams: list[tuple[int, ...]] = [(word,) for word in range(WORDS + 1)]
    for order in orders[1:n]:
        rows, last = np.divmod(order.keys, WORDS + 1)
        grams = [(*grams[row], int(word)) for row, word in zip(rows, last, strict=True)]
    return grams


def plainly(ids: np.ndarray, end: int | None, order: int) -> tuple[Counter, defaultdict]:
    """Occurrences of every n-gram, and its left neighbours, by looking at every piece of every sentence."""
    sentences: list[list[int]] = [[] if end is None else [START]]
    for token in ids.tolist():
        sentences[-1].append(token)
        if token == end:
            sentences.append([START])
    if end is not None and sentences[-1] == [START]:
        del sentences[-1]
    occurrences, left = Counter(), defaultdict(set)
    for sentence in sentences:
        for first in range(len(sentence)):
            for last in range(first + 1, min(first + order, len(sentence)) + 1):
                gram = tuple(sentence[first:last])
                occurrences[gram] += 1
                left[gram].add(sentence[first - 1] if first else None)
    return occurrences, left


@pytest.mark.parametrize("end", [END, None])
@pytest.mark.parametrize("closed", [True, False])
def test_every_ngram_is_counted_as_often_as_it_occurs(end: int | None, closed: bool) -> None:
    ids = words(1, end=end)
    if closed:
        ids[-1] = END
    occurrences, left = plainly(ids, end, 5)
    orders = count(ids, WORDS, end, 5)
    for n, order in enumerate(orders, start=1):
        grams = spelled(orders, n)
        assert dict(zip(grams, order.occurrences.tolist(), strict=True)) == {
            **({(word,): 0 for word in range(WORDS + 1)} if n == 1 else {}),
            **{gram: times for gram, times in occurrences.items() if len(gram) == n},
        }
        assert [gram[0] == START for gram in grams] == [
            row >= order.sentence_rows for row in range(order.rows)
        ]
        if n > 1:
            shorter = spelled(orders, n - 1)
            assert [shorter[row] for row in order.suffix] == [gram[1:] for gram in grams]
        if n < 5:
            neighbours = continuations(order, orders[n], end is not None)
            expected = [occurrences[gram] if gram[0] == START else len(left.get(gram, ())) for gram in grams]
            assert neighbours.tolist() == expected


def test_a_text_shorter_than_the_order_has_no_long_ngrams() -> None:
    orders = count(np.array([2, 0]), WORDS, None, 4)
    assert [order.rows for order in orders] == [WORDS + 1, 1, 0, 0]
    assert [order.first_row for order in orders] == [2, 0, -1, -1]


def test_keys_too_long_to_be_packed_with_their_places_give_the_same_counts() -> None:
    """A vocabulary so large that key and place do not fit into 63 bits takes the other way of sorting."""
    ids = words(2)
    small, large = count(ids, WORDS, END, 4), count(ids, 1 << 20, END, 4)
    huge = 1 << 45  # not through count: order 1 has a row for each id
    keys = np.array([5, 3, 5, huge, 3, 5]) * (1 << 16)
    from elman.ngrams.counts import _distinct

    distinct, which, times = _distinct(keys)
    assert (distinct >> 16).tolist() == [3, 5, huge]
    assert which.tolist() == [1, 0, 1, 2, 0, 1]
    assert times.tolist() == [2, 3, 1]
    for few, many in zip(small[1:], large[1:], strict=True):
        assert few.occurrences.tolist() == many.occurrences.tolist()
