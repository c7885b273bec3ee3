"""A text tokenised once: its ids in a memory-mapped file, found again as long as the text does not change."""

import hashlib
import os
import time
from pathlib import Path

import numpy as np

from elman.errors import CorpusError
from elman.text.config import TextOptions
from elman.text.files import AtomicFile
from elman.text.sources import Source
from elman.text.tokeniser import Tokeniser
from elman.text.vocabulary import Vocabulary

KEPT_DAYS = 30
"""Encoded texts that were not opened for so long are deleted when another one is written."""


def encode_once(source: Source, tokeniser: Tokeniser, vocabulary: Vocabulary, cache: Path) -> np.ndarray:
    """The ids of a text, 1-D, read-only, memory-mapped: uint16 up to 65,536 types, int32 above.

    The first time the text is read, tokenised and written to ``cache``, block by block; later the file is
    opened, if the source's identity, the tokeniser and the vocabulary are the same. A file that was cut short
    is written again. Nothing but the blocks in use is held in memory.

    Raises what reading the source raises; :class:`~elman.errors.TokenError` at a token without an id; and
    :class:`~elman.errors.CorpusError` where the cache cannot be written.
    """
    path = cache / f"{_key(source.identity, repr(tokeniser), vocabulary.digest)}.npy"
    ids = _open(path)
    if ids is None:
        _write(path, source, tokeniser, vocabulary)
        ids = _open(path)
    if ids is None:
        raise _unwritable(cache, "what was written could not be read again")
    return ids


def vocabulary_once(source: Source, tokeniser: Tokeniser, options: TextOptions, cache: Path) -> Vocabulary:
    """The vocabulary of a training text, counted the first time and read from ``cache`` later."""
    asked = f"{options.unit} {options.vocabulary_size} {options.min_count}"
    path = cache / f"{_key(source.identity, repr(tokeniser), asked)}.vocabulary.json"
    if path.is_file():
        _mark_used(path)
        return Vocabulary.load(path)
    vocabulary = Vocabulary.build(tokeniser.count(source), options)
    try:
        vocabulary.save(path)
    except OSError as error:
        raise _unwritable(cache, error.strerror or str(error)) from None
    return vocabulary


def _key(*parts: str) -> str:
    return hashlib.sha256("\n".join(("1", *parts)).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _open(path: Path) -> np.ndarray | None:
    try:
        ids = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):  # absent, or cut short: both are mended by writing it
        return None
    if ids.ndim != 1 or ids.dtype not in (np.uint16, np.int32):
        return None
    _mark_used(path)
    return ids


def _write(path: Path, source: Source, tokeniser: Tokeniser, vocabulary: Vocabulary) -> None:
    kind = np.dtype("<u2" if len(vocabulary) <= 1 << 16 else "<i4")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _forget_unused(path.parent)
        with AtomicFile(path) as file:
            length = 0
            file.write(_header(kind, length))
            for ids in tokeniser.encode_source(source, vocabulary):
                file.write(ids.astype(kind).tobytes())
                length += len(ids)
            file.seek(0)
            file.write(_header(kind, length))
    except OSError as error:
        raise _unwritable(path.parent, error.strerror or str(error)) from None


def _header(kind: np.dtype, length: int) -> bytes:
    """The first 128 bytes of an .npy file, format 1.0, which any length fits in."""
    entries = f"{{'descr': '{kind.str}', 'fortran_order': False, 'shape': ({length},), }}"
    return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + entries.ljust(117).encode() + b"\n"


def _mark_used(path: Path) -> None:
    if os.access(path, os.W_OK):
        os.utime(path)


def _forget_unused(cache: Path) -> None:
    oldest = time.time() - KEPT_DAYS * 86_400
    for path in [*cache.glob("*.npy"), *cache.glob("*.vocabulary.json")]:
        if path.stat().st_mtime < oldest:
            path.unlink(missing_ok=True)


def _unwritable(cache: Path, reason: str) -> CorpusError:
    return CorpusError(
        "The ids of a text were to be kept in the cache.",
        f"{cache} cannot be written: {reason}.",
        "Make room there, or name another folder by XDG_CACHE_HOME.",
    )
