"""The whole measurement runs, at a tiny shape."""

from pathlib import Path

import pytest

from benchmarks import cells, machine, rows
from elman.cells import CELLS
from elman.fused import library


@pytest.mark.slow
@pytest.mark.skipif(library.objection() is not None, reason="no compiled executor")
def test_every_part_measures_something(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    parts = [part for part in cells.PARTS if part != "torch.compile"]  # which compiles for a minute
    path = tmp_path / "speed.json"
    assert cells.main(["--quick", "--threads", "1", "--json", str(path), "--only", *parts]) == 0
    about, found = rows.read(path)
    assert about["threads"] == 1
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
    for group in ("LSTM and torch.nn.LSTM", "LSTM in bfloat16", "Peak memory of training", "Importing"):
        assert group in groups
    assert "LSTM and torch.nn.LSTM | LSTM | 3×2×8" in capfd.readouterr().out


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
