"""Opening corpora: users' texts by hand, published ones by their published counts."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from elman.corpora import CORPORA, Corpus, open_corpus
from elman.errors import CorpusError, OptionError, TextError, TokenError
from elman.text import TextFile, TextOptions, Vocabulary

CHARACTERS = TextOptions("characters", shares=(0.5, 0.25, 0.25))


def test_a_file_of_characters(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("abcaabcb")
    corpus = open_corpus(str(path), CHARACTERS)
    assert corpus.vocabulary.tokens == ("a", "b", "c")
    assert [corpus.split(name).tolist() for name in ("train", "valid", "test")] == [
        [0, 1, 2, 0],
        [0, 1],
        [2, 1],
    ]
    assert corpus.train is corpus.split("train")
    assert corpus.tokeniser.decode(corpus.test, corpus.vocabulary) == "cb"


def test_a_folder_of_words(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("the cat\n\nthe dog\n")
    (tmp_path / "valid.txt").write_text("a cat\n")
    corpus = open_corpus(str(tmp_path), TextOptions())
    assert corpus.vocabulary.tokens == ("<eos>", "the", "cat", "dog", "<unk>")
    assert corpus.train.tolist() == [1, 2, 0, 1, 3, 0]
    assert corpus.valid.tolist() == [4, 2, 0]
    assert corpus.test.tolist() == []
    with pytest.raises(CorpusError) as caught:
        corpus.split("test")
    assert str(caught.value).split("\n  ") == [
        f'The split "test" of {tmp_path} was asked for.',
        "It has train, valid.",
        "Ask for one of these, or give a folder that has a file for each split.",
    ]


def test_a_given_vocabulary_is_used_and_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes(b"\xff")
    (tmp_path / "test.txt").write_text("b a z")
    vocabulary = Vocabulary(["a", "<unk>", "b"], unknown="<unk>")
    corpus = open_corpus(
        str(tmp_path), TextOptions(), vocabulary=Vocabulary([*vocabulary.tokens, "<eos>"], "<unk>", "<eos>")
    )
    assert corpus.test.tolist() == [2, 0, 1, 3]
    with pytest.raises(TextError, match="is not UTF-8"):
        _ = corpus.train


def test_an_unseen_character_is_met_before_the_training(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("abababXb")
    with pytest.raises(TokenError) as caught:
        open_corpus(str(path), CHARACTERS)
    assert caught.value.asked == (
        f"The test part of {path} was to be encoded. The character 'X' was to be given an id."
    )
    lenient = TextOptions("characters", min_count=2, shares=CHARACTERS.shares)
    assert open_corpus(str(path), lenient).test.tolist() == [2, 1]


def test_a_text_too_short_to_be_cut(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("one line\n")
    with pytest.raises(CorpusError) as caught:
        open_corpus(str(path), TextOptions())
    assert caught.value.asked == f"The valid part of {path} was asked for."
    assert caught.value.came.startswith(
        "It has no words: the text is too short to be cut in train, valid, test"
    )
    assert len(open_corpus(str(path), TextOptions(shares=(1, 0, 0))).train) == 3


def test_what_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(CorpusError) as caught:
        open_corpus("ptb-word", TextOptions())
    assert str(caught.value).split("\n  ") == [
        "The corpus ptb-word was asked for.",
        "There is no file or folder of that path, and no corpus of that name; nearest: ptb-words.",
        f"Give the path of a text, or one of: {', '.join(CORPORA)}.",
    ]
    with pytest.raises(OptionError, match=r"text\.min_count must be at least 1; it is 0\. text\.shares must"):
        open_corpus("ptb-words", TextOptions(min_count=0, shares=(0.5, 0.0, 0.0)))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CorpusError, match="neither a file nor a folder"):
        open_corpus(str(tmp_path / "pipe"), TextOptions())


def test_the_second_time_it_comes_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.txt.gz"
    path.write_bytes(gzip.compress(b"a b c\n" * 100))
    first = open_corpus(str(path), TextOptions())
    monkeypatch.setattr(TextFile, "lines", None)
    again = open_corpus(str(path), TextOptions())
    assert again.vocabulary == first.vocabulary
    for split in ("train", "valid", "test"):
        np.testing.assert_array_equal(again.split(split), first.split(split))
        assert isinstance(again.split(split), np.memmap)


def check_published(corpus: Corpus, tokens: list[int], types: int) -> None:
    assert [len(corpus.train), len(corpus.valid), len(corpus.test)] == tokens
    assert len(corpus.vocabulary) == types
    for ids in (corpus.train, corpus.valid):
        assert ids.max() < types


def test_ptb_words(data: Path) -> None:
    corpus = open_corpus("ptb-words", CORPORA["ptb-words"].options, data)
    check_published(corpus, [929_589, 73_760, 82_430], 10_000)
    assert corpus.vocabulary.tokens[:5] == ("the", "<unk>", "<eos>", "N", "of")
    counts = np.bincount(corpus.train)
    assert (np.diff(counts) <= 0).all()
    assert counts[corpus.vocabulary.end_id] == 42_068
    text = corpus.tokeniser.decode(corpus.test[:12], corpus.vocabulary)
    assert text == "no it was n't black monday\nbut while the new york"


def test_ptb_chars_from_words(data: Path) -> None:
    corpus = open_corpus("ptb-chars", CORPORA["ptb-chars"].options, data)
    check_published(corpus, [5_017_482, 393_042, 442_423], 50)
    assert corpus.tokeniser.decode(corpus.test[:30], corpus.vocabulary) == "no_it_was_n't_black_monday\nbut"


def test_tinyshakespeare(data: Path) -> None:
    corpus = open_corpus("tinyshakespeare", CORPORA["tinyshakespeare"].options, data)
    check_published(corpus, [1_059_624, 55_770, 0], 65)
    text = (data / "tinyshakespeare" / "input.txt").read_text()
    assert corpus.tokeniser.decode(corpus.valid, corpus.vocabulary) == text[-55_770:]
