"""Text files in, any files out: UTF-8 read in pieces with bounded memory, and writing that loses nothing.

What is read: UTF-8, plain, ``.gz`` or ``.xz`` by the suffix. A byte order mark at the beginning is dropped;
``\\r\\n`` and a lone ``\\r`` become ``\\n``. Only these end a line (not U+2028 and its like).
"""

import codecs
import difflib
import gzip
import io
import lzma
import os
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from elman.errors import TextError

LINE_LIMIT = 1_000_000
"""Characters a line may have where lines are read (word texts); see :func:`read_lines`."""

_BROKEN = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError)


def open_bytes(path: Path) -> IO[bytes]:
    """The unpacked bytes of a file: gzip for ``.gz``, xz for ``.xz``, plain otherwise."""
    if path.suffix == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if path.suffix == ".xz":
        return lzma.open(path, "rb")
    return path.open("rb")


def read_blocks(path: Path, size: int = 1 << 20) -> Iterator[bytes]:
    """The unpacked bytes of a file, ``size`` at a time.

    Raises :class:`TextError` if it is missing, cannot be opened, or is a damaged archive.
    """
    try:
        with open_bytes(path) as file:
            while block := file.read(size):
                yield block
    except FileNotFoundError:
        raise TextError(f"{path} was to be read.", "There is no such file.", _look_for(path)) from None
    except IsADirectoryError:
        raise TextError(
            f"{path} was to be read.", "It is a folder, not a file.", "Name one of the files in it."
        ) from None
    except _BROKEN as error:
        raise TextError(
            f"{path} was to be unpacked.",
            f"It is not a whole {path.suffix[1:]} file: {error}.",
            "Fetch or pack it again.",
        ) from None
    except OSError as error:
        raise TextError(
            f"{path} was to be read.",
            f"The system says: {error.strerror or error}.",
            "Check its permissions.",
        ) from None


def read_pieces(path: Path, characters: int = 1 << 20) -> Iterator[str]:
    """The text of a file in pieces of at most ``characters`` (about), whatever its lines are.

    Raises :class:`TextError` if it is missing, empty, binary (a NUL byte) or not UTF-8, naming the line and
    the byte offset in the unpacked file.

    >>> import tempfile; path = Path(tempfile.mkdtemp()) / "two.txt"
    >>> _ = path.write_bytes("né\\r\\nfin".encode())
    >>> list(read_pieces(path, 3))
    ['né', '\\nf', 'in']
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    newlines = io.IncrementalNewlineDecoder(decoder, translate=True)
    offset, line, empty = 0, 1, True
    for block in read_blocks(path, characters):
        if offset == 0 and block.startswith(codecs.BOM_UTF8):
            block = block[3:]
            offset = 3
        if b"\0" in block:
            raise _binary(path, offset + block.index(b"\0"))
        pending = len(decoder.getstate()[0])
        try:
            piece = newlines.decode(block)
        except UnicodeDecodeError as error:
            raise _not_utf8(path, error, offset - pending, line) from None
        offset += len(block)
        line += block.count(b"\n")
        if piece:
            empty = False
            yield piece
    pending = len(decoder.getstate()[0])
    try:
        piece = newlines.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error, offset - pending, line) from None
    if piece:
        yield piece
    elif empty:
        raise TextError(f"{path} was to be read as text.", "It is empty.", "Name a file with text in it.")


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a text file, without their ends; a last line needs none.

    Raises what :func:`read_pieces` does, and :class:`TextError` at a line of over ``LINE_LIMIT`` characters:
    no sentence is so long.

    >>> import tempfile; path = Path(tempfile.mkdtemp()) / "two.txt"
    >>> write_atomically(path, "one\\n\\ntwo")
    >>> list(read_lines(path))
    ['one', '', 'two']
    """
    number, rest = 1, ""
    for piece in read_pieces(path, 1 << 18):  # shorter than the limit: only the first line can exceed it
        lines = (rest + piece).split("\n")
        rest = lines.pop()
        longest = len(lines[0]) if lines else len(rest)
        if longest > LINE_LIMIT:
            raise TextError(
                f"{path} was to be read line by line.",
                f"Line {number:,} has over {LINE_LIMIT:,} characters.",
                'Break it into sentences, one per line, or read by characters: text.unit = "characters".',
            )
        yield from lines
        number += len(lines)
    if rest:
        yield rest


def write_atomically(path: Path, data: bytes | str) -> None:
    """Writes a whole file or nothing: under another name in the same folder, then renamed into place.

    Text is written as UTF-8. The folder is made if need be. A failure (a full disk: ``OSError``) leaves what
    was there before, and no leftovers.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with AtomicFile(path) as file:
        file.write(data.encode("utf-8") if isinstance(data, str) else data)


class AtomicFile:
    """``with AtomicFile(path) as file``: a binary file that appears at ``path`` only when all went well."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> IO[bytes]:
        number, self._name = tempfile.mkstemp(prefix=f".{self.path.name[:100]}.", dir=self.path.parent)
        self._file = os.fdopen(number, "w+b")
        return self._file

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        temporary = Path(self._name)
        try:
            with self._file:
                if kind is None:
                    self._file.flush()
                    os.fsync(self._file.fileno())
            if kind is None:
                temporary.chmod(0o666 & ~_umask())  # mkstemp's files are private; these are ordinary ones
                temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _look_for(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"Check the path: {folder} is not a folder either."
    match = difflib.get_close_matches(path.name, sorted(each.name for each in folder.iterdir()), n=1)
    return f"Check the path; the nearest name there is {match[0]}." if match else "Check the path."


def _binary(path: Path, offset: int) -> TextError:
    return TextError(
        f"{path} was to be read as UTF-8 text.",
        f"It has a NUL byte at offset {offset:,}: it is a binary file, or UTF-16.",
        "Name a text file; convert UTF-16 with: iconv -f UTF-16 -t UTF-8 FILE > NEW",
    )


def _not_utf8(path: Path, error: UnicodeDecodeError, base: int, line: int) -> TextError:
    line += error.object[: error.start].count(b"\n")
    return TextError(
        f"{path} was to be read as UTF-8 text.",
        f"Byte 0x{error.object[error.start]:02X} at offset {base + error.start:,} (line {line:,}) "
        f"is not UTF-8: {error.reason}.",
        "Convert it, for example with: iconv -f ISO-8859-1 -t UTF-8 FILE > NEW",
    )
