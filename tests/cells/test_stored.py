"""A cell made of its stored equations is the cell, to the last bit; what is damaged is not read."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from elman import states
from elman.cells import CELLS, LSTM, RHN, Cell
from elman.cells.noise import Noise, Noisy
from elman.cells.stored import StoredCell, StoredCells, describe, to_text
from elman.errors import ModelError, OptionError
from elman.fused import choose, library
from tests.cells.own_cells import (
    Attached,
    Detached,
    Forgetful,
    Leaky,
    Moody,
    Narrow,
    Orthogonal,
    Rich,
    Sorted,
    Stateless,
)
from tests.fused.running import by_definition_alone

MAKE: dict[str, Callable[[int, int], Cell]] = {**CELLS, "rich": Rich}
X = H = 3


def reopened(cell: Cell) -> StoredCell:
    again = StoredCells(to_text([cell]))(cell.input_size, cell.hidden_size)
    again.load_state_dict(cell.state_dict())
    return again


def results(cell: Cell) -> list[tuple[str, Tensor]]:
    """Outputs, last state, and the gradients of everything, of one scan with lengths from its own start."""
    generator = torch.Generator().manual_seed(3)
    dtype = next(cell.parameters()).dtype
    x = torch.randn(5, 4, cell.input_size, generator=generator, dtype=dtype).requires_grad_()
    y, last = cell.scan(x, None, torch.tensor([5, 0, 1, 4]))
    outputs = [("y", y), *states.leaves(last)]
    weights = [torch.randn(t.shape, generator=generator, dtype=dtype) for _, t in outputs]
    sum((t * w).sum() for (_, t), w in zip(outputs, weights, strict=True)).backward()
    gradients = [(name, p.grad) for name, p in cell.named_parameters() if p.grad is not None]
    return [*((name, t.detach()) for name, t in outputs), ("x", x.grad), *gradients]


@pytest.mark.parametrize("name", MAKE)
def test_a_stored_cell_is_the_cell(name: str) -> None:
    cell = MAKE[name](X, H)
    again = reopened(cell)
    assert choose.objections(again) == choose.objections(cell)
    mine, theirs = results(again), results(cell)
    assert [name for name, _ in mine] == [name for name, _ in theirs]
    exact = library.objection() is None
    for (_, a), (other, b) in zip(mine, theirs, strict=True):  # without: sums in another order
        assert torch.equal(a, b) if exact else (a - b).norm() <= 1e-3 * (b.norm() + 1e-3), other


def test_the_sweep_is_complete() -> None:
    assert len(MAKE) == 29


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name in MAKE if name != "slstm"]
)  # begins at its precision's limit
def test_by_the_definition_too_and_in_double_precision(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    by_definition_alone(monkeypatch)
    cell = MAKE[name](X, H)
    again = reopened(cell).double()  # stored in single precision: it is the equations that were stored
    for (name, a), (_, b) in zip(results(again), results(cell.double()), strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12), name


@pytest.mark.parametrize("kind", [Leaky, LSTM, RHN])
def test_masks_fall_on_the_candidates_of_a_stored_cell(kind: type[Cell]) -> None:
    cell = kind(X, H)
    again, x = reopened(cell), torch.randn(5, 4, X)
    masks = Noisy(cell, Noise(candidate=0.5)).draw(batch=4, steps=5)
    assert [mask.shape for mask in Noisy(again, Noise(candidate=0.5)).draw(4, 5).values()] == [
        mask.shape for mask in masks.values()
    ]
    mine, theirs = again.scan(x, noise=masks)[0], cell.scan(x, noise=masks)[0]
    torch.testing.assert_close(mine, theirs)
    assert not torch.allclose(mine, cell.scan(x)[0], atol=1e-3)


def test_what_is_stored_of_a_rich_cell() -> None:
    cell = Rich(2, 3)
    again = reopened(cell)
    assert list(again.state_dict()) == list(cell.state_dict())
    assert [n for n, p in again.named_parameters() if not p.requires_grad] == ["floor"]
    assert [name for name, _ in states.leaves(again.initial_state(2))] == [
        "state.quick",
        "state.slow.0",
        "state.slow.1",
    ]
    assert torch.equal(again.initial_state(2).quick, cell.start.detach().expand(2, -1))
    assert (again.output_size, repr(again)) == (4, "StoredCell(\n  Rich, input_size=2, hidden_size=3\n  " + (
        "(inner): Module(\n    (read): Module()\n  )\n)"))  # fmt: skip
    assert describe(again) == describe(cell)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Sorted, "it uses aten.sort.default, which has no counterpart here."),
        (Stateless, "it could not be traced: advance returned a Tensor, not an output and a state."),
        (Moody, "its equations in training are others than afterwards."),
        (Orthogonal, "it makes something of its parameters by aten.linalg_qr.default, which cannot be "
         "stored."),
        (Detached, "its gradient is not that of its operations, as with detach or a torch.autograd.Function"
         "."),
        (Forgetful, "its buffer scale is not persistent, so that no file of weights has it."),
        (Attached, "it could not be traced: it keeps a tensor that is neither a parameter nor a buffer; "
         "register_buffer makes it one."),
    ],
)  # fmt: skip
def test_what_cannot_be_stored_says_why(kind: type[Cell], reason: str) -> None:
    with pytest.raises(OptionError) as error:
        describe(kind(2, 3))
    assert str(error.value).split("\n") == [
        f"The equations of {kind.__name__}(input_size=2, hidden_size=3, nonlinearity='tanh') were to be "
        "stored.",
        f"  They cannot be: {reason}",
        "  Write them with operations that can be traced (docs/your-own-cell.md); to train it as it is, use "
        "Python.",
    ]


def test_an_output_of_another_size_is_not_stored() -> None:
    with pytest.raises(OptionError) as error:
        describe(Narrow(2, 3))
    assert str(error.value).split("\n")[1:] == [
        "  Their sizes do not fit: y has 2 columns, not 3.",
        "  Let advance return an output of output_size columns, and a state as initial_state makes it.",
    ]


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ModelError, match="What was stored has input_size=2, hidden_size=3"):
        StoredCells(to_text([Rich(2, 3)]))(3, 3)


def change(path: list[Any], value: Any) -> Callable[[dict[str, Any]], None]:
    def at(table: dict[str, Any]) -> None:
        for key in path[:-1]:
            table = table[key]
        table[path[-1]] = value

    return at


CALL = ["advance", "invariants", "calls", 0]
DAMAGE: dict[str, Callable[[dict[str, Any]], None]] = {
    "reads a file": change(CALL, ["aten.from_file.default", ["x", False, 9], {}]),
    "calls python": change(CALL, ["os.system", ["true"], {}]),
    "a value of later": change(["advance", "invariants", "outputs", 0], 99),
    "no such node": change(["advance", "nodes", 0, 0], "import"),
    "a node of later": change(["advance", "nodes", 4, 1], [4, 4]),
    "too wide": change(["advance", "nodes", 0, 2], 4096),
    "another output": change(["advance", "outputs", "y"], 10_000),
    "no output": lambda table: table["advance"]["outputs"].pop("y"),
    "a state too wide": change(["state", "fields", "quick"], 64),
    "a field that is no name": change(["state"], {"fields": {"a b": 3}}),
    "a tensor of another size": change(["tensors", 0, 1], [3]),
    "a tensor of another kind": change(["tensors", 0, 2], "optimizer"),
    "no size": lambda table: table.pop("input_size"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_met_when_it_is_read(damage: Callable[[dict[str, Any]], None]) -> None:
    whole = describe(Rich(2, 3))
    StoredCell(copy.deepcopy(whole))
    damage(whole)
    with pytest.raises((ValueError, TypeError, KeyError, RuntimeError)):
        StoredCells(json.dumps({"format": 1, "cells": [whole]}))


@pytest.mark.parametrize(
    "damage",
    [change(["marked", "nodes", 2, 3], ["noise.zoneout.h"]), change(["marked", "nodes", 0, 2], 4096)],
    ids=["no mask on a candidate", "too wide"],
)
def test_damage_of_a_step_with_masks_is_met(damage: Callable[[dict[str, Any]], None]) -> None:
    whole = describe(Leaky(2, 3))
    assert whole["marked"]["nodes"][2] == ["input", [], 3, ["noise.candidate.0"]]
    StoredCell(copy.deepcopy(whole))
    damage(whole)
    with pytest.raises(ValueError):
        StoredCell(whole)


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="it is in format 2, not 1"):
        StoredCells('{"format": 2, "cells": []}')
