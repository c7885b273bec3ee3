"""Reading against Python's own text files; writing all or nothing; the messages of what cannot be read."""

import codecs
import gzip
import lzma
import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from elman.errors import TextError
from elman.text import files
from elman.text.files import read_lines, read_pieces, write_atomically

TEXTS = st.text(st.sampled_from(list("ab \r\n\té😀\u2028\x0b")), min_size=1, max_size=60)


@settings(deadline=None, max_examples=60)
@given(TEXTS, st.integers(1, 7), st.sampled_from(["", ".gz", ".xz"]), st.booleans())
@example("a\r", 2, "", False)
@example("\r\r\n\n", 1, ".gz", True)
def test_pieces_are_what_python_reads(text: str, size: int, suffix: str, marked: bool) -> None:
    data = (codecs.BOM_UTF8 if marked else b"") + text.encode()
    with tempfile.TemporaryDirectory() as folder:
        plain, path = Path(folder, "oracle"), Path(folder, "text" + suffix)
        plain.write_bytes(data)
        path.write_bytes({"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[suffix](data))
        expected = plain.read_text("utf-8-sig")
        pieces = list(read_pieces(path, max(size, 3 if marked else 1)))
        assert "".join(pieces) == expected
        assert max(map(len, pieces)) <= max(size, 3) + 1
        lines = expected.split("\n")
        assert list(read_lines(path)) == (lines if lines[-1] else lines[:-1])


def test_lines_join_over_pieces(tmp_path: Path) -> None:
    lines = [f"{number} " * 7_001 for number in range(1, 60)]  # lines that straddle the pieces read
    (tmp_path / "t").write_text("\n".join(lines))
    assert list(read_lines(tmp_path / "t")) == lines


def test_a_line_has_a_limit_and_characters_have_none(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("short\n" + "x" * files.LINE_LIMIT + "\nend")
    assert [len(line) for line in read_lines(path)] == [5, 1_000_000, 3]
    path.write_text("short\n" + "x" * (files.LINE_LIMIT + 1) + "\nend")
    assert sum(map(len, read_pieces(path))) == 6 + 1_000_001 + 4
    with pytest.raises(TextError) as caught:
        list(read_lines(path))
    assert str(caught.value).split("\n  ") == [
        f"{path} was to be read line by line.",
        "Line 2 has over 1,000,000 characters.",
        'Break it into sentences, one per line, or read by characters: text.unit = "characters".',
    ]


def read_error(path: Path) -> list[str]:
    with pytest.raises(TextError) as caught:
        list(read_pieces(path))
    return str(caught.value).split("\n  ")


def test_missing(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("x")
    assert read_error(tmp_path / "trian.txt") == [
        f"{tmp_path}/trian.txt was to be read.",
        "There is no such file.",
        "Check the path; the nearest name there is train.txt.",
    ]
    assert read_error(tmp_path / "no" / "t")[2] == f"Check the path: {tmp_path}/no is not a folder either."


def test_a_folder(tmp_path: Path) -> None:
    assert read_error(tmp_path)[1] == "It is a folder, not a file."


@pytest.mark.parametrize("data", [b"", codecs.BOM_UTF8])
def test_empty(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "none.txt"
    path.write_bytes(data)
    assert read_error(path)[1:] == ["It is empty.", "Name a file with text in it."]
    path = tmp_path / "none.txt.gz"
    path.write_bytes(gzip.compress(data))
    assert read_error(path)[1] == "It is empty."


def test_binary(tmp_path: Path) -> None:
    path = tmp_path / "b"
    path.write_bytes(b"\xef\xbb\xbf" + b"x" * (1 << 20) + b"a\0")
    assert read_error(path)[1] == "It has a NUL byte at offset 1,048,580: it is a binary file, or UTF-16."


def test_not_utf8_names_line_and_offset(tmp_path: Path) -> None:
    path = tmp_path / "latin"
    path.write_bytes(b"ab\n\ncd \xe9t\xe9\n")
    assert read_error(path) == [
        f"{path} was to be read as UTF-8 text.",
        "Byte 0xE9 at offset 7 (line 3) is not UTF-8: invalid continuation byte.",
        "Convert it, for example with: iconv -f ISO-8859-1 -t UTF-8 FILE > NEW",
    ]


def test_not_utf8_behind_a_character_cut_between_two_reads(tmp_path: Path) -> None:
    path = tmp_path / "later"
    before = b"x\n" + b"y" * ((1 << 20) - 3) + "é".encode()  # the é straddles the first read's end
    path.write_bytes(before + b"\n\xff")
    assert f"Byte 0xFF at offset {len(before) + 1:,} (line 3)" in read_error(path)[1]
    path.write_bytes(before[:-1])
    message = read_error(path)[1]
    assert f"Byte 0xC3 at offset {len(before) - 2:,} (line 2)" in message
    assert "unexpected end of data" in message


@pytest.mark.parametrize(("name", "pack"), [("t.gz", gzip.compress), ("t.xz", lzma.compress)])
def test_a_damaged_archive(tmp_path: Path, name: str, pack: object) -> None:
    path = tmp_path / name
    path.write_bytes(pack(os.urandom(500).hex().encode())[:-60])  # type: ignore[operator]
    assert read_error(path)[1].startswith(f"It is not a whole {name[2:]} file: ")
    path.write_bytes(b"plain text")
    assert read_error(path)[1].startswith(f"It is not a whole {name[2:]} file: ")


def test_writing_replaces_all_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    write_atomically(path, "første")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert [each.name for each in path.parent.iterdir()] == ["file.txt"]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_a_full_disk_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept.txt"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["kept.txt"]
