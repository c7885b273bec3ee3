"""The ``[text]`` table of a recipe: how a text becomes tokens, and which tokens have ids."""

import math
from dataclasses import dataclass

UNITS = ("words", "characters")
SPLITS = ("whitespace", "punctuation")


@dataclass(frozen=True)
class TextOptions:
    """What counts as a token, which tokens are kept, and how a single file is cut.

    ``unit``: ``"words"`` or ``"characters"``. ``split`` (words): at ``"whitespace"``, or so that
    ``"punctuation"`` marks stand alone too. ``vocabulary_size`` keeps that many of the most frequent tokens
    (``<unk>`` and ``<eos>`` counted), ``min_count`` those seen that often in the training text. ``shares``:
    the parts of a file without splits that train, validate and test, by position; they add up to 1.

    >>> TextOptions(unit="letters").problems()
    ['text.unit must be "words" or "characters"; it is "letters".']
    """

    unit: str = "words"
    split: str = "whitespace"
    lowercase: bool = False
    vocabulary_size: int | None = None
    min_count: int = 1
    shares: tuple[float, float, float] = (0.90, 0.05, 0.05)

    def problems(self) -> list[str]:
        """What cannot be used, one sentence each, naming its key; empty when all is well."""
        found = []
        if self.unit not in UNITS:
            found.append(f'text.unit must be "words" or "characters"; it is "{self.unit}".')
        if self.split not in SPLITS:
            found.append(f'text.split must be "whitespace" or "punctuation"; it is "{self.split}".')
        elif self.unit == "characters" and self.split != "whitespace":
            found.append(f'text.split = "{self.split}" is for words; text.unit is "characters".')
        smallest = 3 if self.unit == "words" else 2
        if self.vocabulary_size is not None and self.vocabulary_size < smallest:
            found.append(
                f"text.vocabulary_size must be at least {smallest} for {self.unit}; "
                f"it is {self.vocabulary_size}."
            )
        if self.min_count < 1:
            found.append(f"text.min_count must be at least 1; it is {self.min_count}.")
        shares = self.shares
        if len(shares) != 3 or not all(0 <= share <= 1 for share in shares) or not shares[0] > 0:
            found.append(
                "text.shares must be three numbers from 0 to 1, the first above 0 (train, valid, test); "
                f"it is {list(shares)}."
            )
        elif not math.isclose(sum(shares), 1, abs_tol=1e-9):
            found.append(f"text.shares must add up to 1; {list(shares)} adds up to {sum(shares):g}.")
        return found
