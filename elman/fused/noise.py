"""Noise in a Program: where masks can fall on a step, and the Program in which they do.

A mask is one more input of a Program, called ``noise.`` and the name of the *site* where it falls. Sites are
found in the equations, so any cell that can be traced has them:

===================  =========================================================================================
 ``state.LEAF``      multiplies what products with matrices read of the state: a leaf before or after its
                     update, or what pointwise operations make of it before (r ⊙ h, tanh(h), the layers of an
                     RHN). One mask for all of it
 ``state.LEAF.K``    the same, block by block of H columns of those products (a gate's), each with its own
 ``input.K``         the same for what ``project`` makes of x; x itself, where it is read so, has one too
 ``candidate.K``     multiplies what the cell marks by ``self.candidate``, in the order of the step
 ``zoneout.LEAF``    where it is 1 the leaf stays as it was; the output too, where it is that leaf
 ``weights.K``       multiplies a matrix that multiplies the state, before the scan
===================  =========================================================================================

Masks that never meet a step (on the whole input or output) are not here: they are products before and after.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn

from elman.errors import OptionError, ShapeError
from elman.fused import bfloat16
from elman.fused.likeness import likeness
from elman.fused.operations import Objection
from elman.fused.program import POINTWISE, Builder
from elman.fused.sites import Sites, Weight
from elman.fused.surroundings import unseen
from elman.fused.trace import Split, Traced, candidates, settings, trace_cell, trace_marked

PREFIX = "noise."


class Traces:
    """A cell's two Programs, with masks at the sites that ``names`` lists. ``plain``: those without any.

    Raises:
        Objection: the cell cannot be expressed as Programs, or has no such site.
    """

    project: Traced
    advance: Traced

    def __init__(self, cell: Any, names: Iterable[str] = (), plain: "Traces | None" = None) -> None:
        left = set(names)
        self.trusted: WeakSet[nn.Module] = WeakSet()  # the cells with which its values have been compared
        self.ready: Any = None  # what choose makes of it for the executor: one for all cells that share it
        self.project, self.advance = trace_cell(cell) if plain is None else (plain.project, plain.advance)
        if any(name.startswith("candidate.") for name in left):
            ((_, node),) = self.project.program.outputs
            self.advance = trace_marked(cell, self.project.program.nodes[node].width) or self.advance
        self.weights = _weights(self.advance)
        if any(name.startswith("input.") for name in left):
            self.project = mask_input(self.project, cell.hidden_size)
        leaves = [leaf for leaf in self.advance.state_names if any(_at(leaf, name) for name in left)]
        if leaves:
            shared = not any(_at(leaf, name) and name != leaf for leaf in leaves for name in left)
            self.advance = mask_state(self.advance, leaves, None if shared else cell.hidden_size)
        zoned = [leaf for leaf in self.advance.state_names if _zoneout(leaf) in left]
        self.advance = zone_out(self.advance, zoned)
        missing = left - {name.removeprefix(PREFIX) for name in (*self.project.masks, *self.advance.masks)}
        if missing:
            raise Objection(f"it has no place for the masks {', '.join(sorted(missing))}")

    def prepare(
        self, cell: nn.Module | Mapping[str, Tensor], noise: Mapping[str, Tensor]
    ) -> tuple[Tensor, ...]:
        """The vectors and matrices of both Programs, from the cell's parameters as they are now."""
        dropped = {self.weights[name].matrix: noise[name] for name in noise if name in self.weights}
        return (*self.project.prepare(cell).values(), *self.advance.prepare(cell, dropped).values())

    def masks(self, noise: Mapping[str, Tensor], x: Tensor) -> tuple[Tensor, ...]:
        """The masks in the order of the Programs' inputs, for every step and row of ``x`` (T B …)."""
        steps, batch = x.shape[:2]
        return tuple(
            noise[name.removeprefix(PREFIX)].detach().to(x).expand(steps, batch, -1)
            for name in (*self.project.masks, *self.advance.masks)
        )

    def neutral(self, like: Tensor) -> dict[str, Tensor]:
        """Masks that change nothing."""
        widths = {**self.project.program.names("input"), **self.advance.program.names("input")}
        return {
            name.removeprefix(PREFIX): like.new_full(
                (1, 1, widths[name]), 0.0 if name.startswith(f"{PREFIX}zoneout") else 1.0
            )
            for name in (*self.project.masks, *self.advance.masks)
        }


_known: WeakKeyDictionary[nn.Module, dict[Any, Traces | Sites]] = WeakKeyDictionary()

#: The Programs of a class by likeness.
_shared: WeakKeyDictionary[type, dict[Any, Traces]] = WeakKeyDictionary()


def inside(noise: Iterable[str]) -> frozenset[str]:
    """The names of the masks that the Programs read: all but dropped weights."""
    return frozenset(name for name in noise if not name.startswith("weights."))


def traces(cell: Any, names: frozenset[str]) -> Traces:
    """The cell's Programs with masks of these names. Traced once for all cells that are alike."""
    known = _known.setdefault(cell, {})
    key = (settings(cell), names)
    if key not in known:
        alike = likeness(cell)
        shared = {} if alike is None else _shared.setdefault(type(cell), {})
        if (alike, names) not in shared:
            with bfloat16.as_written():
                shared[alike, names] = Traces(cell, names, traces(cell, frozenset()) if names else None)
        known[key] = shared[alike, names]
    found = known[key]
    assert isinstance(found, Traces)
    return found


def sites(cell: Any) -> Sites:
    """Where noise can fall in a cell. Found once for each of its settings.

    Raises:
        Objection: the cell cannot be expressed as Programs.
    """
    return Sites.of(_told(cell)) if torch.compiler.is_compiling() else _sites_of(cell)


def _sites_of(cell: Any) -> Sites:
    known = _known.setdefault(cell, {})
    key = settings(cell)
    if key not in known:
        known[key] = _find(cell)
    found = known[key]
    assert isinstance(found, Sites)
    return found


def _told(cell: Any) -> tuple[Any, ...]:
    """To a compiler a constant, as in choose: it would guard all cells that are known, which come and go."""
    return unseen(_sites_of, cell).told()


_told.__dict__["_dynamo_marked_constant"] = True


def _find(cell: Any) -> Sites:
    plain = traces(cell, frozenset())
    advance, leaves = plain.advance, plain.advance.state_names
    widths = {name: advance.program.nodes[node].width for name, node in advance.program.outputs}
    with bfloat16.as_written():
        marked = candidates(cell)
    return Sites(
        input_per_gate=_sites(mask_input(plain.project, cell.hidden_size)),
        state=_sites(mask_state(advance, leaves)),
        state_per_gate=_sites(mask_state(advance, leaves, cell.hidden_size)),
        candidate={name.removeprefix(PREFIX): width for name, width in marked.items()},
        zoneout={_zoneout(leaf): widths[f"{leaf}'"] for leaf in leaves},
        weights=plain.weights,
    )


def require(cell: Any, noise: Mapping[str, Tensor], x: Tensor) -> None:
    """Raises :class:`ShapeError` unless every mask is of a site of the cell and fits it and ``x`` (T B X)."""
    steps, batch = x.shape[:2]
    places: dict[str, int] = {"input": cell.input_size, "output": cell.output_size}
    weights: dict[str, Weight] = {}
    if noise.keys() - places.keys():
        try:
            known = sites(cell)
        except Objection as objection:
            raise OptionError(
                f"{told(cell)} was to be scanned with the masks {', '.join(noise)}.",
                f"They fall on its traced step, and {objection}.",
                "Masks on the whole input and output, of the names input and output, need no trace.",
            ) from None
        weights = known.weights
        places |= known.input_per_gate | known.state | known.state_per_gate | known.candidate | known.zoneout
    for name, mask in noise.items():
        shape = tuple(mask.shape)
        if name in weights and shape == weights[name].shape:
            continue
        if name in places and len(shape) == 3:
            t, b, width = shape
            if t in (1, steps) and b in (1, batch) and width == places[name]:
                continue
        wanted = f"there is no {name} among {', '.join([*places, *weights])}"
        if name in places:
            wanted = f"it must be 1 or {steps} × 1 or {batch} × {places[name]} (T B H)"
        elif name in weights:
            wanted = f"it must be {' × '.join(map(str, weights[name].shape))}, the shape of that matrix"
        raise ShapeError(
            f"{told(cell)} was to be scanned over {steps} steps of {batch} sequences with a mask {name}.",
            f"The mask is {'×'.join(map(str, shape))}; {wanted}.",
            "Draw masks with Noisy(cell, noise).draw(batch, steps).",
        )


def told(cell: nn.Module) -> str:
    """A cell in one line, whatever modules it has."""
    return f"{type(cell).__name__}({cell.extra_repr()})"


def mask_state(traced: Traced, leaves: Iterable[str], block: int | None = None) -> Traced:
    """The step with masks on what its products read of these leaves; ``block``: one for so many columns."""
    return _Masking(traced, {leaf: leaf for leaf in leaves}, block).result()


def mask_input(traced: Traced, block: int) -> Traced:
    """The projection with a mask on x for every ``block`` columns of its products, and one on x itself."""
    return _Masking(traced, {"x": "input"}, block).result()


def zone_out(traced: Traced, leaves: Iterable[str]) -> Traced:
    """The step after which these leaves stay as they were wherever their masks are 1.

    What else the step makes of a new leaf is made of it as it was before zoneout, as in [krueger2017].
    """
    builder = Builder(traced.program.nodes)
    before = dict(traced.program.outputs)
    after = dict(before)
    for leaf in leaves:
        new = before[f"{leaf}'"]
        width = builder.nodes[new].width
        stays = builder.add("input", width=width, data=(PREFIX + _zoneout(leaf),))
        old = builder.add("input", width=width, data=(leaf,))
        after[f"{leaf}'"] = builder.add("where", stays, old, new)
        if before["y"] == new and after["y"] == new:
            after["y"] = after[f"{leaf}'"]
    return replace(traced, program=builder.finish(after))


class _Masking:
    """Rewrites a Program so that its products read the ``sources`` (inputs → sites) through masks."""

    def __init__(self, traced: Traced, sources: Mapping[str, str], block: int | None) -> None:
        self.traced = traced
        self.sources = sources
        self.block = block
        self.nodes = traced.program.nodes
        self.widths: dict[str, int] = {}
        self.whole: dict[int, str] = {}  # nodes that are a source, or its new value
        for name, place in traced.program.outputs:
            if name.endswith("'") and name[:-1] in sources:
                self.whole[place] = name[:-1]
                self.widths[name[:-1]] = self.nodes[place].width
        self.carried = self._carried()
        self.builder = Builder()
        self.plain: list[int] = []
        self.blocks = 0
        self.splits: dict[Split, None] = {}
        #: for each matrix that multiplies a source: (transposed, its product, columns of the operand)
        self.matrices: dict[str, tuple[bool, int, set[tuple[int, int]]]] = {}

    def result(self) -> Traced:
        """The Program with masks."""
        for place, node in enumerate(self.nodes):
            product = node.op == "product"
            self.plain.append(self._product(place) if product else self._copied(place, self.plain))
        out = self._outside() if "x" in self.sources else self.plain
        program = self.builder.finish({name: out[place] for name, place in self.traced.program.outputs})
        used = dict.fromkeys((*program.names("vector"), *program.matrices()))
        return replace(
            self.traced, program=program, names=tuple(used), made=self.traced.made or self.traced.names,
            splits=(*self.traced.splits, *self.splits),
        )  # fmt: skip

    def _outside(self) -> list[int]:
        """All nodes once more, with x masked wherever no product comes between."""
        out: list[int] = []
        for place, node in enumerate(self.nodes):
            if node.op == "input":
                out.append(self._masked(place, self.blocks))
            else:
                out.append(self.plain[place] if node.op == "product" else self._copied(place, out))
        return out

    def _carried(self) -> list[str | None]:
        """For each node the source whose features pointwise operations brought to it, if any."""
        carried: list[str | None] = []
        for place, node in enumerate(self.nodes):
            found = None
            if node.op == "input" and node.data[0] in self.sources:
                found = str(node.data[0])
                self.whole[place] = found
                self.widths[found] = node.width
            elif place not in self.whole and (node.op in POINTWISE or node.op in ("slice", "concat")):
                wide = (
                    carried[arg]
                    for arg in node.args
                    if node.op not in POINTWISE or self.nodes[arg].width == node.width
                )
                found = next((source for source in wide if source is not None), None)
            carried.append(found)
        return carried

    def _copied(self, place: int, values: list[int]) -> int:
        node = self.nodes[place]
        args = [values[arg] for arg in node.args]
        if node.op == "slice":
            return self.builder.columns(args[0], int(node.data[0]), int(node.data[1]))
        return self.builder.add(node.op, *args, width=node.width, data=node.data)

    def _product(self, place: int) -> int:
        node = self.nodes[place]
        operand, matrix, transposed = node.args[0], str(node.data[0]), bool(node.data[1])
        columns = self._columns(operand)
        if not columns:
            return self._copied(place, self.plain)
        self.matrices.setdefault(matrix, (transposed, place, set()))[2].update(columns)
        width = node.width if self.block is None or node.width % self.block else self.block
        parts = []
        for k in range(node.width // width):
            name = matrix
            if width < node.width:
                split = Split(matrix, 0 if transposed else 1, width)
                self.splits[split] = None
                name = split.name(k)
            masked = self._masked(operand, None if self.block is None else self.blocks)
            self.blocks += 1
            parts.append(self.builder.add("product", masked, width=width, data=(name, transposed)))
        return parts[0] if len(parts) == 1 else self.builder.add("concat", *parts, width=node.width)

    def _columns(self, place: int) -> list[tuple[int, int]]:
        """The columns of a node that carry a source."""
        node = self.nodes[place]
        if place not in self.whole and node.op == "concat":
            found, before = [], 0
            for arg in node.args:
                found += [(before + start, before + stop) for start, stop in self._columns(arg)]
                before += self.nodes[arg].width
            return found
        if place not in self.whole and node.op == "slice":
            first, last = int(node.data[0]), int(node.data[1])
            inner = [(max(start, first), min(stop, last)) for start, stop in self._columns(node.args[0])]
            return [(start - first, stop - first) for start, stop in inner if start < stop]
        return [(0, node.width)] if place in self.whole or self.carried[place] is not None else []

    def _masked(self, place: int, number: int | None) -> int:
        """The node with the columns that carry a source multiplied by that source's mask."""
        node = self.nodes[place]
        if place not in self.whole and node.op == "concat":
            parts = [self._masked(arg, number) for arg in node.args]
            return self.builder.add("concat", *parts, width=node.width)
        if place not in self.whole and node.op == "slice":
            return self.builder.columns(
                self._masked(node.args[0], number), int(node.data[0]), int(node.data[1])
            )
        source = self.whole.get(place, self.carried[place])
        if source is None:
            return self.plain[place]
        name = PREFIX + self.sources[source] + ("" if number is None else f".{number}")
        if node.width != self.widths[source]:
            name += f"[{node.width}]"
        mask = self.builder.add("input", width=node.width, data=(name,))
        return self.builder.add("mul", self.plain[place], mask)


def _weights(traced: Traced) -> dict[str, Weight]:
    masking = _Masking(traced, {leaf: leaf for leaf in traced.state_names}, None)
    masking.result()
    found = {}
    for k, (matrix, (transposed, place, columns)) in enumerate(masking.matrices.items()):
        product = traced.program.nodes[place]
        inner = traced.program.nodes[product.args[0]].width
        shape = (product.width, inner) if transposed else (inner, product.width)
        found[f"weights.{k}"] = Weight(matrix, shape, int(transposed), tuple(sorted(columns)))
    return found


def _sites(traced: Traced) -> dict[str, int]:
    widths = traced.program.names("input")
    return {name.removeprefix(PREFIX): widths[name] for name in traced.masks}


def _at(leaf: str, name: str) -> bool:
    """Whether a mask of this name falls on this leaf."""
    return name == leaf or name.startswith((f"{leaf}.", f"{leaf}["))


def _zoneout(leaf: str) -> str:
    return "zoneout" + leaf.removeprefix("state")
