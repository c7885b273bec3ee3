"""``elman kernels``: what runs here is told as it is, with and without an executor."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from elman.cells import CELLS, Elman, FullPeepholeLSTM
from elman.fused import library
from tests.cli.conftest import Said, refused

OWN = Path(__file__).parents[1] / "cells" / "own_cells.py"
compiled_here = pytest.mark.skipif(
    library.objection() is not None, reason="no compiled executor on this machine"
)


@compiled_here
@pytest.mark.slow
def test_every_cell_runs_by_the_executor(elman: Callable[..., Said]) -> None:
    said = elman("kernels", "--json")
    assert said.status == 0
    told = json.loads(said.out)
    assert [row["name"] for row in told["cells"]] == list(CELLS)
    assert all(row["runs_by"] == "executor" and row["objections"] == [] for row in told["cells"])
    assert {row["name"]: row["products"] for row in told["cells"]}["gru-reset-before"] == 2
    chosen = library.load()
    assert chosen is not None
    assert (told["torch"], told["threads"], told["objection"]) == (torch.__version__, 1, None)
    assert told["executor"]["vector_bits"] in (128, 256, 512)
    assert chosen.path.name == f"executor.{told['executor']['level']}.so"
    assert "float64" in told["executor"]["precisions"]


@compiled_here
def test_a_cell_of_ones_own_is_told_with_its_objection(
    elman: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elman.cells.CELLS", {"elman": Elman, "peephole-full": FullPeepholeLSTM})
    lines = elman("kernels", "--cell", f"{OWN}:Sorted").out.split("\n")
    at = next(k for k, line in enumerate(lines) if line.startswith("own_cells.py:Sorted"))
    assert lines[at].split() == ["own_cells.py:Sorted", "definition"]
    assert lines[at + 1].strip() == "it uses aten.sort.default, which has no counterpart here"
    assert lines[at + 3].split() == ["peephole-full", "executor,", "3", "products", "a", "step"]
    assert lines[-2] == "2 of 3 cells run by the executor."
    rich = json.loads(elman("kernels", "--cell", f"{OWN}:Rich", "--json").out)["cells"][0]
    assert (rich["name"], rich["runs_by"], rich["products"]) == ("own_cells.py:Rich", "executor", 1)
    assert refused(elman("kernels", "--cell", "absent.py:Rich"), "OptionError")[1] == (
        "There is no file absent.py."
    )


def test_without_a_compiled_executor_it_says_so(
    elman: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "load", lambda *_: None)
    why = "no compiler was there when the package was installed"
    lines = elman("kernels").out.split("\n")
    assert lines[1] == f"executor  none: {why}"
    ways = dict(line.split(maxsplit=1) for line in lines[4 : 4 + len(CELLS)])
    assert (ways.pop("lstm"), ways.pop("gru")) == ("torch's lstm", "torch's gru")
    assert ways.pop("lstm-b") == "torch's lstm"
    assert ways.pop("elman") == "torch's rnn tanh"
    assert set(ways.values()) == {"definition"}
    assert lines[-2] == "0 of 28 cells run by the executor."
    told = json.loads(elman("kernels", "--json").out)
    assert (told["executor"], told["objection"]) == (None, why)
    assert all(row["objections"] == [why] for row in told["cells"])


def test_an_executor_that_cannot_be_loaded_is_told(
    elman: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError("executor.v3.so was built from other sources: Plan has another size")

    monkeypatch.setattr(library, "load", broken)
    assert elman("kernels").out.split("\n")[1] == (
        "executor  none: the compiled executor cannot be loaded: "
        "executor.v3.so was built from other sources: Plan has another size"
    )
