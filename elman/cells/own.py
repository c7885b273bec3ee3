"""A cell of one's own, from a Python file: ``FILE.py:NAME`` on the command line and in recipes."""

import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from elman.cells.cell import Cell
from elman.errors import OptionError


def is_own(name: str) -> bool:
    """Whether a name of a cell is that of a file's, such as ``"undertow.py:Undertow"``."""
    return re.fullmatch(r".+\.py:\w+", name) is not None


def short(name: str) -> str:
    """The same without its folder: what a run remembers.

    >>> short("cells/undertow.py:Undertow")
    'undertow.py:Undertow'
    """
    return Path(name).name


@dataclass(frozen=True)
class OwnCell:
    """A class of cells out of a file. Called with X and H it makes one."""

    name: str
    kind: type[Cell]

    def __call__(self, input_size: int, hidden_size: int) -> Cell:
        try:
            return self.kind(input_size, hidden_size)
        except Exception as error:
            raise OptionError(
                f"A cell {self.name} of input_size={input_size}, hidden_size={hidden_size} was to be made.",
                f"Its class raised {type(error).__name__}: {_first_line(error)}",
                "A cell of a file is made from these two sizes; give any other argument a default.",
            ) from error


def load(name: str) -> OwnCell:
    """Imports ``FILE.py:NAME``: runs that file, as ``import`` would, with its folder on the path.

    Raises :class:`OptionError` where the file is missing or cannot be imported, or has no such cell.
    """
    asked = f"The cell {name} was asked for."
    if not is_own(name):
        raise OptionError(
            asked,
            "That is not FILE.py:NAME.",
            "Write the path of a Python file, a colon, its cell's name.",
        )
    file, _, word = name.rpartition(":")
    path = Path(file).expanduser()
    if not path.is_file():
        raise OptionError(
            asked,
            f"There is no file {path}.",
            "Write the path of a Python file, a colon, its cell's name.",
        )
    module_name = f"own_cell_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise OptionError(asked, f"{path} cannot be imported.", "Give a Python file that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    sys.path.insert(0, str(path.parent.absolute()))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise OptionError(
            asked,
            f"{path} cannot be imported: {type(error).__name__}: {_first_line(error)}",
            f"Make it run on its own first: python {path}",
        ) from error
    finally:
        sys.path.pop(0)
    found = getattr(module, word, None)
    if not (isinstance(found, type) and issubclass(found, Cell)):
        there = [
            key
            for key, value in vars(module).items()
            if isinstance(value, type) and issubclass(value, Cell) and value.__module__ == module_name
        ]
        raise OptionError(
            asked,
            f"{path} has nothing of that name."
            if found is None
            else f"{word} is there, but it is no class of cells.",
            f"Name one of its cells: {', '.join(there)}."
            if there
            else "Write a class there that inherits from elman.cells.Cell.",
        )
    return OwnCell(short(name), found)


def _first_line(error: Exception) -> str:
    said = (str(error) or type(error).__name__).partition("\n")[0]
    return said if said.endswith((".", "!", "?")) else said + "."
