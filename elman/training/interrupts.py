"""Ctrl-C and termination: heard at once, obeyed where training can be taken up again."""

import signal
import threading
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Within ``with Interrupts() as interrupts``, the first SIGINT or SIGTERM only sets ``interrupts.came``.

    The loop then finishes its step, saves, and calls :meth:`obey`. A second signal acts at once, as usual.
    Only the main thread hears signals; in any other, nothing changes.
    """

    def __init__(self) -> None:
        self.came: signal.Signals | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._hear) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def obey(self) -> None:
        """What the signal asked for: KeyboardInterrupt (exit status 130), or SystemExit (143)."""
        if self.came == signal.SIGINT:
            raise KeyboardInterrupt
        if self.came is not None:
            raise SystemExit(128 + self.came)

    def _hear(self, number: int, _: FrameType | None) -> None:
        self.came = signal.Signals(number)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before = {}
