"""A recurrent language model that reads one token after another, on weights packed once."""

import copy

import torch
from torch import Tensor

from elman.axes import BV, TB, B
from elman.errors import OptionError
from elman.fused.chain import Chain
from elman.fused.operations import Objection
from elman.fused.stream import Stream
from elman.fused.weights import require_format
from elman.layers.streamer import cells_of, flat
from elman.models.language_model import RecurrentLanguageModel, require_ids, require_pairs


class StreamedLanguageModel:
    """A :class:`RecurrentLanguageModel` for reading token by token; a ``protocols.LanguageModel``.

    A step, from the embedded token to the log-probabilities, is one native call on weights that were packed
    when this was made: a snapshot of the model as it then was, without dropout. ``weights`` is their format,
    "float32", "bfloat16" or "int8" (:mod:`elman.fused.weights`), for all matrices, the softmax's included;
    the embedding is looked up and stays as it is. What a format costs in perplexity is measured by
    ``elman evaluate RUN --weights int8``, which reads by these same steps.

    A text drawn with the same seed is that of the model, except where two tokens are so nearly as likely that
    rounding decides which of them comes first.

    States are values, as of every language model; here one tensor, B × the sizes of all layers' states.
    Where there is no compiled executor, or the model is not in float32 on the CPU, PyTorch does the same.

    Raises :class:`OptionError` for an unknown format and for a cell that cannot be traced.

    >>> from elman.models import RecurrentOptions
    >>> model = RecurrentLanguageModel(30, RecurrentOptions(hidden_size=8)).eval()
    >>> streamed = StreamedLanguageModel(model)
    >>> (mine, _), (theirs, _) = (m.step(torch.tensor([4]), m.start(1)) for m in (streamed, model))
    >>> bool(torch.allclose(mine, theirs, atol=1e-6))
    True
    """

    def __init__(self, model: RecurrentLanguageModel, weights: str = "float32") -> None:
        require_format(weights)
        model = copy.deepcopy(model).eval()
        try:
            chain = Chain(cells_of(model.stack))
        except Objection as objection:
            raise OptionError(
                f"A language model of {model.options.cell} cells was to be streamed.",
                f"Its equations cannot be traced: {objection}.",
                "Use the model itself.",
            ) from objection
        if model.map is not None:
            chain.linear("map", model.map.weight)
        chain.linear("softmax", model.softmax.weight, model.softmax.bias)
        chain.log_softmax()
        self.weights = weights
        self.vocabulary_size = model.vocabulary_size
        self._stream = Stream(chain, weights)
        self._embedding = model.embedding
        self._start = flat(model.start(1))

    def start(self, batch: int) -> Tensor:
        return self._start.repeat(batch, 1)

    @torch.no_grad()
    def step(self, tokens: B, state: Tensor) -> tuple[BV, Tensor]:
        require_ids(tokens, "tokens", "B", self.vocabulary_size)
        return self._stream.step(self._embedding(tokens), state)

    @torch.no_grad()
    def log_probabilities(self, inputs: TB, targets: TB, state: Tensor) -> tuple[TB, Tensor]:
        """log P(targets[t] | inputs[..t]) in nats, T B, and the new state: step by step."""
        require_pairs(inputs, targets, self.vocabulary_size)
        found = torch.empty(inputs.shape, dtype=state.dtype, device=state.device)
        x = self._embedding(inputs)
        for t in range(len(inputs)):
            logs, state = self._stream.step(x[t], state)
            torch.gather(logs, 1, targets[t].unsqueeze(1), out=found[t].unsqueeze(1))
        return found, state
