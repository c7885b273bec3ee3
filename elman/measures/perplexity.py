"""Perplexity: how many equally likely tokens a model hesitates between, on the average."""

import math
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from elman import states
from elman.protocols import LanguageModel, State

CHUNK = 1024
"""Steps handed to a model at once when a text is evaluated. The result does not depend on it."""

WARM_UP = 256
"""Tokens that a part of a text reads before it predicts, where parts are read side by side."""


class Perplexity(NamedTuple):
    """What a text costs under a model: ``nats`` in all, over ``tokens`` predictions.

    >>> cost = Perplexity(nats=3 * math.log(50), tokens=3)
    >>> round(cost.perplexity, 6), round(cost.nats_per_token, 4), round(cost.bits_per_token, 4)
    (50.0, 3.912, 5.6439)
    """

    nats: float
    tokens: int

    @property
    def nats_per_token(self) -> float:
        """−(1/N) Σ log P(token | all before), natural logarithm."""
        return self.nats / self.tokens

    @property
    def bits_per_token(self) -> float:
        """The same with the logarithm to base 2: bits per character where tokens are characters."""
        return self.nats_per_token / math.log(2)

    @property
    def perplexity(self) -> float:
        """exp(nats per token); infinite where that exceeds the largest float."""
        return math.exp(self.nats_per_token) if self.nats_per_token < 700 else math.inf


@runtime_checkable
class _ScoresStreams(Protocol):
    """A model with a faster way through a whole stream than the shared one: counted models."""

    def score(self, ids: np.ndarray, start_id: int | None) -> np.ndarray: ...


def evaluate(
    model: LanguageModel, ids: np.ndarray, start_id: int, chunk: int = CHUNK, streams: int = 1
) -> Perplexity:
    """What the text ``ids`` costs under ``model``, read as one stream from its first token to its last.

    The stream starts in ``model.start(1)`` and reads ``start_id``; then each of the N tokens is predicted
    from all before it: N predictions, none dropped, dropout off. (Published neural results on the Penn
    Treebank predict N − 1: they skip the very first token.) The logarithms are added in float64, and the
    result does not depend on ``chunk``, the number of tokens (≥ 1) read at once, beyond rounding (1e-6).

    With ``streams`` over 1 the text is cut in so many parts that are read side by side: much faster, and
    nearly the same. Each part but the first starts anew, 256 tokens ahead of what it predicts.

    ids: int, N ≥ 1. A model of torch.nn is put into evaluation mode and given back in the mode it came in.
    """
    if isinstance(model, _ScoresStreams):
        return Perplexity(float(np.sum(model.score(ids, start_id), dtype=np.float64)), len(ids))
    training = isinstance(model, nn.Module) and model.training
    if isinstance(model, nn.Module):
        model.eval()
    try:
        return Perplexity(_nats(model, ids, start_id, chunk, streams), len(ids))
    finally:
        if isinstance(model, nn.Module):
            model.train(training)


@torch.no_grad()
def _nats(model: LanguageModel, ids: np.ndarray, start_id: int, chunk: int, streams: int) -> float:
    """Part k reads ``length`` tokens from k·own on; its warm-up is part k−1's to predict."""
    warm_up = min(WARM_UP, len(ids) - 1)
    own = math.ceil((len(ids) - warm_up) / streams)
    length, steps = own + warm_up, max(1, chunk // streams)
    state = model.start(streams)
    device = device_of(state)
    total = torch.zeros((), dtype=torch.float64, device=device)
    for begin in range(0, length, steps):
        offsets = np.arange(begin, min(begin + steps, length))[:, None]
        places = offsets + own * np.arange(streams)
        counted = (places < len(ids)) & ((offsets >= warm_up) | (places == offsets))
        targets = ids[np.minimum(places, len(ids) - 1)].astype(np.int64)
        inputs = ids[np.minimum(places, len(ids)) - 1].astype(np.int64)
        inputs[places == 0] = start_id
        log_probabilities, state = model.log_probabilities(
            torch.from_numpy(inputs).to(device), torch.from_numpy(targets).to(device), state
        )
        total -= log_probabilities.double()[torch.from_numpy(counted).to(device)].sum()
    return total.item()


def column(ids: np.ndarray) -> Tensor:
    """A piece of one stream as a model reads it: T×1, int64."""
    return torch.from_numpy(np.asarray(ids).astype(np.int64)).unsqueeze(1)


def device_of(state: State) -> torch.device:
    """Where a model's tokens must be: with its state; on the CPU for a model that remembers nothing."""
    return next((leaf.device for _, leaf in states.leaves(state)), torch.device("cpu"))
