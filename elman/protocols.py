"""What every language model, counted or neural, can do.

The contract, stated once: a model predicts a *stream* of tokens. Before its first token the stream is in
the state ``start(batch)``, as if the vocabulary's start token had just been read. Then either

* ``step(tokens, state)``: read one token per stream; the log-probabilities (natural) of the next, B×V; or
* ``log_probabilities(inputs, targets, state)``: the same for many steps at once, only at the targets, T×B.

The state is a value that goes in and comes out (see :mod:`elman.states`).
"""

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

State = Any


@runtime_checkable
class LanguageModel(Protocol):
    """A distribution over the next token, given all tokens of a stream so far."""

    @property
    def vocabulary_size(self) -> int: ...

    def start(self, batch: int) -> State:
        """The state before any token was read, for ``batch`` streams."""
        ...

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Reads ``tokens`` (int64, B). Returns log P(next | all so far) in nats, B×V, and the new state."""
        ...

    def log_probabilities(self, inputs: Tensor, targets: Tensor, state: State) -> tuple[Tensor, State]:
        """Reads ``inputs`` (T×B). Returns log P(targets[t] | inputs[..t]) in nats, T×B, and the state."""
        ...
