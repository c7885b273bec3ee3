"""Units → stages: what is computed in one pass over the rows, in which order, and where threads must wait.

A stage *in tiles* holds values of equal width, and the products that they read: each thread computes its own
columns of them, from its own columns of the weights. A stage *by rows* takes what is left: sums and maxima
over a row, and values of several widths. Threads wait for each other only where one reads what another wrote.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from elman.fused.lower import LEAVES, Lowered, Store, Unit

#: Where a value stands, as far as threads are concerned: by rows, or in tiles of so many units.
Owner = tuple[str, int, int]


@dataclass
class Stage:
    """Units computed in one pass, in order, with the stores among them."""

    by_rows: bool
    units: int
    members: list[int] = field(default_factory=list)
    stores: list[Store] = field(default_factory=list)
    barrier: bool = False


def arrange(low: Lowered, carried: Mapping[str, str]) -> list[Stage]:
    """Sorts all units into stages. Values that one stage makes and another reads get a place in memory."""
    levels = _levels(low)
    names = _group(low, levels)
    _place_what_crosses(low, names)
    return _barriers(low, _stages(low, names), carried)


def sources(low: Lowered, unit: Unit) -> list[int]:
    """What must be done before a unit: its arguments; for a product, the units stored as its left side."""
    if unit.op != "product":
        return list(unit.args)
    buffer, offset, inner = unit.data[:3]
    return [store.unit for store in low.written(buffer, offset, offset + inner)]


def _levels(low: Lowered) -> list[int]:
    """How many products must come before each unit. What needs none is done where it is first read."""
    earliest: list[int] = []
    early: list[bool] = []  # reads only what was there before the step
    order = _order(low)
    earliest = [0] * len(low.units)
    early = [False] * len(low.units)
    for place in order:
        unit = low.units[place]
        before = sources(low, unit)
        earliest[place] = max((earliest[source] for source in before), default=0) + (unit.op == "product")
        early[place] = unit.op != "product" and all(early[source] for source in before)
    latest: dict[int, int] = {}
    levels = list(earliest)
    for place in reversed(order):
        if early[place] and place in latest:
            levels[place] = latest[place]
        unit = low.units[place]
        for source in sources(low, unit):
            limit = levels[place] - (unit.op == "product")
            latest[source] = min(latest.get(source, limit), limit)
    return levels


def _order(low: Lowered) -> list[int]:
    """All units, each after what it needs."""
    done: set[int] = set()
    order: list[int] = []
    for root in range(len(low.units)):
        waiting = [root]
        while waiting:
            place = waiting[-1]
            missing = [s for s in sources(low, low.units[place]) if s not in done]
            if place in done or not missing:
                waiting.pop()
                if place not in done:
                    done.add(place)
                    order.append(place)
            else:
                waiting.extend(missing)
    return order


#: The name of a stage, in the order of running: level, 0 for products that stand alone, by rows, units.
Name = tuple[int, int, bool, int]


def _group(low: Lowered, levels: list[int]) -> dict[int, Name]:
    """Which stage each unit that is not a leaf belongs to; and each leaf that is stored as it is."""
    stored = {store.unit for store in low.stores}
    inner = [p for p, unit in enumerate(low.units) if unit.op not in LEAVES or p in stored]
    parent = {place: place for place in inner}

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for place in inner:
        for arg in low.units[place].args:
            if arg in parent and low.units[arg].op not in LEAVES and levels[arg] == levels[place]:
                parent[root(arg)] = root(place)
    members: dict[int, list[int]] = {}
    for place in inner:
        members.setdefault(root(place), []).append(place)
    widths = {store.unit: store.width for store in low.stores}
    names: dict[int, Name] = {}
    for group in members.values():
        seen = {low.units[p].width or widths.get(p, 1) for p in group}
        by_rows = len(seen - {1}) > 1 or any(low.units[p].op in ("sum", "max_row") for p in group)
        units = 0 if by_rows else max(seen)
        for place in group:
            unit = low.units[place]
            alone = unit.op == "product" and unit.width != units
            names[place] = (
                (levels[place], 0, False, unit.width) if alone else (levels[place], 1, by_rows, units)
            )
    return names


def _place_what_crosses(low: Lowered, names: dict[int, Name]) -> None:
    for place, name in names.items():
        for arg in low.units[place].args:
            if low.units[arg].op not in LEAVES and names[arg] != name:
                low.place(arg)


def _stages(low: Lowered, names: dict[int, Name]) -> list[Stage]:
    stages: dict[Name, Stage] = {}
    for name in sorted(set(names.values())):
        stages[name] = Stage(by_rows=name[2], units=name[3])
    for place in sorted(names):
        stages[names[place]].members.append(place)
    for store in low.stores:
        stages[names[store.unit]].stores.append(store)
    return list(stages.values())


def _barriers(low: Lowered, stages: list[Stage], carried: Mapping[str, str]) -> list[Stage]:
    """Marks the stages before which all threads must have come.

    A reader waits if another thread may have written what it reads. The other way round, a value must not be
    overwritten while someone reads it: buffers hold at least two steps, so this matters only where what was
    carried from the step before is read *after* the stage that writes it anew.
    """
    writers: dict[str, list[tuple[int, Store]]] = {}
    for position, stage in enumerate(stages):
        for store in stage.stores:
            if store.kind == "store":
                writers.setdefault(store.buffer, []).append((position, store))
    before: list[tuple[int, int]] = []  # (reader, writer of the next step) that must be kept apart
    for position, stage in enumerate(stages):
        for buffer, offset, width, whole in _reads(low, stage):
            previous = buffer in carried
            target = low.home[carried[buffer]] if previous else buffer
            for writer, store in writers.get(target, []):
                if not (store.offset < offset + width and offset < store.offset + store.width):
                    continue
                if not previous and writer == position and not whole:
                    continue
                same_rows = stage.by_rows and stages[writer].by_rows
                same_units = not stage.by_rows and not stages[writer].by_rows and not whole and (
                    (stage.units, offset, width) == (stages[writer].units, store.offset, store.width)
                    and width == stage.units
                )  # fmt: skip
                if same_rows or same_units:
                    continue
                stage.barrier = True
                if previous and writer < position:
                    before.append((position, writer))
    for reader, writer in before:
        between = [*range(reader + 1, len(stages)), *range(writer + 1)]
        if not any(stages[position].barrier for position in between):
            stages[writer].barrier = True
    return stages


def _reads(low: Lowered, stage: Stage) -> list[tuple[str, int, int, bool]]:
    """What a stage reads from memory: buffer, columns, and whether whole rows are read at once."""
    reads = []
    members = set(stage.members)
    for place in stage.members:
        unit = low.units[place]
        if unit.op == "product":
            reads.append((unit.data[0], unit.data[1], unit.data[2], True))
        for source in [place, *unit.args]:
            leaf = low.units[source]
            if leaf.op == "load":
                reads.append((leaf.data[0], leaf.data[1], leaf.width, False))
            elif leaf.op not in LEAVES and source not in members:
                buffer, offset = low.place(source)
                reads.append((buffer, offset, leaf.width, False))
    return reads
