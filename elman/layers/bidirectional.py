"""Two recurrences over the same sequences, one from each end: an encoder."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from elman.axes import TBH, TBX, B
from elman.cells.cell import Encoder, Recurrence, does_more, scan_layers
from elman.errors import OptionError, ShapeError
from elman.fused.choose import Side


class BidirectionalState(NamedTuple):
    """The states of both directions, each of its recurrence's own kind."""

    forwards: Any
    backwards: Any


class Bidirectional(Encoder):
    """Reads every sequence from both ends, with weights of its own for each; outputs stand side by side.

    ::

        y_t = [forwards(x_1 … x_t), backwards(x_L … x_t)]          [schuster1997]

    Shapes: x (T B X) → T B H, H the sum of both output sizes, forwards first. With ``lengths`` each sequence
    is read backwards from its own end L. The state after the scan is (forwards after step L, backwards after
    step 1): together a summary of the whole sequence.

    What is not here: ``step``. An output depends on what follows, so there is nothing to generate with; ask a
    type checker. To put one on another see :class:`elman.layers.EncoderStack`.

    Raises :class:`ShapeError` where the two read inputs of different size, :class:`OptionError` where one is
    no recurrence.

    >>> from elman.cells import GRU, LSTM
    >>> both = Bidirectional(LSTM(3, 5), GRU(3, 2))
    >>> outputs, state = both.scan(torch.ones(7, 4, 3))
    >>> tuple(outputs.shape), bool((outputs[0, :, 5:] == state.backwards.h).all())
    ((7, 4, 7), True)
    """

    def __init__(self, forwards: Recurrence, backwards: Recurrence) -> None:
        super().__init__()
        for each in (forwards, backwards):
            if not isinstance(each, Recurrence):
                name = each.__name__ if isinstance(each, type) else type(each).__name__
                raise OptionError(
                    "A Bidirectional was asked for.",
                    f"{name} is {'a class' if isinstance(each, type) else 'no recurrence'}.",
                    "Give two cells or Stacks that were made; to put one Bidirectional on another take an "
                    "EncoderStack.",
                )
        if forwards.input_size != backwards.input_size:
            names = f"{type(forwards).__name__}, {type(backwards).__name__}"
            raise ShapeError(
                f"Bidirectional({names}) was asked for.",
                f"One reads {forwards.input_size} features per step, the other {backwards.input_size}.",
                "Both read the same sequence: give them the same input_size.",
            )
        self.forwards = forwards
        self.backwards = backwards
        self.input_size = forwards.input_size
        self.output_size = forwards.output_size + backwards.output_size

    def initial_state(self, batch: int) -> BidirectionalState:
        return BidirectionalState(self.forwards.initial_state(batch), self.backwards.initial_state(batch))

    def scan(
        self,
        x: TBX,
        state: BidirectionalState | None = None,
        lengths: B | None = None,
        noise: tuple[Any, Any] | None = None,
    ) -> tuple[TBH, BidirectionalState]:
        mine, other = (None, None) if noise is None else noise
        if mine is None and other is None:
            found = scan_layers([self], x, [state], lengths)
            if found is not None:
                y, (after,) = found
                return y, after
        forwards, backwards = self._states(state)
        there, last = self.forwards.scan(x, forwards, lengths, mine)
        back, first = self.backwards.scan_reversed(x, backwards, lengths, other)
        return torch.cat([there, back], dim=-1), BidirectionalState(last, first)

    def _sides(self, state: BidirectionalState | None, batch: int, reverse: bool) -> list[Side] | None:
        forwards, backwards = self._states(state)
        there = self.forwards._sides(forwards, batch, reverse)
        back = self.backwards._sides(backwards, batch, not reverse)
        return None if there is None or back is None or does_more(self, Bidirectional) else there + back

    def _states(self, state: Any) -> tuple[Any, Any]:
        if state is None:
            return None, None
        if not isinstance(state, tuple) or len(state) != 2:
            raise ShapeError(
                f"Bidirectional({type(self.forwards).__name__}, {type(self.backwards).__name__}) "
                "was given a state.",
                f"It is a {type(state).__name__}; it must be the states of both directions, forwards first.",
                "Give one as initial_state and scan return it.",
            )
        forwards, backwards = state
        return forwards, backwards

    def _joined(self, states: Iterator[Any]) -> BidirectionalState:
        return BidirectionalState(self.forwards._joined(states), self.backwards._joined(states))

    def draw(self, batch: int, steps: int, generator: torch.Generator | None = None) -> tuple[Any, Any]:
        """The masks of both directions for ``scan(…, noise=…)``; None for one that has no noise."""
        return self.forwards.draw(batch, steps, generator), self.backwards.draw(batch, steps, generator)
