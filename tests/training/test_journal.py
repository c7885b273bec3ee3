from pathlib import Path

import pytest

from elman.errors import RunError
from elman.training.journal import Journal, read


def test_lines_after_a_known_length_are_written_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path, 0) as journal:
        journal.write("start", {"tokens": 3})
        length = journal.sync()
        journal.write("progress", {"step": 1, "nats_per_token": 0.1})
    assert length == len('{"event": "start", "tokens": 3}\n') < path.stat().st_size
    with Journal(path, length) as journal:
        journal.write("end", {})
    assert list(read(path)) == [{"event": "start", "tokens": 3}, {"event": "end"}]


def test_a_last_line_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"event": "start"}\n{"event": "progr')
    assert list(read(path)) == [{"event": "start"}]
    assert list(read(tmp_path / "absent")) == []


def test_a_journal_shorter_than_its_checkpoint_knows_is_not_padded(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text("{}\n")
    with pytest.raises(RunError) as caught:
        Journal(path, 20)
    assert str(caught.value).splitlines() == [
        f"The journal {path} was to be continued from byte 20.",
        "  It has only 3 bytes: it was cut short after the last checkpoint.",
        "  Restore that file, or train anew with another --out.",
    ]
    assert path.read_text() == "{}\n"
