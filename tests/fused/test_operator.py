"""Scans as operators: what compiles, exports and fakes them sees one opaque operation, with its gradient."""

import copy
import shutil
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elman.cells import GRU, LSTM, SLSTM, CoupledLSTM, Elman
from elman.cells.cell import Cell
from elman.errors import ElmanError, ShapeError
from elman.fused import choose, definition, operator
from elman.fused.compiled import Compiled
from elman.models.language_model import RecurrentLanguageModel, RecurrentOptions
from tests.fused.running import compiled_here

pytestmark = compiled_here

CPLUSPLUS = pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")


@pytest.fixture
def opaque(monkeypatch: pytest.MonkeyPatch) -> None:
    """The definition's loop must not be in what is compiled. (Another thread compares a cell with it.)"""
    loop, main = definition.scan, threading.get_ident()

    def scan(*given: Any, **named: Any) -> Any:
        assert not (torch.compiler.is_compiling() and threading.get_ident() == main), "the loop was compiled"
        return loop(*given, **named)

    monkeypatch.setattr(definition, "scan", scan)
    torch._dynamo.reset()


def registered(cell: Cell) -> tuple[str, list[Tensor]]:
    compiled = choose.compile_cell(cell)
    assert isinstance(compiled, Compiled)
    return operator.register(compiled), list(compiled.prepare(cell))


@pytest.mark.parametrize("kind", [Elman, LSTM, SLSTM, GRU])
@pytest.mark.parametrize("lengths", [None, [5, 0]], ids=str)
def test_values_and_gradients_are_those_of_the_scan(kind: type[Cell], lengths: list[int] | None) -> None:
    cell, x = kind(3, 4), torch.randn(5, 2, 3, requires_grad=True)
    ends = None if lengths is None else torch.tensor(lengths)
    name, fixed = registered(cell)
    weight = torch.randn(5, 2, 4)

    def derived(y: Tensor, last: Any) -> list[Tensor]:
        total = (y * weight).sum() + sum((leaf.sin().sum() for leaf in last), torch.zeros(()))
        return [y, *last, *torch.autograd.grad(total, [x, *cell.parameters()])]

    mine = derived(*operator.scan(name, x, tuple(cell.initial_state(2)), fixed, ends, False))
    for a, b in zip(mine, derived(*cell.scan(x, None, ends)), strict=True):
        assert torch.equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Elman, LSTM, SLSTM, GRU])
@pytest.mark.parametrize(("lengths", "reverse"), [(None, False), ([5, 0], True)], ids=str)
@pytest.mark.parametrize("wanted", [True, False])
def test_pytorch_finds_no_fault(
    kind: type[Cell], lengths: list[int] | None, reverse: bool, wanted: bool
) -> None:
    """Schema, fake tensors, gradient and tracing at changing sizes, by PyTorch's own check."""
    cell, x = kind(3, 4), torch.randn(5, 2, 3, requires_grad=wanted)
    name, fixed = registered(cell)
    tensors = [x, *cell.initial_state(2), *(t if wanted else t.detach() for t in fixed)]
    needs = "".join(str(int(t.requires_grad)) for t in tensors)
    ends = None if lengths is None else torch.tensor(lengths)
    found = torch.library.opcheck(torch.ops.elman.scan.default, (name, tensors, ends, reverse, needs))
    assert set(found.values()) == {"SUCCESS"}
    assert len(found) == 4


def test_second_derivatives_through_the_operator() -> None:
    cell = GRU(2, 3).double()
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    name, fixed = registered(cell)
    assert torch.autograd.gradgradcheck(
        lambda x: operator.scan(name, x, tuple(cell.initial_state(2)), fixed, None, False)[0], (x,)
    )


@pytest.mark.usefixtures("opaque")
def test_lengths_are_looked_at_when_the_graph_runs() -> None:
    cell, x = LSTM(3, 4), torch.randn(5, 2, 3)
    run = torch.compile(lambda x, ends: cell.scan(x, None, ends)[0], fullgraph=True, backend="aot_eager")
    assert torch.equal(run(x, torch.tensor([5, 2])), cell.scan(x, None, torch.tensor([5, 2]))[0])
    with pytest.raises(ShapeError, match=r"\[6, 2\]; it must be 2 int64 numbers from 0 to 5"):
        run(x, torch.tensor([6, 2]))


@pytest.mark.usefixtures("opaque")
def test_another_setting_or_mode_is_compiled_anew() -> None:
    cell, x = Elman(3, 4), torch.randn(5, 2, 3)
    run = torch.compile(lambda x: cell.scan(x)[0], fullgraph=True, backend="aot_eager")
    assert torch.equal(run(x), cell.scan(x)[0])
    cell.nonlinearity = "relu"
    assert torch.equal(run(x), cell.scan(x)[0])
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.mul_(2)
    assert torch.equal(run(x), cell.scan(x)[0])


def test_a_name_of_another_process_is_refused() -> None:
    cell, x = LSTM(3, 4), torch.randn(5, 2, 3)
    _, fixed = registered(cell)
    with pytest.raises(ElmanError, match="This process has not traced a cell of that content"):
        operator.scan("0123", x, tuple(cell.initial_state(2)), fixed, None, False)


class Reading(nn.Module):
    """A module that scans."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        return self.cell.scan(x)[0]


@pytest.mark.slow
@pytest.mark.parametrize("strict", [True, False])
def test_an_exported_module_gives_the_same(strict: bool) -> None:
    """Also of a cell that never ran before."""
    torch._dynamo.reset()
    module, x = Reading(CoupledLSTM(3, 4)), torch.randn(5, 2, 3)
    exported = torch.export.export(module, (x,), strict=strict)
    assert "elman.scan.default" in str(exported.graph)
    assert torch.equal(exported.module()(x), module(x))


@pytest.mark.slow
@pytest.mark.usefixtures("opaque")
def test_other_weights_and_no_gradients() -> None:
    module, x = Reading(GRU(3, 4)), torch.randn(5, 2, 3)
    weights = {name: torch.randn_like(tensor) for name, tensor in module.named_parameters()}

    def called(x: Tensor) -> Tensor:
        return torch.func.functional_call(module, weights, (x,))

    assert torch.equal(torch.compile(called, fullgraph=True, backend="aot_eager")(x), called(x))
    with torch.no_grad():
        assert torch.equal(torch.compile(module, fullgraph=True, backend="aot_eager")(x), module(x))


@pytest.mark.slow
@pytest.mark.usefixtures("opaque")
@pytest.mark.parametrize("convert", [False, True])
def test_products_in_bfloat16_are_asked_for_in_the_same_ways(convert: bool) -> None:
    cell, x = LSTM(5, 7), torch.randn(6, 3, 5)
    if convert:
        cell, x = cell.to(torch.bfloat16), x.to(torch.bfloat16)
    x.requires_grad_()

    def derived(run: Callable[[Tensor], Tensor]) -> list[Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not convert):
            y = run(x)
        return [y, *torch.autograd.grad((y * torch.linspace(0.1, 1, 7)).sum(), [x, *cell.parameters()])]

    compiled = derived(torch.compile(lambda x: cell.scan(x)[0], fullgraph=True, backend="aot_eager"))
    eager = derived(lambda x: cell.scan(x)[0])
    for a, b in zip(eager, compiled, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    if not convert:
        assert not torch.equal(eager[0], cell.scan(x)[0])


@pytest.mark.slow
@pytest.mark.usefixtures("opaque")
@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_masks_are_handed_through_the_graph(kind: type[LSTM] | type[GRU]) -> None:
    cell, x = kind(3, 4), torch.randn(5, 2, 3)
    noise = {
        "input": torch.rand(1, 2, 3) + 0.5,
        "state.h": torch.rand(1, 2, 4) + 0.5,
        "zoneout.h": (torch.rand(5, 2, 4) > 0.5).float(),
        "weights.0": torch.rand_like(cell.weight_h) + 0.5,
    }

    def scan(x: Tensor, noise: dict[str, Tensor] | None) -> Tensor:
        return cell.scan(x, noise=noise)[0]

    compiled = torch.compile(scan, fullgraph=True, backend="aot_eager")(x, noise)
    mine, theirs = (
        [y, *torch.autograd.grad((y * torch.linspace(0.1, 1, 4)).sum(), list(cell.parameters()))]
        for y in (compiled, scan(x, noise))
    )
    for a, b in zip(mine, theirs, strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(mine[0], scan(x, None))


@pytest.mark.slow
@pytest.mark.parametrize("fullgraph", [True, False])
@pytest.mark.parametrize(
    ("site", "given", "came"),
    [
        ("state.h", torch.ones(1, 3, 4), "The mask is 1×3×4; it must be 1 or 5 × 1 or 2 × 4 (T B H)."),
        ("zoneout.c", torch.ones(5, 2, 3), "The mask is 5×2×3; it must be 1 or 5 × 1 or 2 × 4 (T B H)."),
        ("input", torch.ones(1, 2, 7), "The mask is 1×2×7; it must be 1 or 5 × 1 or 2 × 3 (T B H)."),
        ("weights.0", torch.ones(4, 16), "The mask is 4×16; it must be 16 × 4, the shape of that matrix."),
        ("state.q", torch.ones(1, 2, 4), "The mask is 1×2×4; there is no state.q among input, output, "),
        (None, torch.tensor([1, 2, 3]), "; it must be 2 int64 numbers from 0 to 5."),
    ],
    ids=["batch", "width", "input", "weights", "name", "lengths"],
)
def test_what_does_not_fit_is_told_in_our_words(
    site: str | None, given: Tensor, came: str, fullgraph: bool
) -> None:
    """PyTorch goes on without a graph where it may, and we raise; where it may not, its error quotes ours."""
    torch._dynamo.reset()
    cell, x = LSTM(3, 4), torch.randn(5, 2, 3)
    lengths, noise = (given, None) if site is None else (None, {site: given})
    run = torch.compile(
        lambda x: cell.scan(x, lengths=lengths, noise=noise)[0], fullgraph=fullgraph, backend="aot_eager"
    )
    with pytest.raises(torch._dynamo.exc.Unsupported if fullgraph else ShapeError) as raised:
        run(x)
    asked, do = (
        ("A scan over 5×2×3 (T B X) was given lengths.", "Give one length per sequence of the batch, in")
        if site is None
        else (f"of 2 sequences with a mask {site}.", "Draw masks with Noisy(cell, noise).draw(batch, steps).")
    )
    said = str(raised.value)
    assert said.index(asked) < said.index(came) < said.index(do)
    assert ("ShapeError(" in said) == fullgraph


@pytest.mark.slow
def test_masks_of_other_sizes_need_no_other_graph() -> None:
    torch._dynamo.reset()
    cell, graphs = LSTM(3, 4), torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    run = torch.compile(
        lambda x, mask: cell.scan(x, noise={"state.h": mask})[0], fullgraph=True, dynamic=True, backend=graphs
    )
    for steps, batch in ((5, 2), (7, 3), (6, 4)):
        x, mask = torch.randn(steps, batch, 3), torch.rand(1, batch, 4) + 0.5
        assert torch.equal(run(x, mask), cell.scan(x, noise={"state.h": mask})[0])
    assert graphs.frame_count == 1


@pytest.mark.slow
def test_mapped_and_differentiated_forwards_inside_a_graph() -> None:
    torch._dynamo.reset()
    cell, x = GRU(3, 4), torch.randn(5, 2, 3)
    ways: list[Callable[[Tensor], Tensor]] = [
        lambda x: torch.vmap(lambda x: cell.scan(x)[0])(torch.stack([x, -x])),
        lambda x: torch.func.jvp(lambda x: cell.scan(x)[0], (x,), (torch.cos(x),))[1],
    ]
    for way in ways:
        compiled = torch.compile(way, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x), way(x))


@pytest.mark.slow
@pytest.mark.usefixtures("opaque")
@pytest.mark.parametrize("cell", ["lstm", "slstm"])
@pytest.mark.parametrize(
    ("backend", "dynamic"),
    [("aot_eager", None), ("aot_eager", True), pytest.param("inductor", None, marks=CPLUSPLUS)],
)
def test_a_language_model_trains_to_the_same_weights(cell: str, backend: str, dynamic: bool | None) -> None:
    """Batches and chunks of several sizes; the state goes on from chunk to chunk."""
    eager = RecurrentLanguageModel(30, RecurrentOptions(cell=cell, hidden_size=8, layers=2))
    compiled = copy.deepcopy(eager)
    texts = [torch.randint(0, 30, size) for size in [(7, 4), (7, 4), (6, 4), (8, 3), (7, 5)]]
    trained(eager, eager.loss, texts)
    trained(compiled, torch.compile(compiled.loss, fullgraph=True, backend=backend, dynamic=dynamic), texts)
    for a, b in zip(eager.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=2e-6)


def trained(model: RecurrentLanguageModel, loss: Callable[..., Any], texts: list[Tensor]) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.2)
    for text in texts:
        state = model.start(batch=text.shape[1])
        for chunk in (slice(0, 4), slice(3, 7)):
            nats, state = loss(text[chunk][:-1], text[chunk][1:], state)
            optimizer.zero_grad()
            nats.backward()
            optimizer.step()
            state = tuple(type(each)(*(leaf.detach() for leaf in each)) for each in state)
