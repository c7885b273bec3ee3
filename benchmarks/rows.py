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


@dataclass(frozen=True)
class Part:
    """The rows of one part of the benchmarks, and when, by which command and beside what they were measured.

    ``load_before``: load averages at the start; ``busy``: what else ran, in words, empty for nothing.
    """

    commit: str
    date: str
    command: str
    load_before: str
    busy: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Measurements:
    """All parts that were measured on one ``machine``: see :func:`benchmarks.machine.describe`."""

    machine: Mapping[str, Any]
    parts: Mapping[str, Part]

    @property
    def rows(self) -> list[Row]:
        return [row for part in self.parts.values() for row in part.rows]


def unlike(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """In what two machines differ, in words; what one measured does not stand beside what the other did.

    >>> unlike({"cpu": "A", "threads": 2}, {"cpu": "A", "threads": 4})
    ['threads: 2 and 4']
    """
    return [
        f"{key}: {one.get(key)} and {other.get(key)}"
        for key in {**one, **other}
        if one.get(key) != other.get(key)
    ]


def write(path: Path, measured: Measurements) -> None:
    """The measurements as JSON: numbers to five digits, which is more than they are worth."""
    content = _short(asdict(measured))
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path) -> Measurements:
    content = json.loads(path.read_text(encoding="utf-8"))
    parts = {}
    for name, part in content["parts"].items():
        for table in part["rows"]:
            for key in ("ours_range", "theirs_range"):
                table[key] = tuple(table[key])
        parts[name] = Part(**{**part, "rows": [Row(**table) for table in part["rows"]]})
    return Measurements(content["machine"], parts)


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_short(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
