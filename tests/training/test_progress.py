import io
import math
import time

import pytest

from elman.measures.perplexity import Perplexity
from elman.training import progress
from elman.training.progress import Shown


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_lines_tell_rate_time_left_and_perplexity_at_most_every_ten_seconds(clock: list[float]) -> None:
    stream = io.StringIO()
    shown = Shown(stream, "words", live=False, title="LSTM")
    shown.begin(step=100, total_steps=400, epochs=4, seconds_left=None)
    for step in range(101, 131):
        clock[0] += 0.5
        shown.advance(step, 2, math.log(80), 40)
    shown.evaluated(2, Perplexity(math.log(120) * 50, 50), best=True)
    shown.end()
    assert stream.getvalue().splitlines() == [
        "LSTM · epoch 2/4 · 30% · perplexity 80.0 · 80 tokens/s · 2:20 left",
        "LSTM · epoch 2/4 · valid perplexity 120.0 · best",
    ]


def test_the_loss_shown_weighs_late_steps_more_and_a_limit_of_time_bounds_what_is_left(
    clock: list[float],
) -> None:
    stream = io.StringIO()
    shown = Shown(stream, "characters", live=False)
    shown.begin(step=0, total_steps=1000, epochs=1, seconds_left=60)
    shown.advance(1, 1, 3.0, 10)
    clock[0] += 20
    shown.advance(2, 1, 1.0, 10)
    late = (0.98 * 3 + 1) / 1.98
    assert (
        stream.getvalue() == f"epoch 1/1 · 0% · {late:.3f} nats per character · 1 tokens/s · stops in 0:40\n"
    )


def test_what_follows_a_training_is_added_to_the_time_left(clock: list[float]) -> None:
    """30 steps are left at 3 seconds each: 120 seconds in all, 90 with a limit, and twice that afterwards."""
    for limit, ends in (
        (None, "1:30 left, 5:30 until all are trained"),
        (90, "stops in 1:00, 4:00 until all are trained"),
    ):
        stream = io.StringIO()
        shown = Shown(stream, live=False, title="Elman", after=lambda seconds: 2 * seconds)
        shown.begin(step=0, total_steps=40, epochs=1, seconds_left=limit)
        clock[0] += 30
        shown.advance(10, 1, math.log(80), 600)
        assert stream.getvalue() == f"Elman · epoch 1/1 · 25% · perplexity 80.0 · 20 tokens/s · {ends}\n"


def test_a_bar_is_drawn_in_place_and_evaluations_stay(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    shown = Shown(stream, "words", live=True)
    shown.begin(step=0, total_steps=10, epochs=1, seconds_left=None)
    for step in range(1, 11):
        clock[0] += 1
        shown.advance(step, 1, math.log(50), 100)
    shown.evaluated(1, Perplexity(math.log(60), 1), best=False)
    shown.end()
    written = stream.getvalue()
    assert "100% · perplexity 50.0 · 100 tokens/s · 0:00 left" in written
    assert "epoch 1/1 · valid perplexity 60.0\n" in written.replace("\x1b[K", "")
    assert written.count("\x1b[2K") >= 9  # the line was erased and drawn again


def test_a_terminal_gets_the_bar_and_a_file_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, live in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr("sys.stderr", stream)
        assert progress.on_stderr()._live is live
