"""Characters as tokens: every code point of the text, the end of a line among them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from elman.text.sources import Source
from elman.text.vocabulary import Vocabulary

_CODE_POINTS = 0x110000


@dataclass(frozen=True)
class Characters:
    """Tokens are characters (Unicode code points), as they stand in the text.

    >>> v = Vocabulary(["a", "b", "\\n"])
    >>> Characters().encode("ab\\na", v).tolist(), Characters().decode([0, 1, 2, 0], v)
    ([0, 1, 2, 0], 'ab\\na')
    """

    lowercase: bool = False

    def tokens(self, line: str) -> list[str]:
        """The characters of a text. Nothing is added: a line ends in ``\\n`` if it came with one."""
        return list(line.lower() if self.lowercase else line)

    def encode(self, text: str, vocabulary: Vocabulary) -> np.ndarray:
        """The ids of a text, int64.

        Raises :class:`~elman.errors.TokenError` at a character the vocabulary does not hold, unless it has an
        unknown one.
        """
        return vocabulary.ids(self.tokens(text))

    def decode(self, ids: Iterable[int] | np.ndarray, vocabulary: Vocabulary) -> str:
        """The text of ids."""
        return "".join([vocabulary.tokens[number] for number in ids])

    def piece(self, token: str, previous: str | None) -> str:
        """What to print when ``token`` comes after ``previous``: the character itself."""
        del previous  # words need it
        return token

    def count(self, source: Source) -> Counter[str]:
        """How often each character occurs in a text."""
        counts = np.zeros(_CODE_POINTS, np.int64)
        for piece in source.pieces():
            found = np.bincount(self._codes(piece))
            counts[: len(found)] += found
        return Counter({chr(code): int(counts[code]) for code in np.flatnonzero(counts)})

    def encode_source(self, source: Source, vocabulary: Vocabulary) -> Iterator[np.ndarray]:
        """The ids of a text (int64, 1-D), piece after piece."""
        other = -1 if vocabulary.unknown_id is None else vocabulary.unknown_id
        table = np.full(_CODE_POINTS, other, np.int64)
        for number, token in enumerate(vocabulary.tokens):
            if len(token) == 1:
                table[ord(token)] = number
        for piece in source.pieces():
            codes = self._codes(piece)
            ids = table[codes]
            if ids.size and ids.min() < 0:
                vocabulary.id(chr(codes[ids < 0][0]))  # raises, naming the character
            yield ids

    def _codes(self, piece: str) -> np.ndarray:
        text = piece.lower() if self.lowercase else piece
        return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
