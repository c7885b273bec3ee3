"""The order of the ids, what is cut, what is unknown, and reading back what was written."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.errors import TextError, TokenError
from elman.text import TextOptions, Vocabulary

COUNTS = {"the": 9, "cat": 3, "sat": 3, "<eos>": 4, "dog": 1, "a": 1}


def test_most_frequent_first_then_by_code_point() -> None:
    v = Vocabulary.build(COUNTS, TextOptions())
    assert v.tokens == ("the", "<eos>", "cat", "sat", "a", "dog", "<unk>")
    assert (v.end_id, v.unknown_id, v.start_id) == (1, 6, 1)


def test_the_order_does_not_hang_on_the_order_of_counting() -> None:
    reverse = dict(reversed(list(COUNTS.items())))
    assert Vocabulary.build(COUNTS, TextOptions()) == Vocabulary.build(reverse, TextOptions())


def test_cut_tokens_count_as_unknown() -> None:
    # <unk> gathers dog 1 + a 1 + cat 3 and its own 2 = 7: behind "the", before <eos> 4
    v = Vocabulary.build(COUNTS | {"<unk>": 2, "sat": 5}, TextOptions(vocabulary_size=4))
    assert v.tokens == ("the", "<unk>", "sat", "<eos>")
    v = Vocabulary.build(COUNTS, TextOptions(min_count=3))
    assert v.tokens == ("the", "<eos>", "cat", "sat", "<unk>")
    assert v.ids(["dog", "cat", "zebra"]).tolist() == [4, 2, 4]


def test_a_literal_unk_is_an_ordinary_entry() -> None:
    v = Vocabulary.build({"x": 1, "<unk>": 5, "<eos>": 2}, TextOptions())
    assert v.tokens == ("<unk>", "<eos>", "x")
    assert v.unknown_id == 0


def test_characters_have_an_unknown_one_only_where_some_are_cut() -> None:
    counts = {"a": 5, "\n": 3, "z": 1}
    v = Vocabulary.build(counts, TextOptions("characters"))
    assert (v.tokens, v.unknown, v.end, v.start_id) == (("a", "\n", "z"), None, None, 1)
    v = Vocabulary.build(counts, TextOptions("characters", min_count=2))
    assert (v.tokens, v.unknown_id) == (("a", "\n", "\ufffd"), 2)
    assert Vocabulary(["b", "a"]).start_id == 0  # no line end: the most frequent


def test_an_unknown_token_is_named_with_the_nearest() -> None:
    v = Vocabulary(["house", "mouse", "tree"])
    with pytest.raises(TokenError) as caught:
        v.ids(["tree", "hause"])
    assert str(caught.value).split("\n  ") == [
        "The token 'hause' was to be given an id.",
        "The vocabulary has 3 tokens, not this one, and none for unknown ones; the nearest is 'house'.",
        "Use the training text's tokens, or train with text.min_count = 2: rare ones become unknown.",
    ]


@pytest.mark.parametrize(("asked", "nearest"), [("É", "E"), ("Q", "q"), (" ", "_")])
def test_an_unknown_character_is_named_with_the_nearest(asked: str, nearest: str) -> None:
    v = Vocabulary(["E", "q", "_", "1"])
    with pytest.raises(TokenError) as caught:
        v.id(asked)
    assert caught.value.came == (
        "The vocabulary has 4 characters, not this one, and none for unknown ones; "
        f"the nearest is {nearest!r}."
    )


def test_what_makes_no_vocabulary() -> None:
    for tokens, unknown, came in (
        (["a", "b", "a"], None, "A token stands in it twice."),
        ([], None, "It has no token."),
        (["a"], "<unk>", "'<unk>' is not among its tokens."),
    ):
        with pytest.raises(TokenError) as caught:
            Vocabulary(tokens, unknown)
        assert caught.value.came == came


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(min_size=1), min_size=2, unique=True), st.booleans())
def test_saved_and_loaded_it_is_the_same(tokens: list[str], special: bool) -> None:
    v = Vocabulary(tokens, unknown=tokens[0] if special else None, end=tokens[-1] if special else None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "vocabulary.json")
        v.save(path)
        back = Vocabulary.load(path)
        assert back == v
        assert back.digest == v.digest
        assert hash(back) == hash(v)
        assert json.loads(path.read_text("utf-8"))["tokens"] == tokens


def test_the_digest_tells_vocabularies_apart() -> None:
    made = [
        Vocabulary(["a", "b"]),
        Vocabulary(["b", "a"]),
        Vocabulary(["a", "b"], unknown="a"),
        Vocabulary(["a", "b"], end="a"),
        Vocabulary(["a,b"]),
    ]
    assert len({v.digest for v in made}) == len(set(made)) == len(made)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1, 2]",
        '{"format": "elman vocabulary 1", "unknown": null, "end": null}',
        '{"format": "elman vocabulary 2", "unknown": null, "end": null, "tokens": ["a"]}',
        '{"format": "elman vocabulary 1", "unknown": 3, "end": null, "tokens": ["a"]}',
        '{"format": "elman vocabulary 1", "unknown": null, "end": null, "tokens": ["a", 1]}',
    ],
)
def test_a_damaged_file_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_text(text)
    with pytest.raises(TextError) as caught:
        Vocabulary.load(path)
    assert str(caught.value).split("\n  ") == [
        f"{path} was to be read as a vocabulary.",
        'It is not a whole JSON file with "format": "elman vocabulary 1", "unknown", "end" and "tokens".',
        "Take it from the run folder it belongs to, or train again.",
    ]


def test_ids_are_int64() -> None:
    assert Vocabulary(["a", "b"]).ids("bab").tolist() == [1, 0, 1]
    assert Vocabulary(["a", "b"]).ids([]).dtype == np.int64
