"""Counts of every n-gram of a text, up to an order, each n-gram known by its prefix and its last word.

An n-gram is the row of its ``(n−1)``-gram prefix and a word, packed into one whole number

    key = row of the prefix · (V + 1) + word            (a unigram's row is the word itself)

and the rows of an order are its keys in ascending order. So what follows one context lies in one piece,
any n-gram is found by n−1 binary searches, and counting is sorting. The symbol V is ``<s>``, the beginning
of a sentence: it is read, never predicted, and therefore only ever the first symbol of an n-gram.
"""

from typing import NamedTuple

import numpy as np


class Counts(NamedTuple):
    """The n-grams of one order. M: how many there are; rows are in ascending order of ``keys``."""

    keys: np.ndarray  # M, int64: row of the prefix · (V + 1) + last word
    occurrences: np.ndarray  # M, whole numbers: how often the text has it
    suffix: np.ndarray  # M, int32: the row, one order down, of the n-gram without its first symbol
    first_row: int  # the row of the n-gram that the text begins with; −1 where the text is too short
    sentence_rows: int  # the n-grams that begin with <s> are the rows from here on

    @property
    def rows(self) -> int:
        return len(self.keys)


def count(ids: np.ndarray, vocabulary_size: int, end_id: int | None, order: int) -> list[Counts]:
    """Counts the n-grams of the stream ``ids`` (N, each 0 … V−1), of the orders 1 … ``order``.

    With ``end_id``, ``<s>`` stands before the first token and after every ``end_id``, and no n-gram reaches
    across it. Without (characters), the stream is unbroken and there is no ``<s>``. Order 1 always has the
    V + 1 rows 0 … V, counted or not.
    """
    beginning = vocabulary_size
    symbols = with_sentence_starts(ids, vocabulary_size, end_id)
    unigrams = np.bincount(symbols, minlength=beginning + 1)
    orders = [
        Counts(
            keys=np.arange(beginning + 1),
            occurrences=unigrams,
            suffix=np.zeros(beginning + 1, np.int32),
            first_row=int(symbols[0]),
            sentence_rows=beginning,
        )
    ]
    rows = symbols  # the row of the n-gram that starts here; −1: there is none
    for n in range(2, order + 1):
        prefix, words = rows[:-1], symbols[n - 1 :]
        starts = np.flatnonzero((prefix >= 0) & (words != beginning))
        packed = prefix[starts].astype(np.int64) * (beginning + 1) + words[starts]
        keys, which, occurrences = _distinct(packed)
        suffix = np.empty(len(keys), np.int32)
        suffix[which] = rows[starts + 1]
        rows = np.full(max(len(rows) - 1, 0), -1, np.int32)
        rows[starts] = which
        orders.append(
            Counts(
                keys=keys,
                occurrences=occurrences,
                suffix=suffix,
                first_row=int(rows[0]) if len(rows) else -1,
                sentence_rows=int(np.searchsorted(keys, orders[-1].sentence_rows * (beginning + 1))),
            )
        )
    return orders


def with_sentence_starts(ids: np.ndarray, vocabulary_size: int, end_id: int | None) -> np.ndarray:
    """``ids`` as int32 with the symbol V put before the first and after every ``end_id`` but a last one."""
    if end_id is None:
        return np.asarray(ids, np.int32)
    ends = np.flatnonzero(ids[:-1] == end_id) + 1
    return np.insert(np.asarray(ids, np.int32), np.concatenate([[0], ends]), vocabulary_size)


def continuations(order: Counts, longer: Counts, beginning: bool) -> np.ndarray:
    """In how many ways each n-gram of ``order`` is continued to the left: its distinct left neighbours (M).

    ``longer`` are the counts one order up. N-grams that begin with ``<s>`` have no left neighbour and keep
    their occurrences. Without ``<s>`` (``beginning`` false) the beginning of the text is one more neighbour.
    """
    neighbours = np.bincount(longer.suffix, minlength=order.rows)
    neighbours[order.sentence_rows :] = order.occurrences[order.sentence_rows :]
    if not beginning and order.first_row >= 0:
        neighbours[order.first_row] += 1
    return neighbours


def _distinct(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct keys in ascending order, for each given key which one it is, and how often each came."""
    size = len(keys)
    if size == 0:
        return keys, np.zeros(0, np.int32), np.zeros(0, np.int64)
    bits = max(size - 1, 1).bit_length()
    if int(keys.max()) < 1 << (63 - bits):
        # Key and position fit into one number: sorting numbers is much faster than sorting positions by them.
        packed = np.sort((keys << bits) | np.arange(size))
        position = packed & ((1 << bits) - 1)
        ordered = packed >> bits
    else:
        position = np.argsort(keys, kind="stable")
        ordered = keys[position]
    new = np.empty(size, bool)
    new[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    which = np.empty(size, np.int32)
    which[position] = np.cumsum(new, dtype=np.int32) - 1
    firsts = np.flatnonzero(new)
    return ordered[firsts], which, np.diff(firsts, append=size)
