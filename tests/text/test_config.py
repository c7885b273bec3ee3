"""Every option that cannot be used is named, all at once."""

from elman.text import TextOptions


def test_defaults_are_fine() -> None:
    assert TextOptions().problems() == []
    assert TextOptions("characters", vocabulary_size=2, min_count=2, shares=(0.7, 0.2, 0.1)).problems() == []
    assert TextOptions("words", "punctuation", lowercase=True, shares=(1, 0, 0)).problems() == []


def test_all_problems_are_listed() -> None:
    options = TextOptions("letters", "commas", vocabulary_size=1, min_count=0, shares=(0.5, 0.2, 0.2))
    assert options.problems() == [
        'text.unit must be "words" or "characters"; it is "letters".',
        'text.split must be "whitespace" or "punctuation"; it is "commas".',
        "text.vocabulary_size must be at least 2 for letters; it is 1.",
        "text.min_count must be at least 1; it is 0.",
        "text.shares must add up to 1; [0.5, 0.2, 0.2] adds up to 0.9.",
    ]


def test_combinations() -> None:
    assert TextOptions(vocabulary_size=2).problems() == [
        "text.vocabulary_size must be at least 3 for words; it is 2."
    ]
    assert TextOptions("characters", "punctuation").problems() == [
        'text.split = "punctuation" is for words; text.unit is "characters".'
    ]
    for shares in ((0.0, 0.5, 0.5), (1.2, -0.1, -0.1), (0.5, 0.5)):
        assert TextOptions(shares=shares).problems() == [  # type: ignore[arg-type]
            "text.shares must be three numbers from 0 to 1, the first above 0 (train, valid, test); "
            f"it is {list(shares)}."
        ]
