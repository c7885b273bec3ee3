"""A cell named by its file: found and made, or refused in three lines."""

from pathlib import Path

import pytest

from elman.cells.own import is_own, load
from elman.errors import OptionError

SOURCE = """
from sizes import TWICE
from elman.cells import Elman
from elman.cells.cell import Cell

class Mine(Elman):
    pass

class Unfinished(Cell):
    pass

class Picky(Elman):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, TWICE * hidden_size)
        if hidden_size > 4:
            raise ValueError(f"{hidden_size} is too many")

number = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "sizes.py").write_text("TWICE = 2\n")
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


def test_what_is_named_by_its_file() -> None:
    assert [
        is_own(name) for name in ("a.py:B", "c/a.py:B", "lstm", "a.py", "a.py:", ".py:B", "a.py:B.c")
    ] == [*(True, True, False, False, False, False, False)]


def test_a_cell_is_made_of_its_two_sizes_and_its_file_may_import_its_neighbours(file: Path) -> None:
    own = load(f"{file}:Picky")
    cell = own(3, 2)
    assert (own.name, type(cell).__name__, cell.input_size, cell.hidden_size) == (
        "mine.py:Picky",
        "Picky",
        3,
        4,
    )


def refusal(name: str) -> list[str]:
    with pytest.raises(OptionError) as error:
        load(name)(5, 5)
    return str(error.value).split("\n")


def test_every_mistake_is_said_in_three_lines(file: Path) -> None:
    asked = f"The cell {file}:%s was asked for."
    named = "  Name one of its cells: Mine, Unfinished, Picky."
    assert refusal("absent.py:Mine") == [
        "The cell absent.py:Mine was asked for.",
        "  There is no file absent.py.",
        "  Write the path of a Python file, a colon, its cell's name.",
    ]
    for name in ("lstm", str(file)):
        assert refusal(name)[:2] == [f"The cell {name} was asked for.", "  That is not FILE.py:NAME."]
    assert refusal(f"{file}:Yours") == [asked % "Yours", f"  {file} has nothing of that name.", named]
    assert refusal(f"{file}:number") == [
        asked % "number",
        "  number is there, but it is no class of cells.",
        named,
    ]
    made = "  A cell of a file is made from these two sizes; give any other argument a default."
    assert refusal(f"{file}:Picky") == [
        "A cell mine.py:Picky of input_size=5, hidden_size=5 was to be made.",
        "  Its class raised ValueError: 5 is too many.",
        made,
    ]
    unfinished = refusal(f"{file}:Unfinished")
    assert unfinished[1].startswith(
        "  Its class raised TypeError: Can't instantiate abstract class Unfinished"
    )
    file.write_text("def broken(:\n")
    assert refusal(f"{file}:Mine") == [
        asked % "Mine",
        f"  {file} cannot be imported: SyntaxError: invalid syntax (mine.py, line 1).",
        f"  Make it run on its own first: python {file}",
    ]
    file.write_text("number = 3\n")
    assert refusal(f"{file}:Mine")[2] == "  Write a class there that inherits from elman.cells.Cell."
