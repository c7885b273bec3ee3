"""Documentation → English, rule by rule."""

import pytest

from elman.corpora.english import sentences


def test_code_titles_and_markup_go() -> None:
    text = """
    The "with" statement
    ********************

    The *with* statement is used to wrap a block with ``methods`` of :class:`~abc.Manager`:

       with_stmt ::= "with" item

    This is e.g. the same as the code that follows (see os.path.join(a, b)). It isn't new:

       with open(name) as file:
           data = file.read()

    >>> this prompt is to be left out of the text
    and so is the output that stands under it

    * An item of a list that is
      wrapped, and ends in a built-
      in name
    * Another item of it!

    mode -- how the file is to be opened
    """
    assert list(sentences(text)) == [
        "the with statement is used to wrap a block with methods of manager :",
        "this is for example the same as the code that follows ( see join ) .",
        "an item of a list that is wrapped , and ends in a built-in name .",
        "another item of it !",
        "how the file is to be opened .",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It has 3 of the 1,024 items in 2.5 seconds.", "it has N of the N items in N seconds ."),
        ("Return an 8-bit value of N items, or -1.", None),  # a minus is code
        ("Return an 8-bit value of N items.", "return an N-bit value of N items ."),
        ("The ‘quoted’ “text” is in the file…", "the quoted text is in the file ..."),
        ("Read it — i.e. the file – and close it", "read it -- that is the file -- and close it ."),
        ("Is this the end of (the text?", "is this the end of the text ?"),
        ("Some words of a text and/or a file;", "some words of a text and / or a file ."),
        ("It is the user's file, don't delete it", "it is the user's file , don't delete it ."),
        ("It is the first of these; or", "it is the first of these ."),
        ("Too short a text", "too short a text ."),
        ("Is short.", None),
        ("colour palette gradient shade tint hue", None),  # no everyday word
        ("The value of x = y + 1 is kept for the user.", None),
        ("x[i] of the list is the value of os.environ.get here", "x of the list is the value of get here ."),
        ("the word " * 45, None),  # too long
    ],
)
def test_a_sentence(text: str, expected: str | None) -> None:
    assert list(sentences(text)) == ([expected] if expected else [])


def test_sentences_are_parted() -> None:
    text = "This is the first one (of all.) The second is e.g. this. a third is not begun. And so it is."
    assert list(sentences(text)) == [
        "this is the first one of all .",
        "the second is for example this . a third is not begun .",
        "and so it is .",
    ]
