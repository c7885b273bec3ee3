"""Memory that is lent: never to two at once, and again as soon as no one refers to it."""

import os

import pytest
import torch

from elman.cells import LSTM
from elman.fused import memory
from elman.fused.memory import Pool
from tests.fused.running import compiled_here

LIKE = torch.zeros(1, dtype=torch.float64)


def test_a_block_is_lent_again_only_when_no_view_of_it_is_left() -> None:
    pool = Pool()
    first = pool.lend(LIKE, 50_000)
    view, at, size = first.view(5, -1)[2:], first.data_ptr(), pool.bytes()
    assert first.dtype == torch.float64
    assert size >= 8 * 50_000
    del first
    second = pool.lend(LIKE, 50_000)
    view.fill_(3.0)
    second.fill_(4.0)
    assert (view == 3.0).all()
    assert pool.bytes() == 2 * size
    del view
    third = pool.lend(LIKE, 40_000)
    assert third.data_ptr() == at
    assert pool.bytes() == 2 * size


def test_a_block_much_too_large_is_not_taken() -> None:
    pool = Pool()
    large = pool.lend(LIKE, 1_000_000)
    at = large.data_ptr()
    del large
    assert pool.lend(LIKE, 20_000).data_ptr() != at


def test_what_is_not_lent_for_long_is_given_back() -> None:
    pool = Pool()
    pool.lend(LIKE, 1_000_000)
    before = pool.bytes()
    for _ in range(memory.UNUSED + 2):
        pool.lend(LIKE, 20_000)
    assert pool.bytes() < before


def test_a_forked_process_has_its_own() -> None:
    pool = Pool()
    mine = pool.lend(LIKE, 50_000).fill_(1.0)
    child = os.fork()
    if child == 0:
        mine.fill_(2.0)
        os._exit(0)
    os.waitpid(child, 0)
    assert (mine == 1.0).all()


def test_two_scans_whose_gradients_are_still_to_come_keep_apart() -> None:
    torch.manual_seed(0)
    cell = LSTM(32, 48)
    inputs = [torch.randn(20, 8, 32, requires_grad=True) for _ in range(3)]
    alone = []
    for x in inputs:
        y, _ = cell.scan(x)
        alone += torch.autograd.grad(y.square().sum(), [x, *cell.parameters()])
    together = [cell.scan(x)[0] for x in inputs]
    found = []
    for x, y in zip(inputs, together, strict=True):
        found += torch.autograd.grad(y.square().sum(), [x, *cell.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(alone, found, strict=True))


@compiled_here
def test_a_training_takes_no_more_memory_after_its_first_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool()
    monkeypatch.setattr(memory, "POOL", pool)
    cell, x = LSTM(64, 64), torch.randn(50, 16, 64)
    taken = []
    for _ in range(4):
        cell.scan(x)[0].sum().backward()
        taken.append(pool.bytes())
    assert taken[0] > 4 * 50 * 16 * 64 * 4  # four gates at least are kept
    assert set(taken[1:]) == {taken[0]}
