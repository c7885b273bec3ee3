"""Drawing a token: frequencies against the distribution asked for, and what each cut leaves."""

import math

import pytest
import torch
from torch import Tensor

from elman.decoding import choose_token
from elman.errors import OptionError

P = torch.tensor([0.1, 0.4, 0.2, 0.3], dtype=torch.float64)  # likeliest first: 1, 3, 2, 0
DRAWS = 40_000


def frequencies(p: Tensor = P, **options: float) -> Tensor:
    generator = torch.Generator().manual_seed(11)
    ids = choose_token(p.log().expand(DRAWS, -1), generator=generator, **options)  # type: ignore[arg-type]
    return torch.bincount(ids, minlength=len(p)).double() / DRAWS


def close(found: Tensor, expected: list[float]) -> None:
    """Within four standard errors; exactly zero where nothing may be drawn."""
    for p, q in zip(found.tolist(), expected, strict=True):
        assert abs(p - q) <= 4 * math.sqrt(q * (1 - q) / DRAWS)


def test_plain_draws_follow_the_distribution() -> None:
    close(frequencies(), P.tolist())


@pytest.mark.parametrize("temperature", [0.5, 1.7])
def test_temperature_raises_probabilities_to_its_inverse(temperature: float) -> None:
    expected = P ** (1 / temperature)
    close(frequencies(temperature=temperature), (expected / expected.sum()).tolist())


def test_probabilities_need_not_be_normalised() -> None:
    close(frequencies(p=P * 40), P.tolist())


@pytest.mark.parametrize(
    ("top_k", "kept"), [(1, [1]), (2, [1, 3]), (3, [1, 3, 2]), (4, [0, 1, 2, 3]), (9, [0, 1, 2, 3])]
)
def test_top_k_keeps_the_likeliest(top_k: int, kept: list[int]) -> None:
    expected = torch.zeros(4, dtype=torch.float64)
    expected[kept] = P[kept] / P[kept].sum()
    close(frequencies(top_k=top_k), expected.tolist())


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
        (1e-9, [1]),
        (0.39, [1]),
        (0.41, [1, 3]),
        (0.69, [1, 3]),
        (0.71, [1, 3, 2]),
        (0.91, [0, 1, 2, 3]),
        (1.0, [0, 1, 2, 3]),
    ],
)
def test_top_p_keeps_the_fewest_whose_sum_reaches_it(top_p: float, kept: list[int]) -> None:
    expected = torch.zeros(4, dtype=torch.float64)
    expected[kept] = P[kept] / P[kept].sum()
    close(frequencies(top_p=top_p), expected.tolist())


def test_a_sum_that_is_just_reached_is_enough() -> None:
    close(frequencies(p=torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64), top_p=0.5), [0, 1, 0])


def test_temperature_comes_before_the_nucleus() -> None:
    """At temperature 0.5 two tokens hold 0.16/0.30 + 0.09/0.30 = 0.83 ≥ 0.8; at 1 it takes three."""
    close(frequencies(top_p=0.8, temperature=0.5), [0, 0.64, 0, 0.36])
    close(frequencies(top_p=0.8), [0, 4 / 9, 2 / 9, 3 / 9])


def test_top_k_comes_before_the_nucleus_and_is_renormalised() -> None:
    """Of three kept, two hold 7/9 ≥ 0.75; of all four, 0.7 < 0.75."""
    close(frequencies(top_k=3, top_p=0.75), [0, 4 / 7, 0, 3 / 7])
    close(frequencies(top_p=0.75), [0, 4 / 9, 2 / 9, 3 / 9])


def test_greedy_takes_the_likeliest_and_of_equals_the_first() -> None:
    rows = torch.tensor([[0.1, 0.6, 0.3], [0.45, 0.1, 0.45]]).log()
    assert choose_token(rows, greedy=True).tolist() == [1, 0]


@pytest.mark.parametrize(("temperature", "expected"), [(1e-320, [0, 1, 0, 0]), (1e300, [0.25] * 4)])
def test_extreme_temperatures_have_their_limits(temperature: float, expected: list[float]) -> None:
    close(frequencies(temperature=temperature), expected)


def test_what_is_impossible_is_never_drawn() -> None:
    p = torch.tensor([0.0, 0.3, 0.0, 0.7, 0.0], dtype=torch.float64)
    close(frequencies(p=p), p.tolist())
    close(frequencies(p=p, temperature=50.0)[[0, 2, 4]], [0, 0, 0])


def test_a_seed_repeats_and_another_differs() -> None:
    rows = torch.randn(200, 50)
    first, second, other = (choose_token(rows, generator=torch.Generator().manual_seed(s)) for s in (4, 4, 5))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_with_a_generator_each_rows_do_not_depend_on_their_neighbours() -> None:
    rows = torch.randn(3, 50).expand(3, 50)

    def draw(seeds: list[int]) -> list[int]:
        return choose_token(
            rows[: len(seeds)], generator=[torch.Generator().manual_seed(s) for s in seeds]
        ).tolist()

    assert draw([7, 8, 9])[:2] == draw([7, 8])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"temperature": 0.0}, "temperature is 0.0; it must be above 0."),
        ({"temperature": float("nan")}, "temperature is nan; it must be above 0."),
        ({"temperature": float("inf")}, "temperature is inf; it must be above 0."),
        ({"top_k": 0}, "top_k is 0; it must be 1 or more."),
        ({"top_p": 0.0}, "top_p is 0.0; it must be above 0, up to 1."),
        ({"top_p": 1.1}, "top_p is 1.1; it must be above 0, up to 1."),
        (
            {"greedy": True, "top_k": 5},
            "greedy takes the likeliest token: temperature, top_k and top_p change nothing.",
        ),
        (
            {"top_k": -1, "top_p": -1.0},
            "top_k is -1; it must be 1 or more. top_p is -1.0; it must be above 0, up to 1.",
        ),
    ],
    ids=str,
)
def test_values_out_of_range(options: dict[str, float], said: str) -> None:
    with pytest.raises(OptionError) as error:
        choose_token(torch.zeros(1, 3), **options)  # type: ignore[arg-type]
    assert str(error.value) == (
        f"A token was to be drawn.\n  {said}\n"
        "  For the likeliest token each time use greedy; for the plain distribution leave all out."
    )
