"""Competitors take turns, and their medians are what they took."""

from collections.abc import Callable

import pytest

from benchmarks import timing
from benchmarks.timing import Budget, Timing, alternate


class Clock:
    """Time that passes only when someone works or sleeps."""

    def __init__(self) -> None:
        self.now, self.order = 0.0, list[str]()

    def work(self, name: str, seconds: list[float]) -> Callable[[], None]:
        def call() -> None:
            self.order.append(name)
            self.now += seconds.pop(0) if len(seconds) > 1 else seconds[0]

        return call

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(timing.time, "sleep", clock.sleep)
    return clock


def test_they_take_turns_until_each_was_measured_enough(clock: Clock) -> None:
    calls = {"slow": clock.work("slow", [0.25]), "fast": clock.work("fast", [0.0625])}
    times = alternate(calls, Budget(rounds=3, seconds=0.5, most=10, block=0.125, pause=1))
    assert times["slow"] == Timing(250.0, 250.0, 250.0, 3)
    # Two in a block of 0.125 s, the one before them dropped; 0.5 s take four blocks.
    assert times["fast"] == Timing(62.5, 62.5, 62.5, 8)
    warm = ["slow", "slow", "fast", "fast"]
    assert clock.order == warm + ["slow", "fast", "fast", "fast"] * 3 + ["fast"] * 3


def test_the_median_and_the_quartiles(clock: Clock) -> None:
    calls = {"one": clock.work("one", [9.0, 1.0, 1.0, 5.0, 2.0, 3.0, 4.0])}
    times = alternate(calls, Budget(rounds=5, seconds=0, most=100, block=0, pause=0))
    assert times["one"] == Timing(3000.0, 2000.0, 4000.0, 5)


def test_the_slowest_stop_early(clock: Clock) -> None:
    calls = {"one": clock.work("one", [2.0]), "other": clock.work("other", [0.5])}
    times = alternate(calls, Budget(rounds=5, seconds=0.5, most=4, block=0, pause=0))
    assert [time.samples for time in times.values()] == [3, 5]


def test_calls_of_microseconds_are_timed_together(clock: Clock) -> None:
    calls = {"step": clock.work("step", [2.0**-15])}  # 31 µs: seven of them are 0.2 ms
    times = alternate(calls, Budget(rounds=1, seconds=0, most=1, block=2.0**-10, pause=0))
    assert times["step"].ms == pytest.approx(1000 * 2.0**-15)
    assert times["step"].samples == 5  # ⌈32 / 7⌉
    assert len(clock.order) == 2 + 7 * (1 + 5)
