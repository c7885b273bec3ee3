"""The two passes over a Program's steps by the executor: forward, keeping what is needed, and backward."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from elman.axes import BH, TBH, TBX
from elman.fused import native
from elman.fused.compiled import Backward, Part
from elman.fused.native import Gradient, Place


@dataclass(frozen=True, slots=True)
class Shape:
    """What a scan goes over: its steps, from the last to the first if ``descending``, of ``batch`` rows."""

    steps: int
    batch: int
    descending: bool
    lengths: Tensor | None

    def before(self, steps: Tensor, first: Tensor, ring: int = 0) -> Place:
        """The state that a step starts from."""
        return Place(steps, 1 if self.descending else -1, first, from_end=self.descending, ring=ring)

    def after(self, steps: Tensor, first: Tensor, ring: int = 0) -> Place:
        """The gradient that a step of the backward pass starts from: of the state after it."""
        return Place(steps, -1 if self.descending else 1, first, from_end=not self.descending, ring=ring)

    def flat(self) -> "Shape":
        """All rows of all steps as one step: for what needs no past."""
        inside = None
        if self.lengths is not None:
            inside = (torch.arange(self.steps).unsqueeze(1) < self.lengths).flatten().to(torch.int64)
        return Shape(1, self.steps * self.batch, False, inside)


@dataclass(frozen=True, slots=True)
class Forward:
    """What came of a forward pass. ``kept`` holds buffers of all steps by the name of their plan's home."""

    y: TBH
    last: tuple[BH, ...]
    kept: dict[str, Tensor]


def forward(
    part: Part,
    shape: Shape,
    x: TBX,
    state: tuple[BH, ...],
    fixed: tuple[Tensor, ...],
    backward: Backward | None,
    spare: bool = False,
) -> Forward:
    """All steps of a Program; ``backward`` says what must be kept for a gradient.

    ``spare``: x is needed by no one else. Then what is kept may take its place, step by step as it is read.
    """
    plan = part.forward(backward is not None)
    kept = homes(part, backward)
    over = over_x(part, backward) if spare else {}
    places = {"x": Place(x)} | _vectors(part, fixed)
    buffers: dict[str, Tensor] = {}
    for home in dict.fromkeys(plan.home.values()):
        whole = home in kept or home == plan.home["y"]
        if home in over:
            buffers[home] = x.narrow(2, over[home], plan.widths[home])
        else:
            buffers[home] = native.empty(x, shape.steps if whole else 2, shape.batch, plan.widths[home])
        places[home] = Place(buffers[home], ring=0 if whole else 2)
    last = []
    for leaf, start in zip(part.leaves, state, strict=True):
        home = plan.home[f"{leaf}'"]
        places[leaf] = shape.before(buffers[home], start, places[home].ring)
        last.append(_last(start, shape))
        places[f"last.{leaf}'"] = Place(last[-1].unsqueeze(0), ring=1)
    native.run(
        part.library, plan, places, _named(part, fixed), steps=shape.steps, batch=shape.batch,
        descending=shape.descending, split_rows=not part.leaves, lengths=shape.lengths, half=part.half,
    )  # fmt: skip
    return Forward(buffers[plan.home["y"]], tuple(last), {home: buffers[home] for home in sorted(kept)})


def backward(
    part: Part,
    shape: Shape,
    wanted: Backward,
    x: TBX,
    state: tuple[BH, ...],
    fixed: tuple[Tensor, ...],
    kept: Mapping[str, Tensor],
    d_y: TBH | None,
    d_last: tuple[BH | None, ...],
) -> dict[str, Tensor]:
    """The gradients, by name: of ``x``, of the state's leaves, of vectors and matrices; as far as wanted."""
    plan, home = wanted.plan, part.forward(True).home
    places = {"x": Place(x)} | _vectors(part, fixed)
    for leaf, start in zip(part.leaves, state, strict=True):
        if home[f"{leaf}'"] in kept:
            places[leaf] = shape.before(kept[home[f"{leaf}'"]], start)
    for name, stands in home.items():
        if stands in kept:
            places[name] = Place(kept[stands])
    if d_y is None:
        places["d.y"] = Place(x.new_zeros(1, 1, part.widths["y"]).expand(1, shape.batch, -1), ring=1)
    else:
        places["d.y"] = Place(d_y)
    found: dict[str, Tensor] = {}
    ends = {plan.home[f"d.{leaf}"] for leaf in part.leaves}
    for name in dict.fromkeys(plan.home.values()):
        if name not in places:
            several = name not in ends or any(h == name and n not in ends for n, h in plan.home.items())
            tensor = native.empty(x, shape.steps if several else 2, shape.batch, plan.widths[name])
            places[name] = Place(tensor, ring=0 if several else 2)
    if "d.x" in plan.home:
        found["x"] = places[plan.home["d.x"]].tensor
    for leaf, gradient, start in zip(part.leaves, d_last, state, strict=True):
        first = torch.zeros_like(start) if gradient is None else gradient
        carry = places[plan.home[f"d.{leaf}"]]
        places[f"d.{leaf}'"] = shape.after(carry.tensor, first, carry.ring)
        found[leaf] = _last(first, shape)
        places[f"last.d.{leaf}"] = Place(found[leaf].unsqueeze(0), ring=1)
    rows = shape.steps * shape.batch if not part.leaves else shape.batch
    threads = native.team(plan, rows)
    totals = [name for name in plan.buffers if name.startswith("sum.")]
    for name in totals:
        places[name] = Place(x.new_zeros(threads, plan.widths[name]))
    by_name = _named(part, fixed)
    gradients = _products(wanted, by_name, found)
    native.run(
        part.library, plan, places, by_name, steps=shape.steps, batch=shape.batch, threads=threads,
        descending=not shape.descending, split_rows=not part.leaves, lengths=shape.lengths,
        gradients=gradients, half=part.half,
    )  # fmt: skip
    for name in totals:
        found[name[4:]] = places[name].tensor.sum(0).view(by_name[name[4:]].shape)
    return found


def homes(part: Part, backward: Backward | None) -> set[str]:
    """The buffers of the forward pass that a gradient reads."""
    names = set() if backward is None else backward.reads - {"x"}
    home = part.forward(backward is not None).home
    return {home[f"{name}'" if name in part.leaves else name] for name in names}


def over_x(part: Part, backward: Backward | None) -> dict[str, int]:
    """Those of them that may lie over ``x``, if no one else needs it, with their first column there."""
    if backward is None or "x" in backward.reads:
        return {}
    kept = homes(part, backward)
    return {home: column for home, column in part.forward(True).over_x.items() if home in kept}


def _vectors(part: Part, fixed: tuple[Tensor, ...]) -> dict[str, Place]:
    return {
        name: Place(tensor.reshape(-1).contiguous())
        for name, tensor in zip(part.fixed, fixed, strict=True)
        if name not in part.matrices
    }


def _named(part: Part, fixed: tuple[Tensor, ...]) -> dict[str, Tensor]:
    return dict(zip(part.fixed, fixed, strict=True))


def _last(start: BH, shape: Shape) -> BH:
    """Where the last state goes. An empty sequence never gets there: its state does not move."""
    if shape.lengths is not None:
        return start.clone(memory_format=torch.contiguous_format)
    return native.empty(start, *start.shape)


def _products(wanted: Backward, fixed: Mapping[str, Tensor], found: dict[str, Tensor]) -> list[Gradient]:
    """One large product per use of a matrix; several uses of one add up."""
    gradients = []
    for factor in wanted.factors:
        accumulate = factor.matrix in found
        if not accumulate:
            found[factor.matrix] = native.empty(fixed[factor.matrix], *fixed[factor.matrix].shape)
        delta = wanted.plan.home[factor.delta]
        left, right = (delta, factor.operand) if factor.transposed else (factor.operand, delta)
        gradients.append(Gradient(left, right, found[factor.matrix], accumulate))
    return gradients
