"""The page of speeds is what the file of measurements says, and notes written by hand stay."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import report, rows
from benchmarks.rows import Goal, Measurements, Part, Row, compare
from benchmarks.timing import Timing

ROOT = Path(__file__).parents[2]
TIMES = {"Elman": Timing(2.0, 1.5, 3.0, 5), "other": Timing(512.0, 500.0, 530.0, 7)}
ROW = compare("LSTM and other", "LSTM", "1×2×3", "forward", TIMES, "Elman", "other", Goal(least=300))
ROWS = [ROW, replace(ROW, goal=200.0, shape="4×5×6"), replace(ROW, group="more", goal=None)]
MACHINE = {
    "cpu": "A", "instructions": "avx2", "cores": 4, "threads": 2, "python": "3.12.1",
    "versions": {"torch": "2.10"},
}  # fmt: skip


def measured(*rows_of_parts: list[Row], commits: str = "abc", busy: str = "") -> Measurements:
    parts = zip(commits, rows_of_parts, strict=False)
    return Measurements(
        MACHINE, {f"part {c}": Part(c, "today", "…", "0.01 0.02 0.03", busy, found) for c, found in parts}
    )


def test_the_page_says_what_was_measured() -> None:
    page = report.render(measured(ROWS), {})
    assert "Machine: A (avx2), 2 threads of 4 cores; Python 3.12.1, torch 2.10.\n" in page
    assert "\nMeasured today at commit a, load averages at the start 0.01 0.02 0.03.\n" in page
    assert (
        "\n| LSTM | 1×2×3 | forward | Elman | 2 ± 0.75 | other | 512 ± 15 | 256.00 | 300 | **missed** |\n"
        in page
    )
    assert "\n| LSTM | 4×5×6 | forward | Elman | 2 ± 0.75 | other | 512 ± 15 | 256.00 | 200 | met |\n" in page
    assert page.endswith("| LSTM | 1×2×3 | forward | Elman | 2 ± 0.75 | other | 512 ± 15 | 256.00 |  |  |\n")
    assert "Other programs" not in page
    assert "**Other programs ran meanwhile: half of it.**" in report.render(
        measured(ROWS, busy="half of it"), {}
    )


def test_parts_that_were_measured_apart_are_told_apart() -> None:
    page = report.render(measured(ROWS, [], ROWS, commits="aba"), {})
    assert "\n- part a: measured today at commit a, load" in page
    assert "\n- part b: measured today at commit b, load" in page


def test_the_summary_takes_each_goal_apart() -> None:
    slow = replace(ROW, ratio=100.0)
    page = report.render(measured([ROW, slow, replace(ROW, goal=200.0)]), {})
    assert "| LSTM and other | at least 200 | 1 of 1 | 256.00 | 256.00 |" in page
    assert "| LSTM and other | at least 300 | 0 of 2 | 178.00 | 100.00 |" in page
    shares = [replace(ROW, sense="at most", goal=1.2, ratio=ratio) for ratio in (1.0, 1.1, 1.3)]
    assert "| LSTM and other | at most 1.2 | 2 of 3 | 1.10 | 1.30 |" in report.render(measured(shares), {})


def test_notes_stand_under_their_heading_and_must_have_one() -> None:
    page = report.render(measured(ROWS), {"LSTM and other": "The products limit it.\n"})
    assert "**missed** |\n" in page
    assert page.index("## LSTM and other") < page.index("\n\nThe products limit it.\n\n## more")
    with pytest.raises(ValueError, match="notes on what was not measured: nothing"):
        report.render(measured(ROWS), {"nothing": "…"})


def test_a_line_for_the_terminal() -> None:
    assert report.line(ROW) == (
        "LSTM and other | LSTM | 1×2×3 | forward: Elman 2 ms, other 512 ms, ratio 256.00"
        "  at least 300: **missed**"
    )


def test_all_files_of_the_page_are_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows.write(tmp_path / "speed.json", measured(_measured()))
    (tmp_path / "speed-notes.toml").write_text('"LSTM and torch.nn.LSTM" = "Its notes."\n')
    assert report.main([str(tmp_path / "speed.json")]) == 0
    assert "Its notes." in (tmp_path / "speed.md").read_text(encoding="utf-8")
    assert (tmp_path / "images/speed.png").read_bytes()[:4] == b"\x89PNG"


def test_the_projects_page_is_rendered_from_its_measurements() -> None:
    path = ROOT / "docs/speed.json"
    if not path.exists():
        pytest.skip("nothing was measured yet")
    page = report.render(rows.read(path), report.read_notes(path.with_name("speed-notes.toml")))
    assert path.with_suffix(".md").read_text(encoding="utf-8") == page


def _measured() -> list[Row]:
    mode = "forward + backward, x too"
    groups = ("LSTM and torch.nn.LSTM", "Every cell and its definition, eagerly")
    return [replace(ROW, group=group, mode=mode, ratio=ratio) for group in groups for ratio in (0.5, 12.0)]
