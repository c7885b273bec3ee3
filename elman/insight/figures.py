"""The figures, drawn by matplotlib: the one file that imports it.

Every figure is drawn three times from the same numbers: a wide and a narrow SVG whose colours are CSS
variables, so that a page turns them dark and a phone gets letters it can show, and a PNG for elsewhere.
"""

import io
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from elman.errors import MissingExtraError
from elman.insight.curves import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# One colour per model, told apart without red and green; the page has each again, for the dark.
COLOURS = {
    "5-gram": "#6a6f7a",
    "Elman": "#c8561b",
    "GRU": "#2b8a5f",
    "LSTM": "#2a5fc4",
    "LSTM + 5-gram": "#7d3fb2",
    "ink": "#23262d",
    "faint": "#d9dbe0",
}
WIDE, NARROW = (760, 400), (372, 372)  # px: what a column of text and a phone are wide
LEAST_SHARE = 1e-6  # of the gradient: below is the bottom of the figure


class Picture(NamedTuple):
    """One figure: ``wide`` and ``narrow`` are SVG elements to be put into a page, ``png`` a file's bytes."""

    wide: str
    narrow: str
    png: bytes


class Flow(NamedTuple):
    """One line of the gradient figure: shares of the gradient by distance, of a cell trained or fresh."""

    name: str
    relative: np.ndarray
    trained: bool


class Label(NamedTuple):
    """What is written where a line leaves: ``place`` up the right side or along the bottom, 0 … 1."""

    place: float
    text: str
    colour: str


class Span(NamedTuple):
    """From where to where along the bottom, 0 … 1, a line or a name takes the room just above it."""

    start: float
    end: float


def curves_picture(curves: Sequence[Curve], level: tuple[str, float]) -> Picture:
    """Validation perplexity against seconds; ``level``: a model without steps, as a horizontal line."""

    def draw(axes: "Axes", wide: bool) -> None:
        name, height = level
        points = [value for curve in curves for value in curve.perplexity] + [height]
        top = min(max(points), 12 * min(points))
        low, high = np.log(min(points) * 0.93), np.log(top * 1.06)
        axes.set_yscale("log")
        axes.set_ylim(float(np.exp(low)), float(np.exp(high)))
        _plain_ticks(axes, np.exp(low), np.exp(high))
        axes.axhline(height, color=_colour(name), lw=2, dashes=(5, 3))
        ends = [(height, name)]
        for curve in curves:
            axes.plot(curve.seconds, curve.perplexity, color=_colour(curve.name), lw=2.4, clip_on=True)
            axes.plot(curve.seconds[-1:], curve.perplexity[-1:], "o", color=_colour(curve.name), ms=6)
            ends.append((curve.perplexity[-1], curve.name))
        axes.set_xlim(0, 1.03 * max(curve.seconds[-1] for curve in curves))
        axes.set_xlabel("seconds of training")
        _title(axes, "perplexity on the validation text (lower is better)", wide)
        _label_ends(
            axes,
            [
                Label(
                    (np.log(value) - low) / (high - low),
                    f"{text}  {value:.0f}" if wide else f"{text} {value:.0f}",
                    _colour(text),
                )
                for value, text in ends
            ],
        )

    return _picture("curves", draw)


def gradient_picture(flows: Sequence[Flow]) -> Picture:
    """The share of the gradient left by distance, logarithmic; dashed before training, solid after it."""

    def draw(axes: "Axes", wide: bool) -> None:
        top = max(2.0, 1.3 * max(float(flow.relative.max()) for flow in flows))
        low, high = np.log10(LEAST_SHARE), np.log10(top)
        axes.set_yscale("log")
        axes.set_ylim(LEAST_SHARE, top)
        exponents = range(int(low), int(high) + 1)
        axes.set_yticks([10.0**e for e in exponents], [_share(e) for e in exponents])
        axes.yaxis.set_minor_locator(_matplotlib().ticker.NullLocator())
        trained = {flow.name for flow in flows if flow.trained}
        last = max(len(flow.relative) for flow in flows) - 1
        strip = LEAST_SHARE * (top / LEAST_SHARE) ** 0.08  # what names just above the bottom reach up to
        ends: list[Label] = []
        exits: list[tuple[Span, Flow]] = []
        low_down: list[Span] = []
        for flow in flows:
            colour, steps = _colour(flow.name), np.arange(len(flow.relative))
            shown = np.where(flow.relative > 0, flow.relative, LEAST_SHARE * 1e-3)
            if flow.trained:
                axes.plot(steps, shown, color=colour, lw=2.4)
            else:
                axes.plot(steps, shown, color=colour, lw=1.6, dashes=(3, 2.2))
            out = _falls_below(shown, LEAST_SHARE) / last if shown[-1] < LEAST_SHARE else None
            if shown[-1] < strip:
                low_down.append(Span(_falls_below(shown, strip) / last, 1.0 if out is None else out))
            if flow.trained or flow.name not in trained:
                if out is None:
                    ends.append(Label((np.log10(shown[-1]) - low) / (high - low), flow.name, colour))
                else:
                    exits.append((low_down[-1], flow))
        axes.set_xlim(0, last)
        axes.set_xlabel("words back from the loss" if wide else "words back")
        _title(axes, "share of the gradient that is left", wide, pad=34)
        exits.sort(key=lambda leaving: leaving[0].end)
        width = 0.09 if wide else 0.2  # of a name and the room beside it
        places = _beside([span for span, _ in exits], low_down, width)
        for place, (_, flow) in zip(places, exits, strict=True):
            if place + width > 1:
                ends.append(Label(0.0, flow.name, _colour(flow.name)))
            else:
                _label_exit(axes, place, flow)
        _label_ends(axes, ends)
        handles = [
            axes.plot([], [], color=COLOURS["ink"], lw=1.6, dashes=(3, 2.2))[0],
            axes.plot([], [], color=COLOURS["ink"], lw=2.4)[0],
        ]
        if len({flow.trained for flow in flows}) == 2:
            axes.legend(
                handles,
                ["before training", "after training"],
                loc="lower left",
                bbox_to_anchor=(-0.02, 0.985),
                ncols=2,
                frameon=False,
                columnspacing=1.4,
                handlelength=1.8,
            )

    return _picture("gradient", draw)


def _picture(name: str, draw: Callable[["Axes", bool], None]) -> Picture:
    return Picture(
        wide=_for_page(_draw(draw, WIDE, "svg"), f"{name}-wide-"),
        narrow=_for_page(_draw(draw, NARROW, "svg"), f"{name}-narrow-"),
        png=_draw(draw, WIDE, "png"),
    )


def _draw(draw: Callable[["Axes", bool], None], size: tuple[int, int], kind: str) -> bytes:
    wide = size == WIDE
    library = _matplotlib()
    style = {
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 13 if wide else 12.5,
        "text.color": COLOURS["ink"],
        "axes.labelcolor": COLOURS["ink"],
        "axes.edgecolor": COLOURS["faint"],
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "axes.grid": True,
        "axes.grid.which": "major",
        "axes.axisbelow": True,
        "grid.color": COLOURS["faint"],
        "grid.linewidth": 0.8,
        "xtick.color": COLOURS["faint"],
        "ytick.color": COLOURS["faint"],
        "xtick.labelcolor": COLOURS["ink"],
        "ytick.labelcolor": COLOURS["ink"],
        "ytick.major.size": 0,
        "lines.solid_capstyle": "round",
        "svg.fonttype": "none",
        "svg.hashsalt": "elman",  # the same numbers give the same file
    }
    with library.rc_context(style):
        figure = library.figure.Figure(figsize=(size[0] / 72, size[1] / 72), layout="constrained")
        axes = figure.add_subplot()
        draw(axes, wide)
        axes.grid(visible=False, axis="x")
        file = io.BytesIO()
        if kind == "svg":
            figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        else:
            figure.savefig(file, format="png", dpi=144, facecolor="white")
    return file.getvalue()


def _for_page(svg: bytes, prefix: str) -> str:
    """The <svg> element alone: colours and letters left to the page, and ids that no other figure has."""
    text = svg.decode("utf-8")
    text = text[text.index("<svg") :]
    for name, colour in COLOURS.items():
        text = text.replace(colour, f"var(--{_variable(name)})")
    text = re.sub(r"(font: [\d.]+px )[^;\"]*", r"\1var(--sans)", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    called = set(re.findall(r"#([^\")]+)[\")]", text))
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}{m[1]}"' if m[1] in called else "", text)
    text = re.sub(r'(href="#|url\(#)', rf"\1{prefix}", text)
    return re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    )


def _variable(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _colour(name: str) -> str:
    return COLOURS.get(name, COLOURS["ink"])


def _title(axes: "Axes", text: str, wide: bool, pad: float = 12) -> None:
    axes.set_title(
        text if wide else text.replace(" (", "\n("), loc="left", fontsize=13 if wide else 12.5, pad=pad
    )


def _label_ends(axes: "Axes", labels: Sequence[Label], gap: float = 0.065) -> None:
    """Names lines at their right ends, moved apart where they would overlap."""
    ordered = sorted(labels)
    heights = _apart([label.place for label in ordered], gap)
    for height, label in zip(heights, ordered, strict=True):
        axes.annotate(
            label.text,
            (1, height),
            xycoords="axes fraction",
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color=label.colour,
            fontweight="bold",
        )


def _apart(heights: Sequence[float], gap: float) -> list[float]:
    """Ascending heights, moved as little as may be (least squares) to lie ``gap`` apart or more, in 0 … 1.

    Take off what the gaps need, pool neighbours that are out of order at their mean, put the gaps back.

    >>> [round(height, 3) for height in _apart([0.2, 0.5, 0.52], gap=0.1)]
    [0.2, 0.46, 0.56]
    """
    pools: list[tuple[float, int]] = []
    for place, height in enumerate(heights):
        pools.append((height - place * gap, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (low, n), (high, m) = pools[-2:]
            pools[-2:] = [((low * n + high * m) / (n + m), n + m)]
    level = [mean for mean, count in pools for _ in range(count)]
    top = max(0.0, 1 - gap * (len(level) - 1))
    return [min(max(height, 0.0), top) + place * gap for place, height in enumerate(level)]


def _falls_below(values: np.ndarray, level: float) -> float:
    """Where a line that ends below ``level`` falls below it for good, in steps and parts of a step."""
    logs = np.log(np.maximum(values, 1e-300)) - np.log(level)
    before = int(np.flatnonzero(logs >= 0)[-1])
    return before + float(logs[before] / (logs[before] - logs[before + 1]))


def _beside(named: Sequence[Span], lines: Sequence[Span], width: float) -> list[float]:
    """Where names begin that stand at the bottom beside ``named`` lines, on no line and on no other name.

    Each is right of its line if there is room, else left of it, else in the next gap to the right. ``lines``:
    all that are there, those of ``named`` among them, which ascend.

    >>> _beside([Span(0.5, 0.75)], [Span(0.5, 0.75), Span(0.875, 1.0)], width=0.25)
    [0.25]
    """
    taken, places = list(lines), []
    for own in named:
        gaps = sorted(span.end for span in taken if span.end > own.end)
        place = next(
            start
            for start in (own.end, own.start - width, *gaps)
            if start >= 0
            and all(start + width <= span.start + 1e-9 or start >= span.end - 1e-9 for span in taken)
        )
        places.append(place)
        taken.append(Span(place, place + width))
    return places


def _label_exit(axes: "Axes", place: float, flow: Flow) -> None:
    """Writes the name just above the bottom, a little right of ``place``."""
    axes.annotate(
        flow.name,
        (place, 0),
        xycoords="axes fraction",
        xytext=(7, 9),
        textcoords="offset points",
        color=_colour(flow.name),
        fontweight="bold",
    )


def _share(exponent: int) -> str:
    digits = str(abs(exponent)).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return "1" if exponent == 0 else "10" + ("⁻" if exponent < 0 else "") + digits


def _plain_ticks(axes: "Axes", low: float, high: float) -> None:
    """Round numbers on a logarithmic axis, written out."""
    ticks = [m * 10**e for e in range(7) for m in (1, 1.5, 2, 3, 5, 7) if low <= m * 10**e <= high]
    if len(ticks) > 7:
        ticks = [m * 10**e for e in range(7) for m in (1, 2, 5) if low <= m * 10**e <= high]
    axes.set_yticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    axes.yaxis.set_minor_locator(_matplotlib().ticker.NullLocator())


class _Library(NamedTuple):
    rc_context: Callable
    figure: object
    ticker: object


def _matplotlib():  # type: ignore[no-untyped-def]
    """matplotlib, or the error that names what to install."""
    try:
        import matplotlib
        import matplotlib.figure
        import matplotlib.ticker
    except ImportError as error:
        raise MissingExtraError(
            "Figures were asked for.",
            "They are drawn by matplotlib, which is not installed.",
            "Install it with: pip install 'elman[report]'",
        ) from error
    return matplotlib
