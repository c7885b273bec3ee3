"""Layers on top of each other: a stack of recurrences is a recurrence, a stack of encoders an encoder."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from elman.axes import BH, BX, TBH, TBX, B
from elman.cells.cell import Encoder, Recurrence, scan_layers
from elman.errors import OptionError, ShapeError
from elman.layers.dropout import drop, require_rate

#: What is given for each layer, and what to do where it is for others.
STATE = "a state", "Give one as initial_state and scan return it."
NOISE = "noise", "Give masks as draw returns them, None for a layer that has none."


class EncoderStack(Encoder):
    """Layer k reads what layer k − 1 puts out; in training, ``dropout`` falls between them [zaremba2014].

    ::

        y_0 = x,   y_k, s_k = layer_k(drop(y_{k−1}) if k > 1 else x, s_k),   output y_L

    Shapes: x (T B X of the first layer) → T B H of the last; the state is the tuple of the layers' states.
    ``dropout``: the share of features set to zero, 0 … 1, drawn afresh at every step and layer; never on
    the recurrent path, the input of the first layer, or the output of the last.

    Raises :class:`ShapeError` where one layer's output does not fit the next one's input,
    :class:`OptionError` for a layer that is no encoder.

    >>> import torch
    >>> from elman.cells import LSTM
    >>> from elman.layers import Bidirectional
    >>> both = [Bidirectional(LSTM(3, 5), LSTM(3, 5)), Bidirectional(LSTM(10, 2), LSTM(10, 2))]
    >>> outputs, state = EncoderStack(both, dropout=0.5).scan(torch.ones(7, 4, 3))
    >>> tuple(outputs.shape), tuple(state[0].backwards.c.shape)
    ((7, 4, 4), (4, 5))
    """

    def __init__(self, cells: Sequence[Encoder], dropout: float = 0.0) -> None:
        super().__init__()
        if not cells:
            raise ShapeError(
                f"A {type(self).__name__} of no layers was asked for.",
                "cells is empty.",
                f"Give at least one {'recurrence' if isinstance(self, Recurrence) else 'encoder'}.",
            )
        for k, cell in enumerate(cells, start=1):
            if not isinstance(cell, Encoder):
                raise OptionError(
                    f"{type(self).__name__}({_chain(cells)}) was asked for.",
                    f"Layer {k} is {_said(cell)}.",
                    "Give cells that were made, such as LSTM(10, 20); weights of torch.nn by from_torch.",
                )
        for k, (below, above) in enumerate(pairwise(cells), start=1):
            if below.output_size != above.input_size:
                raise ShapeError(
                    f"{type(self).__name__}({_chain(cells)}) was asked for.",
                    f"Layer {k} gives {below.output_size} features, layer {k + 1} reads {above.input_size}.",
                    "Give each layer the input_size that the layer below gives.",
                )
        require_rate(dropout, type(self).__name__, "dropout")
        self.cells = nn.ModuleList(cells)
        self.dropout = dropout
        self.input_size = cells[0].input_size
        self.output_size = cells[-1].output_size

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        return tuple(cell.initial_state(batch) for cell in cast(list[Encoder], self.cells))

    def scan(
        self,
        x: TBX,
        state: tuple[Any, ...] | None = None,
        lengths: B | None = None,
        noise: Sequence[Any] | None = None,
    ) -> tuple[TBH, tuple[Any, ...]]:
        before, masks = self._of_each(state, STATE), self._of_each(noise, NOISE)
        if self._nothing_between(masks):
            found = scan_layers(cast(list[Encoder], self.cells), x, before, lengths)
            if found is not None:
                return found
        after = []
        for k, cell in enumerate(cast(list[Encoder], self.cells)):
            x, new = cell.scan(self._between(x, k), before[k], lengths, masks[k])
            after.append(new)
        return x, tuple(after)

    def draw(self, batch: int, steps: int, generator: torch.Generator | None = None) -> tuple[Any, ...]:
        """The masks of each layer for ``scan(…, noise=…)``; None for a layer that has no noise."""
        return tuple(cell.draw(batch, steps, generator) for cell in cast(list[Encoder], self.cells))

    def extra_repr(self) -> str:
        return f"dropout={self.dropout}"

    def _nothing_between(self, masks: Sequence[Any]) -> bool:
        """Whether each layer reads just what the one before puts out."""
        dropped = self.training and self.dropout > 0 and len(self.cells) > 1
        return not dropped and _is_silent(masks)

    def _of_each(self, given: Any, what: tuple[str, str]) -> Sequence[Any]:
        """What was given for each layer; of every one None where nothing was."""
        count = len(self.cells)
        if given is None:
            return [None] * count
        several = isinstance(given, tuple | list)
        if not several or len(given) != count:
            parts, (name, do) = f" of {len(given)}" if several else "", what
            raise ShapeError(
                f"{type(self).__name__}({_chain(cast(list[Encoder], self.cells))}) was given {name}.",
                f"It is a {type(given).__name__}{parts}; it must be a tuple of {count}, one for each layer.",
                do,
            )
        return cast(Sequence[Any], given)

    def _between(self, x: Tensor, k: int) -> Tensor:
        return x if k == 0 else drop(x, self.dropout, self.training)


class Stack(EncoderStack, Recurrence):
    """Recurrences on top of each other, with dropout between them: again a recurrence, which has a ``step``.

    All else is :class:`EncoderStack`'s. Raises :class:`OptionError` for a layer that is no recurrence.

    >>> import torch
    >>> from elman.cells import GRU, LSTM
    >>> stack = Stack([LSTM(3, 5), GRU(5, 2)])
    >>> outputs, (lstm, gru) = stack.scan(torch.ones(7, 4, 3))
    >>> tuple(outputs.shape), tuple(lstm.c.shape), tuple(gru.h.shape)
    ((7, 4, 2), (4, 5), (4, 2))
    """

    def __init__(self, cells: Sequence[Recurrence], dropout: float = 0.0) -> None:
        for k, cell in enumerate(cells, start=1):
            if isinstance(cell, Encoder) and not isinstance(cell, Recurrence):
                raise OptionError(
                    f"Stack({_chain(cells)}) was asked for.",
                    f"Layer {k} is a {type(cell).__name__}, which has no step: "
                    "it must have read a sequence to its end.",
                    "Stack encoders in an EncoderStack; what generates has recurrences only.",
                )
        super().__init__(cells, dropout)

    def step(self, x: BX, state: tuple[Any, ...]) -> tuple[BH, tuple[Any, ...]]:
        after = []
        for k, (cell, before) in enumerate(
            zip(self._recurrences(), self._of_each(state, STATE), strict=True)
        ):
            x, new = cell.step(self._between(x, k), before)
            after.append(new)
        return x, tuple(after)

    def scan_reversed(
        self,
        x: TBX,
        state: tuple[Any, ...] | None = None,
        lengths: B | None = None,
        noise: Sequence[Any] | None = None,
    ) -> tuple[TBH, tuple[Any, ...]]:
        before, masks = self._of_each(state, STATE), self._of_each(noise, NOISE)
        if self._nothing_between(masks):
            found = scan_layers(self._recurrences(), x, before, lengths, reverse=True)
            if found is not None:
                return found
        after = []
        for k, cell in enumerate(self._recurrences()):
            x, new = cell.scan_reversed(self._between(x, k), before[k], lengths, masks[k])
            after.append(new)
        return x, tuple(after)

    def _recurrences(self) -> list[Recurrence]:
        return cast(list[Recurrence], self.cells)


def _is_silent(noise: Any) -> bool:
    """Whether masks that were drawn are none at all."""
    return not noise or (isinstance(noise, tuple | list) and all(map(_is_silent, noise)))


def _chain(cells: Sequence[Any]) -> str:
    return " → ".join(
        f"{type(cell).__name__} {cell.input_size}:{cell.output_size}" if isinstance(cell, Encoder) else "…"
        for cell in cells
    )


def _said(other: object) -> str:
    """What stands where an encoder should."""
    if isinstance(other, type):
        return f"the class {other.__name__} itself"
    return f"of {type(other).__module__}.{type(other).__qualname__}, no encoder of Elman's"
