"""A corpus: named splits of one text as ids, with the vocabulary they are in."""

import difflib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from elman.corpora.catalogue import CORPORA
from elman.corpora.folders import user_cache
from elman.corpora.splits import SPLITS, by_shares, in_folder
from elman.errors import CorpusError, OptionError, TokenError
from elman.text import Source, TextOptions, Vocabulary, encode_once, tokeniser, vocabulary_once


class Corpus:
    """The splits of a text as arrays of ids. A split is tokenised when it is first asked for.

    ``train``, ``valid``, ``test``: 1-D ids, read-only and memory-mapped (uint16 or int32: convert the piece
    you use, ``ids[a:b].astype(np.int64)``); an absent split is an empty array. :meth:`split` raises instead.
    """

    def __init__(
        self,
        name: str,
        options: TextOptions,
        sources: Mapping[str, Source],
        vocabulary: Vocabulary | None = None,
        cache: Path | None = None,
    ) -> None:
        self.name = name
        self.options = options
        self.tokeniser = tokeniser(options)
        self.sources = dict(sources)
        self._cache = cache or user_cache() / "encoded"
        self._ids: dict[str, np.ndarray] = {}
        self.vocabulary = vocabulary or vocabulary_once(
            self.sources["train"], self.tokeniser, options, self._cache
        )

    @property
    def train(self) -> np.ndarray:
        return self._split("train")

    @property
    def valid(self) -> np.ndarray:
        return self._split("valid")

    @property
    def test(self) -> np.ndarray:
        return self._split("test")

    def split(self, name: str) -> np.ndarray:
        """The ids of a split. Raises :class:`CorpusError` if there is none, naming those there are."""
        if name not in self.sources:
            raise CorpusError(
                f'The split "{name}" of {self.name} was asked for.',
                f"It has {', '.join(self.sources)}.",
                "Ask for one of these, or give a folder that has a file for each split.",
            )
        return self._split(name)

    def _split(self, name: str) -> np.ndarray:
        if name not in self.sources:
            return np.empty(0, np.uint16)
        if name not in self._ids:
            try:
                ids = encode_once(self.sources[name], self.tokeniser, self.vocabulary, self._cache)
            except TokenError as error:
                asked = f"The {name} part of {self.name} was to be encoded. {error.asked}"
                raise TokenError(asked, error.came, error.do) from None
            if not len(ids):
                raise CorpusError(
                    f"The {name} part of {self.name} was asked for.",
                    f"It has no {self.options.unit}: the text is too short to be cut in "
                    f"{', '.join(self.sources)}, or its lines are blank.",
                    "Give a longer text, a folder with a file for each split, or other text.shares.",
                )
            self._ids[name] = ids
        return self._ids[name]


def open_corpus(
    name_or_path: str,
    options: TextOptions,
    data_dir: Path | None = None,
    vocabulary: Vocabulary | None = None,
) -> Corpus:
    """Opens a corpus by its name in ``CORPORA``, or a user's text by its path.

    A path is a file (cut by ``options.shares``; all of it is ``train`` where they are 1, 0, 0) or a folder
    with files for train, valid and test, each plain, ``.gz`` or ``.xz``. Without a ``vocabulary`` it is made
    of the training text, and every split is encoded now, so that a character that only the test text has is
    met before the training; with one, each split is encoded when it is asked for.

    Raises :class:`CorpusError` where there is no such corpus or it is not the published one,
    :class:`~elman.errors.TextError` where a file cannot be read, :class:`~elman.errors.TokenError` at a
    token without an id, and :class:`~elman.errors.OptionError` for options that cannot be used.
    """
    problems = options.problems()
    if problems:
        raise OptionError(
            f"{name_or_path} was to be read as text.", " ".join(problems), "Change these options."
        )
    path = Path(name_or_path).expanduser()
    if name_or_path in CORPORA:
        sources = CORPORA[name_or_path].sources(options, data_dir)
    elif path.is_dir():
        sources = in_folder(path)
    elif path.is_file():
        sources = by_shares(path, options.shares)
    elif path.exists():
        raise CorpusError(
            f"{name_or_path} was to be read as text.",
            "It is neither a file nor a folder (a pipe, perhaps), and a text is read more than once.",
            "Save it as a file first.",
        )
    else:
        near = difflib.get_close_matches(name_or_path, CORPORA, n=1)
        raise CorpusError(
            f"The corpus {name_or_path} was asked for.",
            f"There is no file or folder of that path, and no corpus of that name"
            f"{f'; nearest: {near[0]}' if near else ''}.",
            f"Give the path of a text, or one of: {', '.join(CORPORA)}.",
        )
    corpus = Corpus(name_or_path, options, sources, vocabulary)
    if vocabulary is None:
        for split in SPLITS:
            corpus._split(split)
    return corpus
