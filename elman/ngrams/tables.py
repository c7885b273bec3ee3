"""What a counted model looks up: per order, sorted keys with a log-probability and a back-off weight each."""

from typing import NamedTuple

import numpy as np


class Table(NamedTuple):
    """The n-grams of one order, in ascending order of their keys (see :mod:`elman.ngrams.counts`)."""

    keys: np.ndarray  # M, int64: row of the prefix · (V + 1) + last word
    log_probability: np.ndarray  # M, float64: natural log P(last word | prefix)
    log_backoff: np.ndarray  # M, float64: natural log of P(w|shorter)'s weight after this n-gram

    @property
    def rows(self) -> int:
        return len(self.keys)


def find(table: Table, prefix: np.ndarray, words: np.ndarray, width: int) -> np.ndarray:
    """The row of each n-gram given by its prefix's row and last word; −1 where the table lacks it.

    ``prefix`` and ``words`` have the same shape, which the answer has too; a negative one is never found.
    """
    rows = np.full(prefix.shape, -1, np.int64)
    possible = (prefix >= 0) & (words >= 0)
    keys = prefix[possible] * width + words[possible]
    if table.rows and len(keys):
        at = np.minimum(np.searchsorted(table.keys, keys), table.rows - 1)
        rows[possible] = np.where(table.keys[at] == keys, at, -1)
    return rows


def followers(table: Table, context: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """All rows whose prefix is one of the rows ``context`` (B; −1: none).

    Returns the rows, and for each of them which b it follows: both as long as all that was found together.
    """
    known = np.maximum(context, 0) * width
    first = np.searchsorted(table.keys, known)
    sizes = np.where(context >= 0, np.searchsorted(table.keys, known + width) - first, 0)
    owner = np.repeat(np.arange(len(context)), sizes)
    rows = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes - first, sizes)
    return rows, owner
