"""One step after another on weights that were packed once."""

import copy
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from elman import axes, states
from elman.axes import BH, BX
from elman.cells.cell import Cell, Recurrence
from elman.errors import OptionError, ShapeError
from elman.fused import library
from elman.fused.chain import Chain, split
from elman.fused.operations import Objection
from elman.fused.stream import Stream
from elman.fused.weights import require_format
from elman.layers.stack import Stack


class Streamer:
    """A recurrence with a state of its own, that reads one step at a time as fast as its weights can be read.

    ::

        y_t, s_t = recurrence.step(x_t, s_{t−1})

    A step of a cell or of a whole stack is one native call: the weights are packed when the Streamer is
    made, and threads meet once a layer. ``weights`` says how they are kept: "float32" (as they are),
    "bfloat16", or "int8" with a scale for each row (:mod:`elman.fused.weights`); all else, inputs and states
    included, stays float32. A small step is bound by the memory that its weights come from, so that fewer
    bits are also faster.

    A Streamer is a snapshot: training the recurrence further does not reach it. It does not drop anything
    and is not differentiable. Without a compiled executor, on a GPU, and for a recurrence in another
    precision or one that cannot be traced, it does the same by PyTorch, at the speed of ``step``;
    ``objection`` says which of these it was.

    Shapes: x (B X) → y (B H); ``batch`` is B. Several Streamers share nothing; one must not be used by two
    Python threads at the same time.

    Raises :class:`OptionError` for an unknown format, one other than "float32" where the recurrence cannot
    be traced, and for what is no recurrence; :class:`ShapeError` where sizes do not fit.

    >>> from elman.cells import GRU, LSTM
    >>> stack = Stack([LSTM(3, 5), GRU(5, 2)])
    >>> streamer = Streamer(stack)
    >>> x = torch.ones(4, 1, 3)
    >>> for t in range(4):
    ...     y = streamer.step(x[t])
    >>> bool(torch.isclose(y, stack.scan(x)[0][-1]).all())
    True
    """

    def __init__(self, recurrence: Recurrence, batch: int = 1, weights: str = "float32") -> None:
        if batch < 1:
            raise ShapeError(
                f"A Streamer of {batch} streams was asked for.", f"batch is {batch}.", "Give 1 or more."
            )
        if not isinstance(recurrence, Recurrence):
            raise OptionError(
                f"A {type(recurrence).__name__} was to be streamed.",
                "It is no recurrence: it has no step.",
                "Stream a cell or a Stack.",
            )
        self.batch = batch
        self.weights = weights
        self.objection, self._stepper = stepper(recurrence, weights)
        self._input = {"B": batch, "X": recurrence.input_size}
        self._start = states.detach(recurrence.initial_state(batch))
        self._flat = flat(self._start)

    @property
    def state(self) -> Any:
        """The state after the last step, as the recurrence's own. A copy; what is set is copied too."""
        return states.transform(torch.clone, shaped(self._flat, self._start))

    @state.setter
    def state(self, state: Any) -> None:
        states.require(
            state,
            self._start,
            asked=f"A Streamer of {self.batch} streams was given a state.",
            do="Give a state of this recurrence, with one row for each stream.",
        )
        self._flat = flat(states.restore(self._start, dict(states.leaves(state))))

    def reset(self) -> None:
        """Back to the initial state."""
        self._flat = flat(self._start)

    def step(self, x: BX) -> BH:
        """Reads ``x`` (B X); returns the output (B H), a new tensor."""
        if x.shape != (self.batch, self._input["X"]) or x.dtype != self._flat.dtype:
            self._refuse(x)
        y, self._flat = self._stepper.step(x.detach(), self._flat)
        return y

    def _refuse(self, x: Tensor) -> None:
        asked = f"A Streamer of {self.batch} streams was given an input of {axes.say(x)}."
        axes.require(x, "x", "B X", self._input, asked=asked, do="Give one row for each stream.")
        raise ShapeError(asked, f"x is of {x.dtype}, the state of {self._flat.dtype}.", "Convert x first.")


class Stepper(Protocol):
    """A step whose state is one tensor (B …): all its tensors side by side."""

    def step(self, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]: ...


def stepper(recurrence: Recurrence, weights: str) -> tuple[str | None, Stepper]:
    """The way to take the steps of a copy, and what speaks against the native one."""
    require_format(weights)
    recurrence = copy.deepcopy(recurrence).eval()
    try:
        chain = Chain(cells_of(recurrence))
    except Objection as objection:
        if weights != "float32":
            raise OptionError(
                f"A {type(recurrence).__name__} was to be streamed with weights in {weights}.",
                f"Its weights cannot be told from its equations: {objection}.",
                'Stream it with weights="float32".',
            ) from objection
        return str(objection), _Defined(recurrence)
    stream = Stream(chain, weights)
    if stream.native:
        return None, stream
    plain = next(recurrence.parameters(), torch.zeros(()))
    said = library.objection() or f"its weights are of {plain.dtype} on {plain.device}"
    return said, _Defined(recurrence) if weights == "float32" else stream


def cells_of(recurrence: Recurrence, name: str = "state") -> list[tuple[str, Cell]]:
    """The cells of a stack, of stacks too, each with the name of its state.

    Raises:
        Objection: it is neither a cell nor a stack.
    """
    if isinstance(recurrence, Cell):
        return [(name, recurrence)]
    if not isinstance(recurrence, Stack):
        raise Objection(f"a {type(recurrence).__name__} is neither a cell nor a stack of cells")
    layers = cast(list[Recurrence], recurrence.cells)
    return [cell for k, layer in enumerate(layers) for cell in cells_of(layer, f"{name}.{k}")]


def flat(state: Any) -> Tensor:
    """All tensors of a state side by side, in a new one (B …)."""
    return torch.cat([leaf.detach().flatten(1) for _, leaf in states.leaves(state)], 1)


def shaped(tensor: Tensor, like: Any) -> Any:
    """The state of the structure of ``like`` that :func:`flat` made a tensor of. Shares its memory."""
    leaves = dict(states.leaves(like))
    parts = split(tensor, {name: leaf[0].numel() for name, leaf in leaves.items()})
    return states.replace(like, {name: parts[name].reshape(leaf.shape) for name, leaf in leaves.items()})


class _Defined:
    """The steps of a recurrence by its definition."""

    def __init__(self, recurrence: Recurrence) -> None:
        self._recurrence = recurrence

    @torch.no_grad()
    def step(self, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        like = self._recurrence.initial_state(len(before))
        y, after = self._recurrence.step(x, shaped(before, like))
        return y, flat(after)
