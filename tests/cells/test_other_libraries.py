"""Cells against independent implementations: ONNX's reference evaluator, onnxruntime and torch.nn."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elman.cells import GRU, LSTM, Cell, CoupledLSTM, GRUResetBefore, PeepholeLSTM, ProjectedLSTM
from elman.cells.cell import HiddenState, MemoryState

T, B, X, H = 5, 3, 2, 4
Evaluate = Callable[[Any, dict[str, Any]], Sequence[Any]]


def by_reference(model: Any, given: dict[str, Any]) -> Sequence[Any]:
    evaluator = pytest.importorskip("onnx.reference")
    return evaluator.ReferenceEvaluator(model).run(None, given)


def by_runtime(model: Any, given: dict[str, Any]) -> Sequence[Any]:
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, given)


everyone = pytest.mark.parametrize("evaluate", [by_reference, by_runtime])


def rows(packed: Tensor, names: str, order: str) -> Tensor:
    """The blocks of ``packed``, named by ``names``, in another order."""
    blocks = dict(zip(names.split(), packed.chunk(len(names.split())), strict=True))
    return torch.cat([blocks[name] for name in order.split()])


def outcome(
    evaluate: Evaluate, node: str, given: dict[str, Tensor], inputs: Sequence[str], **attributes: int
) -> list[Tensor]:
    """What a model of one ONNX node says: all outputs and the last states, less the axis of directions."""
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
    all_of_them, *last = [torch.from_numpy(value) for value in said]
    return [all_of_them[:, 0], *(value[0] for value in last)]


def drawn(cell: Cell) -> tuple[Tensor, Tensor, Tensor]:
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.normal_(0, 0.6)
    return torch.randn(T, B, X), torch.randn(B, cell.output_size) * 0.7, torch.randn(B, H) * 0.7


def agree(cell: Cell, x: Tensor, state: Any, theirs: Sequence[Tensor], lengths: Tensor | None = None) -> None:
    outputs, last = cell.scan(x, state, lengths)
    assert len(theirs) == 1 + len(last)
    for our, their in zip((outputs, *last), theirs, strict=True):
        torch.testing.assert_close(our.detach(), their, rtol=1e-5, atol=1e-6)


def lstm_inputs(cell: Cell, x: Tensor, h: Tensor, c: Tensor) -> dict[str, Tensor]:
    weight_x, weight_h, bias = (
        rows(packed, cell.GATES, "i o f g") for packed in (cell.weight_x, cell.weight_h, cell.bias)
    )
    bias = torch.cat([bias, torch.zeros_like(bias)])
    return {"X": x, "W": weight_x[None], "R": weight_h[None], "B": bias[None], "h": h[None], "c": c[None]}


@everyone
@pytest.mark.parametrize("kind", [LSTM, PeepholeLSTM])
def test_lstm_with_and_without_peepholes(kind: type[LSTM | PeepholeLSTM], evaluate: Evaluate) -> None:
    cell = kind(X, H)
    x, h, c = drawn(cell)
    given = lstm_inputs(cell, x, h, c)
    inputs = ["X", "W", "R", "B", "", "h", "c"]
    if isinstance(cell, PeepholeLSTM):
        given["P"] = rows(cell.weight_c, "i f o", "i o f")[None]
        inputs.append("P")
    agree(cell, x, MemoryState(h, c), outcome(evaluate, "LSTM", given, inputs))


def test_peepholes_over_sequences_of_many_lengths() -> None:
    cell = PeepholeLSTM(X, H)
    x, h, c = drawn(cell)
    given = lstm_inputs(cell, x, h, c)
    given["P"] = rows(cell.weight_c, "i f o", "i o f")[None]
    given["lengths"] = torch.tensor([2, T, 1], dtype=torch.int32)
    theirs = outcome(by_runtime, "LSTM", given, ["X", "W", "R", "B", "lengths", "h", "c", "P"])
    agree(cell, x, MemoryState(h, c), theirs, given["lengths"].long())


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
    agree(cell, x, MemoryState(h, c), theirs)


@everyone
@pytest.mark.parametrize("kind", [GRU, GRUResetBefore])
def test_gru_with_both_resets(kind: type[GRU | GRUResetBefore], evaluate: Evaluate) -> None:
    cell = kind(X, H)
    x, h, _ = drawn(cell)
    weight_x, weight_h, bias = (
        rows(packed, cell.GATES, "z r n") for packed in (cell.weight_x, cell.weight_h, cell.bias)
    )
    second = torch.zeros_like(bias)
    if isinstance(cell, GRU):
        second = torch.cat([second[: 2 * H], cell.bias_h])
    given = {"X": x, "W": weight_x[None], "R": weight_h[None], "B": torch.cat([bias, second])[None]}
    given["h"] = h[None]
    theirs = outcome(
        evaluate, "GRU", given, ["X", "W", "R", "B", "", "h"], linear_before_reset=int(isinstance(cell, GRU))
    )
    agree(cell, x, HiddenState(h), theirs)


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
