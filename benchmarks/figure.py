"""The figure of ``docs/speed.md``: how many times as fast as others, one bar for each."""

import io
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.rows import Row

PANELS = {
    "LSTM and torch.nn.LSTM": "LSTM, beside torch.nn.LSTM",
    "GRU and torch.nn.GRU": "GRU, beside torch.nn.GRU",
    "Elman and torch.nn.RNN": "Elman, beside torch.nn.RNN",
    "LSTM and jax.lax.scan": "LSTM, beside jax.lax.scan",
}
INK, FAINT, BAR, BELOW = "#23262d", "#d9dbe0", "#2a5fc4", "#c8561b"
MODE = "forward + backward, x too"


def draw(found: Sequence[Row]) -> bytes:
    """A PNG: on the left the four panels by shape, on the right every cell beside its definition."""
    figure = Figure(figsize=(11, 7.2), dpi=110, layout="constrained")
    sides: Any = figure.subfigures(1, 2, width_ratios=(1.15, 1))
    left, right = sides
    left.suptitle("times as fast, forward + backward, x too; shapes are T×B×H", fontsize=11, color=INK)
    for axes, (group, title) in zip(left.subplots(2, 2).flat, PANELS.items(), strict=True):
        some = [row for row in found if row.group == group and row.mode == MODE]
        _bars(axes, [row.shape for row in some], [row.ratio for row in some], title)
    right.suptitle("every cell, beside its definition run eagerly", fontsize=11, color=INK)
    some = [row for row in found if row.group == "Every cell and its definition, eagerly"]
    shape = some[0].shape if some else ""
    some = sorted((row for row in some if row.shape == shape), key=lambda row: row.ratio)
    _bars(right.subplots(), [row.what for row in some], [row.ratio for row in some], f"at {shape}")
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def _bars(axes: Axes, names: Sequence[str], ratios: Sequence[float], title: str) -> None:
    places = range(len(names))
    bars = axes.barh(places, ratios, color=[BAR if ratio >= 1 else BELOW for ratio in ratios], height=0.72)
    axes.bar_label(
        bars, [f"{ratio:.1f}" if ratio >= 10 else f"{ratio:.2f}" for ratio in ratios], padding=3, fontsize=8,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
    )  # fmt: skip
    axes.axvline(1, color=INK, lw=1)  # below the numbers, which it may cross
    axes.set_yticks(places, names, fontsize=8)
    axes.set_xlim(0, 1.18 * max([1.0, *ratios]))
    axes.set_title(title, fontsize=10, color=INK, loc="left")
    axes.tick_params(colors=INK, length=0, labelsize=8)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "left")
        spine.set_color(FAINT)
