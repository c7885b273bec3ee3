"""Words as tokens; the end of a line is the token ``<eos>``."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from elman.text.sources import Source
from elman.text.vocabulary import END, Vocabulary

# <unk> and the like stay whole; then numbers, words with inner apostrophes or hyphens, runs of one mark.
_TOKEN = re.compile(r"<\w+>|\d+(?:[.,]\d+)*(?!\w)|\w+(?:['’-]\w+)*|([^\w\s])\1*")
_CLOSING = frozenset(",.;:!?)]}%…")
_OPENING = frozenset("([{")
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Words:
    """Tokens are words, one sentence per line.

    ``split="whitespace"``: exactly what white space separates. ``"punctuation"``: marks stand alone as well,
    but not inside words (``don't``, ``well-known``) and numbers (``3.14``), and a repeated mark (``...``) is
    one token. A blank line is no sentence: it has no tokens. ``<unk>`` and ``<eos>`` in the text are those
    very tokens.

    >>> Words(split="punctuation").tokens("Well, don't (all 3.14 of you)...")
    ['Well', ',', "don't", '(', 'all', '3.14', 'of', 'you', ')', '...', '<eos>']
    >>> v = Vocabulary(["the", "<eos>", "<unk>", "cat"], unknown="<unk>", end="<eos>")
    >>> Words().encode("the cat\\nthe dog", v).tolist()  # the last line is not ended: a prompt goes on
    [0, 3, 1, 0, 2]
    >>> Words().decode([0, 3, 1, 0, 2], v)
    'the cat\\nthe <unk>'
    """

    split: str = "whitespace"
    lowercase: bool = False

    def tokens(self, line: str) -> list[str]:
        """The tokens of one line, ``<eos>`` included; none for a blank line."""
        words = self._words(line)
        if words:
            words.append(END)
        return words

    def encode(self, text: str, vocabulary: Vocabulary) -> np.ndarray:
        """The ids of a text, int64; ``<eos>`` is the ``\\n`` that ends a sentence. Inverse of :meth:`decode`.

        Raises :class:`~elman.errors.TokenError` where the vocabulary has no ``<unk>`` to fall back on.
        """
        *ended, last = text.split("\n")
        tokens = [token for line in ended for token in self.tokens(line)]
        return vocabulary.ids(tokens + self._words(last))

    def decode(self, ids: Iterable[int] | np.ndarray, vocabulary: Vocabulary) -> str:
        """The text of ids: words with single spaces between, ``\\n`` for ``<eos>``."""
        previous, pieces = None, []
        for number in ids:
            token = vocabulary.tokens[number]
            pieces.append(self.piece(token, previous))
            previous = token
        return "".join(pieces)

    def piece(self, token: str, previous: str | None) -> str:
        """What to print when ``token`` comes after ``previous`` (None: at the very beginning)."""
        if token == END:
            return "\n"
        if previous is None or previous == END:
            return token
        attached = token[0] in _CLOSING or previous[-1] in _OPENING
        if self.split == "punctuation" and attached and token[0] != previous[-1]:
            return token
        return " " + token

    def blocks(self, source: Source) -> Iterator[list[str]]:
        """All tokens of a text, some ten thousand at a time."""
        block: list[str] = []
        for line in source.lines():
            words = self._words(line)
            if words:
                block += words
                block.append(END)
                if len(block) >= _BLOCK:
                    yield block
                    block = []
        if block:
            yield block

    def count(self, source: Source) -> Counter[str]:
        """How often each token occurs in a text."""
        counts: Counter[str] = Counter()
        for block in self.blocks(source):
            counts.update(block)
        return counts

    def encode_source(self, source: Source, vocabulary: Vocabulary) -> Iterator[np.ndarray]:
        """The ids of a text (int64, 1-D), block after block."""
        return (vocabulary.ids(block) for block in self.blocks(source))

    def _words(self, line: str) -> list[str]:
        if self.lowercase:
            line = line.lower()
        if self.split == "whitespace":
            return line.split()
        return [match.group() for match in _TOKEN.finditer(line)]
