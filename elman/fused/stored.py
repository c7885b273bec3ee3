"""Programs ↔ tables that JSON can hold, read back strictly: what is computed, never code to be executed."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from elman.fused import invariants
from elman.fused.invariants import Invariants
from elman.fused.program import POINTWISE, Node, Program
from elman.fused.trace import Traced

#: The other kinds of node: how many arguments, and of what types their data is. A concat has any number.
OTHERS: dict[str, tuple[int | None, tuple[type, ...]]] = {
    "input": (0, (str,)), "vector": (0, (str,)), "constant": (0, (float,)), "slice": (1, (int, int)),
    "concat": (None, ()), "product": (1, (str, bool)), "sum": (1, ()), "max_row": (1, ()), "spread": (1, ()),
}  # fmt: skip


def to_table(traced: Traced) -> dict[str, Any]:
    """A step with what makes its vectors and matrices.

    Raises:
        Objection: these are made by something that cannot be stored.
    """
    program = traced.program
    return {
        "nodes": [[node.op, list(node.args), node.width, list(node.data)] for node in program.nodes],
        "outputs": dict(program.outputs),
        "names": list(traced.names),
        "invariants": invariants.to_table(traced.invariants),
    }


def from_table(table: Mapping[str, Any], leaves: tuple[str, ...], masks: bool = False) -> Traced:
    """The inverse of :func:`to_table`; ``leaves`` names the state. ``masks``: it may read masks, too.

    Raises:
        ValueError, TypeError, KeyError: the table is not one of a step.
    """
    nodes: list[Node] = []
    for op, args, width, data in table["nodes"]:
        nodes.append(_node(op, args, width, data, nodes))
    made = invariants.from_table(table["invariants"])
    program = Program(
        tuple(nodes), tuple((str(name), _known(place, nodes)) for name, place in table["outputs"].items())
    )
    names = tuple(str(name) for name in table["names"])
    given = {"x", *leaves}
    if masks:
        given |= {name for name in program.names("input") if name.startswith("noise.candidate.")}
    _require_complete(program, names, leaves, made, given)
    return Traced(program, made, names, leaves)


def _node(op: Any, args: list[Any], width: Any, data: list[Any], before: list[Node]) -> Node:
    if op not in POINTWISE and op not in OTHERS:
        raise ValueError(f"{op} is no kind of node")
    count, kinds = OTHERS.get(op) or (POINTWISE[op], ())
    fits = count in (None, len(args)) and len(data) == len(kinds) and isinstance(width, int) and width >= 0
    if not fits or not all(type(item) is kind for item, kind in zip(data, kinds, strict=True)):
        raise ValueError(f"{op} with {args} and {data} is no node")
    return Node(op, tuple(_known(arg, before) for arg in args), width, tuple(data))


def _known(place: Any, before: list[Node]) -> int:
    if not isinstance(place, int) or not 0 <= place < len(before):
        raise ValueError(f"{place} is not the place of an earlier node")
    return place


def _require_complete(
    program: Program, names: tuple[str, ...], leaves: tuple[str, ...], made: Invariants, given: set[str]
) -> None:
    unmade = {*program.names("vector"), *program.matrices()} - set(names)
    unread = set(program.names("input")) - given
    outputs = [name for name, _ in program.outputs]
    if unmade or unread or outputs != ["y", *(f"{leaf}'" for leaf in leaves)]:
        raise ValueError(f"a step lacks {', '.join(sorted(unmade | unread)) or outputs}")
    if len(made.outputs) != len(names):
        raise ValueError(f"{len(made.outputs)} values are made for {len(names)} names")


def require_widths(traced: Traced, given: Mapping[str, int], fixed: Mapping[str, Tensor]) -> None:
    """Raises ValueError unless every node is as wide as what it is made of: the executor trusts widths.

    ``given``: of the inputs and of the outputs; ``fixed``: the vectors and matrices.
    """
    nodes = traced.program.nodes
    for node in nodes:
        if node.width != _width(node, [nodes[arg] for arg in node.args], given, fixed):
            raise ValueError(f"{node} has another width than what it is made of")
    for name, place in traced.program.outputs:
        if nodes[place].width not in (given[name], 1, 0):
            raise ValueError(f"{name} has {nodes[place].width} columns, not {given[name]}")


def _width(node: Node, args: list[Node], given: Mapping[str, int], fixed: Mapping[str, Tensor]) -> int | None:
    """How wide a node must be; None for one that is none."""
    widths = [arg.width for arg in args]
    name = str(node.data[0]) if node.data else ""
    if node.op in POINTWISE:
        return max(widths) if set(widths) <= {0, 1, max(widths)} else None
    if node.op == "input":
        return given[name]
    if node.op == "vector":
        return fixed[name].numel()
    if node.op == "slice":
        start, stop = int(node.data[0]), int(node.data[1])
        return stop - start if 0 <= start < stop <= widths[0] else None
    if node.op == "product":
        shape = tuple(fixed[name].shape)
        rows, columns = shape[::-1] if node.data[1] else shape
        return columns if rows == widths[0] else None
    if node.op == "spread":
        return node.width if node.width > 0 and widths[0] <= 1 else None
    return {"constant": 0, "concat": sum(widths), "sum": 1, "max_row": 1}[node.op]
