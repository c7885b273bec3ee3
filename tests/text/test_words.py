"""Words by hand, text → ids → text, and reading from files as from memory."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.text import TextFile, TextOptions, Vocabulary, Words, tokeniser

WORDS = ["the", "dog's", "well-known", "3.14", "7,000", "x_1", "N", "<unk>", "naïve"]
MARKS = [",", ".", "...", "!", "(", ")", "[", "]", "--", '"', "'", "%", "$", ";", "(("]


def test_white_space_is_all_that_separates() -> None:
    assert Words().tokens(" no , it was n't\tblack\xa0Monday \r\n") == (
        ["no", ",", "it", "was", "n't", "black", "Monday", "<eos>"]
    )
    assert Words(lowercase=True).tokens("Black MONDAY") == ["black", "monday", "<eos>"]


@pytest.mark.parametrize(
    ("line", "tokens"),
    [
        ("Hello, world!", ["Hello", ",", "world", "!"]),
        ("the <unk>, <eos>-like", ["the", "<unk>", ",", "<eos>", "-", "like"]),
        ("$3.50 or 1,000.", ["$", "3.50", "or", "1,000", "."]),
        ("rock'n'roll’s 'tis", ["rock'n'roll’s", "'", "tis"]),
        ("wait... what?!", ["wait", "...", "what", "?", "!"]),
        ("3rd x2 a-b- c", ["3rd", "x2", "a-b", "-", "c"]),
        ("a<b", ["a", "<", "b"]),
    ],
)
def test_punctuation_stands_alone(line: str, tokens: list[str]) -> None:
    assert Words("punctuation").tokens(line) == [*tokens, "<eos>"]


@pytest.mark.parametrize("blank", ["", " \t ", "\n", "\u2028"])
def test_blank_lines_are_no_sentences(blank: str) -> None:
    assert Words().tokens(blank) == []
    assert Words("punctuation").tokens(blank) == []


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(WORDS + MARKS), min_size=1), min_size=1), st.booleans())
def test_ids_become_text_and_the_same_ids(lines: list[list[str]], separated: bool) -> None:
    words = Words("punctuation" if separated else "whitespace")
    v = Vocabulary(["<eos>", "((", *WORDS, *MARKS[:-1]], unknown="<unk>", end="<eos>")
    ids = v.ids([token for line in lines for token in [*line, "<eos>"]])[:-1]
    text = words.decode(ids, v)
    np.testing.assert_array_equal(words.encode(text, v), ids)
    if not separated:
        assert text == "\n".join(" ".join(line) for line in lines)


def test_generated_text_reads_well() -> None:
    words = Words("punctuation")
    tokens = ["the", "value", "(", "if", "any", ")", ",", "is", "N", "%", ".", "<eos>", "(", "so"]
    v = Vocabulary(sorted(set(tokens)), end="<eos>")
    assert words.decode(v.ids(tokens), v) == "the value (if any), is N%.\n(so"


def test_a_prompt_is_not_ended_and_a_line_is() -> None:
    v = Vocabulary(["<eos>", "a", "b", "<unk>"], unknown="<unk>", end="<eos>")
    assert Words().encode("a b", v).tolist() == [1, 2]
    assert Words().encode("a b\n\n \nc\n", v).tolist() == [1, 2, 0, 3, 0]
    assert Words().encode("", v).tolist() == []


def test_a_file_gives_what_its_lines_give(tmp_path: Path) -> None:
    lines = [f"w{number % 977} w{number % 13}, x" if number % 5 else " " for number in range(60_000)]
    path = tmp_path / "t.txt"
    path.write_text("\n".join(lines))  # the last line has no end, and ends all the same
    words = tokeniser(TextOptions(split="punctuation"))
    expected = [token for line in lines for token in words.tokens(line)]
    counts = words.count(TextFile(path))
    assert counts == Counter(expected)
    v = Vocabulary.build(counts, TextOptions())
    blocks = list(words.encode_source(TextFile(path), v))
    assert len(blocks) > 2
    np.testing.assert_array_equal(np.concatenate(blocks), v.ids(expected))
