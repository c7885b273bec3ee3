"""The figures show the numbers, name the lines and do without matplotlib politely."""

import itertools
import re
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import MissingExtraError
from elman.insight import figures
from elman.insight.curves import Curve

CURVES = [
    Curve("Elman", [0.0, 10.0, 20.0], [400.0, 200.0, 100.0]),
    Curve("LSTM", [0.0, 10.0, 20.0], [400.0, 100.0, 50.0]),
]


def drawn(svg: str, name: str) -> np.ndarray:
    """The points of the longest line in the colour of ``name``; y grows downwards."""
    paths = re.findall(rf'<path d="([^"]+)"[^>]*style="[^"]*stroke: var\(--{name}\)[^"]*"', svg)
    longest = max(paths, key=lambda path: path.count("L"))
    return np.array([[float(x), float(y)] for x, y in re.findall(r"[ML] (\S+) (\S+)", longest)])


def test_the_lines_drawn_are_the_curves_on_a_logarithmic_axis() -> None:
    svg = figures.curves_picture(CURVES, ("5-gram", 100.0)).wide
    elman, lstm = drawn(svg, "elman"), drawn(svg, "lstm")
    steps = np.diff(elman[:, 1])  # 400 → 200 → 100: two equal ways down
    assert steps[0] > 0
    assert steps[1] == pytest.approx(steps[0], rel=1e-3)
    np.testing.assert_allclose(np.diff(lstm[:, 1]), [2 * steps[0], steps[0]], rtol=1e-3)
    np.testing.assert_allclose(np.diff(elman[:, 0]), np.diff(elman[:, 0])[0], rtol=1e-3)
    level = drawn(svg, "5-gram")
    assert level[:, 1] == pytest.approx([elman[2, 1]] * len(level), abs=1e-3)  # 100, where Elman ends
    for said in ("Elman  100", "LSTM  50", "5-gram  100"):
        assert said in svg


def test_the_gradient_falls_straight_where_it_falls_by_the_same_share() -> None:
    flows = [
        figures.Flow("Elman", 0.5 ** np.arange(11.0), trained=True),
        figures.Flow("LSTM", np.ones(11), trained=True),
    ]
    svg = figures.gradient_picture(flows).narrow
    elman, lstm = drawn(svg, "elman"), drawn(svg, "lstm")
    assert np.ptp(lstm[:, 1]) < 1e-3
    slopes = np.diff(elman[:, 1]) / np.diff(elman[:, 0])
    assert slopes[0] > 0
    assert slopes == pytest.approx(slopes[0], rel=1e-2)


def test_a_line_that_leaves_through_the_bottom_is_named_where_it_does() -> None:
    flows = [
        figures.Flow("GRU", 0.1 ** np.arange(31.0), trained=False),
        figures.Flow("LSTM", np.ones(31), trained=True),
    ]
    svg = figures.gradient_picture(flows).wide
    assert ">GRU</text>" in svg
    assert ">LSTM</text>" in svg
    assert "before training" in svg


def test_the_same_numbers_give_the_same_picture() -> None:
    assert figures.curves_picture(CURVES, ("5-gram", 90.0)) == figures.curves_picture(
        CURVES, ("5-gram", 90.0)
    )


def test_the_png_is_a_picture_of_the_size_said() -> None:
    png = figures.curves_picture(CURVES, ("5-gram", 90.0)).png
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert [int.from_bytes(png[i : i + 4], "big") for i in (16, 20)] == [2 * size for size in figures.WIDE]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_names_keep_their_order_and_their_distance_within_the_figure(heights: list[float]) -> None:
    placed = figures._apart(sorted(heights), 0.06)
    assert all(b - a >= 0.06 - 1e-6 for a, b in itertools.pairwise(placed))
    assert placed[0] >= -1e-9
    assert placed[-1] <= 1 + 1e-9


def test_names_at_the_bottom_stand_on_no_line_and_on_no_other_name() -> None:
    Span, beside = figures.Span, figures._beside
    elman, gru = Span(0.25, 0.5), Span(0.53125, 0.625)
    assert beside([gru], [elman, gru], 0.125) == [0.625]  # right of its line
    assert beside([elman], [elman, gru], 0.125) == [0.125]  # no room on the right: left of it
    assert beside([elman, gru], [elman, gru], 0.125) == [0.125, 0.625]
    assert beside([elman, gru], [elman, gru], 0.375) == [0.625, 1.0]  # nor on the left: the next gap
    close = Span(0.75, 0.8125)  # 0.125 right of GRU, where a name of 0.125 just fits
    assert beside([gru, close], [elman, gru, close], 0.125) == [0.625, 0.8125]
    dashed = Span(0.5, 0.75)  # crosses the first: a line without a name is kept clear of too
    assert beside([elman], [elman, dashed], 0.125) == [0.125]


def text_at(svg: str, name: str) -> tuple[float, float]:
    """Where the first letter of a name stands."""
    found = re.search(rf"translate\((\S+) (\S+)\)[^>]*>{name}</text>", svg) or re.search(
        rf'x="(\S+)" y="(\S+)"[^>]*>{name}</text>', svg
    )
    assert found is not None
    return float(found[1]), float(found[2])


@pytest.mark.parametrize("kind", ["wide", "narrow"])
def test_of_two_lines_that_leave_each_is_named_on_its_right(kind: str) -> None:
    """As in the demo: GRU between Elman before training and after it, and that at the right edge."""
    flows = [
        figures.Flow("Elman", 10 ** (-6 / 25 * np.arange(51.0)), trained=False),
        figures.Flow("GRU", 10 ** (-6 / 29 * np.arange(51.0)), trained=False),
        figures.Flow("Elman", 10 ** (-6 / 49 * np.arange(51.0)), trained=True),
    ]
    svg = getattr(figures.gradient_picture(flows), kind)
    left = drawn(svg, "elman")[:, 0].min()
    right = text_at(svg, "50")[0]  # the last tick's, whose middle is the axis's end
    gru, elman = text_at(svg, "GRU"), text_at(svg, "Elman")
    assert 0.58 < (gru[0] - left) / (right - left) < 0.64
    assert elman[0] > right - 1


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError) as missing:
        figures.curves_picture(CURVES, ("5-gram", 90.0))
    assert str(missing.value).splitlines() == [
        "Figures were asked for.",
        "  They are drawn by matplotlib, which is not installed.",
        "  Install it with: pip install 'elman[report]'",
    ]
