"""Where a text comes from: something that can be read more than once, in pieces or in lines."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from elman.text.files import read_lines, read_pieces


class Source(Protocol):
    """A text that is read in pieces (for characters) or line by line (for words), again and again."""

    @property
    def identity(self) -> str:
        """Changes when the text changes: what caches are keyed by."""
        ...

    def pieces(self) -> Iterator[str]: ...

    def lines(self) -> Iterator[str]: ...


@dataclass(frozen=True)
class TextFile:
    """A file of text, or the part of it from ``begin`` to ``end``, as exact decimal shares of its characters.

    Characters are cut at ``int(share · characters)``; a line belongs to the part its first character lies in.

    >>> import tempfile; path = Path(tempfile.mkdtemp()) / "ten.txt"
    >>> _ = path.write_text("ab\\ncd\\nef\\ng")
    >>> "".join(TextFile(path, 0, 0.5).pieces()), list(TextFile(path, 0, 0.5).lines())
    ('ab\\ncd', ['ab', 'cd'])
    >>> "".join(TextFile(path, 0.5, 1).pieces()), list(TextFile(path, 0.5, 1).lines())
    ('\\nef\\ng', ['ef', 'g'])
    """

    path: Path
    begin: float = 0
    end: float = 1

    @property
    def identity(self) -> str:
        return f"{file_identity(self.path)} {self.begin} {self.end}"

    def pieces(self) -> Iterator[str]:
        first, last = self._positions()
        position = 0
        for piece in read_pieces(self.path):
            part = piece[max(first - position, 0) : None if last is None else max(last - position, 0)]
            position += len(piece)
            if part:
                yield part
            if last is not None and position >= last:
                return

    def lines(self) -> Iterator[str]:
        first, last = self._positions()
        if first == 0 and last is None:
            yield from read_lines(self.path)
            return
        position = 0
        for line in read_lines(self.path):
            if last is not None and position >= last:
                return
            if position >= first:
                yield line
            position += len(line) + 1

    def _positions(self) -> tuple[int, int | None]:
        if self.begin == 0 and self.end == 1:
            return 0, None
        characters = _characters(self.path, file_identity(self.path))
        first = int(characters * Fraction(str(self.begin)))
        return first, None if self.end == 1 else int(characters * Fraction(str(self.end)))


def file_identity(path: Path) -> str:
    """``path size mtime_ns``: the same as long as the file was not written to."""
    path = path.resolve()
    if not path.is_file():
        return f"{path} absent"  # reading it says so, in three lines
    status = path.stat()
    return f"{path} {status.st_size} {status.st_mtime_ns}"


@lru_cache(maxsize=64)
def _characters(path: Path, identity: str) -> int:
    del identity  # only the cache's key
    return sum(map(len, read_pieces(path)))
