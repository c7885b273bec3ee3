"""The page is well formed, needs nothing beside it, and shows what it was given."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from elman.insight import figures, report
from elman.insight.curves import Curve

VOID = {"meta", "br", "hr", "img", "link"}


class Checker(HTMLParser):
    """Every tag is closed by its own; what is loaded from elsewhere is noted."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        given = {name: value or "" for name, value in attrs}
        self.loaded += [given[name] for name in ("src", "href", "xlink:href") if name in given]
        if tag in ("script", "link", "iframe", "object"):
            self.loaded.append(tag)
        self.ids += [given["id"]] if "id" in given else []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def checked(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.open == []
    return checker


@pytest.fixture(scope="module")
def pictures() -> tuple[figures.Picture, figures.Picture]:
    lines = [
        Curve("Elman", [5.0, 10.0, 20.0], [310.0, 205.0, 151.0]),
        Curve("LSTM", [6.0, 12.0, 24.0], [330.0, 180.0, 121.0]),
    ]
    k = np.arange(31)
    flows = [
        figures.Flow("Elman", 0.5**k, trained=False),
        figures.Flow("Elman", 0.7**k, trained=True),
        figures.Flow("GRU", 0.55**k, trained=False),
        figures.Flow("LSTM", 0.9**k, trained=True),
    ]
    return figures.curves_picture(lines, ("5-gram", 140.0)), figures.gradient_picture(flows)


def test_a_page_with_everything_is_well_formed_and_needs_nothing_beside_it(pictures) -> None:  # type: ignore[no-untyped-def]
    html = report.page(
        "A <title> & more",
        "lead",
        [
            report.section("S & T", report.table([report.Row("LSTM", 1234, 5.0, 98.76)], "c < d")),
            report.section("F", *(report.figure(picture, 'says "x"', "caption") for picture in pictures)),
            report.section("W", report.samples([report.Samples("LSTM", "if", [" a <unk> <b>"])], "<unk>")),
            report.section(
                "G",
                report.commands([report.Command("do", 'elman generate x --prompt "a"')]),
                report.missing("no"),
            ),
        ],
        "foot",
    )
    page = checked(html)
    assert [target for target in page.loaded if not target.startswith("#")] == []
    assert len(page.ids) == len(set(page.ids))
    used = {target[1:] for target in page.loaded} | set(re.findall(r"url\(#([^)]+)\)", html))
    assert used <= set(page.ids)
    assert "<h1>A &lt;title&gt; &amp; more</h1>" in html
    assert "c &lt; d" in html
    assert "<b>if</b> a <i>&lt;unk&gt;</i> &lt;b&gt;" in html


def test_the_best_row_stands_out_and_bars_are_as_long_as_perplexities() -> None:
    html = report.table(
        [report.Row("Elman", 10, 2.0, 200.0), report.Row("LSTM + 5-gram", 1_234_567, 3.25, 50.0)], ""
    )
    first, second = re.findall(r"<tr.*?</tr>", html)[1:]
    assert "class=best" not in first
    assert "class=best" in second
    assert "width: 100%" in first
    assert "width: 25%" in second
    assert "--own: var(--lstm-5-gram)" in second
    assert "<td>1,234,567</td><td>3.2</td><td>50.0" in second


def test_the_5_of_5_gram_is_not_left_at_the_end_of_a_line() -> None:
    assert report.paragraph("a 5-gram, 5-grams & 3-2") == "<p>a 5&#8209;gram, 5&#8209;grams &amp; 3-2</p>"


def test_every_colour_is_left_to_the_page_which_has_it_light_and_dark(pictures) -> None:  # type: ignore[no-untyped-def]
    light, dark = report.STYLE.split("@media (prefers-color-scheme: dark)", 1)
    for svg in (svg for picture in pictures for svg in (picture.wide, picture.narrow)):
        assert not re.findall(r"#[0-9a-f]{6}", svg)
    names = {report.variable(name) for name in figures.COLOURS}
    for name in names:
        assert f"--{name}: #" in light
        assert f"--{name}: #" in dark
    used = set(re.findall(r"var\(--([\w-]+)\)", "".join(picture.wide for picture in pictures)))
    assert used <= names | {"sans"}
    for name, colour in figures.COLOURS.items():
        assert f"--{report.variable(name)}: {colour}" in light
