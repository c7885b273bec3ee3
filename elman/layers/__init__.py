"""Layers over whole sequences: the stack, what feeds it, and what reads it."""

from elman.layers.bidirectional import Bidirectional
from elman.layers.embedding import Embedding, OneHot
from elman.layers.softmax import Softmax
from elman.layers.stack import EncoderStack, Stack
from elman.layers.streamer import Streamer
from elman.layers.torch_weights import from_torch, to_torch

__all__ = [
    "Bidirectional",
    "Embedding",
    "EncoderStack",
    "OneHot",
    "Softmax",
    "Stack",
    "Streamer",
    "from_torch",
    "to_torch",
]
