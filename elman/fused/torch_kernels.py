"""Scans by torch's own recurrent kernels, for the cells whose equations they are.

Temporary: for a GPU, until it has kernels of ours, and for a machine without a compiler.
A cell says ``TORCH_KERNEL = "lstm" | "gru" | "rnn"`` in its own class body when its equations are exactly
that kernel's. A subclass may change them, so it does not inherit the claim.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from elman import states
from elman.axes import TBH, TBX, B
from elman.fused import definition

KERNELS: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "lstm": torch.lstm,
    "gru": torch.gru,
    "rnn tanh": torch.rnn_tanh,
    "rnn relu": torch.rnn_relu,
}


def scan(cell: Any, x: TBX, state: Any, lengths: B | None, reverse: bool = False) -> tuple[TBH, Any]:
    """The scan of :func:`elman.fused.definition.scan`, by a torch kernel where one fits the cell."""
    name = kernel(cell)
    if name is None or x.numel() == 0 or not _fits(cell, x, state):
        return definition.scan(cell, x, state, lengths, reverse=reverse)
    if reverse:
        outputs, last = scan(cell, definition.flip(x, lengths), state, lengths)
        return definition.flip(outputs, lengths), last
    if lengths is None or bool((lengths == x.shape[0]).all()):
        return _run(name, cell, x, None, state)
    # Packing takes no empty sequence: those read one step of zeros, and what comes of it is dropped.
    empty = lengths == 0
    x = x.masked_fill(empty.view(1, -1, 1), 0)
    packed = pack_padded_sequence(x, lengths.clamp(min=1).cpu(), enforce_sorted=False)
    longest_first, back = cast(Tensor, packed.sorted_indices), cast(Tensor, packed.unsorted_indices)
    outputs, new = _run(name, cell, packed.data, packed.batch_sizes, states.select(state, longest_first))
    outputs, _ = pad_packed_sequence(packed._replace(data=outputs), total_length=x.shape[0])
    outputs = outputs.masked_fill(empty.view(1, -1, 1), 0)
    return outputs, states.where(~empty, states.select(new, back), state)


def kernel(cell: Any) -> str | None:
    """The name in ``KERNELS`` of the torch kernel that computes this cell's equations, or None."""
    name = vars(type(cell)).get("TORCH_KERNEL")
    if name == "rnn":
        name = f"rnn {cell.nonlinearity}"
    return name if name in KERNELS else None


def _fits(cell: Any, x: TBX, state: Any) -> bool:
    """Whether all is as the kernel takes for granted: that of the LSTM goes beyond what is smaller."""
    rows = len(cell.GATES.split()) * cell.hidden_size
    weights = (cell.weight_x, cell.weight_h, cell.bias)
    sizes = ((rows, cell.input_size), (rows, cell.hidden_size), (rows,))
    alike = all(t.dtype == x.dtype for t in (*weights, *state)) or torch.is_autocast_enabled(x.device.type)
    return alike and tuple(weight.shape for weight in weights) == sizes


def _run(name: str, cell: Any, x: Tensor, sizes: Tensor | None, state: Any) -> tuple[Tensor, Any]:
    """One layer, one direction; ``x`` is T B X, or the packed steps where ``sizes`` are given."""
    second = torch.zeros_like(cell.bias)
    if name == "gru":
        second = torch.cat([second[: 2 * cell.hidden_size], cell.bias_h])
    weights = [cell.weight_x, cell.weight_h, cell.bias, second]
    before = tuple(leaf.unsqueeze(0) for leaf in state)
    given = before if name == "lstm" else before[0]
    if sizes is None:
        outputs, *after = KERNELS[name](x, given, weights, True, 1, 0.0, cell.training, False, False)
    else:
        outputs, *after = KERNELS[name](x, sizes, given, weights, True, 1, 0.0, cell.training, False)
    return outputs, type(state)(*(leaf.squeeze(0) for leaf in after))
