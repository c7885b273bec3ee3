"""The whole measurement runs, at a tiny shape."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import cells, machine, rows
from benchmarks.rows import Goal, compare
from benchmarks.timing import Timing
from elman.cells import CELLS
from elman.fused import library

TIMES = {"Elman": Timing(2.0, 1.5, 3.0, 5), "other": Timing(5.0, 4.0, 6.0, 7)}
ROW = compare("group", "LSTM", "1×2×3", "forward", TIMES, "Elman", "other", Goal(least=2.5))


@pytest.mark.slow
@pytest.mark.skipif(library.objection() is not None, reason="no compiled executor")
def test_every_part_measures_something(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    parts = [part for part in cells.PARTS if part != "torch.compile"]  # which compiles for a minute
    path = tmp_path / "speed.json"
    assert cells.main(["--quick", "--threads", "1", "--json", str(path), "--only", *parts]) == 0
    measured = rows.read(path)
    found = measured.rows
    assert measured.machine["threads"] == 1
    assert list(measured.parts) == parts
    assert all(row.ours_value > 0 and row.theirs_value > 0 for row in found)
    groups: dict[str, set[str]] = {}
    for row in found:
        groups.setdefault(row.group, set()).add(row.what)
    names = {kind.__name__ for kind in CELLS.values()}
    assert len(names) == 28
    assert groups["Every cell and its definition, eagerly"] == names
    free = groups["Cells without recurrent products"]
    assert free == {"IndRNN", "MinGRU", "MinLSTM"}
    assert groups["Every cell and Elman's LSTM, per product"] == names - free - {"LSTM"}
    assert groups["One step of every cell and of the LSTM, per weight"] == names - {"LSTM"}
    for group in (
        "LSTM and torch.nn.LSTM",
        "LSTM in bfloat16",
        "Peak memory of training",
        "Time of training",
        "Importing",
    ):
        assert group in groups
    assert "LSTM and torch.nn.LSTM | LSTM | 3×2×8" in capfd.readouterr().out


def test_a_part_is_measured_anew_and_the_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, ratio = tmp_path / "speed.json", {"imports": 2.0, "memory": 3.0}

    def measured(part: str) -> cells.Measure:
        return lambda _: iter([replace(ROW, group=part, ratio=ratio[part])])

    monkeypatch.setattr(cells, "PARTS", {part: measured(part) for part in ratio})
    commits = iter(["a1", "b2", "c3", "d4"])
    monkeypatch.setattr(machine, "_commit", lambda: next(commits))
    quick = ["--quick", "--threads", "1", "--json", str(path), "--only"]
    assert cells.main([*quick, "memory"]) == 0
    assert cells.main([*quick, "imports"]) == 0
    ratio["memory"] = 4.0
    assert cells.main([*quick, "memory"]) == 0
    found = rows.read(path).parts
    assert [(name, part.commit, part.rows[0].ratio) for name, part in found.items()] == [
        ("imports", "b2", 2.0),
        ("memory", "c3", 4.0),
    ]
    assert found["memory"].command == "python -m benchmarks.cells --only memory --quick --threads 1"

    other = rows.read(path)
    rows.write(path, replace(other, machine={**other.machine, "cpu": "another"}))
    kept = path.read_bytes()
    capsys.readouterr()
    assert cells.main([*quick, "memory"]) == 1
    assert "not measured here, or not with these versions: cpu: another and" in capsys.readouterr().err
    assert path.read_bytes() == kept


def test_a_busy_machine_is_not_measured_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "busy", lambda: "others use 50% of the processor")
    path = tmp_path / "speed.json"
    assert cells.main(["--json", str(path), "--only", "imports"]) == 1
    assert "others use 50%" in capsys.readouterr().err
    assert not path.exists()


def test_others_at_work_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([(1000, 5000), (1100, 5400), (2000, 9000), (2010, 9400)])
    monkeypatch.setattr(machine, "_jiffies", lambda: next(readings))
    assert (machine.busy(0) or "").startswith("others use 25% of the processor")
    assert machine.busy(0) is None
