"""What is recorded, beside PyTorch's own tracer."""

import operator

import pytest
import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from elman.fused.operations import Objection
from elman.fused.record import record


def busy(weights: dict[str, Tensor], x: Tensor) -> list[Tensor]:
    """Operations made of others, several results, numbers, factories, a stop to the gradient."""
    wide = torch.nn.functional.linear(x, weights["w"]) * torch.tensor(0.5)
    one, two, _ = (wide + torch.ones(6)).chunk(3, dim=1)
    kept = torch.nn.functional.softplus(weights["b"].detach()).clone()
    kept.add_(torch.eye(2)[1])
    torch.exp(two)  # nobody reads it
    return [torch.where(one > 0, one, kept), torch.nn.functional.gelu(two)]


def given() -> tuple[dict[str, Tensor], Tensor]:
    return {"w": torch.randn(6, 4, requires_grad=True), "b": torch.randn(2)}, torch.randn(3, 4)


def calls(graph: fx.Graph) -> list[tuple[object, object]]:
    """Targets and arguments, a node by its place."""
    nodes = [node for node in graph.nodes if node.users or node.op == "output" or node.op == "placeholder"]
    places = {node: place for place, node in enumerate(nodes)}
    return [
        (node.op if node.op != "call_function" else node.target, fx.node.map_arg(node.args, places.get))
        for node in nodes
    ]


def test_the_operations_are_those_that_pytorch_traces() -> None:
    weights, x = given()
    mine = record(busy, weights, x)
    theirs = make_fx(busy, tracing_mode="fake")({name: w.detach() for name, w in weights.items()}, x)
    theirs.graph.eliminate_dead_code()
    assert calls(mine.graph) == calls(theirs.graph)
    assert [n.name for n in mine.graph.nodes if n.op == "call_function"] == [
        n.name for n in theirs.graph.nodes if n.op == "call_function" and n.users
    ]
    assert len(calls(mine.graph)) > 15
    targets = [node.target for node in mine.graph.nodes]
    assert torch.ops.aten.detach.default in targets  # of a parameter: without it a gradient would pass
    assert targets.count(operator.getitem) == 2


def test_the_graph_computes_what_the_function_does_and_changes_nothing() -> None:
    weights, x = given()
    before = {name: w.detach().clone() for name, w in weights.items()}
    graph = record(busy, weights, x)
    other = given()
    for found, wanted in zip(graph(*other[0].values(), other[1]), busy(*other), strict=True):
        assert torch.equal(found, wanted)
    for node in graph.graph.nodes:
        assert node.op in ("output", "get_attr") or "val" in node.meta

    def counting(w: Tensor) -> list[Tensor]:
        return [w.add_(1.0) * 2.0]

    record(counting, weights["b"])
    assert all(torch.equal(weights[name], before[name]) for name in before)


def test_what_cannot_be_recorded_is_told() -> None:
    held = torch.randn(4)
    with pytest.raises(Objection, match="it keeps a tensor that is neither a parameter nor a buffer; reg"):
        record(lambda x: [x * held], torch.randn(3, 4))
    for ask in (lambda x: [x * x.sum().item()], lambda x: [x if (x > 0).all() else -x]):
        with pytest.raises(Objection, match="it asks for the value of a tensor"):
            record(ask, torch.randn(3, 4))
