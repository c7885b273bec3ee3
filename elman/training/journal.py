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

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from elman.errors import RunError
from elman.training.folder import saving


class Journal:
    """Writes a journal from byte ``length`` on; what stood after it is cut off."""

    def __init__(self, path: Path, length: int) -> None:
        self._path = path
        with saving(path):
            path.touch()
            found = path.stat().st_size
            if found < length:
                raise RunError(
                    f"The journal {path} was to be continued from byte {length}.",
                    f"It has only {found} bytes: it was cut short after the last checkpoint.",
                    "Restore that file, or train anew with another --out.",
                )
            self._file = path.open("r+b")
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
        self._file.close()


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a journal, oldest first. A last line that was cut short is left out."""
    if path.exists():
        with path.open("rb") as file:
            yield from (json.loads(line) for line in file if line.endswith(b"\n"))
