"""Tokenised once: the same ids from the file, written again only when something changed."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from elman.errors import CorpusError, TokenError
from elman.text import (
    Characters,
    Source,
    TextFile,
    TextOptions,
    Vocabulary,
    Words,
    encode_once,
    vocabulary_once,
)
from elman.text import encoded as room

V = Vocabulary(["a", "b", "c", "\n"])


class Counting(Characters):
    """Characters that count how often a source is encoded."""

    runs = 0

    def encode_source(self, source: Source, vocabulary: Vocabulary) -> Iterator[np.ndarray]:
        Counting.runs += 1
        return super().encode_source(source, vocabulary)


@pytest.fixture
def text(tmp_path: Path) -> TextFile:
    Counting.runs = 0
    (tmp_path / "t.txt").write_text("abcab\n" * 5)
    return TextFile(tmp_path / "t.txt")


def test_the_second_time_nothing_is_tokenised(text: TextFile, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = encode_once(text, Counting(), V, cache)
    assert first.tolist() == [0, 1, 2, 0, 1, 3] * 5
    assert isinstance(first, np.memmap)
    assert not first.flags.writeable
    again = encode_once(text, Counting(), V, cache)
    assert Counting.runs == 1
    assert again.tolist() == first.tolist()
    (file,) = cache.iterdir()
    np.testing.assert_array_equal(np.load(file), first)  # an ordinary .npy file


def test_another_text_vocabulary_part_or_tokeniser_is_encoded_anew(text: TextFile, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    encode_once(text, Counting(), V, cache)
    other = Vocabulary(["c", "b", "a", "\n"])
    assert encode_once(text, Counting(), other, cache)[:3].tolist() == [2, 1, 0]
    half = encode_once(TextFile(text.path, 0.5, 1), Counting(), V, cache)
    assert half.tolist() == ([0, 1, 2, 0, 1, 3] * 5)[15:]
    assert encode_once(text, Counting(lowercase=True), V, cache)[:3].tolist() == [0, 1, 2]
    text.path.write_text("ccc")
    assert encode_once(text, Counting(), V, cache).tolist() == [2, 2, 2]
    assert Counting.runs == 5


@pytest.mark.parametrize("left", [0, 60, 128, 187])
def test_a_file_cut_short_is_written_again(text: TextFile, tmp_path: Path, left: int) -> None:
    expected = encode_once(text, Counting(), V, tmp_path / "cache").tolist()
    (file,) = (tmp_path / "cache").iterdir()
    assert file.stat().st_size == 128 + 2 * 30
    os.truncate(file, left)
    assert encode_once(text, Counting(), V, tmp_path / "cache").tolist() == expected
    assert Counting.runs == 2


@pytest.mark.parametrize(("types", "kind"), [(65_536, np.uint16), (65_537, np.int32)])
def test_the_last_id_fits(tmp_path: Path, types: int, kind: type) -> None:
    v = Vocabulary([chr(code + (2048 if code >= 0xD000 else 0)) for code in range(60, 60 + types)])
    last = v.tokens[-1]
    (tmp_path / "t").write_text(v.tokens[0] + last)
    ids = encode_once(TextFile(tmp_path / "t"), Characters(), v, tmp_path / "cache")
    assert ids.dtype == kind
    assert ids.tolist() == [0, types - 1]


def test_a_failure_leaves_nothing(text: TextFile, tmp_path: Path) -> None:
    with pytest.raises(TokenError):
        encode_once(text, Characters(), Vocabulary(["a", "b"]), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(text: TextFile, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file stands where the folder should be")
    for call in (
        lambda: encode_once(text, Characters(), V, tmp_path / "cache"),
        lambda: vocabulary_once(text, Characters(), TextOptions("characters"), tmp_path / "cache"),
    ):
        with pytest.raises(CorpusError) as caught:
            call()
        assert str(caught.value).split("\n  ") == [
            "The ids of a text were to be kept in the cache.",
            f"{tmp_path}/cache cannot be written: File exists.",
            "Make room there, or name another folder by XDG_CACHE_HOME.",
        ]


def test_the_vocabulary_is_counted_once(
    text: TextFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, cache = TextOptions("words"), tmp_path / "cache"
    first = vocabulary_once(text, Words(), options, cache)
    assert first.tokens == ("<eos>", "abcab", "<unk>")
    smaller = vocabulary_once(text, Words(), TextOptions("words", min_count=6), cache)
    assert smaller.tokens == ("<eos>", "<unk>")
    monkeypatch.setattr(Words, "count", None)
    assert vocabulary_once(text, Words(), options, cache) == first


def test_what_was_long_unused_is_forgotten(text: TextFile, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    encode_once(text, Characters(), V, cache)
    (old,) = cache.iterdir()
    long_ago = time.time() - (room.KEPT_DAYS + 1) * 86_400
    os.utime(old, (long_ago, long_ago))
    encode_once(text, Characters(), V, cache)  # opened: used today
    encode_once(text, Characters(), Vocabulary(["c", "b", "a", "\n"]), cache)
    assert old in cache.iterdir()
    os.utime(old, (long_ago, long_ago))
    encode_once(text, Characters(), Vocabulary(["b", "c", "a", "\n"]), cache)
    assert old not in cache.iterdir()
    assert len(list(cache.iterdir())) == 2
