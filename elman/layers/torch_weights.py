"""Weights to and from ``torch.nn.LSTM``, ``GRU`` and ``RNN``."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from elman.cells import GRU, LSTM, Cell, Elman
from elman.errors import ModelError
from elman.layers.stack import Stack


def to_torch(recurrence: Stack | Cell) -> nn.LSTM | nn.GRU | nn.RNN:
    """A ``torch.nn`` module that computes the same outputs, final states and gradients.

    One :class:`LSTM`, :class:`GRU` or :class:`Elman` (tanh, ReLU), or a stack of equal ones. The weights
    are copied, onto the same device and in the same dtype. torch keeps two biases that are only ever added:
    ours goes to ``bias_ih``, and ``bias_hh`` is zero, except where the GRU's reset gate weighs it. The
    module reads T B X and keeps the stack's dropout.

    Raises :class:`ModelError` for what ``torch.nn`` does not have.

    >>> stack = Stack([LSTM(3, 4), LSTM(4, 4)])
    >>> x = torch.randn(5, 2, 3)
    >>> bool(torch.allclose(to_torch(stack)(x)[0], stack.scan(x)[0], atol=1e-6))
    True
    """
    cells: list[Any] = list(recurrence.cells) if isinstance(recurrence, Stack) else [recurrence]
    dropout = recurrence.dropout if isinstance(recurrence, Stack) and len(cells) > 1 else 0.0
    first = cells[0]
    if not isinstance(first, Cell) or any(
        type(cell) is not type(first) or cell.output_size != first.output_size for cell in cells
    ):
        raise _no_counterpart(cells, "Its layers are not of one kind and one hidden size.")
    x, h, layers = first.input_size, first.hidden_size, len(cells)
    if type(first) is LSTM:
        module: nn.LSTM | nn.GRU | nn.RNN = nn.LSTM(x, h, layers, dropout=dropout)
    elif type(first) is GRU:
        module = nn.GRU(x, h, layers, dropout=dropout)
    elif type(first) is Elman and all(
        cell.nonlinearity == first.nonlinearity != "logistic" for cell in cells
    ):
        module = nn.RNN(x, h, layers, dropout=dropout, nonlinearity=first.nonlinearity)
    else:
        raise _no_counterpart(cells, "torch.nn computes other equations.")
    module = module.to(first.weight_h)
    with torch.no_grad():
        for cell, (weight_x, weight_h, bias, second) in zip(cells, _layers(module), strict=True):
            weight_x.copy_(cell.weight_x)
            weight_h.copy_(cell.weight_h)
            bias.copy_(cell.bias)
            second.zero_()
            if isinstance(cell, GRU):
                second[2 * h :] = cell.bias_h
    return module


def from_torch(module: nn.LSTM | nn.GRU | nn.RNN) -> Stack:
    """The stack that computes what ``module`` does; its weights are copied, its two biases added into one.

    Of a GRU's ``bias_hh`` the candidate's third stays apart as ``bias_h``. A module without biases gets
    zeros, which can be trained. Sequences are T B X here, also where the module was ``batch_first``.

    Raises :class:`ModelError` for a bidirectional or projected module, and for any other.

    >>> module = nn.GRU(3, 4, num_layers=2)
    >>> x = torch.randn(5, 2, 3)
    >>> bool(torch.allclose(from_torch(module).scan(x)[0], module(x)[0], atol=1e-6))
    True
    """
    if not isinstance(module, nn.LSTM | nn.GRU | nn.RNN):
        raise ModelError(
            f"The weights of a {type(module).__name__} were asked for as a Stack.",
            "It is no recurrent module of torch.nn's.",
            "Give a torch.nn.LSTM, GRU or RNN.",
        )
    for name in ("bidirectional", "proj_size"):
        if getattr(module, name):
            raise ModelError(
                f"The weights of a torch.nn.{type(module).__name__} were asked for as a Stack.",
                f"Its {name} is {getattr(module, name)}; a Stack reads one way and puts out all of h.",
                f"Only a module without {name} can be taken over.",
            )
    cells: list[LSTM | GRU | Elman] = []
    for k, (weight_x, weight_h, bias, second) in enumerate(_layers(module)):
        x, h = (module.input_size if k == 0 else module.hidden_size), module.hidden_size
        cell: LSTM | GRU | Elman
        if isinstance(module, nn.LSTM):
            cell = LSTM(x, h)
        elif isinstance(module, nn.GRU):
            cell = GRU(x, h)
        else:
            cell = Elman(x, h, module.nonlinearity)
        cell = cell.to(weight_h)
        with torch.no_grad():
            cell.weight_x.copy_(weight_x)
            cell.weight_h.copy_(weight_h)
            cell.bias.copy_(bias + second)
            if isinstance(cell, GRU):
                cell.bias[2 * h :] = bias[2 * h :]
                cell.bias_h.copy_(second[2 * h :])
        cells.append(cell)
    return Stack(cells, dropout=module.dropout).train(module.training)


def _layers(module: nn.LSTM | nn.GRU | nn.RNN) -> list[list[Tensor]]:
    """weight_ih, weight_hh, bias_ih, bias_hh of each layer; zeros where the module has no biases."""
    found: list[list[Tensor]] = []
    for weights in module.all_weights:
        none = [] if module.bias else [torch.zeros_like(weights[0][:, 0])] * 2
        found.append([*weights, *none])
    return found


def _no_counterpart(cells: Sequence[nn.Module], why: str) -> ModelError:
    kinds = ", ".join(repr(cell) for cell in cells)
    return ModelError(
        "A torch.nn counterpart was asked for.",
        f"{kinds}: {why}",
        "torch.nn has the LSTM, the GRU (reset after the product), and Elman's network (tanh or ReLU).",
    )
