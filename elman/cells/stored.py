"""Cells without their source: what a run folder keeps of a user's cell, and the cell made of it again."""

import json
from collections import namedtuple
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from elman import states
from elman.axes import BG, BH, TBG, TBX
from elman.cells.cell import Cell
from elman.errors import ModelError, OptionError
from elman.fused import definition, invariants, stored
from elman.fused.noise import Traces
from elman.fused.operations import Objection
from elman.fused.program import evaluate
from elman.fused.trace import candidates, trace_cell, trace_marked, trace_start

FORMAT = 1
KINDS = ("parameter", "fixed parameter", "buffer")


class StoredCell(Cell):
    """A cell made of its Programs alone: the equations, sizes and names of another, without its source.

    It runs by the executor, trains, and keeps its weights under the names that the other had. Made from a
    table of :func:`describe`; its tensors are zeros until they are loaded.

    Raises ValueError, TypeError or KeyError for a table that is not one of a cell.

    >>> from elman.cells import JANET
    >>> cell = JANET(2, 3, beta=0.5)
    >>> again = StoredCell(describe(cell))
    >>> _ = again.load_state_dict(cell.state_dict())
    >>> x = torch.randn(5, 4, 2)
    >>> bool(torch.equal(again.scan(x)[0], cell.scan(x)[0]))
    True
    """

    def __init__(self, table: Mapping[str, Any]) -> None:
        super().__init__(int(table["input_size"]), int(table["hidden_size"]))
        self.table = table
        self.output_size = int(table["output_size"])
        self.name = str(table["name"])
        for name, shape, kind in table["tensors"]:
            self._register(str(name), torch.zeros(shape), str(kind))
        self._structure, leaves = _structure_of(table["state"])
        self._start = invariants.from_table(table["start"])
        marked = table.get("marked")  # the step with masks on its candidates, where it marks any
        self.traced = (
            stored.from_table(table["project"], ()),
            stored.from_table(table["advance"], tuple(leaves)),
            None if marked is None else stored.from_table(marked, tuple(leaves), masks=True),
        )
        self._require_widths(leaves)

    def project(self, x: TBX) -> TBG:
        step = self.traced[0]
        y = evaluate(step.program, {"x": x.reshape(-1, x.shape[-1])}, step.prepare(self))["y"]
        return y.reshape(*x.shape[:-1], y.shape[-1])

    def advance(self, x: BG, state: Any) -> tuple[BH, Any]:
        step = self.traced[1]
        new = evaluate(step.program, {"x": x, **dict(states.leaves(state))}, step.prepare(self))
        return new["y"], states.replace(state, {leaf: new[f"{leaf}'"] for leaf in step.state_names})

    def initial_state(self, batch: int) -> Any:
        rows = self._start({**dict(self.named_parameters()), **dict(self.named_buffers())})
        return _filled(self._structure, iter([row.repeat(batch, 1) for row in rows]))

    def extra_repr(self) -> str:
        return f"{self.name}, {super().extra_repr()}"

    def _register(self, name: str, value: Tensor, kind: str) -> None:
        holder: nn.Module = self
        *path, last = name.split(".")
        for part in path:
            if part not in holder._modules:
                holder.add_module(part, nn.Module())
            holder = holder.get_submodule(part)
        if kind == "buffer":
            holder.register_buffer(last, value)
        elif kind in KINDS:
            holder.register_parameter(last, nn.Parameter(value, requires_grad=kind == "parameter"))
        else:
            raise ValueError(f"{name} is a {kind}: tensors are {', '.join(KINDS)}")

    @torch.no_grad()
    def _require_widths(self, leaves: Mapping[str, int]) -> None:
        project, advance, marked = self.traced
        ((_, place),) = project.program.outputs
        between = project.program.nodes[place].width
        stored.require_widths(project, {"x": self.input_size, "y": between}, project.prepare(self))
        given = {"x": between, "y": self.output_size, **leaves, **{f"{n}'": w for n, w in leaves.items()}}
        stored.require_widths(advance, given, advance.prepare(self))
        if marked is not None:
            stored.require_widths(marked, candidates(self) | given, marked.prepare(self))
        found = [tuple(leaf.shape) for _, leaf in states.leaves(self.initial_state(2))]
        if found != [(2, width) for width in leaves.values()]:
            raise ValueError(f"the initial state is {found}, not of {list(leaves.values())} columns")


class StoredCells:
    """The cells of a model's layers, by their sizes: called as a cell's class is, with X and H."""

    def __init__(self, text: str) -> None:
        """Raises ValueError, TypeError or KeyError for a text that :func:`to_text` has not written."""
        told = json.loads(text)
        if told["format"] != FORMAT:
            raise ValueError(f"it is in format {told['format']}, not {FORMAT}")
        self._tables = {(int(t["input_size"]), int(t["hidden_size"])): t for t in told["cells"]}
        for table in self._tables.values():
            StoredCell(table)  # what is wrong with it is met now

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """X and H of each."""
        return list(self._tables)

    def __call__(self, input_size: int, hidden_size: int) -> StoredCell:
        table = self._tables.get((input_size, hidden_size))
        if table is None:
            sizes = " and ".join(f"input_size={x}, hidden_size={h}" for x, h in self._tables)
            raise ModelError(
                f"A stored cell of input_size={input_size}, hidden_size={hidden_size} was asked for.",
                f"What was stored has {sizes}.",
                "Use the recipe and the cell of the same run.",
            )
        return StoredCell(table)


def to_text(cells: Sequence[Cell]) -> str:
    """What :class:`StoredCells` reads: JSON, each size once.

    Raises :class:`OptionError` for a cell that cannot be stored.
    """
    tables = {(cell.input_size, cell.hidden_size): cell for cell in cells}
    return json.dumps({"format": FORMAT, "cells": [describe(cell) for cell in tables.values()]}) + "\n"


def describe(cell: Cell) -> dict[str, Any]:
    """Everything that :class:`StoredCell` is made of, for JSON: sizes, names, Programs; no numbers learnt.

    Raises :class:`OptionError` where the cell's equations cannot be expressed, with the reason.
    """
    if isinstance(cell, StoredCell):
        return dict(cell.table)
    asked = f"The equations of {type(cell).__name__}({cell.extra_repr()}) were to be stored."
    try:
        table = _described(cell)
        try:
            again = StoredCell(table)
        except ValueError as error:
            raise OptionError(
                asked,
                f"Their sizes do not fit: {error}.",
                "Let advance return an output of output_size columns, and a state as initial_state makes it.",
            ) from error
        _require_same(cell, again)
        made = Traces(cell)
        if why := definition.mismatch(
            cell, made, partial(definition.fold, made, lengths=None, reverse=False)
        ):
            raise Objection(why)
    except Objection as objection:
        raise OptionError(
            asked,
            f"They cannot be: {objection}.",
            "Write them with operations that can be traced (docs/your-own-cell.md); to train it as it is, "
            "use Python.",
        ) from objection
    return table


def _described(cell: Cell) -> dict[str, Any]:
    strange = set(dict(cell.named_buffers())) - set(cell.state_dict())
    if strange:
        raise Objection(f"its buffer {min(strange)} is not persistent, so that no file of weights has it")
    was = cell.training
    ways = []
    for training in (True, False):
        projection, advance = trace_cell(cell.train(training))
        ways.append([stored.to_table(traced) for traced in (projection, advance)])
    ((_, place),) = projection.program.outputs
    marked = trace_marked(cell.train(), projection.program.nodes[place].width)
    cell.train(was)
    if ways[0] != ways[1]:
        raise Objection("its equations in training are others than afterwards")
    kinds = {
        name: KINDS[0] if parameter.requires_grad else KINDS[1] for name, parameter in cell.named_parameters()
    }
    return {
        "name": type(cell).__name__,
        "input_size": cell.input_size,
        "hidden_size": cell.hidden_size,
        "output_size": cell.output_size,
        "tensors": [
            [name, list(tensor.shape), kinds.get(name, KINDS[2])]
            for name, tensor in (*cell.named_parameters(), *cell.named_buffers())
        ],
        "state": _structure(cell.initial_state(1)),
        "start": invariants.to_table(trace_start(cell)),
        "project": ways[0][0],
        "advance": ways[0][1],
        **({} if marked is None else {"marked": stored.to_table(marked)}),
    }


@torch.no_grad()
def _require_same(cell: Cell, again: StoredCell) -> None:
    """Compares on random values, step by step: what depends on values cannot be traced."""
    again.load_state_dict({name: t for name, t in cell.state_dict().items() if name in again.state_dict()})
    generator = torch.Generator().manual_seed(5)
    like = next(cell.parameters(), torch.zeros(()))

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(like)

    x = drawn(3, 4, cell.input_size)
    mine, theirs = again.to(like).initial_state(4), cell.initial_state(4)
    pairs = list(zip(states.leaves(mine), states.leaves(theirs), strict=True))
    away = {name: drawn(*leaf.shape).abs() for name, leaf in states.leaves(theirs)}
    ends = []
    for one, state in ((again, mine), (cell, theirs)):
        moved = {name: leaf + away[name] for name, leaf in states.leaves(state)}
        y, last = definition.scan(one, x, states.replace(state, moved), None)
        ends.append([("y", y), *states.leaves(last)])
    for (name, a), (other, b) in (*pairs, *zip(*ends, strict=True)):
        if name != other or a.shape != b.shape or not (a - b).norm() <= 1e-4 * (b.norm() + 1e-6):
            raise Objection("its equations depend on values in a way that tracing does not see")


def _structure(state: Any) -> Any:
    """What a state is made of: a number of columns, null, a list, or fields."""
    if isinstance(state, Tensor):
        return state.shape[1]
    if state is None:
        return None
    parts = [_structure(part) for part in state]
    return {"fields": dict(zip(state._fields, parts, strict=True))} if hasattr(state, "_fields") else parts


def _structure_of(told: Any, name: str = "state") -> tuple[Any, dict[str, int]]:
    """The inverse: a state whose tensors are empty, and the columns of each leaf by its path."""
    if told is None:
        return None, {}
    if isinstance(told, int):
        return torch.empty(0, told), {name: told}
    fields = told["fields"] if isinstance(told, dict) else dict(enumerate(told))
    parts, leaves = [], {}
    for key, inner in fields.items():
        part, found = _structure_of(inner, f"{name}.{key}")
        parts.append(part)
        leaves.update(found)
    if isinstance(told, dict):  # namedtuple refuses fields that are no identifiers
        return namedtuple("State", [str(field) for field in fields])(*parts), leaves
    return tuple(parts), leaves


def _filled(structure: Any, tensors: Iterator[Tensor]) -> Any:
    return states.transform(lambda _: next(tensors), structure)
