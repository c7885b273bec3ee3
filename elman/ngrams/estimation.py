"""From counts to probabilities: interpolated smoothing, order by order, then the cut-offs."""

import numpy as np

from elman.ngrams.config import CountedOptions
from elman.ngrams.counts import Counts, continuations, count
from elman.ngrams.discounts import Say, estimate_discounts, share_out
from elman.ngrams.tables import Table


def estimate_tables(
    ids: np.ndarray, vocabulary_size: int, end_id: int | None, options: CountedOptions, say: Say
) -> list[Table]:
    """The tables of all orders, estimated from the stream ``ids``.

    For a context h of n−1 symbols, h′ the same without its first, and ``own`` and ``left over`` of
    :func:`~elman.ngrams.discounts.share_out` on the adjusted counts:

        P(w|h) = own(hw) + left over(h) · P(w|h′)         P(w|no context) = own(w) + left over / V

    Adjusted counts: modified Kneser–Ney takes the occurrences at the highest order and for n-grams that begin
    with ``<s>``, distinct left neighbours elsewhere [kneser1995]; the other smoothings take occurrences.

    N-grams whose adjusted count is under their order's cut-off are dropped after the discounts were
    estimated, and their own share is added to what their context has left over. (SRILM's program leaves the
    kept P(w|h) as they were and scales the back-off instead: on the Penn Treebank's 5-grams a perplexity of
    141.463 in place of 141.471.)
    """
    width = vocabulary_size + 1
    cutoffs = options.cutoffs or (1,) * options.order
    orders = count(ids, vocabulary_size, end_id, options.order)
    probabilities: list[np.ndarray] = []
    backoffs: list[np.ndarray] = []
    kept: list[np.ndarray] = []
    for n, (order, cutoff) in enumerate(zip(orders, cutoffs, strict=True), start=1):
        counts = _adjusted(orders, n, options.smoothing, end_id is not None)
        if n == 1:
            counts = counts[:vocabulary_size]  # <s> is never predicted
            context, contexts = np.zeros(vocabulary_size, np.int64), 1
            lower = np.full(vocabulary_size, 1 / vocabulary_size)
        else:
            context, contexts = order.keys // width, orders[n - 2].rows
            lower = probabilities[-1][order.suffix]
        discounts = estimate_discounts(n, counts, options.smoothing, say)
        own, left_over = share_out(counts, context, contexts, discounts)
        keep = counts >= cutoff
        if not keep.all():
            left_over += np.bincount(context[~keep], weights=own[~keep], minlength=contexts)
            own[~keep] = 0
        p = own + left_over[context] * lower
        if n == 1:
            keep = np.ones(width, bool)  # every word has a probability of its own
            p = np.append(p, 0.0)
        else:
            backoffs.append(left_over)
        probabilities.append(p)
        kept.append(keep)
    backoffs.append(np.ones(orders[-1].rows))
    keys = [order.keys for order in orders]
    del orders  # a third of all memory, before the tables need theirs
    return _tables(keys, probabilities, backoffs, kept, width)


def _adjusted(orders: list[Counts], n: int, smoothing: str, beginning: bool) -> np.ndarray:
    order = orders[n - 1]
    if smoothing != "modified-kneser-ney" or n == len(orders):
        return order.occurrences
    return continuations(order, orders[n], beginning)


def _tables(
    keys: list[np.ndarray],
    probabilities: list[np.ndarray],
    backoffs: list[np.ndarray],
    kept: list[np.ndarray],
    width: int,
) -> list[Table]:
    """Drops what is not kept, except prefixes of what is: they stay, with their backed-off probability.

    Writes into the arrays it is given.
    """
    for n in range(len(keys) - 1, 1, -1):
        kept[n - 1][keys[n][kept[n]] // width] = True
    tables: list[Table] = []
    new_rows: np.ndarray | None = None  # of the order before, where some of its rows were dropped
    with np.errstate(divide="ignore"):  # log 0 = −inf is meant: <s> has no probability
        for rows, p, backoff, keep in zip(keys, probabilities, backoffs, kept, strict=True):
            whole = bool(keep.all())
            if not whole:
                rows, p, backoff = rows[keep], p[keep], backoff[keep]
            if new_rows is not None:
                rows = new_rows[rows // width] * width + rows % width
            new_rows = None if whole else np.cumsum(keep) - 1
            tables.append(Table(rows, np.log(p, out=p), np.log(backoff, out=backoff)))
    return tables
