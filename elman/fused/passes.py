"""The two passes over a Program's steps by the executor: forward, keeping what is needed, and backward."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from elman.axes import BH, TBH, TBX
from elman.fused import native
from elman.fused.compiled import Backward, Part
from elman.fused.native import Gradient, Place, Work
from elman.fused.plan import Plan

#: What a projection makes for a chunk of steps should stay in the second cache; but its matrices, which are
#: read once for each chunk, should be read for so many rows.
CHUNK_BYTES, CHUNK_ROWS = 512 * 1024, 64

#: In the backward pass the gradients of matrices are read and written once for each chunk.
BACKWARD_ROWS = 1024


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

    def chunk(self, rows: float) -> int:
        """So many steps that they have about so many rows."""
        return max(1, min(self.steps, round(rows / self.batch)))


@dataclass(frozen=True, slots=True)
class Projection:
    """What is done for a chunk of steps before they are, from ``x``; its output is the ``x`` of the steps.

    ``whole``: its output is kept for all steps. ``kept``: what the forward pass kept, by home.
    """

    part: Part
    x: TBX
    fixed: tuple[Tensor, ...]
    backward: Backward | None
    whole: bool
    kept: Mapping[str, Tensor]
    masks: tuple[Tensor, ...] = ()


@dataclass(frozen=True, slots=True)
class Forward:
    """What came of a forward pass. ``kept`` and ``projected`` (of the projection, with its output if that is
    kept whole) hold buffers of all steps by the name of their plan's home."""

    y: TBH
    last: tuple[BH, ...]
    kept: dict[str, Tensor]
    projected: dict[str, Tensor]


def forward(
    part: Part,
    shape: Shape,
    x: TBX | None,
    state: tuple[BH, ...],
    fixed: tuple[Tensor, ...],
    backward: Backward | None,
    projection: Projection | None = None,
    masks: tuple[Tensor, ...] = (),
) -> Forward:
    """All steps of a Program from ``x``, or from what a projection makes of its own.

    ``backward`` says what must be kept for a gradient; ``masks`` (T B …) are the inputs of its noise.
    """
    plan = part.forward(backward is not None)
    kept = homes(part, backward)
    before, chunk = None, shape.steps
    projected: dict[str, Tensor] = {}
    if projection is not None:
        width = projection.part.widths["y"] * projection.x.element_size()
        chunk = shape.chunk(max(CHUNK_ROWS, CHUNK_BYTES / width))
        before, x, projected = _before(projection, shape, chunk)
    if x is None:
        raise TypeError("steps without a projection need x")
    places = {"x": Place(x, ring=0 if len(x) == shape.steps else chunk)} | _given(part, fixed, masks)
    buffers: dict[str, Tensor] = {}
    for home in dict.fromkeys(plan.home.values()):
        whole = home in kept or home == plan.home["y"]
        buffers[home] = native.empty(x, shape.steps if whole else 2, shape.batch, plan.widths[home])
        places[home] = Place(buffers[home], ring=0 if whole else 2)
    last = []
    for leaf, start in zip(part.leaves, state, strict=True):
        home = plan.home[f"{leaf}'"]
        places[leaf] = shape.before(buffers[home], start, places[home].ring)
        last.append(_last(start, shape))
        places[f"last.{leaf}'"] = Place(last[-1].unsqueeze(0), ring=1)
    native.run(
        part.library, Work(plan, places, _named(part, fixed)), steps=shape.steps, batch=shape.batch,
        descending=shape.descending, lengths=shape.lengths, before=before, chunk=chunk,
        half=part.half,
    )  # fmt: skip
    return Forward(
        buffers[plan.home["y"]], tuple(last), {home: buffers[home] for home in sorted(kept)}, projected
    )


def _before(projection: Projection, shape: Shape, chunk: int) -> tuple[Work, TBX, dict[str, Tensor]]:
    """The projection as work before each chunk; where its output goes; and what of it is kept."""
    part = projection.part
    plan = part.forward(projection.backward is not None)
    kept = homes(part, projection.backward)
    kept |= {plan.home["y"]} if projection.whole else set()
    places = {"x": Place(projection.x)} | _given(part, projection.fixed, projection.masks)
    buffers: dict[str, Tensor] = {}
    for home in dict.fromkeys(plan.home.values()):
        steps = shape.steps if home in kept else chunk
        buffers[home] = native.empty(projection.x, steps, shape.batch, plan.widths[home])
        places[home] = Place(buffers[home], ring=0 if home in kept else chunk)
    work = Work(plan, places, _named(part, projection.fixed))
    return work, buffers[plan.home["y"]], {home: buffers[home] for home in sorted(kept)}


def backward(
    part: Part,
    shape: Shape,
    wanted: Backward,
    x: TBX | None,
    state: tuple[BH, ...],
    fixed: tuple[Tensor, ...],
    kept: Mapping[str, Tensor],
    d_y: TBH | None,
    d_last: tuple[BH | None, ...],
    projection: Projection | None = None,
    masks: tuple[Tensor, ...] = (),
) -> dict[str, Tensor]:
    """The gradients, by name: of ``x``, of the state's leaves, of vectors and matrices; as far as wanted.

    With a projection those of its input, vectors and matrices as well, as ``project.NAME``; ``x`` is then its
    output, if the gradient reads that.
    """
    plan, home = wanted.plan, part.forward(True).home
    like = projection.x if projection is not None else x
    if like is None:
        raise TypeError("steps without a projection need x")
    below = None if projection is None else projection.backward
    places = ({} if x is None else {"x": Place(x)}) | _given(part, fixed, masks)
    for leaf, start in zip(part.leaves, state, strict=True):
        if home[f"{leaf}'"] in kept:
            places[leaf] = shape.before(kept[home[f"{leaf}'"]], start)
    for name, stands in home.items():
        if stands in kept:
            places[name] = Place(kept[stands])
    if d_y is None:
        places["d.y"] = Place(like.new_zeros(1, 1, part.widths["y"]).expand(1, shape.batch, -1), ring=1)
    else:
        places["d.y"] = Place(d_y)
    found: dict[str, Tensor] = {}
    chunk = shape.chunk(BACKWARD_ROWS)
    ends = {plan.home[f"d.{leaf}"] for leaf in part.leaves}
    for name in dict.fromkeys(plan.home.values()):
        if name in places:
            continue
        carried = name in ends and all(n in ends for n, h in plan.home.items() if h == name)
        ring = (
            2 if carried else max(2, chunk)
        )  # a step reads the one before; what is done after a chunk, all its steps
        if name == plan.home.get("d.x") and below is None:
            ring = 0
        tensor = native.empty(like, ring or shape.steps, shape.batch, plan.widths[name])
        places[name] = Place(tensor, ring=ring)
    if "d.x" in plan.home and below is None:
        found["x"] = places[plan.home["d.x"]].tensor
    for leaf, gradient, start in zip(part.leaves, d_last, state, strict=True):
        first = torch.zeros_like(start) if gradient is None else gradient
        carry = places[plan.home[f"d.{leaf}"]]
        places[f"d.{leaf}'"] = shape.after(carry.tensor, first, carry.ring)
        found[leaf] = _last(first, shape)
        places[f"last.d.{leaf}"] = Place(found[leaf].unsqueeze(0), ring=1)
    threads = native.team(plan, shape.batch)
    totals = _totals(plan, like, threads)
    places |= totals
    work = Work(plan, places, _named(part, fixed), _products(wanted, _named(part, fixed), found))
    after, under = None, dict[str, Tensor]()
    if projection is not None and below is not None:
        after = _after(projection, below, shape, places[plan.home["d.x"]], chunk, threads, under)
    native.run(
        part.library, work, steps=shape.steps, batch=shape.batch, threads=threads,
        descending=not shape.descending, lengths=shape.lengths, after=after, chunk=chunk,
        half=part.half,
    )  # fmt: skip
    found |= _summed(work)
    if after is not None:
        under |= _summed(after)
    return found | {f"project.{name}": gradient for name, gradient in under.items()}


def _after(
    projection: Projection,
    wanted: Backward,
    shape: Shape,
    d_y: Place,
    chunk: int,
    threads: int,
    found: dict[str, Tensor],
) -> Work:
    """The gradient of a projection as work after each chunk. It is ``found`` when that has run."""
    part, plan = projection.part, wanted.plan
    places = {"x": Place(projection.x), "d.y": d_y} | _given(part, projection.fixed, projection.masks)
    places |= _totals(plan, projection.x, threads)
    for name, stands in part.forward(True).home.items():
        if stands in projection.kept:
            places[name] = Place(projection.kept[stands])
    for name in dict.fromkeys(plan.home.values()):
        if name not in places:
            ring = 0 if name == plan.home.get("d.x") else chunk
            tensor = native.empty(projection.x, ring or shape.steps, shape.batch, plan.widths[name])
            places[name] = Place(tensor, ring=ring)
    if "d.x" in plan.home:
        found["x"] = places[plan.home["d.x"]].tensor
    by_name = _named(part, projection.fixed)
    return Work(plan, places, by_name, _products(wanted, by_name, found))


def _totals(plan: Plan, like: Tensor, threads: int) -> dict[str, Place]:
    """Where each thread adds up the gradients of vectors."""
    names = [name for name in plan.buffers if name.startswith("sum.")]
    return {name: Place(like.new_zeros(threads, plan.widths[name])) for name in names}


def _summed(work: Work) -> dict[str, Tensor]:
    """The gradients of vectors, of all threads together."""
    names = [name for name in work.plan.buffers if name.startswith("sum.")]
    return {name[4:]: work.places[name].tensor.sum(0).view(work.fixed[name[4:]].shape) for name in names}


def homes(part: Part, backward: Backward | None) -> set[str]:
    """The buffers of the forward pass that a gradient reads."""
    names = set() if backward is None else backward.reads - {"x"}
    home = part.forward(backward is not None).home
    return {home[f"{name}'" if name in part.leaves else name] for name in names}


def _given(part: Part, fixed: tuple[Tensor, ...], masks: tuple[Tensor, ...]) -> dict[str, Place]:
    """Vectors and masks. A mask that holds for all steps lies T times in one place."""
    return {name: Place(mask) for name, mask in zip(part.masks, masks, strict=True)} | {
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
