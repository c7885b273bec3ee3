import json
import math
from pathlib import Path

import pytest

from elman.insight import curves


def test_a_curve_is_the_evaluations_of_a_journal_in_their_order(tmp_path: Path) -> None:
    lines = [
        {"event": "start", "parameters": 9, "seconds": 0.0},
        {"event": "evaluation", "seconds": 2.5, "nats_per_token": math.log(300), "perplexity": 300.0},
        {"event": "progress", "seconds": 3.0, "nats_per_token": 5.0},
        {"event": "evaluation", "seconds": 6.25, "nats_per_token": math.log(120), "perplexity": 120.0},
    ]
    path = tmp_path / "journal.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"event": "evalu')
    curve = curves.from_journal(path, "LSTM")
    assert curve.name == "LSTM"
    assert curve.seconds == [2.5, 6.25]
    assert curve.perplexity == pytest.approx([300, 120])


def test_a_run_that_was_not_evaluated_yet_has_an_empty_curve(tmp_path: Path) -> None:
    assert curves.from_journal(tmp_path / "journal.jsonl", "LSTM") == ("LSTM", [], [])
