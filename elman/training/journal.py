"""What happened in a run: one JSON object per line, each with ``event`` and the ``seconds`` so far.

====================  ================================================================================
``start``             ``parameters``, ``tokens_per_epoch``, ``steps_per_epoch``, ``epochs``
``progress``          ``step epoch tokens nats_per_token gradient_norm learning_rate tokens_per_second``
``evaluation``        ``step epoch nats_per_token perplexity tokens best`` on the validation text
``end``               ``reason``: epochs, early stop, max minutes, interrupted
====================  ================================================================================

``nats_per_token`` of progress is the mean since the last such line. A resumed run's journal reads as if it
had never stopped: lines that the last checkpoint does not know are cut off and written again.
"""

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from elman.errors import RunError
from elman.training.folder import saving

try:
    import fcntl
except ImportError:  # Windows: two trainings in one folder are not noticed there
    fcntl = None  # type: ignore[assignment]


class Journal:
    """Writes a journal from byte ``length`` on; what stood after it is cut off.

    As long as it is open it is locked: a second training in the same folder gets a :class:`RunError`.
    """

    def __init__(self, path: Path, length: int) -> None:
        self._path = path
        with saving(path):
            path.touch()
            self._file = path.open("r+b")
            _lock(self._file, path)
            found = path.stat().st_size
            if found < length:
                self._file.close()
                raise RunError(
                    f"The journal {path} was to be continued from byte {length}.",
                    f"It has only {found} bytes: it was cut short after the last checkpoint.",
                    "Restore that file, or train anew with another --out.",
                )
            self._file.truncate(length)
            self._file.seek(length)

    def write(self, event: str, fields: Mapping[str, Any]) -> None:
        with saving(self._path):
            self._file.write(json.dumps({"event": event, **fields}).encode() + b"\n")
            self._file.flush()

    def sync(self) -> int:
        """Brings every line to the disk; returns the journal's length in bytes."""
        with saving(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            return self._file.tell()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        with suppress(OSError):  # a line that a full disk refused was told of by write(), and is lost
            self._file.close()


def _lock(file: IO[bytes], path: Path) -> None:
    """Locks a file as long as it is open and its process lives, where the system can."""
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise RunError(
            f"The run {path.parent} was to be trained.",
            "Another process is training it now.",
            "Wait until that one ends or stop it, or give this training another folder with --out.",
        ) from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):  # a file system without locks
            raise


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a journal, oldest first. A last line that was cut short is left out."""
    if path.exists():
        with path.open("rb") as file:
            yield from (json.loads(line) for line in file if line.endswith(b"\n"))
