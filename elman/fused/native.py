"""Runs a :class:`Plan` on tensors by the compiled executor: memory, addresses, one call."""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from elman.fused import abi
from elman.fused.library import Library
from elman.fused.plan import Plan

#: Multiply-adds (or as much other work) of one step that are worth another thread.
WORK_PER_THREAD = 20_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value of every step lies: T B … with any strides but one column next to the other.

    ``shift`` −1 or +1: the value of the step before, which where there is none is a row of ``first`` (B …);
    ``from_end``: the row's last step is its first. ``ring``: only so many steps are kept, used in turn.
    """

    tensor: Tensor
    shift: int = 0
    first: Tensor | None = None
    from_end: bool = False
    ring: int = 0


@dataclass(frozen=True, slots=True)
class Gradient:
    """A matrix's gradient to be computed after the loop: Σ leftᵀ right, buffers by name."""

    left: str
    right: str
    out: Tensor
    accumulate: bool


@dataclass(frozen=True, slots=True)
class Work:
    """A plan with the tensors of one run. ``places`` has its buffers but for scratch, and those of
    ``gradients``; ``fixed`` its matrices, and may have more.
    """

    plan: Plan
    places: Mapping[str, Place]
    fixed: Mapping[str, Tensor]
    gradients: Sequence[Gradient] = ()


def run(
    library: Library,
    work: Work,
    *,
    steps: int,
    batch: int,
    descending: bool = False,
    lengths: Tensor | None = None,
    before: Work | None = None,
    after: Work | None = None,
    chunk: int | None = None,
    threads: int | None = None,
    half: bool = False,
) -> None:
    """All steps of a plan, in chunks.

    ``before`` and ``after`` have no state and are done for a whole chunk, before and after its steps. A
    buffer that one of them shares only with the steps may be a ring of ``chunk`` steps. ``half``: what
    products multiply is rounded to bfloat16; all tensors are float32.
    """
    alive: list[Any] = []
    threads = threads or team(work.plan, batch)
    like = next(iter(work.places.values())).tensor
    products = torch.bfloat16 if half else like.dtype

    def task(work: Work, together: int) -> abi.Run:
        plan, gradients = work.plan, work.gradients
        names = list(plan.buffers)
        names += dict.fromkeys(n for g in gradients for n in (g.left, g.right) if n not in plan.buffers)
        numbers = {name: number for number, name in enumerate(names)}
        buffers = (abi.Buffer * max(1, len(names)))()
        for number, name in enumerate(names):
            if name in plan.scratch:
                ring = max(2, together)
                place = Place(empty(like, ring, batch, plan.scratch[name]), ring=ring)
            else:
                place = work.places[name]
            alive.append(place)
            buffers[number] = _buffer(place)
        table = (abi.Matrix * max(1, len(plan.matrices)))()
        for number, (name, transposed) in enumerate(plan.matrices):
            matrix = work.fixed[name]
            down, across = matrix.stride()
            step_k, step_n = (across, down) if transposed else (down, across)
            table[number] = abi.Matrix(matrix.data_ptr(), step_k, step_n)
        factors = (abi.Factor * max(1, len(gradients)))()
        for number, g in enumerate(gradients):
            rows, columns = g.out.shape
            factors[number] = abi.Factor(
                left=numbers[g.left], right=numbers[g.right], rows=rows, columns=columns,
                accumulate=g.accumulate, out=g.out.data_ptr(), out_row=g.out.stride(0),
            )  # fmt: skip
        made = abi.Run(
            steps=steps, batch=batch, descending=descending, together=together, chunk=chunk or steps,
            threads=threads, lengths=None if lengths is None else lengths.data_ptr(),
            instructions=ctypes.addressof(plan.instructions), stages=ctypes.addressof(plan.stages),
            groups=ctypes.addressof(plan.groups), products=ctypes.addressof(plan.products),
            matrices=ctypes.addressof(table), buffers=ctypes.addressof(buffers),
            factors=ctypes.addressof(factors),
            stage_count=len(plan.shapes), group_count=plan.group_count, buffer_count=len(names),
            factor_count=len(gradients),
        )  # fmt: skip
        scratch = empty(like, library.scratch_bytes(made, products) // like.element_size() + 1)
        made.scratch = scratch.data_ptr()
        alive.extend((table, buffers, factors, scratch, made))
        return made

    whole = task(work, 1)
    if before is not None:
        whole.before = ctypes.addressof(task(before, chunk or steps))
    if after is not None:
        whole.after = ctypes.addressof(task(after, chunk or steps))
    library.scan(whole, products)


def team(plan: Plan, batch: int) -> int:
    """How many threads one step is worth."""
    return max(1, min(torch.get_num_threads(), plan.work * batch // WORK_PER_THREAD))


def empty(like: Tensor, *sizes: int) -> Tensor:
    """New memory, not filled. Tests put NaN here, to find what is read before it is written."""
    return like.new_empty(sizes)


def _buffer(place: Place) -> abi.Buffer:
    tensor, first = place.tensor, place.first
    step, row = (0, 0) if tensor.dim() == 1 else (tensor.stride(0), tensor.stride(1))
    return abi.Buffer(
        at=tensor.data_ptr(), step=step, row=row,
        first=None if first is None else first.data_ptr(), first_row=0 if first is None else first.stride(0),
        shift=place.shift, from_end=place.from_end, ring=place.ring,
    )  # fmt: skip
