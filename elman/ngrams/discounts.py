"""How much of each count is set aside for what was not seen, for one order of n-grams."""

from collections.abc import Callable

import numpy as np

Say = Callable[[str], None]


def estimate_discounts(order: int, counts: np.ndarray, smoothing: str, say: Say) -> np.ndarray | None:
    """What to take from counts of 0, 1, 2, and 3 or more (4 numbers); ``None``: use Witten–Bell's rule.

    With n_j the number of n-grams counted j times and Y = n₁ / (n₁ + 2 n₂):

        modified Kneser–Ney [chen1998]       D₁ = 1 − 2 Y n₂/n₁,  D₂ = 2 − 3 Y n₃/n₂,  D₃₊ = 3 − 4 Y n₄/n₃
        absolute discounting [ney1994]       D₁ = D₂ = D₃₊ = Y

    Where a needed n_j is 0 or a D_j is not above 0 and at most j, modified Kneser–Ney gives way to absolute
    discounting, and absolute discounting to Witten–Bell, for this order alone; ``say`` is told.
    """
    if smoothing == "witten-bell":
        return None
    of_count = np.bincount(np.minimum(counts, 5), minlength=5)[:5].astype(float)
    n1, n2, n3, n4 = of_count[1:]
    trouble = []
    if smoothing == "modified-kneser-ney":
        missing = [j for j in (1, 2, 3, 4) if of_count[j] == 0]
        if missing:
            problem = f"no {order}-gram has the count {missing[0]}"
        else:
            y = n1 / (n1 + 2 * n2)
            discounts = np.array([0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
            wrong = [j for j in (1, 2, 3) if not 0 < discounts[j] <= j]
            if not wrong:
                return discounts
            problem = f"the discount of count {wrong[0]} would be {discounts[wrong[0]]:.3f}"
        trouble.append(f"modified Kneser–Ney cannot be estimated ({problem})")
    fallback: np.ndarray | None
    if n1 > 0 and n2 > 0:
        y = n1 / (n1 + 2 * n2)
        fallback, instead = np.array([0.0, y, y, y]), f"absolute discounting by {y:.3f}"
    else:
        problem = f"no {order}-gram has the count {1 if n1 == 0 else 2}"
        if smoothing == "absolute-discounting":
            trouble.append(f"absolute discounting cannot be estimated ({problem})")
        fallback, instead = None, "Witten–Bell"
    if trouble:
        say(f"Order {order}: {trouble[0]}; {instead} is used for this order.")
    return fallback


def share_out(
    counts: np.ndarray, context: np.ndarray, contexts: int, discounts: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Shares each context's probability between what followed it in the text and everything else.

    ``counts`` (M) of n-grams, ``context`` (M): the row 0 … ``contexts`` − 1 of each one's prefix. Returns
    each n-gram's own share (M) and what every context has left over (``contexts``), 1 where nothing followed:

        discounts          own = (c − D(c)) / Σc          left over = ΣD(c) / Σc
        Witten–Bell        own = c / (Σc + T)             left over = T / (Σc + T),   T: distinct words seen

    The sums are over the n-grams of the context [chen1998] [witten1991].
    """
    total = np.bincount(context, weights=counts, minlength=contexts)
    if discounts is None:
        taken = np.bincount(context, weights=counts > 0, minlength=contexts)
        total += taken
        kept = counts
    else:
        taken_from = discounts[np.minimum(counts, 3)]
        taken = np.bincount(context, weights=taken_from, minlength=contexts)
        kept = counts - taken_from
    left_over = np.divide(taken, total, out=np.ones(contexts), where=total > 0)
    own = np.divide(kept, total[context], out=np.zeros(len(counts)), where=total[context] > 0)
    return own, left_over
