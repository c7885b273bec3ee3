"""Cells against independent implementations: ONNX's reference evaluator, onnxruntime and torch.nn."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elman.cells import GRU, LSTM, Cell, CoupledLSTM, Elman, GRUResetBefore, PeepholeLSTM, ProjectedLSTM
from elman.cells.cell import HiddenState, MemoryState
from elman.layers.bidirectional import Bidirectional, BidirectionalState

T, B, X, H = 5, 3, 2, 4
Evaluate = Callable[[Any, dict[str, Any]], Sequence[Any]]


def by_reference(model: Any, given: dict[str, Any]) -> Sequence[Any]:
    evaluator = pytest.importorskip("onnx.reference")
    return evaluator.ReferenceEvaluator(model).run(None, given)


def by_runtime(model: Any, given: dict[str, Any]) -> Sequence[Any]:
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, given)


def rows(packed: Tensor, names: str, order: str) -> Tensor:
    """The blocks of ``packed``, named by ``names``, in another order."""
    blocks = dict(zip(names.split(), packed.chunk(len(names.split())), strict=True))
    return torch.cat([blocks[name] for name in order.split()])


def outcome(
    evaluate: Evaluate, node: str, given: dict[str, Tensor], inputs: Sequence[str], **attributes: int | str
) -> list[Tensor]:
    """What a model of one ONNX node says: all outputs (T, directions, B, H) and the last states."""
    onnx = pytest.importorskip("onnx")
    outputs = ["Y", "Y_h", "Y_c"] if node == "LSTM" else ["Y", "Y_h"]
    float32, int32 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT32
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(node, list(inputs), outputs, hidden_size=H, **attributes)],
        "one",
        [
            onnx.helper.make_tensor_value_info(
                name, int32 if value.dtype == torch.int32 else float32, list(value.shape)
            )
            for name, value in given.items()
        ],
        [
            onnx.helper.make_tensor_value_info(name, float32, [None] * (4 if name == "Y" else 3))
            for name in outputs
        ],
    )
    opset = onnx.helper.make_opsetid("", 14)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    onnx.checker.check_model(model)
    said = evaluate(model, {name: value.detach().numpy() for name, value in given.items()})
    return [torch.from_numpy(value) for value in said]


def drawn(cell: Cell) -> tuple[Tensor, Tensor, Tensor]:
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.normal_(0, 0.6)
    return torch.randn(T, B, X), torch.randn(B, cell.output_size) * 0.7, torch.randn(B, H) * 0.7


def agree(ours: tuple[Tensor, Any], theirs: Sequence[Tensor]) -> None:
    """``ours``: what a scan of one cell, or of two in both directions, returned."""
    outputs, last = ours
    states = last if isinstance(last, BidirectionalState) else (last,)
    leaves = [torch.stack(leaf) for leaf in zip(*states, strict=True)]
    directions = torch.stack(outputs.chunk(len(states), dim=-1), dim=1)
    assert len(theirs) == 1 + len(leaves)
    for our, their in zip((directions, *leaves), theirs, strict=True):
        torch.testing.assert_close(our.detach(), their, rtol=1e-5, atol=1e-6)


#: The ONNX node of a cell, the order of its gates there, and its attributes.
NODES: dict[type[Cell], tuple[str, str, dict[str, int]]] = {
    Elman: ("RNN", "h", {}),
    LSTM: ("LSTM", "i o f g", {}),
    PeepholeLSTM: ("LSTM", "i o f g", {}),
    GRU: ("GRU", "z r n", {"linear_before_reset": 1}),
    GRUResetBefore: ("GRU", "z r n", {"linear_before_reset": 0}),
}


def weights(cell: Any) -> dict[str, Tensor]:
    """A cell's tensors as ONNX names and orders them, with the axis of directions."""
    order = NODES[type(cell)][1]
    weight_x, weight_h, bias = (
        rows(packed, cell.GATES, order) for packed in (cell.weight_x, cell.weight_h, cell.bias)
    )
    second = torch.zeros_like(bias)
    if isinstance(cell, GRU):
        second = torch.cat([second[: 2 * H], cell.bias_h])
    given = {"W": weight_x[None], "R": weight_h[None], "B": torch.cat([bias, second])[None]}
    if isinstance(cell, PeepholeLSTM):
        given["P"] = rows(cell.weight_c, "i f o", "i o f")[None]
    return given


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(
    ("evaluate", "lengths"),
    [(by_reference, None), (by_runtime, None), (by_runtime, [2, T, 1])],  # the reference reads no lengths
    ids=["reference", "runtime", "runtime with lengths"],
)
@pytest.mark.parametrize("kind", NODES)
def test_every_direction(
    kind: type[Cell], evaluate: Evaluate, lengths: list[int] | None, direction: str
) -> None:
    node, _, attributes = NODES[kind]
    both = [kind(X, H), kind(X, H)] if direction == "bidirectional" else [kind(X, H)]
    x = drawn(both[0])[0]
    starts = [drawn(cell)[1:] for cell in both]
    parts = [weights(cell) for cell in both]
    given = {"X": x} | {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    leaves = ["h", "c"] if node == "LSTM" else ["h"]
    given |= {name: torch.stack([start[k] for start in starts]) for k, name in enumerate(leaves)}
    if lengths is not None:
        given["lengths"] = torch.tensor(lengths, dtype=torch.int32)
    inputs = ["X", "W", "R", "B", "" if lengths is None else "lengths", *leaves]
    theirs = outcome(
        evaluate, node, given, [*inputs, "P"] if "P" in given else inputs, direction=direction, **attributes
    )

    states = [MemoryState(*start) if node == "LSTM" else HiddenState(start[0]) for start in starts]
    ends = None if lengths is None else torch.tensor(lengths)
    if direction == "bidirectional":
        agree(Bidirectional(*both).scan(x, BidirectionalState(*states), ends), theirs)
    else:
        scan = both[0].scan if direction == "forward" else both[0].scan_reversed
        agree(scan(x, states[0], ends), theirs)


def test_coupled_gates_are_onnxruntimes_negated() -> None:
    """``input_forget`` keeps the input gate and forgets 1 − i: ours is that gate with its sign changed."""
    cell = CoupledLSTM(X, H)
    x, h, c = drawn(cell)
    f, g, o = range(3)
    sign = {f: -1.0, g: 1.0, o: 1.0}
    blocks = {
        name: [sign[k] * block for k, block in enumerate(packed.chunk(3))]
        for name, packed in (("W", cell.weight_x), ("R", cell.weight_h), ("B", cell.bias))
    }
    unread = {name: torch.full_like(parts[f], 7.0) for name, parts in blocks.items()}  # their forget gate
    given = {name: torch.cat([p[f], p[o], unread[name], p[g]])[None] for name, p in blocks.items()}
    given["B"] = torch.cat([given["B"], torch.zeros_like(given["B"])], dim=1)
    given |= {"X": x, "h": h[None], "c": c[None]}
    theirs = outcome(by_runtime, "LSTM", given, ["X", "W", "R", "B", "", "h", "c"], input_forget=1)
    agree(cell.scan(x, MemoryState(h, c)), theirs)


def test_a_projected_lstm_is_torchs_with_its_gradients() -> None:
    cell = ProjectedLSTM(X, H, projection_size=3).double()
    theirs = nn.LSTM(X, H, proj_size=3).double()
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(cell.weight_x)
        theirs.weight_hh_l0.copy_(cell.weight_h)
        theirs.bias_ih_l0.copy_(cell.bias)
        theirs.bias_hh_l0.zero_()
        theirs.weight_hr_l0.copy_(cell.weight_p)
    x, r, c = (torch.randn(*size, dtype=torch.float64) for size in ((T, B, X), (B, 3), (B, H)))
    weight = torch.randn(T, B, 3, dtype=torch.float64)

    outputs, last = cell.scan(x, type(cell.initial_state(B))(r, c))
    others, (last_r, last_c) = theirs(x, (r[None], c[None]))
    for our, their in ((outputs, others), (last.r, last_r[0]), (last.c, last_c[0])):
        torch.testing.assert_close(our, their)
    found = torch.autograd.grad(
        (outputs * weight).sum(), [cell.weight_x, cell.weight_h, cell.bias, cell.weight_p]
    )
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "weight_hr_l0")
    expected = torch.autograd.grad((others * weight).sum(), [getattr(theirs, name) for name in names])
    for our, their in zip(found, expected, strict=True):
        torch.testing.assert_close(our, their)
