"""Stages → what the executor runs: instructions on numbered registers, and the tables they refer to."""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from elman.fused import abi
from elman.fused.lower import LEAVES, Lowered, Store, lower
from elman.fused.program import POINTWISE, Program
from elman.fused.stages import Stage, arrange


@dataclass(frozen=True)
class Plan:
    """A Program for the executor. It knows neither sizes of a batch nor addresses, and no precision.

    ``buffers`` names what each entry of a run's buffer table must be: an input, a vector, an output's home,
    ``last.NAME``, ``sum.NAME`` or a scratch buffer; ``matrices`` likewise, with whether it is transposed.
    ``starts``: the first column of each output that its home has among others.
    ``work``: multiply-adds of one row of one step, pointwise operations counted for about what they cost.
    """

    buffers: tuple[str, ...]
    matrices: tuple[tuple[str, bool], ...]
    home: Mapping[str, str]
    starts: Mapping[str, int]
    widths: Mapping[str, int]
    scratch: Mapping[str, int]
    stages: ctypes.Array
    instructions: ctypes.Array
    groups: ctypes.Array
    products: ctypes.Array
    shapes: tuple[Stage, ...]
    group_count: int
    work: int


def compile_program(program: Program, carried: Mapping[str, str], operations: Mapping[str, int]) -> Plan:
    """``carried`` maps inputs to the outputs that become them; ``operations`` numbers the library's names."""
    low = lower(program, carried)
    stages = arrange(low, carried)
    return _Compiler(low, stages, operations).result()


class _Compiler:
    def __init__(self, low: Lowered, stages: list[Stage], operations: Mapping[str, int]) -> None:
        self.low = low
        self.stages = stages
        self.operations = operations
        self.buffers: dict[str, int] = {}
        self.matrices: dict[tuple[str, bool], int] = {}
        self.groups: list[abi.Group] = []
        self.products: list[abi.Product] = []

    def result(self) -> Plan:
        written = [_Writer(self, stage) for stage in self.stages]
        instructions = [i for writer in written for i in writer.instructions]
        records = []
        first = 0
        for stage, writer in zip(self.stages, written, strict=True):
            records.append(abi.Stage(
                by_rows=stage.by_rows, barrier=stage.barrier, units=stage.units, widest=writer.widest,
                inner=writer.inner, registers=max(1, writer.most), width=writer.width, first=first,
                count=len(writer.instructions),
            ))  # fmt: skip
            first += len(writer.instructions)
        return Plan(
            tuple(self.buffers), tuple(self.matrices), self.low.home, self.low.starts,
            self.low.widths, self.low.scratch,
            _array(abi.Stage, records), _array(abi.Instruction, instructions), _array(abi.Group, self.groups),
            _array(abi.Product, self.products), tuple(self.stages), len(self.groups), self._work(),
        )  # fmt: skip

    def _work(self) -> int:
        units = (self.low.units[place] for stage in self.stages for place in stage.members)
        return sum(unit.width * (int(unit.data[2]) if unit.op == "product" else 8) for unit in units)

    def buffer(self, name: str) -> int:
        return self.buffers.setdefault(name, len(self.buffers))

    def matrix(self, name: str, transposed: bool) -> int:
        return self.matrices.setdefault((name, transposed), len(self.matrices))


class _Writer:
    """Writes one stage: each value right before its first use, registers given back after the last."""

    def __init__(self, compiler: _Compiler, stage: Stage) -> None:
        self.compiler = compiler
        self.units = compiler.low.units
        self.stage = stage
        self.instructions: list[abi.Instruction] = []
        self.members = set(stage.members)
        self.registers: dict[int, int] = {}
        self.free: list[int] = []
        self.most = self.widest = self.inner = 0
        held = {*stage.members, *(arg for p in stage.members for arg in self.units[p].args)}
        self.width = max([1, *(self.units[p].width for p in held), *(s.width for s in stage.stores)])
        self.fused = self._multiply_adds()
        self.uses = self._count_uses()
        self._products()
        for store in sorted(stage.stores, key=lambda store: store.unit):
            self._store(store)
        self._in_place()

    def _in_place(self) -> None:
        """Marks what is read from where it lies, and what is put at once where it is stored in the end.

        Not where the stage both reads and writes a buffer: the old value may be wanted after the new one.
        """
        names = {number: name for name, number in self.compiler.operations.items()}
        steps = [(names[i.op], i) for i in self.instructions]
        read = {i.buffer for op, i in steps if op in ("load", "vector")}
        written = {i.buffer for op, i in steps if op == "store"}
        makers: dict[int, abi.Instruction] = {}  # by register, of what may be put elsewhere
        for op, i in steps:
            if op in ("load", "vector"):
                i.in_place = i.buffer not in written
            if op == "store" and i.a in makers and i.buffer not in read and i.width == makers[i.a].width:
                maker = makers.pop(i.a)
                maker.in_place, maker.buffer, maker.offset = True, i.buffer, i.offset
            elif op in ("load", "vector", "set"):
                makers.pop(i.to, None)
            elif op == "product":
                count = self.compiler.groups[i.a].count
                for register in range(i.to, i.to + count):
                    makers.pop(register, None)
                if count == 1:
                    makers[i.to] = i
            elif op not in ("store", "last", "total"):
                makers[i.to] = i

    def _arguments(self, place: int) -> tuple[int, ...]:
        return self.fused[place][1] if place in self.fused else self.units[place].args

    def _local(self, place: int) -> bool:
        return place in self.members and self.units[place].op not in LEAVES

    def _multiply_adds(self) -> dict[int, tuple[str, tuple[int, ...]]]:
        """Sums of a product of two that no one else reads: one operation, which is also rounded once."""
        counted: dict[int, int] = {}
        for place in self.stage.members:
            for arg in self.units[place].args:
                counted[arg] = counted.get(arg, 0) + 1
        for store in self.stage.stores:
            counted[store.unit] = counted.get(store.unit, 0) + 1
        fused: dict[int, tuple[str, tuple[int, ...]]] = {}
        for place in self.stage.members:
            unit = self.units[place]
            if unit.op not in ("add", "sub"):
                continue
            left, right = unit.args
            choices = [(right, left)] if unit.op == "sub" else [(right, left), (left, right)]
            for product, other in choices:
                inner = self.units[product]
                if inner.op != "mul" or not self._local(product) or counted[product] != 1 or product in fused:
                    continue
                args = (*inner.args, other)
                if any(self.units[arg].op == "set" or self.units[arg].width != unit.width for arg in args):
                    continue
                fused[place] = ("multiply_add" if unit.op == "add" else "multiply_sub", args)
                break
        return fused

    def _count_uses(self) -> dict[int, int]:
        uses: dict[int, int] = {}
        needed: set[int] = set()
        waiting = [store.unit for store in self.stage.stores]
        for place in waiting:
            uses[place] = uses.get(place, 0) + 1
        while waiting:
            place = waiting.pop()
            if place in needed or not self._local(place):
                continue
            needed.add(place)
            for arg in self._arguments(place):
                uses[arg] = uses.get(arg, 0) + 1
                waiting.append(arg)
        self.needed = needed
        return uses

    def _take(self, count: int = 1) -> int:
        """The first of ``count`` free registers in a row."""
        free = sorted(self.free)
        for start in free:
            if all(start + k in self.free for k in range(count)):
                break
        else:
            start = self.most
            while start - 1 in self.free and self.most - start + 1 < count:
                start -= 1
        for register in range(start, start + count):
            if register in self.free:
                self.free.remove(register)
        self.most = max(self.most, start + count)
        return start

    def _release(self, *places: int) -> None:
        for place in places:
            self.uses[place] -= 1
            if self.uses[place] == 0 and place in self.registers:
                self.free.append(self.registers.pop(place))

    def _products(self) -> None:
        """Products of one left side are one group: their panels run through the same pass over it."""
        sides: dict[tuple[str, int, int], list[int]] = {}
        for place in self.stage.members:
            if self.units[place].op == "product" and place in self.needed:
                sides.setdefault(self.units[place].data[:3], []).append(place)
        for (buffer, offset, inner), places in sides.items():
            start = self._take(len(places))
            group = abi.Group(
                buffer=self.compiler.buffer(buffer), offset=offset, inner=inner, units=self.stage.units,
                first=len(self.compiler.products), count=len(places),
            )  # fmt: skip
            for k, place in enumerate(places):
                matrix, transposed, column = self.units[place].data[3:]
                self.compiler.products.append(abi.Product(self.compiler.matrix(matrix, transposed), column))
                self.registers[place] = start + k
            self._write("product", to=start, a=len(self.compiler.groups), width=self.stage.units)
            self.compiler.groups.append(group)
            self.widest = max(self.widest, len(places))
            self.inner = max(self.inner, inner)

    def _write(self, op: str, **fields: Any) -> None:
        self.instructions.append(abi.Instruction(op=self.compiler.operations[op], **fields))

    def _register(self, place: int) -> int:
        """The register that holds a unit, which is computed or loaded if it is not there yet."""
        waiting = [place]
        while waiting:  # deep graphs would exhaust Python's own stack
            current = waiting[-1]
            if current in self.registers:
                waiting.pop()
                continue
            missing = [arg for arg in self._needs_registers(current) if arg not in self.registers]
            if missing:
                waiting.extend(missing)
            else:
                self._compute(current)
                waiting.pop()
        return self.registers[place]

    def _needs_registers(self, place: int) -> list[int]:
        if not self._local(place):
            return []
        args = self._arguments(place)
        if place not in self.fused and self._number(place) is not None:
            return [arg for arg in args if self.units[arg].op != "set"]
        return list(args)

    def _number(self, place: int) -> float | None:
        """The number that an operation of two arguments takes in place of a register."""
        unit = self.units[place]
        if unit.op in POINTWISE and POINTWISE[unit.op] == 2:
            for arg in unit.args:
                if self.units[arg].op == "set":
                    return float(self.units[arg].data[0])
        return None

    def _compute(self, place: int) -> None:
        unit = self.units[place]
        if not self._local(place):
            self._read(place)
            return
        if place in self.fused:
            op, args = self.fused[place]
            a, b, c = (self.registers[arg] for arg in args)
            self._release(*args)
            self.registers[place] = self._take()
            self._write(op, to=self.registers[place], a=a, b=b, c=c, width=unit.width)
            return
        if unit.op in ("sum", "max_row"):
            (arg,) = unit.args
            a, columns = self.registers[arg], self.units[arg].width
            self._release(arg)
            self.registers[place] = self._take()
            self._write(unit.op, to=self.registers[place], a=a, b=columns, width=1)
            return
        self._pointwise(place)

    def _pointwise(self, place: int) -> None:
        unit = self.units[place]
        args, form, number = list(unit.args), abi.REGISTERS, self._number(place)
        narrow = [self.units[arg].width == 1 and unit.width > 1 and self.stage.by_rows for arg in args]
        if number is not None:
            left = self.units[args[0]].op == "set"
            form = abi.LEFT_NUMBER if left else abi.RIGHT_NUMBER
        elif len(args) == 2 and any(narrow):
            form = abi.LEFT_SCALAR if narrow[0] else abi.RIGHT_SCALAR
        elif len(args) == 3:
            for k, arg in enumerate(args):  # all three must be as wide as the result
                if narrow[k]:
                    wide = self._take()
                    self._write("spread", to=wide, a=self.registers[arg], width=unit.width)
                    self._release(arg)
                    args[k] = self._temporary(wide)
        a, b, c = ([self.registers.get(arg, 0) for arg in args] + [0, 0])[:3]
        self._release(*args)
        to = self.registers[place] = self._take()
        self._write(unit.op, form=form, to=to, a=a, b=b, c=c, width=unit.width, number=number or 0.0)

    def _temporary(self, register: int) -> int:
        """A name below zero for a register that holds no unit, to be released like one."""
        name = -1 - len(self.uses)
        self.uses[name] = 1
        self.registers[name] = register
        return name

    def _read(self, place: int) -> None:
        unit = self.units[place]
        register = self.registers[place] = self._take()
        if unit.op == "set":
            width = self.width if self.stage.by_rows else self.stage.units
            self._write("set", to=register, number=unit.data[0], width=width)
        elif unit.op in LEAVES:
            buffer = self.compiler.buffer(unit.data[0])
            self._write(unit.op, to=register, buffer=buffer, offset=unit.data[1], width=unit.width)
        else:
            name, offset = self.compiler.low.place(place)
            self._write(
                "load", to=register, buffer=self.compiler.buffer(name), offset=offset, width=unit.width
            )

    def _store(self, store: Store) -> None:
        register = self._register(store.unit)
        buffer = self.compiler.buffer(store.buffer)
        self._write(store.kind, a=register, buffer=buffer, offset=store.offset, width=store.width)
        self._release(store.unit)


def _array(kind: type[ctypes.Structure], records: list) -> ctypes.Array:
    return (kind * max(1, len(records)))(*records)
