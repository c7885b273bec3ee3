"""A user's texts: which file or part of a file trains, validates and tests."""

import re
from pathlib import Path

from elman.corpora.folders import SUFFIXES
from elman.errors import CorpusError
from elman.text import Source, TextFile

SPLITS = ("train", "valid", "test")
_NAMES = {"train": "train|training", "valid": "valid|dev|val|validation", "test": "test"}


def by_shares(path: Path, shares: tuple[float, float, float]) -> dict[str, Source]:
    """One file cut by position: the first share trains, the next validates, the rest tests.

    A share of 0 gives no such split. The cuts are exact in characters; words are cut at the next line end.
    """
    train = float(shares[0])
    sources: dict[str, Source] = {"train": TextFile(path, 0, train if train < 1 else 1)}
    if shares[1]:
        sources["valid"] = TextFile(path, train, round(train + shares[1], 12) if shares[2] else 1)
    if shares[2]:
        sources["test"] = TextFile(path, round(train + shares[1], 12), 1)
    return sources


def in_folder(folder: Path) -> dict[str, Source]:
    """The splits that a folder's files are named for: ``train.txt``, ``dev.txt``, ``ptb.test.txt.gz`` …

    The name, without ``.gz`` or ``.xz``, ends in ``train``, ``valid`` (``dev``, ``val``, ``validation``) or
    ``test``, before a suffix such as ``.txt`` or none; other words may stand before it, set off by ``.``,
    ``-`` or ``_``. Raises :class:`CorpusError` if the folder has no training file, or two for one split.
    """
    sources: dict[str, Source] = {}
    for split in SPLITS:
        name = re.compile(rf"(?:.*[._-])?(?:{_NAMES[split]})(?:\.[a-z]+)?(?:\.gz|\.xz)?", re.IGNORECASE)
        found = [each for each in sorted(folder.iterdir()) if each.is_file() and name.fullmatch(each.name)]
        if len(found) > 1:
            raise CorpusError(
                f"The folder {folder} was to be read as a corpus.",
                f"{len(found)} files could be its {split} part: {', '.join(each.name for each in found)}.",
                "Leave one of them in the folder.",
            )
        if found:
            sources[split] = TextFile(found[0])
    if "train" not in sources:
        names = sorted(each.name for each in folder.iterdir())
        raise CorpusError(
            f"The folder {folder} was to be read as a corpus.",
            f"No file in it is named for training; it has {', '.join(names[:6]) or 'no file'}.",
            f"Name its files train.txt, valid.txt and test.txt (also {' or '.join(SUFFIXES[1:])}).",
        )
    return sources
