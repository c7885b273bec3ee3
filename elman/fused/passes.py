"""The two passes over a Program's steps by the executor: forward, keeping what is needed, and backward.

Each is laid out once for scans of one size and kind; running it then is a few allocations and one call.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from elman.axes import BH, TBH, B
from elman.fused import native
from elman.fused.compiled import Backward, Part
from elman.fused.native import Call, Gradient, Place, Room, Work
from elman.fused.places import fixed_of, home_of, matrices_of, steps_of

#: What a projection makes for a chunk of steps should stay in the second cache; but its matrices, which are
#: read once for each chunk, should be read for so many rows.
CHUNK_BYTES, CHUNK_ROWS = 512 * 1024, 64

#: In the backward pass the gradients of matrices are read and written once for each chunk.
BACKWARD_ROWS = 1024

T = TypeVar("T")


class Extent(NamedTuple):
    """What a scan goes over: its steps, from the last to the first if ``descending``, of ``batch`` rows, all
    of one length unless ``ragged``; on at most so many ``threads``. Steps and rows of its outputs are so many
    elements apart."""

    steps: int
    batch: int
    descending: bool
    ragged: bool
    threads: int
    apart: tuple[int, int]

    def outputs(self, tensor: int) -> Place:
        """The outputs of all steps, in the tensor of this number."""
        return Place(tensor, *self.apart)

    def before(self, values: Place, first: int, first_row: int) -> Place:
        """The state that a step starts from: of the step before, or a row of the tensor ``first``."""
        shift = 1 if self.descending else -1
        return replace(values, shift=shift, first=first, first_row=first_row, from_end=self.descending)

    def after(self, values: Place, first: int, first_row: int) -> Place:
        """The gradient that a step of the backward pass starts from: of the state after it."""
        shift = -1 if self.descending else 1
        return replace(values, shift=shift, first=first, first_row=first_row, from_end=not self.descending)

    def chunk(self, rows: float) -> int:
        """So many steps that they have about so many rows."""
        return max(1, min(self.steps, round(rows / self.batch)))


class Given(NamedTuple, Generic[T]):
    """Something of each of a scan's tensors, by what they are."""

    x: T
    state: tuple[T, ...]
    project: tuple[T, ...]
    advance: tuple[T, ...]
    project_masks: tuple[T, ...]
    advance_masks: tuple[T, ...]


class Pair(NamedTuple):
    """What is done for a chunk of steps before they are, and the steps; a projection's output is their x."""

    project: Part | None
    advance: Part

    def sort(self, of_tensors: Sequence[T]) -> Given[T]:
        """The tensors in their order, or anything of each: x, state, vectors and matrices, masks."""
        fixed, masks = (0, 0) if self.project is None else (len(self.project.fixed), len(self.project.masks))
        sizes = (1, len(self.advance.leaves), fixed, len(self.advance.fixed), masks)
        ends = [0]
        for size in sizes:
            ends.append(ends[-1] + size)
        _, *rest = (tuple(of_tensors[a:b]) for a, b in pairwise([*ends, len(of_tensors)]))
        return Given(of_tensors[0], *rest)


class Started(NamedTuple, Generic[T]):
    """A pass on tensors of its own, not yet run; ``finish`` gives what came of it."""

    call: Call
    tensors: Sequence[Tensor]
    finish: Callable[[], T]

    def run(self) -> T:
        self.call.run(self.tensors)
        return self.finish()


@dataclass(frozen=True, eq=False)
class Wanted:
    """The gradients that are wanted of the two Programs, and what they read of the forward pass.

    ``whole``: the projected input is kept. ``below`` and ``above``: the projection's and the steps' buffers
    that are kept besides it and the outputs.
    """

    project: Backward | None
    advance: Backward
    whole: bool
    below: tuple[str, ...]
    above: tuple[str, ...]


def wanted(pair: Pair, needs: Sequence[bool]) -> Wanted:
    """What the gradients of the tensors that ``needs`` marks ask for."""
    project, advance = pair
    x, _, first, second, *_ = pair.sort(needs)
    steps = advance.backward(x or any(first), _named(advance, second))
    above = tuple(sorted(_read(advance, steps) - {advance.forward(True).home["y"]}))
    if project is None:
        return Wanted(None, steps, False, (), above)
    below = project.backward(x, _named(project, first)) if "d.x" in steps.plan.home else None
    kept, output = set() if below is None else _read(project, below), project.forward(True).home["y"]
    whole = "x" in steps.reads or output in kept
    return Wanted(below, steps, whole, tuple(sorted(kept - {output})), above)


def _named(part: Part, needs: Sequence[bool]) -> frozenset[str]:
    return frozenset(name for name, need in zip(part.fixed, needs, strict=True) if need)


def _read(part: Part, backward: Backward) -> set[str]:
    """The buffers of the forward pass that a gradient reads."""
    home = part.forward(True).home
    return {home[f"{name}'" if name in part.leaves else name] for name in backward.reads - {"x"}}


class Kept:
    """What a forward pass keeps for the gradient besides its outputs: values of all steps, in one tensor.

    ``size``: its elements. ``below`` and ``above``: where each buffer begins, and its width.
    """

    def __init__(self, pair: Pair, asked: Wanted | None, steps: int, batch: int) -> None:
        room = Room(alignment=1)  # without gaps: all of it is written, and may be compared
        self.steps, self.batch = steps, batch

        def placed(part: Part, homes: Sequence[str]) -> dict[str, tuple[int, int]]:
            widths = part.forward(True).widths
            return {home: (room.take(steps * batch * widths[home]), widths[home]) for home in homes}

        self.below: dict[str, tuple[int, int]] = {}
        self.above = {} if asked is None else placed(pair.advance, asked.above)
        if asked is not None and pair.project is not None:
            output = [pair.project.forward(True).home["y"]] if asked.whole else []
            self.below = placed(pair.project, [*output, *asked.below])
        self.size = room.size

    def places(self, which: Mapping[str, tuple[int, int]], tensor: int) -> dict[str, Place]:
        """Where ``below`` or ``above`` lie in the tensor of this number."""
        return {name: Place(tensor, self.batch * width, width, at) for name, (at, width) in which.items()}


class Forward:
    """The forward pass, laid out for one extent and for tensors that lie as ``tensors`` do."""

    def __init__(self, pair: Pair, asked: Wanted | None, extent: Extent, tensors: Sequence[Tensor]) -> None:
        self.extent, self.leaves = extent, len(pair.advance.leaves)
        self.kept = Kept(pair, asked, extent.steps, extent.batch)
        numbers, room, item = count(len(tensors)), Room(), tensors[0].element_size()
        given = pair.sort(range(len(tensors)))
        y, last = next(numbers), [next(numbers) for _ in given.state]
        kept = next(numbers)
        before, chunk, x = None, extent.steps, steps_of(given.x, tensors)
        if pair.project is not None:
            part, keeping = pair.project, asked is not None and asked.project is not None
            plan = part.forward(keeping)
            chunk = extent.chunk(max(CHUNK_ROWS, CHUNK_BYTES / (plan.widths[plan.home["y"]] * item)))
            places = {"x": x} | fixed_of(part, given.project, given.project_masks, tensors)
            places |= self.kept.places(self.kept.below, kept)
            for home in dict.fromkeys(plan.home.values()):
                if home not in self.kept.below:
                    places[home] = room.ring(chunk, extent.batch, plan.widths[home])
            before = Work(plan, places, matrices_of(part, given.project, tensors))
            x = places[plan.home["y"]]
        part = pair.advance
        plan = part.forward(asked is not None)
        places = {"x": x} | fixed_of(part, given.advance, given.advance_masks, tensors)
        places |= self.kept.places(self.kept.above, kept)
        places[plan.home["y"]] = extent.outputs(y)
        for home in dict.fromkeys(plan.home.values()):
            if home not in self.kept.above and home != plan.home["y"]:
                places[home] = room.ring(2, extent.batch, plan.widths[home])
        for leaf, start, end in zip(part.leaves, given.state, last, strict=True):
            places[leaf] = extent.before(places[plan.home[f"{leaf}'"]], start, tensors[start].stride(0))
            places[f"last.{leaf}'"] = Place(end, row=tensors[start].shape[1])
        work = Work(plan, places, matrices_of(part, given.advance, tensors))
        threads = native.team(plan, extent.batch, extent.threads)
        self.call = Call(
            part.library, work, steps=extent.steps, batch=extent.batch, dtype=tensors[0].dtype, room=room,
            threads=threads, descending=extent.descending, lengths=next(numbers) if extent.ragged else None,
            before=before, chunk=chunk, half=part.half,
        )  # fmt: skip

    def started(
        self, tensors: Sequence[Tensor], lengths: B | None, y: TBH
    ) -> "Started[tuple[tuple[BH, ...], Tensor]]":
        """For the last state and what is kept; the outputs are written to ``y``."""
        # An empty sequence never gets to its last state, which is the first one then.
        last = [
            native.empty(start, *start.shape)
            if lengths is None
            else start.clone(memory_format=torch.contiguous_format)
            for start in tensors[1 : 1 + self.leaves]
        ]
        kept = native.lent(tensors[0], self.kept.size)
        given = (*tensors, y, *last, kept) if lengths is None else (*tensors, y, *last, kept, lengths)
        return Started(self.call, given, lambda: (tuple(last), kept))


class BackwardPass:
    """The backward pass, laid out for one extent and for tensors that lie as ``tensors`` and ``d`` do.

    ``d``: the gradients of outputs and last state; None where there is none.
    """

    def __init__(
        self, pair: Pair, asked: Wanted, extent: Extent, tensors: Sequence[Tensor],
        d: Sequence[Tensor | None],
    ) -> None:  # fmt: skip
        self.extent = extent
        self.kept = Kept(pair, asked, extent.steps, extent.batch)
        self._numbers, self._room, self._tensors = count(len(tensors)), Room(), tensors
        self._made: list[tuple[tuple[int, ...], bool]] = []  # sizes of new tensors; whether they are zeros
        self._found: dict[int, int] = {}  # a tensor's number → that of its gradient among the new ones
        self._totals: list[int] = []  # the numbers of the tensors whose gradients threads add up
        part, plan, home = pair.advance, asked.advance.plan, pair.advance.forward(True).home
        self.threads = native.team(plan, extent.batch, extent.threads)
        self.chunk = extent.chunk(BACKWARD_ROWS)
        given = pair.sort(range(len(tensors)))
        y, kept = next(self._numbers), next(self._numbers)
        d_y, *d_last = [None if each is None else next(self._numbers) for each in d]
        self.ends = [next(self._numbers) for _ in d_last]
        strides = {
            number: each.stride() for number, each in zip((d_y, *d_last), d, strict=True) if each is not None
        }
        self.zeros, zeros = 0, 0
        if None in (d_y, *d_last):  # one row for all that has no gradient
            self.zeros = max([part.widths["y"], *(tensors[leaf].shape[1] for leaf in given.state)])
            zeros = next(self._numbers)
        self.lengths = next(self._numbers) if extent.ragged else None
        places = fixed_of(part, given.advance, given.advance_masks, tensors)
        below = self.kept.places(self.kept.below, kept)
        if pair.project is None:
            places["x"] = steps_of(given.x, tensors)
        elif asked.whole:
            places["x"] = below[pair.project.forward(True).home["y"]]
        above = self.kept.places(self.kept.above, kept) | {home["y"]: extent.outputs(y)}
        for leaf, start in zip(part.leaves, given.state, strict=True):
            if home[f"{leaf}'"] in above:
                places[leaf] = extent.before(above[home[f"{leaf}'"]], start, tensors[start].stride(0))
        places |= {name: above[stands] for name, stands in home.items() if stands in above}
        places["d.y"] = Place(zeros) if d_y is None else Place(d_y, strides[d_y][0], strides[d_y][1])
        ends = {f"d.{leaf}" for leaf in part.leaves}
        handed = {f"{name}'": plan.home[name] for name in ends}  # by the later step
        again = {home for name, home in handed.items() if name in plan.home.values()}  # after a chunk
        for name in dict.fromkeys(plan.home.values()):
            if name in places or name in handed:
                continue
            carried = all(n in ends for n, h in plan.home.items() if h == name)
            # A step reads the one before; what is done after a chunk, all its steps, which lie in one piece,
            # and what the step after them handed over.
            ring = 2 * self.chunk if name in again else 2 if carried else max(2, self.chunk)
            for_x = name == plan.home.get("d.x") and asked.project is None
            places[name] = self._place(given.x if for_x else None, ring, plan.widths[name])
        for leaf, gradient, end in zip(part.leaves, d_last, self.ends, strict=True):
            carry, width = places[plan.home[f"d.{leaf}"]], part.widths[f"{leaf}'"]
            first, row = (zeros, 0) if gradient is None else (gradient, strides[gradient][0])
            places[f"d.{leaf}'"] = extent.after(carry, first, row)
            places[f"last.d.{leaf}"] = Place(end, row=width)
        work = self._work(part, asked.advance, places, given.advance)
        after = None
        if pair.project is not None and asked.project is not None:
            after = self._after(pair.project, asked.project, given, below, places[plan.home["d.x"]])
        self.call = Call(
            part.library, work, steps=extent.steps, batch=extent.batch, dtype=tensors[0].dtype,
            room=self._room, threads=self.threads, descending=not extent.descending, lengths=self.lengths,
            after=after, chunk=self.chunk, half=part.half,
        )  # fmt: skip
        del self._tensors

    def _after(
        self, part: Part, asked: Backward, given: Given[int], below: Mapping[str, Place], d_y: Place
    ) -> Work:
        """The gradient of a projection as work after each chunk."""
        plan = asked.plan
        places = {"x": steps_of(given.x, self._tensors), "d.y": d_y}
        places |= fixed_of(part, given.project, given.project_masks, self._tensors)
        home = part.forward(True).home
        places |= {name: below[stands] for name, stands in home.items() if stands in below}
        for name in dict.fromkeys(plan.home.values()):
            if name not in places:
                for_x = name == plan.home.get("d.x")
                places[name] = self._place(given.x if for_x else None, self.chunk, plan.widths[name])
        return self._work(part, asked, places, given.project)

    def _work(self, part: Part, asked: Backward, places: dict[str, Place], fixed: Sequence[int]) -> Work:
        """The plan's work, with new tensors for the gradients of vectors and matrices."""
        plan, by_name = asked.plan, dict(zip(part.fixed, fixed, strict=True))
        for name in plan.buffers:
            if name.startswith("sum."):  # each thread adds up its own
                vector, width = by_name[name[4:]], plan.widths[name]
                alone = self.threads == 1
                size = tuple(self._tensors[vector].shape) if alone else (self.threads, width)
                places[name] = Place(self._new(vector, size, zeros=True), step=width)
                self._totals += [] if alone else [vector]
        gradients = []
        for factor in asked.factors:  # one large product per use of a matrix; several uses of one add up
            matrix = by_name[factor.matrix]
            accumulate = matrix in self._found
            rows, columns = self._tensors[matrix].shape
            out = self._found[matrix] if accumulate else self._new(matrix, (rows, columns))
            delta = home_of(plan, factor.delta, places)
            left, right = (delta, factor.operand) if factor.transposed else (factor.operand, delta)
            gradients.append(Gradient(left, right, out, rows, columns, accumulate))
        return Work(plan, places, matrices_of(part, fixed, self._tensors), gradients)

    def _place(self, found: int | None, ring: int, width: int) -> Place:
        """Where a value goes: the gradient that was ``found`` of a tensor, or scratch memory."""
        steps, batch = self.extent.steps, self.extent.batch
        if found is None:
            return self._room.ring(ring, batch, width)
        return Place(self._new(found, (steps, batch, width)), batch * width, width)

    def _new(self, of: int, size: tuple[int, ...], zeros: bool = False) -> int:
        """The number of a new tensor: the gradient of another."""
        self._made.append((size, zeros))
        self._found[of] = next(self._numbers)
        return self._found[of]

    def started(
        self, tensors: Sequence[Tensor], lengths: B | None, y: TBH, kept: Tensor, d: Sequence[Tensor | None]
    ) -> "Started[list[Tensor | None]]":
        """For the gradients of ``tensors``, some that no one asked for. ``y``, ``kept`` come from forward."""
        like = tensors[0]
        ends = [
            _end(start, gradient, lengths)
            for start, gradient in zip(tensors[1 : 1 + len(self.ends)], d[1:], strict=True)
        ]
        made = [like.new_zeros(size) if zeros else native.empty(like, *size) for size, zeros in self._made]
        given: list[Tensor] = [*tensors, y, kept, *(each for each in d if each is not None), *ends]
        given += [like.new_zeros(self.zeros)] if self.zeros else []
        given += [] if lengths is None else [lengths]
        first = len(given)
        given += made

        def gradients() -> list[Tensor | None]:
            found: list[Tensor | None] = [None] * len(tensors)
            found[1 : 1 + len(ends)] = ends
            for tensor, number in self._found.items():
                found[tensor] = made[number - first]
            for tensor in self._totals:
                found[tensor] = made[self._found[tensor] - first].sum(0).view(tensors[tensor].shape)
            return found

        return Started(self.call, given, gradients)


def _end(start: BH, gradient: BH | None, lengths: B | None) -> BH:
    """Where the gradient of a state goes. That of an empty sequence never gets there: it stays as it was."""
    if lengths is None:
        return native.empty(start, *start.shape)
    return (
        start.new_zeros(start.shape)
        if gradient is None
        else gradient.clone(memory_format=torch.contiguous_format)
    )
