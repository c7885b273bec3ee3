"""One step of a :class:`Chain` on weights packed once: a single native call, all addresses made before."""

import ctypes
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from elman.axes import BH, BX
from elman.fused import abi, library, native
from elman.fused.chain import Chain, split
from elman.fused.library import Library
from elman.fused.plan import Plan, compile_program
from elman.fused.program import evaluate
from elman.fused.weights import FORMATS, Rounded, restored, rounded

#: Bytes of weights that are worth another thread.
BYTES_PER_THREAD = 1 << 18

#: The arguments of a native step, as numbered in ``native/stream.h``.
INPUT, BEFORE, OUTPUT, AFTER = range(4)

State = Tensor  # all tensors of a state side by side: B × their widths together


class Stream:
    """A chain's step. The weights are rounded to ``form`` and packed when it is made.

    Runs by the compiled executor where the chain is float32 on the CPU and there is one; else the Program is
    evaluated in PyTorch, with equal results up to rounding. Not for several Python threads at a time.
    """

    def __init__(self, chain: Chain, form: str) -> None:
        self.leaves = dict(chain.leaves)
        self.input_size, self.width = chain.input_size, chain.width
        self.program = chain.program
        self.fixed = {name: tensor.contiguous() for name, tensor in chain.fixed.items()}
        kept = {name: rounded(self.fixed[name], form) for name in self.program.matrices()}
        plain = all(t.device.type == "cpu" and t.dtype == torch.float32 for t in self.fixed.values())
        chosen = library.load() if plain and library.objection() is None else None
        self._packed: _Packed | None = None
        if chosen is None:
            self.fixed |= {name: restored(values, self.fixed[name]) for name, values in kept.items()}
        else:
            carried = {leaf: f"{leaf}'" for leaf in self.leaves}
            plan = compile_program(self.program, carried, chosen.operations)
            self._packed = _Packed(chosen, plan, kept, FORMATS.index(form))
            self.fixed = {name: tensor for name, tensor in self.fixed.items() if name not in kept}
        self._runs: dict[int, _Run] = {}

    @property
    def native(self) -> bool:
        """Whether it runs by the executor."""
        return self._packed is not None

    def step(self, x: BX, before: State) -> tuple[BH, State]:
        """The output of ``x`` in the state ``before``, and the state after it; both new tensors."""
        if self._packed is None:
            with torch.no_grad():
                given = {"x": x, **split(before, self.leaves)}
                found = evaluate(self.program, given, self.fixed)
                return found["y"].contiguous(), torch.cat([found[f"{leaf}'"] for leaf in self.leaves], 1)
        batch = x.shape[0]
        run = self._runs.get(batch)
        if run is None:
            run = self._runs[batch] = _Run(self, self._packed, batch)
        x, before = x.contiguous(), before.contiguous()
        y, after = x.new_empty(batch, self.width), torch.empty_like(before)
        run.call(x.data_ptr(), before.data_ptr(), y.data_ptr(), after.data_ptr())
        return y, after


class _Packed:
    """A plan's weights in panels: of each group first by columns of its values, then by product."""

    def __init__(self, chosen: Library, plan: Plan, kept: dict[str, Rounded], form: int) -> None:
        self.library, self.plan = chosen, plan
        lanes = chosen.vector_bytes // 4
        self.table = (abi.Weights * max(1, plan.group_count))()
        self.bytes = 0
        self._alive: list[Tensor] = []
        for number, group in enumerate(list(plan.groups)[: plan.group_count]):
            products = list(plan.products)[group.first : group.first + group.count]
            sides = [kept[plan.matrices[product.matrix][0]] for product in products]
            rows = [slice(product.start, product.start + group.units) for product in products]
            panels = torch.stack(
                [_panels(side.values[row], lanes) for side, row in zip(sides, rows, strict=True)], 1
            ).contiguous()
            self._alive.append(panels)
            self.bytes += panels.nbytes
            self.table[number] = abi.Weights(panels=panels.data_ptr(), format=form)
            scales = [
                _padded(side.scales[row] / 2**24, lanes)  # a byte is taken as the uppermost of a word
                for side, row in zip(sides, rows, strict=True)
                if side.scales is not None
            ]
            if scales:
                self._alive.append(torch.stack(scales, 1).contiguous())
                self.table[number].scales = self._alive[-1].data_ptr()


class _Run:
    """The tables and the scratch memory of a step at one batch size."""

    def __init__(self, stream: Stream, packed: _Packed, batch: int) -> None:
        plan, chosen = packed.plan, packed.library
        like = torch.empty(0)
        *starts, total = accumulate(stream.leaves.values(), initial=0)
        offsets = dict(zip(stream.leaves, starts, strict=True))
        self._alive: list[Any] = [packed, stream]
        buffers = (abi.Buffer * len(plan.buffers))()
        ports: list[abi.Port] = []
        for number, name in enumerate(plan.buffers):
            leaf = name.removeprefix("last.").removesuffix("'")
            if name == "x":
                buffers[number].row = stream.input_size
                ports.append(abi.Port(number, INPUT, 0))
            elif name == plan.home["y"]:
                buffers[number].row = stream.width
                ports.append(abi.Port(number, OUTPUT, 0))
            elif name in stream.leaves:
                buffers[number].shift, buffers[number].first_row = -1, total
                ports.append(abi.Port(number, BEFORE, offsets[name]))
            elif name.startswith("last."):
                buffers[number].row = total
                ports.append(abi.Port(number, AFTER, offsets[leaf]))
            elif name in stream.fixed:
                buffers[number].at = stream.fixed[name].data_ptr()
            else:
                width = plan.scratch.get(name) or plan.widths[name]
                tensor = native.empty(like, batch, width)
                self._alive.append(tensor)
                buffers[number].at, buffers[number].row = tensor.data_ptr(), width
        threads = max(1, min(torch.get_num_threads(), packed.bytes // BYTES_PER_THREAD))
        task = abi.Run(
            steps=1, batch=batch, together=1, chunk=1, threads=threads,
            instructions=ctypes.addressof(plan.instructions), stages=ctypes.addressof(plan.stages),
            groups=ctypes.addressof(plan.groups), products=ctypes.addressof(plan.products),
            buffers=ctypes.addressof(buffers), stage_count=len(plan.shapes), group_count=plan.group_count,
            buffer_count=len(plan.buffers), weights=ctypes.addressof(packed.table),
        )  # fmt: skip
        scratch = native.empty(like, chosen.scratch_bytes(task, torch.float32) // 4 + 1)
        task.scratch = scratch.data_ptr()
        table = (abi.Port * len(ports))(*ports)
        structure = abi.Stream(
            run=ctypes.addressof(task), buffers=ctypes.addressof(buffers), ports=ctypes.addressof(table),
            port_count=len(ports),
        )  # fmt: skip
        self._alive += [buffers, task, scratch, table, structure]
        self._function, self._stream = chosen.stream, ctypes.addressof(structure)

    def call(self, x: int, before: int, y: int, after: int) -> None:
        self._function(self._stream, x, before, y, after)


def _panels(rows: Tensor, lanes: int) -> Tensor:
    """A matrix (N K) in panels of ``lanes`` rows, words of 32 bits from the same columns side by side."""
    per_word = 4 // rows.element_size()
    filled = _fill(_fill(rows, lanes).T, per_word).T
    return filled.reshape(len(filled) // lanes, lanes, -1, per_word).transpose(1, 2)


def _padded(numbers: Tensor, lanes: int) -> Tensor:
    return _fill(numbers, lanes).view(-1, lanes)


def _fill(rows: Tensor, lanes: int) -> Tensor:
    """The rows, and zeros up to a multiple of ``lanes``."""
    missing = -len(rows) % lanes
    return torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])]) if missing else rows.contiguous()
