"""Counted models once more, as slowly and plainly as can be: dictionaries, one probability at a time.

Written from the equations of the papers, sharing nothing with the package: the oracle of its tests.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from fractions import Fraction

START = "<s>"


class Oracle:
    """P(word | history) by interpolated smoothing, in exact fractions, with cut-offs."""

    def __init__(
        self, ids: Sequence[int], size: int, end: int | None, order: int, smoothing: str, cutoffs=None
    ):
        self.size, self.order, self.end = size, order, end
        self.cutoffs = cutoffs or (1,) * order
        sentences: list[list] = [[]] if end is None else [[START]]
        for token in ids:
            sentences[-1].append(token)
            if token == end:
                sentences.append([START])
        raw: list[Counter] = [Counter() for _ in range(order + 1)]
        left: defaultdict = defaultdict(set)
        for sentence in sentences:
            for first in range(len(sentence)):
                for n in range(1, order + 1):
                    gram = tuple(sentence[first : first + n])
                    if len(gram) == n and gram != (START,):
                        raw[n][gram] += 1
                        left[gram].add(sentence[first - 1] if first else "nothing")
        self.counts = [
            {
                gram: len(left[gram])
                if smoothing == "modified-kneser-ney" and n < order and gram[0] != START
                else count
                for gram, count in raw[n].items()
            }
            for n in range(order + 1)
        ]
        self.discounts = [self._discounts(n, smoothing) for n in range(order + 1)]
        self._shares: dict = {}
        self.after: defaultdict = defaultdict(dict)  # context → word → count
        for counts in self.counts:
            for gram, count in counts.items():
                self.after[gram[:-1]][gram[-1]] = count

    def _discounts(self, n: int, smoothing: str) -> dict[int, Fraction] | None:
        if n == 0 or smoothing == "witten-bell":
            return None
        times = Counter(self.counts[n].values())
        n1, n2, n3, n4 = (Fraction(times[j]) for j in (1, 2, 3, 4))
        y = n1 / (n1 + 2 * n2)
        if smoothing == "absolute-discounting":
            return {1: y, 2: y, 3: y}
        return {1: 1 - 2 * y * n2 / n1, 2: 2 - 3 * y * n3 / n2, 3: 3 - 4 * y * n4 / n3}

    def p(self, word: int, history: Sequence) -> Fraction:
        """``history``: what was read, the ends of sentences included."""
        seen: list = [] if self.end is None else [START]
        for token in history:
            seen = [START] if token == self.end else [*seen, token]
        return self._p(word, tuple(seen[max(len(seen) - self.order + 1, 0) :]))

    def _p(self, word: int, context: tuple) -> Fraction:
        lower = self._p(word, context[1:]) if context else Fraction(1, self.size)
        followers = self.after.get(context)
        if not followers:
            return lower
        if context not in self._shares:
            self._shares[context] = self._share_out(len(context) + 1, followers)
        own, left_over = self._shares[context]
        return own.get(word, 0) + left_over * lower

    def _share_out(self, n: int, followers: dict) -> tuple[dict, Fraction]:
        discounts, total, own = self.discounts[n], sum(followers.values()), {}
        for follower, count in followers.items():
            if count < self.cutoffs[n - 1]:
                continue
            if discounts is None:
                own[follower] = Fraction(count, total + len(followers))
            else:
                own[follower] = (count - discounts[min(count, 3)]) / total
        return own, 1 - sum(own.values())
