"""The Penn Treebank's characters: derived from words as the published files have them."""

import hashlib
from pathlib import Path

import pytest

from elman.corpora.penn_treebank import PennCharacters, PennSymbols
from elman.corpora.published import Published, PublishedFile
from elman.errors import CorpusError
from elman.text import TextOptions

WORDS = " no it was n't <unk> \n but N \n"
SYMBOLS = "no_it_was_n't_<unk>\nbut_N\n"
SPACED = "n o _ i t _ w a s _ n ' t _ < u n k > \n b u t _ N \n "


def published_of(text: str, name: str) -> PublishedFile:
    return PublishedFile(name, len(text), hashlib.sha256(text.encode()).hexdigest())


@pytest.fixture
def corpus() -> PennCharacters:
    words = Published("w", "", "", TextOptions(), "f", {"train": published_of(WORDS, "w.txt")})
    files = {"train": published_of(SPACED, "c.txt")}
    return PennCharacters("c", "", "", TextOptions("characters"), "f", files, words)


def test_symbols_from_words_and_from_the_published_characters(tmp_path: Path) -> None:
    (tmp_path / "w").write_text(WORDS)
    (tmp_path / "c").write_text(SPACED)
    from_words, from_characters = PennSymbols(tmp_path / "w", True), PennSymbols(tmp_path / "c", False)
    for source in (from_words, from_characters):
        assert "".join(source.pieces()) == SYMBOLS
        assert list(source.lines()) == SYMBOLS.splitlines()
        assert source.published_sha256() == published_of(SPACED, "").sha256
    assert from_words.identity != PennSymbols(tmp_path / "w", False).identity


def test_the_published_file_goes_before_the_words(corpus: PennCharacters, tmp_path: Path) -> None:
    options = TextOptions("characters")
    (tmp_path / "w.txt").write_text(WORDS)
    assert corpus.sources(options, tmp_path)["train"] == PennSymbols(tmp_path / "w.txt", True)
    assert corpus.where(tmp_path) == tmp_path
    assert [check.good for check in corpus.verify(tmp_path)] == [True]
    (tmp_path / "c.txt").write_text(SPACED)
    assert corpus.sources(options, tmp_path)["train"] == PennSymbols(tmp_path / "c.txt", False)
    (tmp_path / "c.txt").write_text(SPACED + "x ")
    with pytest.raises(CorpusError, match=r"c\.txt of the corpus c was to be the published file"):
        corpus.sources(options, tmp_path)


def test_words_that_are_not_the_published_ones(corpus: PennCharacters, tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_text(WORDS + " x\n")
    with pytest.raises(CorpusError, match=r"w\.txt of the corpus w was to be the published file"):
        corpus.sources(TextOptions("characters"), tmp_path)
    assert [check.good for check in corpus.verify(tmp_path)] == [False]


def test_neither_is_there(corpus: PennCharacters, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="The corpus w was asked for"):
        corpus.sources(TextOptions("characters"), tmp_path)
