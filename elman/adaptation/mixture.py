"""A mixture of language models: their probabilities averaged, with weights fitted on a validation text."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from elman.axes import BV, TB, B
from elman.errors import ModelError, OptionError
from elman.protocols import LanguageModel, State

CHUNK = 1000  # steps of the validation text read at once
TOLERANCE = 1e-7  # nats per token, an upper bound of what perfect weights would gain
ROUNDS = 100_000


class Mixture:
    """P(w|h) = Σ_k λ_k P_k(w|h): reads with every model, and averages what they say.

    ``models``: any that keep the contract of :class:`~elman.protocols.LanguageModel`, over the same V ids.
    ``weights`` λ: one for each, ≥ 0, with the sum 1. The state is the tuple of theirs. Log-probabilities are
    float64, on the device of the tokens. Modules are put into evaluation mode (no dropout). Nothing here is
    trained but λ, by :meth:`fit`. Raises :class:`OptionError` for weights that are none,
    :class:`ModelError` for models of different vocabularies.

    Example::

        >>> from elman.ngrams import CountedModel, CountedOptions
        >>> text = np.array([1, 2, 1, 1, 2, 0, 2, 1, 0])
        >>> one, two = (
        ...     CountedModel.estimate(text, 3, None, CountedOptions(order, "witten-bell"), say=print)
        ...     for order in (1, 2)
        ... )
        >>> mixture = Mixture([one, two], [0.25, 0.75])
        >>> log_p, state = mixture.step(torch.tensor([1]), mixture.start(1))
        >>> print(f"{float(log_p.exp().sum()):.6f}")
        1.000000
    """

    def __init__(self, models: Sequence[LanguageModel], weights: Sequence[float]) -> None:
        asked = f"A mixture of {len(models)} models with {len(weights)} weights was asked for."
        _require_one_vocabulary(models, asked)
        if not models:
            raise OptionError(asked, "There is nothing to mix.", "Give at least one model.")
        if len(weights) != len(models):
            raise OptionError(asked, "They must be as many.", "Give one weight for each model.")
        if not all(weight >= 0 for weight in weights) or abs(sum(weights) - 1) > 1e-6:
            raise OptionError(
                asked,
                f"They are {', '.join(f'{weight:g}' for weight in weights)}; their sum is {sum(weights):g}.",
                "Give weights from 0 whose sum is 1, or let Mixture.fit find them.",
            )
        for model in models:
            if isinstance(model, nn.Module):
                model.eval()
        self.models = tuple(models)
        self.weights = tuple(float(weight) for weight in weights)

    @classmethod
    def fit(cls, models: Sequence[LanguageModel], valid_ids: np.ndarray, start_id: int) -> "Mixture":
        """The mixture that finds the stream ``valid_ids`` (N) most probable, ``start_id`` read before it.

        Raises :class:`ModelError` for a stream without tokens, or with one that no model thinks possible.
        """
        equal = cls(models, [1 / max(len(models), 1)] * len(models))
        log_p = np.stack([_log_probabilities(model, valid_ids, start_id) for model in equal.models])
        return cls(models, fit_weights(log_p).tolist())

    @property
    def vocabulary_size(self) -> int:
        return self.models[0].vocabulary_size

    def start(self, batch: int) -> State:
        return tuple(model.start(batch) for model in self.models)

    def step(self, tokens: B, state: State) -> tuple[BV, State]:
        """Reads ``tokens`` (B). Returns log P(next | all so far) in nats, B×V float64, and the states."""
        read = [model.step(tokens, own) for model, own in zip(self.models, state, strict=True)]
        return self._average([log_p for log_p, _ in read], tokens.device), tuple(own for _, own in read)

    def log_probabilities(self, inputs: TB, targets: TB, state: State) -> tuple[TB, State]:
        """Reads ``inputs`` (T×B). Returns log P(targets[t] | inputs[..t]), T×B float64, and the states."""
        read = [
            model.log_probabilities(inputs, targets, own)
            for model, own in zip(self.models, state, strict=True)
        ]
        return self._average([log_p for log_p, _ in read], inputs.device), tuple(own for _, own in read)

    def _average(self, log_p: list[Tensor], device: torch.device) -> Tensor:
        log_weights = torch.tensor(self.weights, dtype=torch.float64, device=device).log()
        weighted = torch.stack([one.to(device, torch.float64) for one in log_p], dim=-1) + log_weights
        return weighted.logsumexp(dim=-1)


def fit_weights(log_probabilities: np.ndarray) -> np.ndarray:
    """The weights λ (K) that maximise L = mean_t log Σ_k λ_k P_k(t), given log P_k(t) as K×N, in nats.

    Expectation–maximisation [jelinek1980] from equal weights:

        λ_k ← λ_k · g_k,   g_k = mean_t P_k(t) / Σ_j λ_j P_j(t)

    L is concave in λ and has the gradient g, so no weights gain more than max g − 1 nats per token on these:
    it ends where that is at most 1e-7. Raises :class:`ModelError` where there is no token, or one whose
    log-probability is finite in no model.

    >>> fit_weights(np.log([[0.6, 0.6, 0.1], [0.2, 0.2, 0.3]])).round(4).tolist()
    [0.8333, 0.1667]
    """
    models, tokens = log_probabilities.shape
    asked = f"The weights of {models} models were to be fitted on {tokens} tokens."
    if tokens == 0:
        raise ModelError(
            asked, "There is nothing to fit them on.", "Give a validation text with tokens in it."
        )
    best = log_probabilities.max(axis=0)
    if not np.isfinite(best).all():
        place = int(np.flatnonzero(~np.isfinite(best))[0])
        raise ModelError(
            asked,
            f"Token {place + 1} of the text has a finite log-probability in no model.",
            "Mix in a model that thinks every token possible, such as a counted one.",
        )
    p = np.exp(log_probabilities - best)  # scaled token by token, which g does not see
    weights = np.full(models, 1 / models)
    for _ in range(ROUNDS):
        gradient = (p / (weights @ p)).mean(axis=1)
        if gradient.max() - 1 <= TOLERANCE:
            break
        weights *= gradient
        weights /= weights.sum()
    return weights


def _log_probabilities(model: LanguageModel, ids: np.ndarray, start_id: int) -> np.ndarray:
    """Natural log P of each of ``ids`` (N) as ``model`` reads them in one stream, float64."""
    stream = torch.from_numpy(np.concatenate([[start_id], np.asarray(ids, np.int64)]))[:, None]
    if isinstance(model, nn.Module):
        stream = stream.to(next(model.parameters()).device)
    pieces = [np.zeros(0)]
    with torch.no_grad():
        state = model.start(1)
        for first in range(0, len(ids), CHUNK):
            inputs, targets = stream[:-1][first : first + CHUNK], stream[1:][first : first + CHUNK]
            log_p, state = model.log_probabilities(inputs, targets, state)
            pieces.append(log_p[:, 0].to("cpu", torch.float64).numpy())
    return np.concatenate(pieces)


def _require_one_vocabulary(models: Sequence[LanguageModel], asked: str) -> None:
    sizes = [model.vocabulary_size for model in models]
    if len(set(sizes)) > 1:
        raise ModelError(
            asked,
            f"Their vocabularies have {', '.join(map(str, sizes))} tokens.",
            "Mix models of one vocabulary: train them on one corpus with one [text] table.",
        )
