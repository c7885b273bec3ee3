"""The corpora made from Python itself: parted by document, made once, good English."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from elman.corpora import CORPORA, Embedded, fetch, open_corpus, verify
from elman.corpora import embedded as room
from elman.errors import CorpusError
from elman.text import TextOptions, Words

MADE: list[str] = []


def documents(root: Path) -> Iterator[tuple[str, str]]:
    MADE.append(str(root))
    for number in range(200):
        yield f"document {number}", f"text of {number}\n"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Embedded:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    MADE.clear()
    corpus = Embedded("small", "", "", TextOptions(), documents)
    monkeypatch.setitem(CORPORA, "small", corpus)
    return corpus


def test_documents_are_parted_by_their_names_and_made_once(small: Embedded) -> None:
    assert small.where() is None
    first = {split: list(source.lines()) for split, source in small.sources(small.options).items()}
    assert sorted(line for lines in first.values() for line in lines) == sorted(
        f"text of {number}" for number in range(200)
    )
    assert 5 < len(first["valid"]) < 25 > len(first["test"]) > 5  # a sixteenth each
    again = {split: list(source.lines()) for split, source in small.sources(small.options).items()}
    assert again == first
    assert len(MADE) == 1
    assert small.where() == small.folder()
    assert len(open_corpus("small", small.options).train) == 4 * len(first["train"])


def test_what_was_cut_short_is_made_again(small: Embedded) -> None:
    small.sources(small.options)
    (small.folder() / "test.txt").write_text("half")
    small.sources(small.options)
    (small.folder() / "about.json").write_text('{"files"')
    small.sources(small.options)
    assert len(MADE) == 3


def test_verify_compares_with_what_was_made(small: Embedded) -> None:
    assert [check.good for check in verify("small")] == [True, True, True]
    path = small.folder() / "valid.txt"
    path.write_bytes(path.read_bytes().replace(b"text", b"TEXT"))
    assert [(check.file, check.good) for check in verify("small")] == [
        ("train.txt", True),
        ("valid.txt", False),
        ("test.txt", True),
    ]
    assert fetch("small") == [small.folder() / f"{split}.txt" for split in ("train", "valid", "test")]
    assert all(check.good for check in verify("small"))
    assert json.loads((small.folder() / "about.json").read_text())["corpus"] == "small"


def test_another_preparation_or_python_has_another_folder(
    small: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {small.folder()}
    monkeypatch.setattr(room, "PREPARATION", -1)
    folders.add(small.folder())
    monkeypatch.setattr(room, "library_folder", lambda: Path("elsewhere"))
    folders.add(small.folder())
    monkeypatch.setattr("platform.python_version", lambda: "3.99.1")
    folders.add(small.folder())
    assert len(folders) == 4


def test_a_cache_that_cannot_be_written(small: Embedded, tmp_path: Path) -> None:
    (tmp_path / "elman").write_text("a file")
    with pytest.raises(CorpusError, match="The text of small was to be kept in the cache"):
        small.sources(small.options)


def test_code_is_printable_ascii_without_tables(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"m{number:03}.py").write_text("")
    (tmp_path / "encodings").mkdir()
    (tmp_path / "encodings" / "koi8.py").write_text("table = 1\n")
    (tmp_path / "accents.py").write_text("x = 'é'\n")
    (tmp_path / "tabs.py").write_text("if x:\n\tpass\n")
    (tmp_path / "good.py").write_bytes(b"x = 1\r\n\x0c\r\ny = 2\n\n\n")
    assert dict(room.source_code(tmp_path)) == {"good.py": "x = 1\n\ny = 2\n"}


@pytest.mark.slow
def test_python_docs_read_as_english() -> None:
    corpus = open_corpus("python-docs", CORPORA["python-docs"].options)
    assert 150_000 < len(corpus.train) < 500_000
    assert min(len(corpus.valid), len(corpus.test)) > 8_000
    assert 3_000 < len(corpus.vocabulary) < 12_000
    texts = {split: list(source.lines()) for split, source in corpus.sources.items()}
    every = [line for lines in texts.values() for line in lines]
    assert len(every) == len(set(every))  # no test sentence was seen in training
    assert {"the", ".", ",", "is", "a", "of", "to"} < set(corpus.vocabulary.tokens[:20])
    for line in every[:: len(every) // 500]:  # the tokeniser finds the tokens that the preparation wrote
        assert Words("punctuation").tokens(line) == Words().tokens(line)
    for split in ("valid", "test"):
        unknown = (corpus.split(split) == corpus.vocabulary.unknown_id).mean()
        assert unknown < 0.08


@pytest.mark.slow
def test_python_code_is_large_and_plain() -> None:
    corpus = open_corpus("python-code", CORPORA["python-code"].options)
    assert len(corpus.train) > 3_000_000
    assert min(len(corpus.valid), len(corpus.test)) > 100_000
    assert len(corpus.vocabulary) == 96
    assert "def " in corpus.tokeniser.decode(corpus.test[:5_000], corpus.vocabulary)
