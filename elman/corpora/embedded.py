"""Corpora that every Python carries: its documentation as English, its library's source as code.

They are made from the files of the Python at hand the first time (a few seconds), and kept in the user's
cache for that Python: the same text for the same Python, and nearly the same for another. Which document goes
to which split hangs on the hash of its name alone.
"""

import hashlib
import json
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from elman.corpora.english import sentences
from elman.corpora.folders import user_cache
from elman.corpora.published import Check, sha256_of
from elman.corpora.splits import SPLITS
from elman.corpora.standard_library import TOPICS, docstrings, library_folder, source_files, topics
from elman.errors import CorpusError
from elman.text import Source, TextFile, TextOptions, write_atomically

PREPARATION = 2
"""Raised whenever the preparation of the texts changes, so that none of the older is used."""

_PARTS = 16


@dataclass(frozen=True)
class Embedded:
    """A corpus made from the Python at hand; ``documents(root)`` yields (name, text) of its documents."""

    name: str
    description: str
    licence: str
    options: TextOptions
    documents: Callable[[Path], Iterator[tuple[str, str]]]

    def sources(self, options: TextOptions, data_dir: Path | None = None) -> dict[str, Source]:
        """The text of each split, made if need be; :class:`CorpusError` where Python lacks its sources."""
        del options, data_dir  # the same files whatever the tokens are, and always in the user's cache
        folder = self.folder()
        if not self._whole(folder):
            self.make()
        return {split: TextFile(folder / f"{split}.txt") for split in SPLITS}

    def where(self, data_dir: Path | None = None) -> Path | None:
        """The folder of its texts, or None as long as they were not made."""
        del data_dir
        return self.folder() if self._whole(self.folder()) else None

    def folder(self) -> Path:
        """Where the texts are kept: one folder per Python and preparation."""
        library = hashlib.sha256(str(library_folder()).encode("utf-8", "surrogateescape")).hexdigest()[:8]
        return user_cache() / self.name / f"{platform.python_version()}-{library}-{PREPARATION}"

    def verify(self, data_dir: Path | None = None) -> list[Check]:
        """One check per split: is the text in the cache the one that was made?"""
        self.sources(self.options, data_dir)
        folder = self.folder()
        made = json.loads((folder / "about.json").read_text("utf-8"))["files"]
        paths = [folder / f"{split}.txt" for split in SPLITS]
        return [Check(path.name, path, made[path.name]["sha256"], sha256_of(path)) for path in paths]

    def _whole(self, folder: Path) -> bool:
        try:
            files = json.loads((folder / "about.json").read_text("utf-8"))["files"]
            return all((folder / name).stat().st_size == made["bytes"] for name, made in files.items())
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def make(self) -> list[Path]:
        """Makes the texts anew and returns their files."""
        folder = self.folder()
        texts: dict[str, list[str]] = {split: [] for split in SPLITS}
        for name, text in self.documents(library_folder()):
            texts[_split_of(name)].append(text)
        files = {}
        try:
            for split, parts in texts.items():
                data = "".join(parts).encode()
                write_atomically(folder / f"{split}.txt", data)
                files[f"{split}.txt"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            about = {"corpus": self.name, "python": platform.python_version(), "files": files}
            write_atomically(folder / "about.json", json.dumps(about, indent=1) + "\n")
        except OSError as error:
            raise CorpusError(
                f"The text of {self.name} was to be kept in the cache.",
                f"{folder} cannot be written: {error.strerror or error}.",
                "Make room there, or name another folder by XDG_CACHE_HOME.",
            ) from None
        return [folder / name for name in files]


def documentation(root: Path) -> Iterator[tuple[str, str]]:
    """Every topic of ``help()`` and every module's docstrings, as prepared sentences, one per line.

    A sentence that an earlier document has is left out, so that no test sentence was seen in training.
    """
    texts = {f"topic {name}": [text] for name, text in topics(root).items()}
    texts |= {name: list(docstrings(path)) for name, path in source_files(root) if name != TOPICS}
    seen: set[str] = set()
    for name in sorted(texts):
        found = [sentence for text in texts[name] for sentence in sentences(text)]
        fresh = [sentence for sentence in dict.fromkeys(found) if sentence not in seen]
        seen.update(fresh)
        yield name, "".join(f"{sentence}\n" for sentence in fresh)


def source_code(root: Path) -> Iterator[tuple[str, str]]:
    """Every source file in printable ASCII, but for tables, which are no code (``encodings``, topics)."""
    for name, path in source_files(root):
        text = path.read_text("latin-1").replace("\f", "").rstrip("\n")
        plain = text.isascii() and text.replace("\n", "").isprintable()
        if text and plain and name != TOPICS and not name.startswith("encodings/"):
            yield name, text + "\n"


def _split_of(name: str) -> str:
    part = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % _PARTS
    return {0: "valid", 1: "test"}.get(part, "train")
