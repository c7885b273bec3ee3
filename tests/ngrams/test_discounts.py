import numpy as np
import pytest

from elman.ngrams.discounts import estimate_discounts, share_out


def spread(n1: int, n2: int, n3: int, n4: int, more: int = 2) -> np.ndarray:
    """Counts of which n1 are 1, n2 are 2, n3 are 3, n4 are 4, and ``more`` larger."""
    return np.repeat([1, 2, 3, 4, 9], [n1, n2, n3, n4, more])


def test_modified_kneser_ney_discounts_worked_by_hand(quiet) -> None:
    """n = 3, 2, 1, 1: Y = 3/7; D₁ = 1 − 2·3/7·2/3 = 3/7; D₂ = 2 − 3·3/7·1/2 = 19/14; D₃ = 3 − 4·3/7 = 9/7."""
    found = estimate_discounts(2, spread(3, 2, 1, 1), "modified-kneser-ney", quiet)
    np.testing.assert_allclose(found, [0, 3 / 7, 19 / 14, 9 / 7], rtol=1e-15)


def test_absolute_discount_worked_by_hand(quiet) -> None:
    found = estimate_discounts(2, spread(3, 2, 0, 0), "absolute-discounting", quiet)
    np.testing.assert_allclose(found, [0, 3 / 7, 3 / 7, 3 / 7], rtol=1e-15)


@pytest.mark.parametrize(
    ("counts", "said", "discounts"),
    [
        # No 3-gram three times: Y = 8/(8+6) = 4/7.
        (
            spread(8, 3, 0, 2),
            "Order 3: modified Kneser–Ney cannot be estimated (no 3-gram has the count 3); "
            "absolute discounting by 0.571 is used for this order.",
            [0, 4 / 7, 4 / 7, 4 / 7],
        ),
        # n = 4, 1, 6, 5: Y = 4/6, D₂ = 2 − 3·(2/3)·6 = −10.
        (
            spread(4, 1, 6, 5),
            "Order 3: modified Kneser–Ney cannot be estimated (the discount of count 2 would be -10.000); "
            "absolute discounting by 0.667 is used for this order.",
            [0, 2 / 3, 2 / 3, 2 / 3],
        ),
        (
            spread(0, 3, 2, 2),
            "Order 3: modified Kneser–Ney cannot be estimated (no 3-gram has the count 1); "
            "Witten–Bell is used for this order.",
            None,
        ),
        (
            spread(4, 0, 2, 2),
            "Order 3: modified Kneser–Ney cannot be estimated (no 3-gram has the count 2); "
            "Witten–Bell is used for this order.",
            None,
        ),
        (
            np.zeros(0, np.int64),
            "Order 3: modified Kneser–Ney cannot be estimated (no 3-gram has the count 1); "
            "Witten–Bell is used for this order.",
            None,
        ),
    ],
)
def test_what_cannot_be_estimated_is_replaced_aloud(counts, said, discounts) -> None:
    heard: list[str] = []
    found = estimate_discounts(3, counts, "modified-kneser-ney", heard.append)
    assert heard == [said]
    assert (found is None) == (discounts is None)
    if discounts is not None:
        np.testing.assert_allclose(found, discounts, rtol=1e-15)


def test_absolute_discounting_gives_way_to_witten_bell_aloud() -> None:
    heard: list[str] = []
    assert estimate_discounts(1, spread(5, 0, 1, 1), "absolute-discounting", heard.append) is None
    assert heard == [
        "Order 1: absolute discounting cannot be estimated (no 1-gram has the count 2); "
        "Witten–Bell is used for this order."
    ]


def test_shares_worked_by_hand() -> None:
    """Context 0: counts 1, 2, 5; context 1: nothing; context 2: count 4 and a word never seen."""
    counts, context = np.array([1, 2, 5, 4, 0]), np.array([0, 0, 0, 2, 2])
    own, left = share_out(counts, context, 3, np.array([0, 0.5, 1.25, 1.5]))
    np.testing.assert_allclose(own, [0.5 / 8, 0.75 / 8, 3.5 / 8, 2.5 / 4, 0])
    np.testing.assert_allclose(left, [3.25 / 8, 1, 1.5 / 4])
    own, left = share_out(counts, context, 3, None)  # Witten–Bell: 8 + 3 kinds, 4 + 1 kind
    np.testing.assert_allclose(own, [1 / 11, 2 / 11, 5 / 11, 4 / 5, 0])
    np.testing.assert_allclose(left, [3 / 11, 1, 1 / 5])


@pytest.fixture
def quiet():
    def say(message: str) -> None:
        pytest.fail(f"nothing should have been said, but: {message}")

    return say
