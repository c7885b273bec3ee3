"""One comparison: what was measured, beside what, and whether the goal was met."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.timing import Timing


@dataclass(frozen=True)
class Goal:
    """``least``: they take at least so many times as long as we do. ``most``: we take at most that share."""

    least: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class Row:
    """``ours`` and ``theirs`` name the two; the numbers are milliseconds unless ``unit`` says otherwise.

    ``ratio`` is theirs / ours where the goal is a least speed (``sense`` "at least"), and ours / theirs where
    it is a largest share ("at most"), divided by ``work`` where the two do not do equally much: our products
    per theirs. ``goal`` None: for comparison only. The ranges are quartiles.
    """

    group: str
    what: str
    shape: str
    mode: str
    ours: str
    theirs: str
    ours_value: float
    ours_range: tuple[float, float]
    theirs_value: float
    theirs_range: tuple[float, float]
    ratio: float
    sense: str
    goal: float | None = None
    work: float = 1.0
    unit: str = "ms"

    @property
    def met(self) -> bool | None:
        """Whether the goal is met, to the two decimals that are shown; None without a goal."""
        if self.goal is None:
            return None
        shown = round(self.ratio, 2)
        return shown >= self.goal if self.sense == "at least" else shown <= self.goal


def compare(
    group: str,
    what: str,
    shape: object,
    mode: str,
    times: Mapping[str, Timing],
    ours: str,
    theirs: str,
    goal: Goal,
    work: float = 1.0,
    unit: str = "ms",
) -> Row:
    """The row of two of the ``times`` that were taken side by side."""
    one, other = times[ours], times[theirs]
    share = one.ms / other.ms / work
    at_most = goal.most is not None
    return Row(
        group, what, str(shape), mode, ours, theirs, one.ms, (one.low, one.high), other.ms,
        (other.low, other.high), share if at_most else 1 / share, "at most" if at_most else "at least",
        goal.most if at_most else goal.least, work, unit,
    )  # fmt: skip


def write(path: Path, machine: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """The measurements as JSON: numbers to five digits, which is more than they are worth."""
    content = {"machine": machine, "rows": [_short(asdict(row)) for row in rows]}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path) -> tuple[dict[str, Any], list[Row]]:
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = []
    for table in content["rows"]:
        for name in ("ours_range", "theirs_range"):
            table[name] = tuple(table[name])
        rows.append(Row(**table))
    return content["machine"], rows


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_short(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
