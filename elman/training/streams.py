"""A text as parallel streams, cut into the pieces of truncated backpropagation through time."""

import math
from collections.abc import Iterator

import numpy as np
import torch

from elman.batch import Stream
from elman.errors import OptionError


class Streams:
    """The ids of a text as B streams of L = N // B tokens each, read T steps at a time.

    Stream b holds the tokens from b·L on, contiguously; the last N mod B tokens are left out. Each token
    is a target once per epoch, and its input is the token before it in the text — ``start_id`` before the
    very first. Row b of one piece continues row b of the piece before; the first piece is ``fresh``. The
    last piece of an epoch is shorter where T does not divide L. (Zaremba's code [zaremba2014] drops it, and
    predicts L − 1 tokens per stream.)

    >>> streams = Streams(np.arange(10, 17), batch=2, steps=2, start_id=0)
    >>> [(piece.inputs.T.tolist(), piece.targets.T.tolist()) for piece in streams.pieces()]
    [([[0, 10], [12, 13]], [[10, 11], [13, 14]]), ([[11], [14]], [[12], [15]])]

    Raises :class:`OptionError` where there are more streams than tokens.
    """

    def __init__(self, ids: np.ndarray, batch: int, steps: int, start_id: int) -> None:
        length = len(ids) // batch
        if length == 0:
            raise OptionError(
                f"Training on {batch} streams of text side by side was asked for (train.batch).",
                f"The training text has {len(ids)} tokens: less than one per stream.",
                "Lower train.batch, or train on a longer text.",
            )
        self._ids = ids[: batch * length].reshape(batch, length)
        self._steps = steps
        before = self._ids[:-1, -1]
        self._first_inputs = np.concatenate(([start_id], before)).astype(np.int64)[:, None]

    def __len__(self) -> int:
        """The pieces of an epoch."""
        return math.ceil(self._ids.shape[1] / self._steps)

    @property
    def tokens(self) -> int:
        """The predictions of an epoch: B·L."""
        return self._ids.size

    def piece(self, index: int) -> Stream:
        begin = index * self._steps
        targets = self._ids[:, begin : begin + self._steps].astype(np.int64)
        before = self._ids[:, begin - 1 : begin].astype(np.int64) if begin else self._first_inputs
        inputs = np.concatenate((before, targets[:, :-1]), axis=1)
        return Stream(_time_first(inputs), _time_first(targets), fresh=index == 0)

    def pieces(self, first: int = 0) -> Iterator[Stream]:
        """The pieces of an epoch from number ``first`` on."""
        return (self.piece(index) for index in range(first, len(self)))


def _time_first(ids: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(ids.T))
