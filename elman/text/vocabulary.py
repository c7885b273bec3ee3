"""Tokens ↔ ids."""

import difflib
import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from elman.errors import TextError, TokenError
from elman.text.config import TextOptions
from elman.text.files import read_pieces, write_atomically

UNKNOWN = "<unk>"
END = "<eos>"
UNKNOWN_CHARACTER = "\ufffd"
"""Unicode's own "replacement character", for a character that cannot be represented."""

FORMAT = "elman vocabulary 1"


class Vocabulary:
    """The tokens that have ids, most frequent first: ``tokens[id]`` and ``id(token)``. Immutable.

    ``unknown``: the token that stands for all others (words ``<unk>``, characters U+FFFD), or None.
    ``end``: the token at the end of a sentence (words ``<eos>``), or None.

    >>> v = Vocabulary(["the", "<eos>", "<unk>", "cat"], unknown="<unk>", end="<eos>")
    >>> len(v), v.id("cat"), v.id("dog"), v.ids(["the", "cat", "<eos>"]).tolist()
    (4, 3, 2, [0, 3, 1])
    """

    def __init__(self, tokens: Sequence[str], unknown: str | None = None, end: str | None = None) -> None:
        self.tokens = tuple(tokens)
        self.unknown = unknown
        self.end = end
        self._index = _Index((token, number) for number, token in enumerate(self.tokens))
        if not self.tokens or len(self._index) != len(self.tokens):
            raise TokenError(
                f"A vocabulary of {len(self.tokens):,} tokens was to be made.",
                "A token stands in it twice." if self.tokens else "It has no token.",
                "Give each token once, and at least one.",
            )
        for role, token in (("unknown", unknown), ("end", end)):
            if token is not None and token not in self._index:
                raise TokenError(
                    f"A vocabulary of {len(self.tokens):,} tokens was to be made with {role}={token!r}.",
                    f"{token!r} is not among its tokens.",
                    f"Add it to the tokens, or leave {role} out.",
                )
        if unknown is not None:
            self._index.unknown_id = self._index[unknown]

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._index

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return (self.tokens, self.unknown, self.end) == (other.tokens, other.unknown, other.end)

    def __hash__(self) -> int:
        return hash((self.tokens, self.unknown, self.end))

    def __repr__(self) -> str:
        return f"<Vocabulary of {len(self):,} tokens: {', '.join(map(repr, self.tokens[:5]))} …>"

    @property
    def unknown_id(self) -> int | None:
        return None if self.unknown is None else self._index[self.unknown]

    @property
    def end_id(self) -> int | None:
        return None if self.end is None else self._index[self.end]

    @property
    def start_id(self) -> int:
        """What a stream is taken to have read before its first token: the end of a sentence (words), the end
        of a line (characters), else id 0."""
        return self._index[self.end] if self.end is not None else self._index.get("\n", 0)

    def id(self, token: str) -> int:
        """The id of a token; that of ``unknown`` where it has none.

        Raises :class:`TokenError`, naming the nearest token, where there is no ``unknown`` either.
        """
        try:
            return self._index[token]
        except KeyError:
            raise self._no_id(token) from None

    def ids(self, tokens: Iterable[str]) -> np.ndarray:
        """The ids of many tokens, int64. Raises as :meth:`id`."""
        try:
            return np.fromiter(map(self._index.__getitem__, tokens), np.int64)
        except KeyError as error:
            raise self._no_id(error.args[0]) from None

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of all that makes this vocabulary, hexadecimal: equal for equal ones."""
        return hashlib.sha256(self._written().encode("utf-8", "surrogatepass")).hexdigest()

    @classmethod
    def build(cls, counts: Mapping[str, int], options: TextOptions) -> "Vocabulary":
        """The vocabulary of a text with these counts: most frequent first, equals by code point.

        Words always have ``<eos>`` and ``<unk>``. Characters have an unknown one (U+FFFD) only where
        ``vocabulary_size`` or ``min_count`` above 1 leave something out. What is left out counts as unknown.

        >>> Vocabulary.build({"b": 2, "a": 2, "c": 1, "<eos>": 2}, TextOptions(min_count=2)).tokens
        ('<eos>', 'a', 'b', '<unk>')
        """
        words = options.unit == "words"
        cut = options.vocabulary_size is not None or options.min_count > 1
        end = END if words else None
        unknown = (UNKNOWN if words else UNKNOWN_CHARACTER) if words or cut else None
        special = {token for token in (end, unknown) if token is not None}
        kept = [
            token for token, count in counts.items() if count >= options.min_count and token not in special
        ]
        kept.sort(key=lambda token: (-counts[token], token))
        if options.vocabulary_size is not None:
            del kept[max(options.vocabulary_size - len(special), 0) :]
        weight = {token: counts[token] for token in kept} | {token: counts.get(token, 0) for token in special}
        if unknown is not None:
            weight[unknown] = sum(counts.values()) - sum(weight.values()) + weight[unknown]
        return cls(sorted(weight, key=lambda token: (-weight[token], token)), unknown, end)

    def save(self, path: Path) -> None:
        """Writes ``vocabulary.json``: readable, one token a line, all or nothing."""
        write_atomically(path, self._written())

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """The inverse of :meth:`save`. Raises :class:`TextError` where the file is not one of those."""
        text = "".join(read_pieces(path))
        try:
            table = json.loads(text)
            tokens, unknown, end = table["tokens"], table["unknown"], table["end"]
            fits = table["format"] == FORMAT and all(isinstance(token, str) for token in tokens)
            fits = fits and all(role is None or isinstance(role, str) for role in (unknown, end))
        except (ValueError, KeyError, TypeError):
            fits = False
        if not fits:
            raise TextError(
                f"{path} was to be read as a vocabulary.",
                f'It is not a whole JSON file with "format": "{FORMAT}", "unknown", "end" and "tokens".',
                "Take it from the run folder it belongs to, or train again.",
            )
        return cls(tokens, unknown, end)

    def _written(self) -> str:
        head = {"format": FORMAT, "unknown": self.unknown, "end": self.end}
        body = ",\n".join(json.dumps(token, ensure_ascii=not token.isprintable()) for token in self.tokens)
        return json.dumps(head, ensure_ascii=False)[:-1] + ', "tokens": [\n' + body + "\n]}\n"

    def _no_id(self, token: str) -> TokenError:
        kind = "character" if all(len(each) == 1 for each in self.tokens[:100]) else "token"
        near = self._nearest(token)
        return TokenError(
            f"The {kind} {token!r} was to be given an id.",
            f"The vocabulary has {len(self):,} {kind}s, not this one, and none for unknown ones"
            + (f"; the nearest is {near!r}." if near else "."),
            f"Use the training text's {kind}s, or train with text.min_count = 2: rare ones become unknown.",
        )

    def _nearest(self, token: str) -> str | None:
        if token == " " and "_" in self:  # the Penn Treebank's character files write a space so
            return "_"
        for other in (token.lower(), token.upper(), unicodedata.normalize("NFKD", token)[:1]):
            if other and other in self:
                return other
        matches = difflib.get_close_matches(token, self.tokens[:20_000], n=1)
        return matches[0] if matches else None


class _Index(dict[str, int]):
    """Token → id, with one id for all other tokens where ``unknown_id`` is set."""

    unknown_id: int | None = None

    def __missing__(self, token: str) -> int:
        if self.unknown_id is None:
            raise KeyError(token)
        return self.unknown_id
