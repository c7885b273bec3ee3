"""Scans where PyTorch looks on, or is about something else: they neither hide from it nor disturb it."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from elman import drop_in
from elman.cells import GRU, LSTM, MGU, Elman
from elman.cells.cell import Encoder, HiddenState
from elman.fused import choose, definition
from elman.fused.linear import linear
from elman.layers import Bidirectional, EncoderStack, Stack
from tests.fused.running import compiled_here

pytestmark = compiled_here


def both_kinds() -> list[Encoder]:
    """Cells that were never scanned."""
    return [Stack([LSTM(3, 2), GRU(2, 4)]), Bidirectional(LSTM(3, 2), GRU(3, 3))]


@pytest.mark.parametrize("which", [0, 1])
def test_a_graph_recorded_by_a_mode_computes_the_scan(which: int) -> None:
    net = both_kinds()[which]
    x, other = torch.randn(4, 2, 3), torch.randn(4, 2, 3)
    for known in (False, True):  # before its first scan, and after
        with torch.no_grad():
            graph = make_fx(lambda x: net.scan(x)[0])(x)
        assert (graph(other) - net.scan(other)[0]).abs().max() < 1e-6, known
    module = drop_in.LSTM(3, 2)
    module(x)
    with torch.no_grad():
        graph = make_fx(lambda x: module(x)[0])(x)
    assert (graph(other) - module(other)[0]).abs().max() < 1e-6


def test_a_trace_computes_the_scan() -> None:
    class Scanning(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = MGU(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.cell.scan(x)[0]
            return y

    net, other = Scanning(), torch.randn(4, 2, 3)
    for _ in range(2):
        with warnings.catch_warnings():  # of sizes that are constants now, and of its own age
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(net, torch.randn(4, 2, 3), check_trace=False)
        assert (traced(other) - net(other)).abs().max() < 1e-6


def test_fake_tensors_have_no_numbers() -> None:
    from torch._subclasses import FakeTensor, FakeTensorMode

    with FakeTensorMode():
        fakes = [(net, net.scan(torch.ones(4, 2, 3))[0]) for net in both_kinds()]
    for net, y in fakes:
        assert isinstance(y, FakeTensor)
        assert y.shape == (4, 2, net.output_size)
        assert isinstance(net.scan(y.new_empty(4, 2, 3))[0], FakeTensor)  # outside of the mode, too
    assert linear(fakes[0][1], 4, 5, half=False) is None
    assert linear(torch.ones(3, 4), 4, 5, half=False) is not None


def test_operations_are_counted() -> None:
    cell = Elman(3, 2)
    cell.scan(torch.ones(4, 2, 3))
    with FlopCounterMode(display=False) as counter:
        cell.scan(torch.ones(4, 2, 3))
    assert counter.get_total_flops() == 2 * 4 * 2 * 2 * (3 + 2)


@pytest.mark.parametrize("which", [0, 1])
def test_a_first_scan_in_a_checkpoint(which: int) -> None:
    """A checkpoint counts what is saved: the comparison at the first scan must not save there."""
    net, x = both_kinds()[which], torch.randn(4, 2, 3, requires_grad=True)
    y = checkpoint(lambda x: net.scan(x)[0], x, use_reentrant=False)
    (mine,) = torch.autograd.grad(y.square().sum(), x)
    (theirs,) = torch.autograd.grad(net.scan(x)[0].square().sum(), x)
    assert torch.equal(mine, theirs)


@pytest.mark.parametrize("_again", range(5))
def test_first_scans_in_many_threads(_again: int) -> None:
    """Each waits until the tensors of a cell are its own again, and has their gradient."""
    net = Stack([LSTM(3, 2), GRU(2, 4), MGU(4, 3)]).double()
    x, parameters = torch.randn(4, 2, 3, dtype=torch.float64), list(net.parameters())
    together = Barrier(4)

    def derived(_: int) -> tuple[Tensor, ...]:
        together.wait()
        return torch.autograd.grad(net.scan(x)[0].square().sum(), parameters)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(derived, range(4)))
    y = x
    for cell in net.cells:
        y, _ = definition.scan(cell, y, cell.initial_state(2), None)
    theirs = torch.autograd.grad(y.square().sum(), parameters)
    for mine in found:
        for a, b in zip(mine, theirs, strict=True):
            assert (a - b).norm() <= 1e-11 * (b.norm() + 1e-3)


def test_a_first_scan_of_a_cell_with_another_in_its_step() -> None:
    class Scanning(Elman):
        def __init__(self) -> None:
            super().__init__(3, 2)
            self.inner = GRU(2, 2)

        def advance(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
            y, last = self.inner.scan(x.unsqueeze(0), state)
            return y.squeeze(0), last

    cell, x = Scanning(), torch.randn(4, 2, 3)
    y, _ = cell.scan(x)
    z, _ = definition.scan(cell, x, cell.initial_state(2), None)
    assert (y - z).abs().max() < 1e-6


def test_a_first_scan_under_another_default_device() -> None:
    net = Stack([LSTM(3, 2), GRU(2, 4)])
    with torch.device("meta"):
        net.scan(torch.randn(4, 2, 3, device="cpu"))
    assert not any(choose.objections(cell) for cell in net.cells)


@pytest.mark.parametrize("batch", [1, 3])
def test_saved_tensors_come_back_with_other_strides(batch: int) -> None:
    """Hooks promise their values alone."""
    net = EncoderStack([Bidirectional(LSTM(3, 5), GRU(3, 2)), Elman(7, 4)]).double()
    x = torch.randn(5, batch, 3, dtype=torch.float64, requires_grad=True)

    def turned(saved: Tensor) -> Tensor:
        if saved.dim() == 1:
            return torch.stack([saved, saved], dim=1)[:, 0]
        return (
            saved.mT.contiguous().mT if saved.dim() == 2 else saved.movedim(2, 0).contiguous().movedim(0, 2)
        )

    inputs = [x, *net.parameters()]
    with saved_tensors_hooks(lambda saved: saved.clone(), turned):
        y, _ = net.scan(x)
    mine = torch.autograd.grad(y.square().sum(), inputs)
    both, last = net.cells
    there, _ = definition.scan(both.forwards, x, both.forwards.initial_state(batch), None)
    back, _ = definition.scan(both.backwards, x, both.backwards.initial_state(batch), None, reverse=True)
    z, _ = definition.scan(last, torch.cat([there, back], dim=-1), last.initial_state(batch), None)
    for a, b in zip(mine, torch.autograd.grad(z.square().sum(), inputs), strict=True):
        assert (a - b).norm() <= 1e-11 * (b.norm() + 1e-3)
