"""Runs a :class:`Plan` on tensors by the compiled executor: tables of addresses, scratch memory, one call.

The tables are made once for scans of one size. From one scan to the next only addresses change.
"""

import ctypes
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from elman.fused import abi, memory
from elman.fused.library import Library
from elman.fused.plan import Plan

#: Multiply-adds (or as much other work) of one step that are worth another thread.
WORK_PER_THREAD = 20_000

#: The number of a call's own memory among its tensors: it is the last.
SCRATCH = -1

#: What lies in one tensor beside something else begins at a multiple of so many elements: of a cache line.
ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value of every step lies: in one of a call's tensors, given by its number, from ``offset`` on.

    ``step`` and ``row`` lead to the next one, columns lie side by side; all counts are in elements. ``shift``
    −1 or +1: the value of the step before, which where there is none is a row of the tensor ``first``
    (``first_row`` apart); ``from_end``: the row's last step is its first. ``ring``: only so many steps are
    kept, used in turn.
    """

    tensor: int
    step: int = 0
    row: int = 0
    offset: int = 0
    ring: int = 0
    shift: int = 0
    first: int = 0
    first_row: int = 0
    from_end: bool = False


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix: the tensor's number, and its strides."""

    tensor: int
    down: int
    across: int


@dataclass(frozen=True, slots=True)
class Gradient:
    """A matrix's gradient to be computed after the loop: Σ leftᵀ right, buffers by name.

    ``out`` is the number of a tensor without gaps, ``rows`` × ``columns``.
    """

    left: str
    right: str
    out: int
    rows: int
    columns: int
    accumulate: bool


@dataclass(frozen=True, slots=True)
class Work:
    """A plan and where its values are. ``places`` has its buffers but for scratch, and those that
    ``gradients`` read."""

    plan: Plan
    places: Mapping[str, Place]
    matrices: Mapping[str, Matrix]
    gradients: Sequence[Gradient] = ()


class Room:
    """Memory dealt out share by share: ``size`` elements so far, each from a multiple of ``alignment``."""

    def __init__(self, alignment: int = ALIGNMENT) -> None:
        self.size = 0
        self.alignment = alignment

    def take(self, elements: int) -> int:
        """Where so many elements begin."""
        at = self.size
        self.size += -(-elements // self.alignment) * self.alignment
        return at

    def ring(self, steps: int, batch: int, width: int) -> Place:
        """Scratch memory for so many steps of a value, used in turn."""
        return Place(SCRATCH, batch * width, width, self.take(steps * batch * width), ring=steps)


class Call:
    """All steps of a plan, in chunks; to be run any number of times, on tensors of the same strides.

    ``before`` and ``after`` have no state and are done for a whole chunk, before and after its steps. A
    buffer that one of them shares only with the steps may be a ring of ``chunk`` steps. ``lengths``: the
    number of that tensor. ``room``: what of the scratch memory is taken; in the end all of it, in elements.
    ``half``: what products multiply is rounded to bfloat16; all tensors are float32.
    """

    def __init__(
        self,
        library: Library,
        work: Work,
        *,
        steps: int,
        batch: int,
        dtype: torch.dtype,
        room: Room,
        threads: int,
        descending: bool = False,
        lengths: int | None = None,
        before: Work | None = None,
        after: Work | None = None,
        chunk: int | None = None,
        half: bool = False,
    ) -> None:
        self.work, self.library, self.threads = work, library, threads
        self.products = torch.bfloat16 if half else dtype
        self._room, self._item = room, dtype.itemsize
        self._works = [(work, 1)] + [(w, chunk or steps) for w in (before, after) if w is not None]
        self._links = [name for name, w in (("before", before), ("after", after)) if w is not None]
        self._lengths = lengths
        self._sizes = {
            "steps": steps, "batch": batch, "descending": descending, "chunk": chunk or steps,
            "threads": threads,
        }  # fmt: skip
        self._scratch = [
            {name: room.ring(max(2, together), batch, width) for name, width in w.plan.scratch.items()}
            for w, together in self._works
        ]
        self._own: list[int] = []  # where each task's own scratch memory begins
        self._free = [_Tables(self)]  # not in use; one more for each Python thread that finds none
        self.room = room.size

    def run(self, tensors: Sequence[Tensor]) -> None:
        """Runs it all, as :func:`run_layers` in fewer microseconds. Other Python threads go on meanwhile."""
        scratch = lent(tensors[0], self.room)
        tables = self.filled([*[tensor.data_ptr() for tensor in tensors], scratch.data_ptr()])
        tables.job.first = 0
        self.library.scan([tables.job], self.products)
        self.give_back(tables)

    def filled(self, addresses: Sequence[int]) -> "_Tables":
        """Tables that no one else uses, of tensors at these addresses; the last is the scratch memory's."""
        try:
            tables = self._free.pop()
        except IndexError:
            tables = _Tables(self)
        for words, position, number, offset in tables.slots:
            words[position] = addresses[number] + offset
        return tables

    def give_back(self, tables: "_Tables") -> None:
        """For the next who asks for some."""
        self._free.append(tables)


class Ready(NamedTuple):
    """A call and its tensors, to be run by the threads from ``first`` on."""

    call: Call
    tensors: Sequence[Tensor]
    first: int = 0


def run_layers(layers: Sequence[Sequence[Ready]]) -> None:
    """Runs calls in one: those of a layer at once, what one of them writes only later layers may read.

    Values and products of all of them are of one type, on one library.
    """
    (one, tensors, _), *_ = layers[0]
    scratch = lent(tensors[0], max(sum(ready.call.room for ready in layer) for layer in layers))
    begin, item = scratch.data_ptr(), scratch.element_size()
    jobs, used = [], []
    for number, layer in enumerate(layers):
        at = begin
        for call, tensors, first in layer:
            tables = call.filled([*[tensor.data_ptr() for tensor in tensors], at])
            at += call.room * item
            tables.job.layer, tables.job.first = number, first
            jobs.append(tables.job)
            used.append((call, tables))
    one.library.scan(jobs, one.products)
    for call, tables in used:
        call.give_back(tables)


class _Tables:
    """The structures of a call, and every word in them that is an address in a tensor.

    ``slots``: (words, position, the tensor's number, how many bytes behind its beginning).
    """

    def __init__(self, call: Call) -> None:
        self.call = call
        self.alive: list[Any] = []
        self.slots: list[tuple[array[int], int, int, int]] = []
        self.run, *others = [
            self._task(work, together, scratch)
            for (work, together), scratch in zip(call._works, call._scratch, strict=True)
        ]
        for name, other in zip(call._links, others, strict=True):
            setattr(self.run, name, ctypes.addressof(other))
        self.job = abi.Job(ctypes.addressof(self.run))
        for number, task in enumerate((self.run, *others)):
            if number == len(call._own):
                needed = call.library.scratch_bytes(task, call.products)
                call._own.append(call._room.take(needed // call._item + 1))
            self._point(task, abi.Run.scratch, SCRATCH, call._own[number])

    def _table(self, kind: Any, count: int) -> Any:
        words = array("q", bytes(ctypes.sizeof(kind) * max(1, count)))
        table = (kind * max(1, count)).from_buffer(words)
        self.alive.append((words, table))
        return table

    def _point(self, record: ctypes.Structure, field: Any, number: int, offset: int = 0) -> None:
        """From now on the field holds the address of an element of the tensor of this number."""
        address = ctypes.addressof(record)
        for words, table in self.alive:
            start = ctypes.addressof(table)
            if start <= address < start + ctypes.sizeof(table):
                position = (address - start + field.offset) // words.itemsize
                self.slots.append((words, position, number, offset * self.call._item))

    def _task(self, work: Work, together: int, scratch: Mapping[str, Place]) -> abi.Run:
        plan, gradients = work.plan, work.gradients
        names = list(plan.buffers)
        names += dict.fromkeys(n for g in gradients for n in (g.left, g.right) if n not in plan.buffers)
        numbers = {name: number for number, name in enumerate(names)}
        buffers = self._table(abi.Buffer, len(names))
        for buffer, name in zip(buffers, names, strict=False):
            place = scratch[name] if name in scratch else work.places[name]
            buffer.step, buffer.row, buffer.ring = place.step, place.row, place.ring
            self._point(buffer, abi.Buffer.at, place.tensor, place.offset)
            if place.shift:
                buffer.shift, buffer.first_row = place.shift, place.first_row
                buffer.from_end = place.from_end
                self._point(buffer, abi.Buffer.first, place.first)
        table = self._table(abi.Matrix, len(plan.matrices))
        for entry, (name, transposed) in zip(table, plan.matrices, strict=False):
            matrix = work.matrices[name]
            down, across = (matrix.across, matrix.down) if transposed else (matrix.down, matrix.across)
            entry.step_k, entry.step_n = down, across
            self._point(entry, abi.Matrix.at, matrix.tensor)
        factors = self._table(abi.Factor, len(gradients))
        for factor, g in zip(factors, gradients, strict=False):
            factor.left, factor.right, factor.accumulate = numbers[g.left], numbers[g.right], g.accumulate
            factor.rows, factor.columns, factor.out_row = g.rows, g.columns, g.columns
            self._point(factor, abi.Factor.out, g.out)
        task: abi.Run = self._table(abi.Run, 1)[0]
        for field, value in self.call._sizes.items():
            setattr(task, field, value)
        task.together = together
        for field in ("instructions", "stages", "groups", "products"):
            setattr(task, field, ctypes.addressof(getattr(plan, field)))
        task.matrices, task.buffers = ctypes.addressof(table), ctypes.addressof(buffers)
        task.factors = ctypes.addressof(factors)
        task.stage_count, task.group_count = len(plan.shapes), plan.group_count
        task.buffer_count, task.factor_count = len(names), len(gradients)
        if self.call._lengths is not None:
            self._point(task, abi.Run.lengths, self.call._lengths)
        return task


def team(plan: Plan, batch: int, threads: int) -> int:
    """How many of so many threads one step is worth."""
    return max(1, min(threads, plan.work * batch // WORK_PER_THREAD))


def lent(like: Tensor, elements: int) -> Tensor:
    """Memory for what lives shortly, not filled: from :mod:`elman.fused.memory`."""
    return memory.POOL.lend(like, elements)


def empty(like: Tensor, *sizes: int) -> Tensor:
    """New memory, not filled. Tests put NaN here, to find what is read before it is written."""
    return like.new_empty(sizes)
