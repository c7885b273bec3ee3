"""Ratios, goals, and the file they are kept in."""

from dataclasses import replace
from pathlib import Path

from benchmarks import rows
from benchmarks.rows import Goal, Measurements, Part, compare
from benchmarks.timing import Timing

TIMES = {"Elman": Timing(2.0, 1.5, 3.0, 5), "other": Timing(5.0, 4.0, 6.0, 7)}
FAST = compare("group", "LSTM", "1×2×3", "forward", TIMES, "Elman", "other", Goal(least=2.5))
SHARE = compare("more", "NAS", "1×2×3", "forward", TIMES, "Elman", "other", Goal(most=0.19), work=2.0)


def test_a_speed_is_theirs_by_ours_and_a_share_ours_by_theirs() -> None:
    assert (FAST.ratio, FAST.sense, FAST.goal, FAST.met) == (2.5, "at least", 2.5, True)
    assert (SHARE.ratio, SHARE.sense, SHARE.goal, SHARE.met) == (0.2, "at most", 0.19, False)
    assert (FAST.ours_value, FAST.ours_range) == (2.0, (1.5, 3.0))
    assert (FAST.theirs_value, FAST.theirs_range) == (5.0, (4.0, 6.0))


def test_a_goal_is_met_by_what_is_shown() -> None:
    assert replace(FAST, ratio=2.496).met is True
    assert replace(FAST, ratio=2.494).met is False
    assert replace(SHARE, ratio=0.194).met is True
    assert replace(SHARE, ratio=0.196).met is False
    assert replace(FAST, goal=None).met is None


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    about = ("abc", "today", "python -m …", "0.01 0.02 0.03", "")
    measured = Measurements({"cpu": "A", "threads": 2}, {"one": Part(*about, [FAST, SHARE])})
    rows.write(path, measured)
    assert rows.read(path) == measured
    rows.write(path, Measurements({}, {"one": Part(*about, [replace(FAST, ratio=1.23456789)])}))
    assert rows.read(path).rows[0].ratio == 1.2346
