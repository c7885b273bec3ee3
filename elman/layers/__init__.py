"""Layers over whole sequences: the stack, what feeds it, and what reads it."""

from elman.layers.embedding import Embedding, OneHot
from elman.layers.softmax import Softmax
from elman.layers.stack import Stack
from elman.layers.torch_weights import from_torch, to_torch

__all__ = ["Embedding", "OneHot", "Softmax", "Stack", "from_torch", "to_torch"]
