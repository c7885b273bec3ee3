"""Where corpora are looked for, and where the user's cache is."""

import os
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = ("", ".gz", ".xz")


def user_cache() -> Path:
    """``$XDG_CACHE_HOME/elman``, by default ``~/.cache/elman``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "elman"


def data_folders(data_dir: Path | None = None) -> list[Path]:
    """Where corpora are looked for, in this order: ``data_dir``, ``$ELMAN_DATA``, the user's cache."""
    named = os.environ.get("ELMAN_DATA")
    return [*([data_dir] if data_dir else []), *([Path(named)] if named else []), user_cache()]


def candidates(folder: str, file: str, data_dir: Path | None = None) -> Iterator[Path]:
    """The existing places of ``file`` of the corpus in ``folder``, packed or not, in the order to try."""
    for root in data_folders(data_dir):
        for place in (root / folder, root):
            for suffix in SUFFIXES:
                path = place / (file + suffix)
                if path.is_file():
                    yield path
