"""A long short-term memory by onnxruntime: over a sequence, or one step with the state in and out."""

from collections.abc import Callable

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from elman.cells import LSTM


def scan(cell: LSTM, x: torch.Tensor, threads: int) -> Callable[[], np.ndarray]:
    """The outputs (T 1 B H) of a scan over ``x``."""
    session, given = _session(cell, threads), {"x": x.numpy()}
    given |= {name: np.zeros((1, x.shape[1], cell.hidden_size), np.float32) for name in ("h", "c")}
    return lambda: session.run(["y"], given)[0]


def step(cell: LSTM, x: torch.Tensor, threads: int) -> Callable[[], np.ndarray]:
    """One step over ``x`` (1 X), from the state that the call before left."""
    session, row = _session(cell, threads), x.numpy()[None]
    state = [np.zeros((1, 1, cell.hidden_size), np.float32)] * 2

    def call() -> np.ndarray:
        state[0], state[1] = session.run(["h_last", "c_last"], {"x": row, "h": state[0], "c": state[1]})
        return state[0]

    return call


def _session(cell: LSTM, threads: int) -> onnxruntime.InferenceSession:
    """ONNX keeps the gates in the order i o f g, and two biases."""

    def blocks(tensor: torch.Tensor) -> np.ndarray:
        i, f, g, o = tensor.detach().numpy().reshape(4, cell.hidden_size, -1)
        return np.concatenate([i, o, f, g])

    bias = np.concatenate([blocks(cell.bias).ravel(), np.zeros(4 * cell.hidden_size, np.float32)])
    weights = {"w": blocks(cell.weight_x)[None], "r": blocks(cell.weight_h)[None], "b": bias[None]}
    node = helper.make_node(
        "LSTM", ["x", "w", "r", "b", "", "h", "c"], ["y", "h_last", "c_last"], hidden_size=cell.hidden_size
    )
    graph = helper.make_graph(
        [node],
        "lstm",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 3) for name in ("x", "h", "c")],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * axes)
            for name, axes in (("y", 4), ("h_last", 3), ("c_last", 3))
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
