"""Program → units: values cut so that no slice is left, and the stores that bring them to memory.

A slice of a computed value would have threads and tiles look into each other's columns. So every value is
cut wherever any of its users cuts it, and each piece is computed as a value of its own: of
``(x + h Wᵀ).chunk(4)`` remain four sums of H columns, whose products are runs of columns of W. Joined values
exist only in memory, where their pieces are stored side by side.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from elman.fused.operations import Objection
from elman.fused.program import POINTWISE, Node, Program

#: More pieces than this are a sign that columns are shuffled one by one.
MOST_UNITS = 4000

#: What reads nothing that is computed in this step: every stage has its own copy.
LEAVES = ("load", "vector", "set")


@dataclass(frozen=True, slots=True)
class Unit:
    """One piece of a value. ``data``: (buffer, offset) of ``load`` and ``vector``, (number,) of ``set``,
    (buffer, offset, inner size, matrix, transposed, first column) of ``product``."""

    op: str
    args: tuple[int, ...]
    width: int
    data: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Store:
    """A unit that goes to memory. ``kind``: ``store`` at every step, ``last`` at a row's last step,
    ``total`` added up over steps and rows."""

    kind: str
    unit: int
    buffer: str
    offset: int
    width: int


@dataclass
class Lowered:
    """The pieces of a Program. ``home`` says in which buffer each output stands (several may share one), and
    ``starts`` from which column on, where it is columns of a wider one; ``scratch`` are the buffers that only
    the step itself needs, with their widths."""

    units: list[Unit] = field(default_factory=list)
    stores: list[Store] = field(default_factory=list)
    home: dict[str, str] = field(default_factory=dict)
    starts: dict[str, int] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)
    scratch: dict[str, int] = field(default_factory=dict)

    def written(self, buffer: str, start: int, stop: int) -> list[Store]:
        """The stores of a step that touch these columns."""
        return [
            s for s in self.stores
            if s.kind == "store" and s.buffer == buffer and s.offset < stop and start < s.offset + s.width
        ]  # fmt: skip

    def place(self, unit: int) -> tuple[str, int]:
        """Where in memory a unit stands; it is stored in a scratch buffer if nowhere yet."""
        for store in self.stores:
            if store.unit == unit and store.kind == "store":
                return store.buffer, store.offset
        name = self.new_scratch(self.units[unit].width)
        self.stores.append(Store("store", unit, name, 0, self.units[unit].width))
        return name, 0

    def new_scratch(self, width: int) -> str:
        name = f"scratch.{len(self.scratch)}"
        self.scratch[name] = width
        return name


def lower(program: Program, carried: Mapping[str, str]) -> Lowered:
    """Cuts a Program into units.

    ``carried`` maps inputs to the outputs that become them at the next step. Outputs named ``sum.…`` are
    totals over rows and steps; all others are stored at every step, and the carried ones once more at each
    row's last.

    Raises:
        Objection: the columns are shuffled so that thousands of pieces would remain.
    """
    return _Lowering(program, carried).result()


class _Lowering:
    def __init__(self, program: Program, carried: Mapping[str, str]) -> None:
        self.program = program
        self.carried = carried
        self.cuts = _cuts(program)
        self.out = Lowered()
        self.made: dict[Unit, int] = {}
        self.places: dict[tuple[int, int, int], int] = {}
        self.stored: dict[int, str] = {}  # program node → the buffer that holds all of it
        self.within: dict[int, tuple[str, int]] = {}  # the buffer it is columns of, and the first

    def result(self) -> Lowered:
        out = self.out
        self._find_within()
        for name, place in self.program.outputs:
            node = self.program.nodes[place]
            if node.width == 0:
                raise Objection(f"{name} is a constant")
            out.widths[name] = node.width
            if name.startswith("sum."):
                continue
            if place in self.within:
                out.home[name], out.starts[name] = self.within[place]
            elif node.op == "input" and name.startswith("delta."):
                out.home[name] = str(node.data[0])  # what came in: nothing to store
            elif place in self.stored:
                out.home[name] = self.stored[place]
            else:
                out.home[name] = self.stored[place] = name
        ends = set(self.carried.values())
        for name, place in self.program.outputs:
            if name.startswith("sum."):
                self._store("total", place, name)
                continue
            if out.home[name] == name:
                self._store("store", place, name)
            if name in ends:
                self._store("last", place, f"last.{name}")
        return out

    def _find_within(self) -> None:
        """Deltas that are columns of the gradient that comes in, or of the one that goes out."""
        outputs, nodes = dict(self.program.outputs), self.program.nodes
        deltas = {place for name, place in outputs.items() if name.startswith("delta.")}
        deltas -= {place for name, place in outputs.items() if not name.startswith(("delta.", "sum."))}
        joined = outputs.get("d.x")
        for place in deltas:
            pieces, start = self._pieces(place), 0
            if all(nodes[p].op == "slice" and nodes[nodes[p].args[0]].data == ("d.y",) for p in pieces):
                runs = [nodes[p].data for p in pieces]
                if all(one[1] == other[0] for one, other in pairwise(runs)):
                    self.within[place] = "d.y", int(runs[0][0])
            elif joined is not None:
                home = next(n for n, whole in outputs.items() if whole == joined and not n.startswith("sum."))
                whole = self._pieces(joined)
                for k, piece in enumerate(whole):
                    if whole[k : k + len(pieces)] == pieces and nodes[piece].op != "input":
                        self.within.setdefault(place, (home, start))
                    start += nodes[piece].width

    def _pieces(self, place: int) -> tuple[int, ...]:
        node = self.program.nodes[place]
        return node.args if node.op == "concat" else (place,)

    def _store(self, kind: str, place: int, buffer: str) -> None:
        for start, stop in pairwise(sorted(self.cuts[place])):
            unit = self._unit(place, start, stop)
            store = Store(kind, unit, buffer, start, stop - start)
            if store not in self.out.stores:
                self.out.stores.append(store)

    def _unit(self, place: int, start: int, stop: int) -> int:
        """The unit that is columns start … stop of a node: between neighbouring cuts of it."""
        key = place, start, stop
        if key not in self.places:  # each once: the ways through a chain of layers are without number
            self.places[key] = self._new_unit(place, start, stop)
        return self.places[key]

    def _new_unit(self, place: int, start: int, stop: int) -> int:
        node = self.program.nodes[place]
        width = stop - start
        if node.op == "input":
            return self._add("load", width=width, data=(str(node.data[0]), start))
        if node.op == "vector":
            return self._add("vector", width=width, data=(str(node.data[0]), start))
        if node.op == "constant":
            return self._add("set", width=0, data=(float(node.data[0]),))
        if node.op == "slice":
            return self._unit(node.args[0], int(node.data[0]) + start, int(node.data[0]) + stop)
        if node.op == "concat":
            before = 0
            for arg in node.args:
                after = before + self.program.nodes[arg].width
                if before <= start and stop <= after:
                    return self._unit(arg, start - before, stop - before)
                before = after
        if node.op == "spread":
            unit = self._unit(node.args[0], 0, self.program.nodes[node.args[0]].width)
            return self._add("spread", unit, width=width)
        if node.op in ("sum", "max_row"):
            return self._reduction(node)
        if node.op == "product":
            buffer, offset = self._operand(node.args[0])
            inner = self.program.nodes[node.args[0]].width
            return self._add("product", width=width, data=(buffer, offset, inner, *node.data, start))
        if node.op not in POINTWISE:
            raise Objection(f"columns {start} to {stop} of a {node.op} cannot be cut out")
        args = []
        for arg in node.args:
            narrow = self.program.nodes[arg].width < node.width
            args.append(
                self._unit(arg, 0, self.program.nodes[arg].width) if narrow else self._unit(arg, start, stop)
            )
        return self._add(node.op, *args, width=width)

    def _reduction(self, node: Node) -> int:
        arg = node.args[0]
        if self.program.nodes[arg].width <= 1:
            return self._unit(arg, 0, self.program.nodes[arg].width)
        parts = [
            self._add(node.op, self._unit(arg, start, stop), width=1)
            for start, stop in pairwise(sorted(self.cuts[arg]))
        ]
        total = parts[0]
        for part in parts[1:]:
            total = self._add("add" if node.op == "sum" else "max", total, part, width=1)
        return total

    def _operand(self, place: int) -> tuple[str, int]:
        """Where a product's left side stands in memory, whole."""
        found = self._in_memory(place)
        if found is None:
            if self.program.nodes[place].width == 0:
                raise Objection("it multiplies a constant by a matrix")
            found = (self.out.new_scratch(self.program.nodes[place].width), 0)
            self.stored[place] = found[0]
        buffer, offset = found
        if place in self.within:
            return found
        if place in self.stored:
            self._store("store", place, self.stored[place])
        else:  # columns of what is stored
            base = self.program.nodes[place]
            while base.op == "slice":
                if base.args[0] in self.stored:
                    self._store("store", base.args[0], self.stored[base.args[0]])
                base = self.program.nodes[base.args[0]]
        return buffer, offset

    def _in_memory(self, place: int) -> tuple[str, int] | None:
        node = self.program.nodes[place]
        if node.op == "input":
            return str(node.data[0]), 0
        if place in self.within:
            return self.within[place]
        if place in self.stored:
            return self.stored[place], 0
        if node.op == "slice":
            found = self._in_memory(node.args[0])
            return None if found is None else (found[0], found[1] + int(node.data[0]))
        return None

    def _add(self, op: str, *args: int, width: int, data: tuple[Any, ...] = ()) -> int:
        unit = Unit(op, args, width, data)
        if unit not in self.made:
            if len(self.made) >= MOST_UNITS:
                raise Objection(f"its columns fall into more than {MOST_UNITS} pieces")
            self.made[unit] = len(self.out.units)
            self.out.units.append(unit)
        return self.made[unit]


def _cuts(program: Program) -> list[set[int]]:
    """Where each node is cut: wherever a user of it is, or a piece that it is joined from."""
    nodes = program.nodes
    cuts = [{0, node.width} for node in nodes]

    def share(a: int, b: int, shift: int) -> bool:
        """Makes the cuts of ``b`` and those of ``a`` moved by ``shift`` agree where the two overlap."""
        if nodes[a].op in ("input", "vector", "constant"):
            return False  # read from memory at any column
        moved = {cut + shift for cut in cuts[a]}
        new_b = {cut for cut in moved if 0 < cut < nodes[b].width} - cuts[b]
        new_a = {cut - shift for cut in cuts[b] if 0 < cut - shift < nodes[a].width} - cuts[a]
        cuts[b] |= new_b
        cuts[a] |= new_a
        return bool(new_a or new_b)

    changed = True
    while changed:
        changed = False
        for place, node in enumerate(nodes):
            if node.op == "slice":
                changed |= share(node.args[0], place, -int(node.data[0]))
            elif node.op == "concat":
                before = 0
                for arg in node.args:
                    cuts[place].add(before)
                    changed |= share(arg, place, before)
                    before += nodes[arg].width
            elif node.op in POINTWISE:
                for arg in node.args:
                    if nodes[arg].width == node.width:
                        changed |= share(arg, place, 0)
        if sum(map(len, cuts)) > MOST_UNITS + 2 * len(nodes):
            raise Objection(f"its columns fall into more than {MOST_UNITS} pieces")
    return cuts
