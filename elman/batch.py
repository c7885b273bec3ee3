"""The shapes a batch has."""

from typing import NamedTuple

from torch import Tensor


class Stream(NamedTuple):
    """A piece of ``B`` parallel streams of text: what truncated backpropagation through time reads.

    ``inputs`` and ``targets`` are T×B ids (int64), ``targets[t]`` following ``inputs[t]`` in the text.
    Row b of one piece continues row b of the piece before it, unless ``fresh``: then the state starts anew.
    """

    inputs: Tensor
    targets: Tensor
    fresh: bool
