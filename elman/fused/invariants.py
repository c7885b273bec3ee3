"""What depends on a cell's parameters alone, as data: a list of ATen calls, run once per scan under autograd.

A transpose, ``exp(-softplus(p))``, a dropped weight: what comes of them are a Program's vectors and matrices.
:func:`to_table` and :func:`from_table` write the list as JSON can hold it. Only calls of :data:`STORABLE` are
read back: they compute, and reach neither files nor code.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from elman.fused.operations import OPERATIONS, Objection

aten = torch.ops.aten

#: What a stored list may call: what a Program can express, and what shapes or combines parameters.
STORABLE: dict[str, Callable[..., Any]] = {
    str(operation): operation
    for operation in (
        *(known for known in OPERATIONS if known is not operator.getitem),
        aten.t.default, aten.transpose.int, aten.permute.default, aten.view.default,
        aten._unsafe_view.default, aten.reshape.default, aten.expand.default, aten.unsqueeze.default,
        aten.squeeze.dim, aten.squeeze.dims, aten.squeeze.default, aten.select.int, aten.flip.default,
        aten.roll.default, aten.repeat.default, aten.cat.default, aten.stack.default, aten.unbind.int,
        aten.diagonal.default, aten.diag_embed.default, aten.tril.default, aten.triu.default,
        aten.index_select.default, aten.bmm.default, aten.mv.default, aten.dot.default, aten.baddbmm.default,
        aten.outer.default, aten.sin.default, aten.cos.default, aten.sinh.default, aten.cosh.default,
        aten.atan.default, aten.expm1.default, aten.pow.Tensor_Tensor, aten.pow.Scalar, aten.sign.default,
        aten.floor.default, aten.round.default, aten.elu.default, aten.cumsum.default,
        aten._log_softmax.default, aten.logsumexp.default, aten.sum.default, aten.mean.default,
        aten.linalg_vector_norm.default, aten.norm.ScalarOpt_dim, aten.linalg_inv_ex.default,
        aten.linalg_solve_ex.default, aten.linalg_matrix_exp.default, aten._linalg_slogdet.default,
        aten.ne.Scalar, aten.ne.Tensor, aten.eq.Scalar, aten.logical_not.default, aten.bitwise_not.default,
        aten.bitwise_and.Tensor, aten.bitwise_or.Tensor, aten.masked_fill.Scalar,
        aten.lift_fresh_copy.default, aten.arange.default, aten.arange.start, aten.arange.start_step,
        aten.eye.default, aten.eye.m, aten.full.default, aten.zeros.default, aten.ones.default,
        aten.empty_like.default, aten.new_ones.default, aten.new_full.default, aten.new_empty.default,
        aten.fill_.Scalar, aten.linspace.default,
    )
}  # fmt: skip

#: More numbers than these are no constant of an equation: they belong into a buffer, and the weights' file.
CONSTANTS = 4096


@dataclass(frozen=True, slots=True)
class Value:
    """In the arguments of a call: an earlier value, by its place; ``item`` of it where it is several."""

    place: int


@dataclass(frozen=True, slots=True)
class Like:
    """In the arguments of a call: the ``dtype`` or ``device`` that the cell's tensors have."""

    what: str


@dataclass(frozen=True, slots=True)
class Call:
    """One operation. Without a target it is a constant tensor, its only argument."""

    target: Callable[..., Any] | None
    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Invariants:
    """Calls on named tensors. Values are numbered: first the tensors, then what each call gives."""

    tensors: tuple[str, ...]
    calls: tuple[Call, ...]
    outputs: tuple[int, ...]

    def __call__(self, tensors: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        values: list[Any] = [tensors[name] for name in self.tensors]
        if self.calls:
            like = next((tensor for tensor in values if tensor.is_floating_point()), None)
            for call in self.calls:
                values.append(_run(call, values, like))
        return tuple(values[place] for place in self.outputs)

    def content(self) -> str:
        """All that it is, in one line: what a hash is taken of."""
        calls = [
            (
                str(c.target),
                [(str(a.dtype), a.tolist()) if isinstance(a, Tensor) else a for a in c.args],
                c.kwargs,
            )
            for c in self.calls
        ]
        return repr((self.tensors, calls, self.outputs))


def record(graph: fx.Graph, holder: fx.GraphModule) -> Invariants:
    """The calls of a recorded graph, whose constant tensors ``holder`` has. Its first node stands for the
    named tensors together."""
    nodes = [node for node in graph.nodes if node.op != "placeholder"]
    (root,) = (node for node in graph.nodes if node.op == "placeholder")
    named = [node for node in nodes if node.op == "call_function" and node.args and node.args[0] is root]
    places = {node: place for place, node in enumerate(named)}
    metas = [node.meta["val"] for node in named if "val" in node.meta]
    like = next((meta for meta in metas if meta.is_floating_point()), None)
    calls: list[Call] = []
    for node in nodes:
        if node in places or node.op == "output":
            continue
        if node.op == "get_attr":
            call = Call(None, (getattr(holder, str(node.target)),))
        else:
            kwargs = tuple((name, _data(value, places, like)) for name, value in node.kwargs.items())
            call = Call(node.target, _data(node.args, places, like), kwargs)
        places[node] = len(named) + len(calls)
        calls.append(call)
    (output,) = (node for node in nodes if node.op == "output")
    returned: Any = output.args[0]
    names = tuple(str(node.args[1]) for node in named)
    return Invariants(names, tuple(calls), tuple(places[node] for node in returned))


def to_table(invariants: Invariants) -> dict[str, Any]:
    """The calls as JSON can hold them.

    Raises:
        Objection: a call is not in :data:`STORABLE`, or a constant has over :data:`CONSTANTS` numbers.
    """
    return {
        "tensors": list(invariants.tensors),
        "calls": [_written_call(call) for call in invariants.calls],
        "outputs": list(invariants.outputs),
    }


def from_table(table: Mapping[str, Any]) -> Invariants:
    """The inverse of :func:`to_table`. Raises ValueError, TypeError or KeyError for anything else."""
    tensors = tuple(str(name) for name in table["tensors"])
    calls: list[Call] = []
    for name, args, kwargs in table["calls"]:
        before = len(tensors) + len(calls)
        given = _read(args, before), tuple((str(key), _read(value, before)) for key, value in kwargs.items())
        if name == "constant":
            (constant,) = given[0]
            calls.append(Call(None, (_require_tensor(constant),)))
        elif name == "item":
            calls.append(Call(operator.getitem, *given))
        elif name in STORABLE:
            calls.append(Call(STORABLE[name], *given))
        else:
            raise ValueError(f"{name} is no operation on parameters")
    last = len(tensors) + len(calls)
    return Invariants(tensors, tuple(calls), tuple(_place(place, last) for place in table["outputs"]))


def _run(call: Call, values: list[Any], like: Tensor | None) -> Any:
    if call.target is None:
        return call.args[0]
    return call.target(
        *(_filled(argument, values, like) for argument in call.args),
        **{name: _filled(argument, values, like) for name, argument in call.kwargs},
    )


def _filled(argument: Any, values: list[Any], like: Tensor | None) -> Any:
    if isinstance(argument, Value):
        return values[argument.place]
    if isinstance(argument, Like):
        return None if like is None else getattr(like, argument.what)
    if isinstance(argument, tuple):
        return [_filled(item, values, like) for item in argument]
    return argument


def _data(argument: Any, places: Mapping[fx.Node, int], like: Tensor | None) -> Any:
    """An argument of a graph's node, with values for nodes, and what is the cell's own told as such."""
    if isinstance(argument, fx.Node):
        return Value(places[argument])
    if isinstance(argument, list | tuple):
        return tuple(_data(item, places, like) for item in argument)
    if isinstance(argument, torch.device) and like is not None and argument.type == like.device.type:
        return Like("device")
    if isinstance(argument, torch.dtype) and like is not None and argument == like.dtype:
        return Like("dtype")
    return argument


def _written_call(call: Call) -> list[Any]:
    if call.target is None:
        return ["constant", [_written(call.args[0])], {}]
    name = "item" if call.target is operator.getitem else str(call.target)
    if name != "item" and name not in STORABLE:
        raise Objection(f"it makes something of its parameters by {name}, which cannot be stored")
    layout = ("layout", "pin_memory", "memory_format")  # where numbers lie, not what they are
    kwargs = {key: _written(value) for key, value in call.kwargs if key not in layout}
    return [name, [_written(argument) for argument in call.args], kwargs]


def _written(argument: Any) -> Any:
    if isinstance(argument, Value):
        return {"value": argument.place}
    if isinstance(argument, Like):
        return {"like": argument.what}
    if isinstance(argument, torch.dtype):
        return {"dtype": str(argument).removeprefix("torch.")}
    if isinstance(argument, Tensor):
        if argument.numel() > CONSTANTS:
            raise Objection(f"a tensor of {argument.numel():,} numbers stands in its equations: use a buffer")
        return {"numbers": argument.tolist(), "dtype": str(argument.dtype).removeprefix("torch.")}
    if isinstance(argument, tuple):
        return [_written(item) for item in argument]
    if argument is None or isinstance(argument, bool | int | float | str):
        return argument
    raise Objection(f"it makes something of its parameters with {argument}, which cannot be stored")


def _read(argument: Any, before: int) -> Any:
    if isinstance(argument, list):
        return tuple(_read(item, before) for item in argument)
    if not isinstance(argument, dict):
        return argument
    if "numbers" in argument:
        return torch.tensor(argument["numbers"], dtype=_dtype(argument["dtype"]))
    ((kind, what),) = argument.items()
    if kind == "value":
        return Value(_place(what, before))
    if kind == "like" and what in ("dtype", "device"):
        return Like(what)
    if kind == "dtype":
        return _dtype(what)
    raise ValueError(f"{argument} is no argument")


def _place(place: Any, before: int) -> int:
    if not isinstance(place, int) or not 0 <= place < before:
        raise ValueError(f"{place} is not the place of an earlier value")
    return place


def _dtype(name: Any) -> torch.dtype:
    found = getattr(torch, str(name), None)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"{name} is no precision")
    return found


def _require_tensor(constant: Any) -> Tensor:
    if not isinstance(constant, Tensor):
        raise ValueError(f"{constant} is no tensor")
    return constant
