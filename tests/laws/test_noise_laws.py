"""Laws of noise: every kind on every cell that has a place for it."""

import pytest
import torch
from torch import Tensor

from elman import states
from elman.cells import CELLS, MUT1, MUT2, Cell
from elman.cells.noise import Noise, Noisy
from elman.fused import choose, library, noise
from elman.fused.compiled import Compiled
from tests.fused.running import by_definition_alone

T, B, X, H = 5, 3, 2, 3
KINDS = {
    "state": Noise(state=0.4),
    "state and input per gate": Noise(input=0.3, state=0.4, per_gate=True),
    "candidate": Noise(candidate=0.4),
    "weights": Noise(weights=0.4),
    "zoneout": Noise(zoneout={"h": 0.4}),
}
WITHOUT = {
    ("elman", "candidate"), ("indrnn", "candidate"),
    *((cell, kind) for cell in ("indrnn", "mingru", "minlstm")
      for kind in ("state", "state and input per gate", "weights")),
}  # fmt: skip
everywhere = pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name in CELLS for kind in KINDS if (name, kind) not in WITHOUT]
)


def made(name: str, kind: str) -> tuple[Cell, Noise]:
    cell = {"mut1": MUT1, "mut2": MUT2}[name](X, H, True) if name in ("mut1", "mut2") else CELLS[name](X, H)
    with torch.no_grad():
        for parameter in cell.double().parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5 + 0.1)
    given = KINDS[kind]
    return cell, Noise(zoneout={"r": 0.4}) if given.zoneout and name == "lstmp" else given


def values(cell: Cell, x: Tensor, masks: dict[str, Tensor], lengths: Tensor | None) -> list[Tensor]:
    """Outputs, last state and gradients; but an sLSTM's stabiliser starts at the lowest number there is."""
    y, last = cell.scan(x, None, lengths, masks)
    ends = [leaf for name, leaf in states.leaves(last) if name != "state.m"]
    total = (y * torch.linspace(0.3, 1.9, y.numel()).view_as(y)).sum() + sum(
        (leaf.square().sum() for leaf in ends), torch.zeros(())
    )
    found = torch.autograd.grad(total, [x, *cell.parameters()], allow_unused=True)
    return [y, *ends, *(torch.zeros(()) if gradient is None else gradient for gradient in found)]


def test_the_sweep_is_complete() -> None:
    assert len(CELLS) * len(KINDS) - len(WITHOUT) == 28 * 5 - 11
    for name, kind in sorted(WITHOUT):
        cell, rates = made(name, kind)
        assert rates.problems(cell)


@everywhere
def test_the_chosen_way_is_the_loop_over_the_program(
    name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, rates = made(name, kind)
    masks = Noisy(cell, rates).draw(B, T)
    x = torch.randn(T, B, X, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([T, 0, 2])
    mine = values(cell, x, masks, lengths)
    if library.objection() is None:
        assert isinstance(choose.compile_cell(cell, noise.inside(masks)), Compiled)
    by_definition_alone(monkeypatch)
    for a, b in zip(mine, values(cell, x, masks, lengths), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.slow
@everywhere
def test_masks_of_no_effect_change_nothing_and_those_of_full_effect_do(name: str, kind: str) -> None:
    cell, rates = made(name, kind)
    x = torch.randn(T, B, X, dtype=torch.float64)
    still = {
        site: torch.full_like(mask, 0.0 if site.startswith("zoneout") else 1.0)
        for site, mask in Noisy(cell, rates).draw(B, T).items()
    }
    plain = cell.scan(x)[0]
    torch.testing.assert_close(cell.scan(x, noise=still)[0], plain)
    assert not torch.allclose(
        cell.scan(x, noise={site: 1 - mask for site, mask in still.items()})[0], plain, atol=1e-3
    )


@pytest.mark.slow
@everywhere
def test_two_chunks_under_the_same_masks_are_one(name: str, kind: str) -> None:
    cell, rates = made(name, kind)
    x = torch.randn(T, B, X, dtype=torch.float64)
    masks = Noisy(cell, rates).draw(B, T)

    def part(start: int, stop: int) -> dict[str, Tensor]:
        return {
            site: mask[start:stop] if mask.dim() == 3 and len(mask) > 1 else mask
            for site, mask in masks.items()
        }

    whole, last = cell.scan(x, noise=masks)
    first, middle = cell.scan(x[:2], noise=part(0, 2))
    second, end = cell.scan(x[2:], middle, noise=part(2, T))
    torch.testing.assert_close(torch.cat([first, second]), whole)
    for (_, a), (_, b) in zip(states.leaves(end), states.leaves(last), strict=True):
        torch.testing.assert_close(a, b)
