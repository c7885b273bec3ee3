"""What a training shows while it runs: a bar on a terminal, a line now and then elsewhere, or nothing."""

import math
import sys
import time
from collections.abc import Callable
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress

from elman.measures.perplexity import Perplexity

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_REFRESHES = 0.5
SMOOTHING = 0.98
"""The weight of the past in the loss shown: about the last fifty steps."""


class Progress(Protocol):
    """What the training loop tells; how it is shown is another's matter."""

    def begin(self, step: int, total_steps: int, epochs: int, seconds_left: float | None) -> None:
        """Training starts after ``step`` of ``total_steps``, for at most ``seconds_left`` if given."""
        ...

    def advance(self, step: int, epoch: int, nats_per_token: float, tokens: int) -> None:
        """One step was taken, over ``tokens`` tokens."""
        ...

    def evaluated(self, epoch: int, valid: Perplexity, best: bool) -> None:
        """The validation text was read."""
        ...

    def say(self, text: str) -> None: ...

    def end(self) -> None: ...


class Silent:
    """Shows nothing."""

    def begin(self, step: int, total_steps: int, epochs: int, seconds_left: float | None) -> None: ...

    def advance(self, step: int, epoch: int, nats_per_token: float, tokens: int) -> None: ...

    def evaluated(self, epoch: int, valid: Perplexity, best: bool) -> None: ...

    def say(self, text: str) -> None: ...

    def end(self) -> None: ...


class Shown:
    """Rate, time left and loss so far, on ``stream``; ``unit`` is what tokens are: "words" or "characters".

    Words are measured in perplexity, characters in nats. ``live`` draws one bar in place; otherwise a line
    is written at most every ten seconds. What :meth:`say` and :meth:`evaluated` write stays on the screen.
    ``after``, for one training of several: from the seconds that it takes as a whole to those of all that
    follow it; until the last, the time left until all are trained is shown too.
    """

    def __init__(
        self,
        stream: TextIO,
        unit: str = "words",
        *,
        live: bool,
        title: str = "",
        after: Callable[[float], float] | None = None,
    ) -> None:
        self._console = Console(file=stream, highlight=False, soft_wrap=True)
        self._unit = unit
        self._live = live
        self._title = f"{title} · " if title else ""
        self._after = after
        self._bar: RichProgress | None = None
        self._task = TaskID(0)
        self._epochs = 0

    def begin(self, step: int, total_steps: int, epochs: int, seconds_left: float | None) -> None:
        self._first_step, self._total_steps, self._epochs = step, total_steps, epochs
        self._began = self._shown = time.monotonic()
        self._limit = seconds_left
        self._tokens = 0
        self._nats = 0.0
        self._weight = 0.0
        if self._live:
            self._bar = RichProgress(
                TextColumn("{task.description}"), BarColumn(None), console=self._console, auto_refresh=False
            )
            self._bar.start()
            self._task = self._bar.add_task(self._title or "…", total=total_steps, completed=step)

    def advance(self, step: int, epoch: int, nats_per_token: float, tokens: int) -> None:
        self._tokens += tokens
        self._nats = SMOOTHING * self._nats + (1 - SMOOTHING) * nats_per_token
        self._weight = SMOOTHING * self._weight + 1 - SMOOTHING
        now = time.monotonic()
        if now - self._shown < (SECONDS_BETWEEN_REFRESHES if self._bar else SECONDS_BETWEEN_LINES):
            return
        self._shown = now
        line = self._line(step, epoch, now - self._began)
        if self._bar:
            self._bar.update(self._task, completed=step, description=line, refresh=True)
        else:
            self.say(line)

    def evaluated(self, epoch: int, valid: Perplexity, best: bool) -> None:
        when = f"epoch {epoch}/{self._epochs} · " if self._epochs else ""  # a counted model has none
        self.say(f"{self._title}{when}valid {measured(valid, self._unit)}{' · best' if best else ''}")

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def end(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _line(self, step: int, epoch: int, seconds: float) -> str:
        left = seconds / (step - self._first_step) * (self._total_steps - step)
        stops = math.inf if self._limit is None else max(0.0, self._limit - seconds)
        ends = f"stops in {clock(stops)}" if stops < left else f"{clock(left)} left"
        left = min(left, stops)
        if self._after is not None and (follows := self._after(seconds + left)) > 0:
            ends += f", {clock(left + follows)} until all are trained"
        so_far = measured(Perplexity(self._nats / self._weight, 1), self._unit)
        return (
            f"{self._title}epoch {epoch}/{self._epochs} · {100 * step / self._total_steps:.0f}% · {so_far}"
            f" · {self._tokens / seconds:,.0f} tokens/s · {ends}"
        )


def on_stderr(unit: str = "words", title: str = "", after: Callable[[float], float] | None = None) -> Shown:
    """A bar where stderr is a terminal, plain lines elsewhere."""
    return Shown(sys.stderr, unit, live=sys.stderr.isatty(), title=title, after=after)


def measured(cost: Perplexity, unit: str) -> str:
    """A result in the unit that its field prints.

    >>> measured(Perplexity(nats=13.8, tokens=3), "words"), measured(Perplexity(4.5, 3), "characters")
    ('perplexity 99.5', '1.500 nats per character')
    """
    if unit == "characters":
        return f"{cost.nats_per_token:.3f} nats per character"
    return f"perplexity {cost.perplexity:,.1f}"


def clock(seconds: float) -> str:
    """
    >>> clock(59.6), clock(3725)
    ('1:00', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
