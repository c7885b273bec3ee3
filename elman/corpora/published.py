"""Corpora with a published content: found in the data folders, verified by SHA-256."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from elman.corpora.folders import candidates, data_folders
from elman.corpora.splits import by_shares
from elman.errors import CorpusError
from elman.text import Source, TextFile, TextOptions
from elman.text.files import read_blocks


class PublishedFile(NamedTuple):
    """A file as it was published: the size and the SHA-256 of its unpacked content."""

    name: str
    size: int
    sha256: str
    url: str | None = None


class Check(NamedTuple):
    """What verifying one file gave. ``path`` and ``found`` are None where it is absent."""

    file: str
    path: Path | None
    expected: str
    found: str | None

    @property
    def good(self) -> bool:
        return self.found == self.expected


@dataclass(frozen=True)
class Published:
    """A corpus everyone has the same copy of.

    ``files`` has the keys train, valid and test, or only ``all``: that file is cut by ``options.shares``.
    ``folder``: its folder in a data folder. ``options``: how the corpus is usually read.
    """

    name: str
    description: str
    licence: str
    options: TextOptions
    folder: str
    files: Mapping[str, PublishedFile]

    def where(self, data_dir: Path | None = None) -> Path | None:
        """The folder its files are in (not verified), or None."""
        first = next(iter(self.files.values()))
        return next((path.parent for path in candidates(self.folder, first.name, data_dir)), None)

    def locate(self, file: PublishedFile, data_dir: Path | None = None) -> Path:
        """Where a file is. Raises :class:`CorpusError` if it is absent or not the published one."""
        check = self.check(file, data_dir)
        if check.path is None:
            raise CorpusError(
                f"The corpus {self.name} was asked for.",
                f"{file.name} (or .gz, .xz) is in none of: {', '.join(map(str, data_folders(data_dir)))}; "
                f"nor in {self.folder}/ there.",
                how_to_get(self),
            )
        if not check.good:
            raise wrong_hash(self.name, check)
        return check.path

    def check(self, file: PublishedFile, data_dir: Path | None = None) -> Check:
        """Hashes a file where it is found: the first good one, else the first, else nothing."""
        checks = []
        for path in candidates(self.folder, file.name, data_dir):
            checks.append(Check(file.name, path, file.sha256, sha256_of(path)))
            if checks[-1].good:
                return checks[-1]
        return checks[0] if checks else Check(file.name, None, file.sha256, None)

    def sources(self, options: TextOptions, data_dir: Path | None = None) -> dict[str, Source]:
        """The text of each split, verified."""
        if options.unit == "characters" and self.name == "ptb-words":
            raise CorpusError(
                'ptb-words was asked for with text.unit = "characters".',
                "Its files are words, with white space that means nothing.",
                "Ask for ptb-chars, the published character version.",
            )
        paths = {split: self.locate(file, data_dir) for split, file in self.files.items()}
        if "all" in paths:
            return by_shares(paths["all"], options.shares)
        return {split: TextFile(path) for split, path in paths.items()}

    def verify(self, data_dir: Path | None = None) -> list[Check]:
        """One check per file; absent files are checks too."""
        return [self.check(file, data_dir) for file in self.files.values()]


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's unpacked content, hexadecimal."""
    digest = hashlib.sha256()
    for block in read_blocks(path):
        digest.update(block)
    return digest.hexdigest()


def how_to_get(corpus: Published) -> str:
    """The third line of a message about an absent corpus."""
    if all(file.url for file in corpus.files.values()):
        return f"Fetch it with: elman corpora fetch {corpus.name}"
    return (
        f"It is not freely licensed; bring your own copy: elman corpora fetch {corpus.name} --from PATH|URL, "
        "or name its folder by --data-dir or ELMAN_DATA."
    )


def wrong_hash(name: str, check: Check, do: str | None = None) -> CorpusError:
    """A file that is not the published one."""
    return CorpusError(
        f"{check.file} of the corpus {name} was to be the published file.",
        f"{check.path} has the SHA-256 {check.found}; the published one is {check.expected}.",
        do or "Replace it by the published file, or give it as a text of your own, by its path.",
    )
