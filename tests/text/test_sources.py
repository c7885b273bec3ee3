"""Parts of a file: cut exactly, and together the whole."""

import itertools
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.text import TextFile


@settings(deadline=None, max_examples=60)
@given(
    st.text(st.sampled_from(list("abé\n")), min_size=1, max_size=40),
    st.integers(0, 100),
    st.integers(0, 100),
)
def test_parts_join_to_the_whole(text: str, one: int, two: int) -> None:
    first, second = sorted((one, two))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t")
        path.write_text(text)
        cuts = [0, first / 100, second / 100, 1]
        parts = [TextFile(path, a, b) for a, b in itertools.pairwise(cuts)]
        pieces = ["".join(part.pieces()) for part in parts]
        assert "".join(pieces) == text
        assert len(pieces[0]) == len(text) * first // 100  # exact: 0.07 · 100 characters are 7, not 7.000…1
        lines = [line for part in parts for line in part.lines()]
        assert lines == list(TextFile(path).lines())


def test_a_line_belongs_where_it_begins(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text("aaaa\nbbbb\ncc\n")  # 13 characters; lines begin at 0, 5 and 10
    assert list(TextFile(path, 0, 0.4).lines()) == ["aaaa"]  # cut at int(0.4 · 13) = 5, where "bbbb" begins
    assert list(TextFile(path, 0.4, 1).lines()) == ["bbbb", "cc"]
    assert list(TextFile(path, 0, 0.5).lines()) == ["aaaa", "bbbb"]  # cut at 6, within it
    assert list(TextFile(path, 0.5, 1).lines()) == ["cc"]


def test_the_identity_changes_with_the_file_and_the_part(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text("one")
    before = TextFile(path).identity
    assert before == TextFile(path).identity != TextFile(path, 0, 0.5).identity
    path.write_text("other")
    assert TextFile(path).identity != before


def test_positions_are_counted_in_large_files(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text("é" * 3_000_001)
    parts = [sum(map(len, TextFile(path, a, b).pieces())) for a, b in ((0, 0.9), (0.9, 0.95), (0.95, 1))]
    assert parts == [2_700_000, 150_000, 150_001]


def test_an_absent_file_is_named_when_read(tmp_path: Path) -> None:
    source = TextFile(tmp_path / "absent")
    assert source.identity.startswith(f"{tmp_path}/absent absent")
    with pytest.raises(ValueError, match="There is no such file"):
        list(source.pieces())
