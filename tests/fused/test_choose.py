"""Which way a scan runs. (That both ways agree is a law of ``tests/laws``.)"""

from typing import Any

import pytest
import torch
from torch import Tensor

from elman import states
from elman.axes import BG, BH, TBG, TBX
from elman.cells import CELLS, GRU, LSTM, Elman, GRUResetBefore
from elman.cells.cell import HiddenState
from elman.cells.coupled import CoupledLSTM
from elman.errors import ShapeError
from elman.fused import choose, definition, library
from tests.cells.own_cells import Asking, Binary, Counting, Deaf, Detached, Gappy, Shared, Sorted, Twice

compiled_here = pytest.mark.skipif(
    library.objection() is not None, reason="no compiled executor on this machine"
)


class Squashed(Elman):
    """The gradient of its projection reads what the projection gave."""

    def project(self, x: TBX) -> TBG:
        return torch.tanh(x @ self.weight_x.T + self.bias)

    def advance(self, x: BG, state: HiddenState) -> tuple[BH, HiddenState]:
        f = torch.sigmoid(x + state.h @ self.weight_h.T)
        h = f * state.h + (1 - f) * 0.3
        return h, HiddenState(h)


def refuse(*_: object, **__: object) -> Tensor:
    raise AssertionError("the loop ran")


@compiled_here
@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("lengths", [None, [5, 0, 2, 1]], ids=str)
def test_every_cell_runs_by_the_executor(
    name: str, lengths: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = CELLS[name](3, 3)
    assert choose.objections(cell) == []
    monkeypatch.setattr(definition, "scan", refuse)
    x = torch.randn(5, 4, 3, requires_grad=True)
    outputs, _ = cell.scan(x, None, None if lengths is None else torch.tensor(lengths))
    outputs.sum().backward()


@compiled_here
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Sorted, "it uses aten.sort.default, which has no counterpart here"),
        (Asking, "it could not be traced"),
        (Counting, "its equations depend on values in a way that tracing does not see"),
    ],
)
def test_what_cannot_be_expressed_runs_by_its_definition(kind: type[Elman], reason: str) -> None:
    cell, x = kind(2, 3), torch.randn(5, 4, 2)
    (objection,) = choose.objections(cell)
    assert objection.startswith(reason)
    assert torch.equal(cell.scan(x)[0], definition.scan(cell, x, cell.initial_state(4), None)[0])


@compiled_here
@pytest.mark.parametrize("kind", [Detached, Binary])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_gradient_of_ones_own_is_that_of_the_definition(kind: type[Elman], frozen: bool) -> None:
    cell, x = kind(2, 3).requires_grad_(not frozen), torch.randn(5, 4, 2, requires_grad=True)
    assert choose.objections(cell) == [
        "its gradient is not that of its operations, as with detach or a torch.autograd.Function"
    ]
    cell.requires_grad_()
    inputs = [x, *cell.parameters()]
    mine, theirs = (
        torch.autograd.grad(way(cell, x, cell.initial_state(4), None)[0].square().sum(), inputs)
        for way in (choose.scan, definition.scan)
    )
    assert all(torch.equal(a, b) and a.norm() > 0 for a, b in zip(mine, theirs, strict=True))


@compiled_here
@pytest.mark.parametrize("kind", [Deaf, Gappy, Shared, Twice])
@pytest.mark.parametrize("sizes", [(4, 3, 2, 5), (1, 1, 1, 1), (2, 2, 1, 2)], ids=str)
@pytest.mark.parametrize("store", ["all", "recompute"])
def test_odd_cells_of_ones_own(kind: type[Elman], sizes: tuple[int, ...], store: str) -> None:
    """Also with x whose rows lie apart, sequences without a step, in reverse, and second derivatives."""
    steps, batch, features, hidden = sizes
    cell = kind(features, hidden).double()
    assert choose.objections(cell) == []
    cell.store = store
    x = torch.randn(batch, steps, features, dtype=torch.float64).transpose(0, 1).requires_grad_()
    lengths = torch.tensor([steps, 0, 1][-batch:])
    inputs = [x, *cell.parameters()]
    for ends, reverse in ((None, False), (lengths, False), (lengths, True)):
        found = []
        for way in (choose.scan, definition.scan):
            y, last = way(cell, x, cell.initial_state(batch), ends, reverse=reverse)
            values = [y, *(leaf for _, leaf in states.leaves(last))]
            total = sum((value.square() * torch.arange(1.0, value.shape[-1] + 1)).sum() for value in values)
            first = torch.autograd.grad(total, inputs, create_graph=True, allow_unused=True)
            given = [(d, i) for d, i in zip(first, inputs, strict=True) if d is not None and d.requires_grad]
            again = torch.autograd.grad(
                sum(d.square().sum() for d, _ in given), cell.weight_h, allow_unused=True
            )
            found.append([*values, *(torch.zeros(()) if d is None else d for d in (*first, *again))])
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a.expand_as(b), b.expand_as(a), rtol=1e-9, atol=1e-11)
    with torch.no_grad():
        torch.testing.assert_close(
            cell.scan(x)[0], definition.scan(cell, x, cell.initial_state(batch), None)[0]
        )


@compiled_here
def test_large_weights_are_no_objection() -> None:
    """What is a rounding in float32 grows a thousandfold in a few steps."""
    cell = CELLS["mogrifier"](200, 200)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.uniform_(-1.5, 1.5)
    assert choose.objections(cell) == []


@compiled_here
def test_a_cell_is_compared_where_nothing_is_differentiated() -> None:
    with torch.inference_mode():
        cell = LSTM(2, 3)
        assert choose.objections(cell) == []
        assert choose.objections(Detached(2, 3))[0].startswith("its gradient")


@compiled_here
def test_what_the_projection_gave_outlives_the_steps_where_its_gradient_reads_it() -> None:
    cell = Squashed(3, 4).double()
    x = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
    assert choose.objections(cell) == []
    mine, theirs = (
        torch.autograd.grad(
            (way(cell, x, cell.initial_state(2), None)[0] * torch.arange(1.0, 5)).sum(),
            [x, *cell.parameters()],
        )
        for way in (choose.scan, definition.scan)
    )
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b)


@compiled_here
def test_products_in_bfloat16_run_by_the_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definition, "scan", refuse)
    monkeypatch.setattr(choose, "_mismatch", lambda *_: None)
    cell, x = GRUResetBefore(2, 3), torch.randn(5, 4, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cell.scan(x)
    cell.bfloat16().scan(x.bfloat16())


@compiled_here
def test_an_objection_is_found_in_bfloat16_too() -> None:
    (objection,) = choose.objections(Counting(2, 3).bfloat16())
    assert objection == "its equations depend on values in a way that tracing does not see"
    with torch.autocast("cpu", dtype=torch.bfloat16):  # and tracing under autocast sees no conversions
        assert choose.objections(Elman(2, 3)) == []


@pytest.mark.parametrize("missing", [False, True], ids=["here", "without a compiler"])
def test_under_autocast_float32_is_returned_whatever_runs(
    missing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing:
        monkeypatch.setattr(library, "objection", lambda: "no compiler was there")
    for cell in (LSTM(2, 3), GRUResetBefore(2, 3)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs, state = cell.scan(torch.randn(5, 4, 2))
        assert {outputs.dtype, *(leaf.dtype for leaf in state)} == {torch.float32}


@compiled_here
def test_another_setting_is_another_program() -> None:
    cell, x = Elman(2, 3), torch.randn(5, 4, 2)
    first, _ = cell.scan(x)
    cell.nonlinearity = "relu"
    second, _ = cell.scan(x)
    assert torch.allclose(second, definition.scan(cell, x, cell.initial_state(4), None)[0], atol=1e-6)
    assert not torch.allclose(first, second, atol=1e-2)


@pytest.mark.parametrize(
    "change",
    [
        lambda cell, x: (cell, x[:0]),
        lambda cell, x: (cell, x[:, :0]),
        lambda cell, x: (cell.to(torch.float16), x.to(torch.float16)),
    ],
    ids=["no steps", "no rows", "float16"],
)
def test_what_the_executor_does_not_take_runs_by_the_definition(change: Any) -> None:
    cell, x = change(CoupledLSTM(2, 3), torch.randn(5, 4, 2))
    outputs, state = cell.scan(x)
    defined, _ = definition.scan(cell, x, cell.initial_state(x.shape[1]), None)
    assert torch.equal(outputs, defined)
    assert state.c.shape == (x.shape[1], 3)


def test_a_state_of_another_size_is_refused() -> None:
    cell = GRU(2, 3)
    with pytest.raises(ShapeError, match=r"It has state.h 4×2; it must have state.h 4×3\."):
        cell.scan(torch.randn(5, 4, 2), HiddenState(torch.zeros(4, 2)))


def test_under_transformations_the_definition_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    cell, x = GRUResetBefore(2, 3), torch.randn(5, 4, 2)
    cell.scan(x)
    ran: list[str] = []
    loop = definition.scan
    monkeypatch.setattr(definition, "scan", lambda *given, **rest: ran.append("loop") or loop(*given, **rest))
    torch.func.jvp(lambda x: cell.scan(x)[0], (x,), (torch.ones_like(x),))
    torch.vmap(lambda x: cell.scan(x)[0])(torch.stack([x, x]))
    assert ran == ["loop"] * 2


def test_without_a_compiled_executor_the_definition_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "objection", lambda: "no compiler was there when the package was installed")
    cell, x = CoupledLSTM(2, 3), torch.randn(5, 4, 2)
    assert choose.objections(cell) == ["no compiler was there when the package was installed"]
    assert torch.equal(cell.scan(x)[0], definition.scan(cell, x, cell.initial_state(4), None)[0])


def test_what_a_compiler_takes_for_constant_is_marked_as_pytorch_marks_it() -> None:
    marked = vars(torch.compiler.assume_constant_result(lambda: None))
    assert marked
    for function in (choose._operator, choose._transformed):
        assert vars(function).items() >= marked.items()
