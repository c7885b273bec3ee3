"""Times of things that compete, taken in turns in one process."""

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Budget:
    """How long is measured: each competitor in at least ``rounds`` blocks and ``seconds`` in all.

    A block takes ``block`` seconds, but at least one call. Who has used ``most`` seconds stops after three
    blocks. ``pause`` seconds pass before a block, so that the threads of the one before are asleep: those of
    onnxruntime spin for a while.
    """

    rounds: int = 5
    seconds: float = 0.4
    most: float = 2.0
    block: float = 0.04
    pause: float = 0.02


FULL = Budget()
QUICK = Budget(rounds=1, seconds=0, most=0, block=0, pause=0)  # that everything runs, nothing more


class Timing(NamedTuple):
    """Milliseconds of one call: the median, the quartiles, and how many times it was taken."""

    ms: float
    low: float
    high: float
    samples: int


def alternate(calls: Mapping[str, Callable[[], object]], budget: Budget) -> dict[str, Timing]:
    """Each call's time, in blocks that take turns, after one call of each to warm up.

    A call of under 0.2 ms is timed several at a time, since reading the clock would count.
    """
    samples: dict[str, list[float]] = {name: [] for name in calls}
    expected = {}
    for name, call in calls.items():
        call()
        expected[name] = _seconds(call, 1)
    gc.collect()
    gc.disable()
    try:
        waiting, rounds = list(calls), 0
        spent = dict.fromkeys(calls, 0.0)
        while waiting:
            for name in waiting:
                time.sleep(budget.pause)
                block = _block(calls[name], expected[name], budget.block)
                samples[name] += block
                spent[name] += len(block) * expected[name]
                expected[name] = max(statistics.median(samples[name]), 1e-7)
            rounds += 1
            waiting = [name for name in waiting if not _enough(rounds, spent[name], budget)]
    finally:
        gc.enable()
    return {name: _timing(taken) for name, taken in samples.items()}


def _enough(rounds: int, spent: float, budget: Budget) -> bool:
    if spent >= budget.most:
        return rounds >= min(3, budget.rounds)
    return rounds >= budget.rounds and spent >= budget.seconds


def _block(call: Callable[[], object], expected: float, length: float) -> list[float]:
    """Seconds of a call, as often as a block of ``length`` seconds holds; the first of several is dropped."""
    together = max(1, round(2e-4 / expected))
    times = max(1, math.ceil(length / (expected * together)))
    if times > 1:
        _seconds(call, together)
    return [_seconds(call, together) for _ in range(times)]


def _seconds(call: Callable[[], object], times: int) -> float:
    before = time.perf_counter()
    for _ in range(times):
        call()
    return max((time.perf_counter() - before) / times, 1e-7)


def _timing(seconds: list[float]) -> Timing:
    ms = sorted(1000 * one for one in seconds)
    low, middle, high = statistics.quantiles(ms, n=4, method="inclusive") if len(ms) > 1 else ms * 3
    return Timing(middle, low, high, len(ms))
