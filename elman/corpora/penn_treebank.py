"""The Penn Treebank's characters: the published files, or the same derived from the word files.

The published character files are the word files with the outer spaces of each line dropped, every inner space
written ``_``, and every symbol, the line's end among them, followed by a space [mikolov2012]. As input to a
model the symbols are single characters; those separating spaces are dropped.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from elman.corpora.published import Check, Published, PublishedFile, wrong_hash
from elman.errors import CorpusError
from elman.text import Source, TextOptions, read_lines, read_pieces
from elman.text.sources import file_identity


@dataclass(frozen=True)
class PennSymbols:
    """The symbols of one split, from a file of words or of spaced characters."""

    path: Path
    from_words: bool

    @property
    def identity(self) -> str:
        return f"{file_identity(self.path)} {self.from_words}"

    def pieces(self) -> Iterator[str]:
        if self.from_words:
            yield from (line + "\n" for line in self.lines())
        else:
            yield from (piece.replace(" ", "") for piece in read_pieces(self.path))

    def lines(self) -> Iterator[str]:
        if self.from_words:
            yield from (line.strip().replace(" ", "_") for line in read_lines(self.path))
        else:
            yield from (line.replace(" ", "") for line in read_lines(self.path) if line != " ")

    def published_sha256(self) -> str:
        """The hash of the published file that these symbols make."""
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update("".join(f"{symbol} " for symbol in piece).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class PennCharacters(Published):
    """``ptb-chars``: the published files where they are present, else derived from those of ``words``."""

    words: Published

    def sources(self, options: TextOptions, data_dir: Path | None = None) -> dict[str, Source]:
        if options.unit != "characters":
            raise CorpusError(
                f'{self.name} was asked for with text.unit = "{options.unit}".',
                "Its symbols are characters.",
                f"Ask for {self.words.name}, the same text in words.",
            )
        return {split: self._source(split, data_dir) for split in self.files}

    def where(self, data_dir: Path | None = None) -> Path | None:
        """The folder of its files or of the words', or None."""
        return super().where(data_dir) or self.words.where(data_dir)

    def verify(self, data_dir: Path | None = None) -> list[Check]:
        """One check per file, of the characters derived from the words where the file itself is absent."""
        return [self._check(split, data_dir)[1] for split in self.files]

    def _source(self, split: str, data_dir: Path | None) -> Source:
        source, check = self._check(split, data_dir)
        if source is None:
            self.words.locate(self.words.files[split], data_dir)  # raises: absent, or not the published words
        if source is None or not check.good:
            raise wrong_hash(self.name, check)
        return source

    def _check(self, split: str, data_dir: Path | None) -> tuple[PennSymbols | None, Check]:
        file: PublishedFile = self.files[split]
        check = self.check(file, data_dir)
        if check.path is not None:
            return PennSymbols(check.path, from_words=False), check
        words = self.words.check(self.words.files[split], data_dir)
        if words.path is None or not words.good:
            return None, check
        source = PennSymbols(words.path, from_words=True)
        return source, Check(file.name, words.path, file.sha256, source.published_sha256())
