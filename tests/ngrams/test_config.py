from elman.ngrams import CountedOptions


def test_what_can_be_used_has_no_problems() -> None:
    assert CountedOptions().problems() == []
    assert CountedOptions(order=9, cutoffs=(1, 1, 1, 1, 1, 2, 3, 6, 8)).problems() == []
    assert CountedOptions(order=2, smoothing="witten-bell").problems() == []


def test_every_problem_is_a_sentence_that_names_its_key() -> None:
    assert CountedOptions(order=0, smoothing="kneser", cutoffs=(1, 0)).problems() == [
        "model.order must be a whole number from 1 to 20; it is 0.",
        "model.smoothing must be one of modified-kneser-ney, witten-bell, absolute-discounting; it is "
        '"kneser".',
        "model.cutoffs must have one number for each of the 0 orders; it has 2.",
        "model.cutoffs must be whole numbers from 1; they are [1, 0].",
    ]
