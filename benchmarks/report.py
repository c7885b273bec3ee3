"""Renders the page of all speeds from the JSON that was measured.

    python -m benchmarks.report docs/speed.json     writes docs/speed.md and docs/images/speed.png

Notes by hand, on what limits a figure that was missed and what was tried, stand in ``speed-notes.toml``
beside the JSON: one text per heading of the page.
"""

import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks import rows
from benchmarks.rows import Measurements, Row

INTRODUCTION = """\
Rendered by `python -m benchmarks.report` from what `python -m benchmarks.cells --json docs/speed.json`
measured. Competitors take turns in one process, in blocks after a warm-up; times are medians, and ± is half
the distance between the quartiles. Shapes are T×B×H: steps, sequences, features (as many in as
out). Backward passes compute the gradients of all parameters; *x too*: and of the input. A **speed** is their
time divided by ours, and should be at least the goal; a **share** is our time divided by theirs, and should
be at most the goal. *Per product*: both times divided by the multiplications that the cell's matrix products
take in a step. Lines without a goal are for comparison only.
At the two largest shapes only five cells run by their definition too."""


def main(arguments: Sequence[str]) -> int:
    path = Path(arguments[0]) if arguments else Path("docs/speed.json")
    measured = rows.read(path)
    page = render(measured, read_notes(path.with_name("speed-notes.toml")))
    path.with_suffix(".md").write_text(page, encoding="utf-8")
    from benchmarks.figure import draw

    folder = path.parent / "images"
    folder.mkdir(exist_ok=True)
    (folder / "speed.png").write_bytes(draw(measured.rows))
    return 0


def read_notes(path: Path) -> dict[str, str]:
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def render(measured: Measurements, notes: Mapping[str, str]) -> str:
    """The page. Raises ``ValueError`` for a note on a heading that the page does not have."""
    groups: dict[str, list[Row]] = {}
    for row in measured.rows:
        groups.setdefault(row.group, []).append(row)
    if stray := set(notes) - set(groups):
        raise ValueError(f"notes on what was not measured: {', '.join(sorted(stray))}")
    machine = measured.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    about = [
        f"Machine: {machine['cpu']} ({machine['instructions']}), {machine['threads']} threads of "
        f"{machine['cores']} cores; Python {machine['python']}, {versions}.",
        "\n".join(_when(measured)),
    ]
    parts = ["# Speed", INTRODUCTION, *about, "![Speed beside others, by shape](images/speed.png)"]
    parts += ["## In short", _summary(groups)]
    for group, members in groups.items():
        parts += [f"## {group}", _table(members)]
        if group in notes:
            parts.append(notes[group].strip())
    return "\n\n".join(parts) + "\n"


def _when(measured: Measurements) -> list[str]:
    """A line for all parts of one run of the benchmarks, with their names where there were several runs."""
    runs: dict[tuple[str, str, str, str], list[str]] = {}
    for name, part in measured.parts.items():
        runs.setdefault((part.commit, part.date, part.load_before, part.busy), []).append(name)
    lines = []
    for (commit, date, load, busy), names in runs.items():
        which = "Measured" if len(runs) == 1 else f"- {', '.join(names)}: measured"
        other = f". **Other programs ran meanwhile: {busy}.**" if busy else "."
        lines.append(f"{which} {date} at commit {commit}, load averages at the start {load}{other}")
    return lines


def line(row: Row) -> str:
    """One row for the terminal."""
    goal = "" if row.goal is None else f"  {row.sense} {row.goal:g}: {_verdict(row)}"
    ours, theirs = (f"{_number(value)} {row.unit}" for value in (row.ours_value, row.theirs_value))
    return (
        f"{row.group} | {row.what} | {row.shape} | {row.mode}: "
        f"{row.ours} {ours}, {row.theirs} {theirs}, ratio {row.ratio:.2f}{goal}"
    )


def _summary(groups: Mapping[str, Sequence[Row]]) -> str:
    lines = ["| what | goal | met | median | worst |", "|---|---|--:|--:|--:|"]
    for group, members in groups.items():
        for sense, goal in sorted({(row.sense, row.goal) for row in members if row.goal is not None}):
            some = [row for row in members if (row.sense, row.goal) == (sense, goal)]
            ratios = [row.ratio for row in some]
            worst = min(ratios) if sense == "at least" else max(ratios)
            met = sum(bool(row.met) for row in some)
            lines.append(
                f"| {group} | {sense} {goal:g} | {met} of {len(some)} | {median(ratios):.2f} | {worst:.2f} |"
            )
    return "\n".join(lines)


def _table(members: Sequence[Row]) -> str:
    unit = members[0].unit
    kind = "speed" if members[0].sense == "at least" else "share"
    heads = ["what", "shape", "pass", "ours", f"{unit}", "theirs", f"{unit}", kind, "goal", ""]
    lines = [f"| {' | '.join(heads)} |", "|---|---|---|---|--:|---|--:|--:|--:|---|"]
    for row in members:
        cells = [
            row.what,
            row.shape,
            row.mode,
            row.ours,
            _measured(row.ours_value, row.ours_range),
            row.theirs,
            _measured(row.theirs_value, row.theirs_range),
            f"{row.ratio:.2f}",
            "" if row.goal is None else f"{row.goal:g}",
            _verdict(row),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _verdict(row: Row) -> str:
    return "" if row.met is None else "met" if row.met else "**missed**"


def _measured(value: float, spread: tuple[float, float]) -> str:
    return f"{_number(value)} ± {_number((spread[1] - spread[0]) / 2)}"


def _number(value: float) -> str:
    """Three digits.

    >>> _number(1234.5), _number(12.345), _number(0.01234)
    ('1234', '12.3', '0.0123')
    """
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
