"""A run folder: what is where, and how it is begun and opened.

::

    recipe.toml        what was asked, complete
    machine.toml       what it ran on, and the version of this format
    vocabulary.json    the tokens, in the order of their ids
    journal.jsonl      what happened, one JSON object per line
    last.safetensors   weights, their average, optimizer, carried state, random numbers and place: where
                       training goes on
    best.safetensors   the weights that did best on the validation text: averaged ones with train.average
    initial.safetensors  only with ``--from`` or a cell of a file: the weights that training began from
    cell.json          only with a cell of a file: its equations, so that the run needs that file no more

Each file is complete in itself and replaced in one move, so a folder is whole at any moment.
"""

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from elman.cells.stored import StoredCells
from elman.errors import RunError
from elman.text.files import forget_leftovers, is_utf8, write_atomically
from elman.text.vocabulary import Vocabulary
from elman.training import machine, tensorfile

FORMAT = 1
"""The version of the run folder's layout; a folder of another version is refused."""


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run. Made by :meth:`create` for a new run, by :meth:`open` for one that exists."""

    path: Path

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.toml"

    @property
    def machine(self) -> Path:
        return self.path / "machine.toml"

    @property
    def vocabulary(self) -> Path:
        return self.path / "vocabulary.json"

    @property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def last(self) -> Path:
        return self.path / "last.safetensors"

    @property
    def best(self) -> Path:
        return self.path / "best.safetensors"

    @property
    def initial(self) -> Path:
        return self.path / "initial.safetensors"

    @property
    def cell(self) -> Path:
        return self.path / "cell.json"

    def cells(self) -> StoredCells:
        """What is kept of a cell of a file. Raises :class:`RunError` where it is missing or damaged."""
        try:
            return StoredCells(self.cell.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            came = "It has no cell.json, which holds the equations of its cell"
            raise self._unopened(came) from error
        except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
            raise self._unopened(f"Its cell.json is damaged: {str(error).partition(chr(10))[0]}") from error

    def _unopened(self, came: str) -> RunError:
        return RunError(
            f"The run {self.path} was to be opened.",
            f"{came}.",
            "Copy the run again from where it was trained, or train it again.",
        )

    @property
    def weights(self) -> Path:
        """The weights to use: the best ones, or the last where nothing was evaluated yet."""
        for path in (self.best, self.last):
            if path.exists():
                return path
        raise RunError(
            f"The weights of the run {self.path} were asked for.",
            "It has neither best.safetensors nor last.safetensors: its training never began.",
            f"Train it: elman train --resume --out {self.path}",
        )

    def weights_exist(self) -> bool:
        return self.best.exists() or self.last.exists()

    @property
    def precision(self) -> str:
        """The numbers that the run was begun in, such as "float32"."""
        return str(_told(self.machine).get("precision", "float32"))

    def sweep(self) -> None:
        """Deletes the halves of files that a killed training left. Only for the training that goes on."""
        for path in (self.last, self.best):
            forget_leftovers(path)

    def remove(self) -> None:
        """Takes back :meth:`create`, where nothing was learnt yet."""
        for path in (self.machine, self.initial, self.cell, self.recipe, self.vocabulary, self.journal):
            path.unlink(missing_ok=True)
        if not any(self.path.iterdir()):
            self.path.rmdir()

    @classmethod
    def create(
        cls,
        path: Path,
        recipe: str,
        vocabulary: Vocabulary,
        *,
        device: str = "cpu",
        precision: str = "float32",
        initial: Mapping[str, Tensor] | None = None,
        cell: str | None = None,
    ) -> "RunFolder":
        """Begins a run in ``path``, a new or empty folder. ``recipe`` is the text of recipe.toml.

        ``initial`` are weights to begin from, by name; ``cell`` is the text of cell.json. Raises
        :class:`RunError` where something is there already, or nothing can be written; then nothing is left
        behind.
        """
        folder = cls(path)
        cls.require_new(path)
        with saving(path):
            path.mkdir(parents=True, exist_ok=True)
            try:
                write_atomically(folder.recipe, recipe)
                vocabulary.save(folder.vocabulary)
                if cell is not None:
                    write_atomically(folder.cell, cell)
                if initial is not None:
                    write_atomically(folder.initial, tensorfile.to_bytes(initial, {"format": str(FORMAT)}))
                write_atomically(folder.machine, machine.describe(FORMAT, device, precision))
            except BaseException:  # Ctrl-C too: half a beginning could neither go on nor be begun again
                folder.remove()
                raise
        return folder

    @staticmethod
    def require_new(path: Path) -> None:
        """Raises :class:`RunError` where something is in the way of a new run in ``path``."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunError(
                f"A new run was to be written to {path}.",
                "That folder is not empty." if path.is_dir() else "That is a file.",
                "Go on with it by --resume, or give the new run another folder with --out.",
            )
        if not is_utf8(path):
            raise RunError(
                f"A new run was to be written to {path}.",
                "That path has bytes that are not UTF-8; weights cannot be written there.",
                "Give the new run another folder with --out.",
            )

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Opens a run. Raises :class:`RunError` where it is missing, incomplete or in another format."""
        folder = cls(path)
        if not path.is_dir():
            raise RunError(
                f"The run {path} was to be opened.",
                "That is a file, not a folder." if path.exists() else "There is no such folder.",
                "Give the folder that elman train wrote (its --out).",
            )
        for file in (folder.recipe, folder.vocabulary, folder.machine):
            if not file.exists():
                raise RunError(
                    f"The run {path} was to be opened.",
                    f"{file.name} is missing: this is no run folder, or its beginning was cut short.",
                    "Give the folder that elman train wrote, or delete this one and train again.",
                )
        found = _told(folder.machine).get("format")
        if found != FORMAT:
            raise RunError(
                f"The run {path} was to be opened.",
                f"It is in format {found}; this version of Elman reads format {FORMAT}.",
                "Open it with the version of Elman named in its machine.toml.",
            )
        return folder


def _told(machine_file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(machine_file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RunError(
            f"The run {machine_file.parent} was to be opened.",
            f"Its machine.toml cannot be read: {error}.",
            "Restore that file, or train again.",
        ) from error


@contextmanager
def saving(path: Path) -> Iterator[None]:
    """What goes wrong on writing, such as a full disk, becomes a :class:`RunError` that names ``path``."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{path} was to be written.",
            f"The system refused: {error.strerror or error}.",
            "Make room or choose a folder that can be written; what was saved before is whole (--resume).",
        ) from error
