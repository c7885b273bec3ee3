"""The options of a counted model: a recipe's ``[model]`` table when ``kind = "counted"``."""

from dataclasses import dataclass

SMOOTHINGS = ("modified-kneser-ney", "witten-bell", "absolute-discounting")
LONGEST = 20


@dataclass(frozen=True)
class CountedOptions:
    """What :meth:`CountedModel.estimate` counts, and how it smooths.

    ``order``: tokens of the longest n-gram, 1 … 20. ``smoothing``: one of :data:`SMOOTHINGS`.
    ``cutoffs``: for each order from 1, the smallest count that is kept, such as ``(1, 1, 1, 1, 2)`` to cut
    5-grams seen once; ``None`` keeps all. With modified Kneser–Ney the counts of the lower orders are the
    continuation counts, as in SRILM's ``-gtNmin`` [stolcke2002].
    """

    order: int = 5
    smoothing: str = "modified-kneser-ney"
    cutoffs: tuple[int, ...] | None = None

    def problems(self) -> list[str]:
        """What is wrong with these options, a sentence each, naming its key; empty when nothing is."""
        found = []
        if not 1 <= self.order <= LONGEST:
            found.append(f"model.order must be a whole number from 1 to {LONGEST}; it is {self.order}.")
        if self.smoothing not in SMOOTHINGS:
            found.append(f'model.smoothing must be one of {", ".join(SMOOTHINGS)}; it is "{self.smoothing}".')
        if self.cutoffs is not None:
            if len(self.cutoffs) != self.order:
                found.append(
                    f"model.cutoffs must have one number for each of the {self.order} orders; "
                    f"it has {len(self.cutoffs)}."
                )
            if any(cutoff < 1 for cutoff in self.cutoffs):
                found.append(f"model.cutoffs must be whole numbers from 1; they are {list(self.cutoffs)}.")
        return found
