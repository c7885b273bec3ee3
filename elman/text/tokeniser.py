"""What words and characters have in common, and the choice between them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np

from elman.text.characters import Characters
from elman.text.config import TextOptions
from elman.text.sources import Source
from elman.text.vocabulary import Vocabulary
from elman.text.words import Words


class Tokeniser(Protocol):
    """Text ↔ tokens ↔ ids. ``repr`` says all that matters to the ids."""

    def tokens(self, line: str) -> list[str]: ...

    def encode(self, text: str, vocabulary: Vocabulary) -> np.ndarray: ...

    def decode(self, ids: Iterable[int] | np.ndarray, vocabulary: Vocabulary) -> str: ...

    def piece(self, token: str, previous: str | None) -> str: ...

    def count(self, source: Source) -> Counter[str]: ...

    def encode_source(self, source: Source, vocabulary: Vocabulary) -> Iterator[np.ndarray]: ...


def tokeniser(options: TextOptions) -> Words | Characters:
    """The tokeniser that the options ask for.

    >>> tokeniser(TextOptions(unit="characters"))
    Characters(lowercase=False)
    """
    if options.unit == "words":
        return Words(options.split, options.lowercase)
    return Characters(options.lowercase)
