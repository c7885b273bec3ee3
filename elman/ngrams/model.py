"""The counted language model: n-grams, smoothed, behind the same contract as the neural models."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from elman.axes import BV, TB, B
from elman.errors import ModelError, OptionError, TokenError
from elman.ngrams.arpa import read_tables, write_tables
from elman.ngrams.config import CountedOptions
from elman.ngrams.estimation import estimate_tables
from elman.ngrams.tables import Table, find, followers
from elman.text.vocabulary import Vocabulary

FORMAT = 1
NOTHING = -1  # stands in a history where nothing was read


class HistoryState(NamedTuple):
    """The last symbols read: B × (order − 1), int64; −1 before the beginning, V for ``<s>``."""

    history: Tensor


class CountedModel:
    """Predicts the next token from the order − 1 before it, by counts of a text.

    For a history h and the same without its first symbol, h′:

        P(w|h) = the table's, where it has hw;  else backoff(h) · P(w|h′),  backoff = 1 for an unknown h

    The distribution is over the V ids 0 … V−1. With an ``end_id`` (words), reading it makes the history the
    single symbol ``<s>``, as at the start: sentences do not see each other. Without (characters), the stream
    is unbroken and starts with an empty history. ``<unk>`` is a word like any other, counted where the text
    has it; every id, counted or not, has a share of what the unigrams leave over. All numbers are float64.

    Sources: modified Kneser–Ney [kneser1995] [chen1998], cut-offs [stolcke2002], tables [heafield2011].

    Example::

        >>> ids = np.array([1, 2, 0, 1, 3, 0])          # "a b <eos> a c <eos>" with <eos> = 0
        >>> options = CountedOptions(order=2, smoothing="witten-bell")
        >>> model = CountedModel.estimate(ids, 4, end_id=0, options=options, say=print)
        >>> model.ngrams
        (4, 5)
        >>> print(np.exp(-model.score(ids)).round(3))   # P(a|<s>), P(b|a), P(<eos>|b), …
        [0.767 0.35  0.65  0.767 0.35  0.65 ]
    """

    def __init__(self, tables: list[Table], vocabulary_size: int, end_id: int | None) -> None:
        self._tables = tables
        self._vocabulary_size = vocabulary_size
        self._width = vocabulary_size + 1
        self.end_id = end_id

    @classmethod
    def estimate(
        cls,
        ids: np.ndarray,
        vocabulary_size: int,
        end_id: int | None,
        options: CountedOptions,
        say: Callable[[str], None],
    ) -> "CountedModel":
        """Counts the stream ``ids`` (N, each 0 … V−1) and smooths; ``say`` hears of smoothing that gave way.

        Raises :class:`OptionError` for options with problems, :class:`ModelError` for a text without tokens,
        :class:`TokenError` for ids outside the vocabulary.
        """
        ids = np.asarray(ids)
        asked = f"A counted model of order {options.order} was to be estimated from {ids.size} tokens."
        if problems := options.problems():
            raise OptionError(asked, " ".join(problems), "Change the options named.")
        if ids.ndim != 1 or ids.size == 0:
            raise ModelError(asked, "There is nothing to count.", "Give a training text with tokens in it.")
        _require_ids(ids, vocabulary_size, asked)
        return cls(estimate_tables(ids, vocabulary_size, end_id, options, say), vocabulary_size, end_id)

    @property
    def vocabulary_size(self) -> int:
        return self._vocabulary_size

    @property
    def order(self) -> int:
        """Tokens of the longest n-gram."""
        return len(self._tables)

    @property
    def ngrams(self) -> tuple[int, ...]:
        """How many n-grams there are, by order from 1; ``<s>`` alone is not one: it has no probability."""
        return (self._vocabulary_size, *(table.rows for table in self._tables[1:]))

    @property
    def parameters(self) -> int:
        """How many n-grams the model has, of all orders together."""
        return sum(self.ngrams)

    def start(self, batch: int) -> HistoryState:
        """The state before any token was read: just after ``<s>`` with an ``end_id``, else empty."""
        history = torch.full((batch, self.order - 1), NOTHING, dtype=torch.int64)
        if self.end_id is not None and self.order > 1:
            history[:, -1] = self._vocabulary_size
        return HistoryState(history)

    def step(self, tokens: B, state: HistoryState) -> tuple[BV, HistoryState]:
        """Reads ``tokens`` (B). Returns log P(next | history) in nats, B×V float64, and the new state."""
        symbols, state = self._read(tokens.unsqueeze(0), state)
        contexts = [rows[-1] for rows in self._contexts(symbols)]
        return torch.from_numpy(self._distribution(contexts, tokens.shape[0])).to(tokens.device), state

    def log_probabilities(self, inputs: TB, targets: TB, state: HistoryState) -> tuple[TB, HistoryState]:
        """Reads ``inputs`` (T×B). Returns log P(targets[t] | inputs[..t]), T×B float64, and the state."""
        wanted = _numpy(targets)
        _require_ids(wanted, self._vocabulary_size, f"{wanted.size} targets were to be scored.")
        symbols, state = self._read(inputs, state)
        steps = inputs.shape[0]
        contexts = [rows[len(rows) - steps :] for rows in self._contexts(symbols)]
        return torch.from_numpy(self._at(contexts, wanted)).to(inputs.device), state

    def score(self, ids: np.ndarray, start_id: int | None = None) -> np.ndarray:
        """−log P of each token of the stream ``ids`` (N) given those before it, in nats, N float64.

        The stream begins in the state ``start()``, having read ``start_id`` if one is given.
        """
        ids = np.asarray(ids, np.int64)
        state = self.start(1)
        if start_id is not None:
            _, state = self._read(torch.tensor([[start_id]]), state)
        targets = torch.from_numpy(ids)[:, None]
        _require_ids(ids, self._vocabulary_size, f"{ids.size} tokens were to be scored.")
        symbols, _ = self._read(targets[:-1], state)
        contexts = [rows[len(rows) - len(ids) :] for rows in self._contexts(symbols)]
        return -self._at(contexts, ids[:, None])[:, 0]

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The model as named arrays, for a safetensors file; :meth:`from_arrays` is the exact inverse."""
        end = NOTHING if self.end_id is None else self.end_id
        arrays = {"counted": np.array([FORMAT, self.order, self._vocabulary_size, end])}
        for n, table in enumerate(self._tables, start=1):
            for name, array in table._asdict().items():
                arrays[f"{n}.{name}"] = array
        return arrays

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "CountedModel":
        """The model that :meth:`to_arrays` gave. Raises :class:`ModelError` where arrays are missing."""
        asked = "A counted model was to be restored from its arrays."
        try:
            version, order, vocabulary_size, end = (int(number) for number in arrays["counted"])
            tables = [
                Table(*(np.asarray(arrays[f"{n}.{name}"]) for name in Table._fields))
                for n in range(1, order + 1)
            ]
        except KeyError as missing:
            raise ModelError(
                asked, f"There is no array {missing}.", "The file is not a counted model, or was cut short."
            ) from None
        if version != FORMAT:
            raise ModelError(
                asked, f"Their format is {version}; this version reads {FORMAT}.", "Estimate the model anew."
            )
        return cls(tables, vocabulary_size, None if end == NOTHING else end)

    def write_arpa(self, path: Path, vocabulary: Vocabulary) -> None:
        """Writes the model as an ARPA file (see :mod:`elman.ngrams.arpa`) for other programs.

        Raises :class:`ModelError` for a vocabulary of another size or end, or with tokens written alike.
        """
        if (len(vocabulary), vocabulary.end_id) != (self._vocabulary_size, self.end_id):
            raise ModelError(
                f"A model over {self._vocabulary_size} ids, the end being {self.end_id}, was to be written.",
                f"The vocabulary has {len(vocabulary)} tokens, the end being {vocabulary.end_id}.",
                "Give the vocabulary the model was estimated with.",
            )
        write_tables(path, self._tables, vocabulary)

    @classmethod
    def read_arpa(cls, path: Path, vocabulary: Vocabulary, say: Callable[[str], None]) -> "CountedModel":
        """Reads a model that this or another program wrote; ``say`` hears of tokens that the file lacks.

        Its ``<s>`` is this model's start, ``</s>`` the vocabulary's end, ``<unk>`` its unknown token. Raises
        :class:`ModelError` as :func:`elman.ngrams.arpa.read_tables` does.
        """
        return cls(read_tables(path, vocabulary, say), len(vocabulary), vocabulary.end_id)

    def _read(self, inputs: Tensor, state: HistoryState) -> tuple[np.ndarray, HistoryState]:
        """All symbols known after reading ``inputs`` (T×B), (order − 1 + T)×B, and the state then."""
        read = _numpy(inputs)
        _require_ids(read, self._vocabulary_size, f"{read.size} tokens were to be read.")
        if self.end_id is not None:
            read = np.where(read == self.end_id, self._vocabulary_size, read)
        symbols = np.concatenate([_numpy(state.history).T, read])
        # A copy, lest a state of a few numbers keep a whole text in memory.
        last = torch.from_numpy(symbols[len(symbols) - (self.order - 1) :].T.copy())
        return symbols, HistoryState(last.to(state.history.device))

    def _contexts(self, symbols: np.ndarray) -> list[np.ndarray]:
        """For each length k = 1 … order − 1, the rows of the k-grams that end at each place of ``symbols``.

        ``symbols`` is S×B; the k-th array is (S − k + 1)×B, its last row for the k-grams that end at the last
        symbol; −1 where the k-gram is unknown, or reaches back across ``<s>``.
        """
        found: list[np.ndarray] = []
        rows = symbols
        for k in range(1, self.order):
            if k > 1:
                rows = find(self._tables[k - 1], rows[:-1], symbols[k - 1 :], self._width)
            found.append(rows)
        return found

    def _at(self, contexts: list[np.ndarray], targets: np.ndarray) -> np.ndarray:
        """log P(target | context), the contexts given as rows, shortest first, shaped like ``targets``."""
        log_p = self._tables[0].log_probability[targets]
        for k, context in enumerate(contexts, start=1):
            known = context >= 0
            log_p[known] += self._tables[k - 1].log_backoff[context[known]]
            rows = find(self._tables[k], context, targets, self._width)
            log_p[rows >= 0] = self._tables[k].log_probability[rows[rows >= 0]]
        return log_p

    def _distribution(self, contexts: list[np.ndarray], batch: int) -> np.ndarray:
        """log P(· | context), B×V: unigrams scaled by all back-offs, then what longer contexts know."""
        backoffs = np.zeros((len(contexts) + 1, batch))  # backoffs[k]: Σ of those of contexts over k symbols
        for k in range(len(contexts), 0, -1):
            known = contexts[k - 1] >= 0
            backoffs[k - 1] = backoffs[k]
            backoffs[k - 1][known] += self._tables[k - 1].log_backoff[contexts[k - 1][known]]
        log_p = self._tables[0].log_probability[None, :-1] + backoffs[0][:, None]
        for k, context in enumerate(contexts, start=1):
            table = self._tables[k]
            rows, owner = followers(table, context, self._width)
            log_p[owner, table.keys[rows] % self._width] = table.log_probability[rows] + backoffs[k][owner]
        return log_p


def _numpy(tokens: Tensor) -> np.ndarray:
    return tokens.detach().cpu().numpy().astype(np.int64, copy=False)


def _require_ids(ids: np.ndarray, vocabulary_size: int, asked: str) -> None:
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < vocabulary_size:
        wrong = ids[(ids < 0) | (ids >= vocabulary_size)][0]
        raise TokenError(
            asked,
            f"There is the id {wrong}; the vocabulary has the ids 0 … {vocabulary_size - 1}.",
            "Encode the text with the vocabulary of the model.",
        )
