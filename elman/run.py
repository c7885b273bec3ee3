"""A finished run: ``elman.load(RUN)``, and what a loaded model can do with text.

    run = elman.load("runs/shakespeare")
    run.evaluate("test").perplexity
    for piece in run.generate("KING:", tokens=300, temperature=0.8, seed=1):
        print(piece, end="", flush=True)

What a run folder holds: :mod:`elman.training.folder`. How one is made: ``elman train``.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from elman import recipe as recipes
from elman.cells import Cell
from elman.cells.own import is_own
from elman.corpora import open_corpus
from elman.decoding import generate
from elman.errors import ModelError, OptionError, RunError, TokenError
from elman.fused import library
from elman.measures import perplexity
from elman.measures.perplexity import CHUNK, Perplexity
from elman.models.language_model import RecurrentLanguageModel, RecurrentOptions
from elman.models.streamed import StreamedLanguageModel
from elman.ngrams import CountedModel
from elman.protocols import LanguageModel, State
from elman.recipe import Recipe
from elman.text import TextFile, tokeniser
from elman.text.characters import Characters
from elman.text.vocabulary import Vocabulary
from elman.text.words import Words
from elman.training import tensorfile
from elman.training.folder import RunFolder
from elman.training.precision import choose


class Prediction(NamedTuple):
    """What comes next: log P of every token (V, in nats), and the state to read on from."""

    log_probabilities: Tensor
    state: State


@dataclass(frozen=True)
class Run:
    """A trained model with the vocabulary and the recipe it was trained by. Made by :func:`load`."""

    folder: RunFolder
    recipe: Recipe
    vocabulary: Vocabulary
    model: LanguageModel
    _packed: dict[Any, LanguageModel] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __repr__(self) -> str:
        return f"Run({str(self.folder.path)!r}: {self.recipe.name}, {len(self.vocabulary):,} tokens)"

    @property
    def tokeniser(self) -> Words | Characters:
        return tokeniser(self.recipe.text)

    def evaluate(
        self,
        split: str = "test",
        data: Path | str | None = None,
        *,
        data_dir: Path | None = None,
        chunk: int = CHUNK,
    ) -> Perplexity:
        """The perplexity of a ``split`` of the run's own corpus, or of all of the file ``data``.

        The text is read as one stream, see :func:`elman.measures.perplexity.evaluate`.
        Raises the errors of opening a corpus and of reading a text.
        """
        return self.evaluate_ids(self.ids(split, data, data_dir=data_dir), chunk=chunk)

    def evaluate_ids(self, ids: np.ndarray, *, chunk: int = CHUNK) -> Perplexity:
        """The same for a text that is ids of this vocabulary already."""
        return perplexity.evaluate(self.model, ids, self.vocabulary.start_id, chunk)

    def ids(self, split: str, data: Path | str | None = None, *, data_dir: Path | None = None) -> np.ndarray:
        """The ids of a split of the run's corpus, or of all of the file ``data``."""
        if data is None:
            return open_corpus(self.recipe.corpus, self.recipe.text, data_dir, self.vocabulary).split(split)
        small = np.uint16 if len(self.vocabulary) <= 1 << 16 else np.int32
        source = self.tokeniser.encode_source(TextFile(Path(data)), self.vocabulary)
        blocks = [block.astype(small) for block in source]
        if sum(map(len, blocks)) == 0:
            raise OptionError(
                f"{data} was to be evaluated.", "It has no tokens: all its lines are blank.", "Name another."
            )
        return np.concatenate(blocks)

    def score(self, lines: Iterable[str], *, independent: bool = False) -> Iterator[float]:
        """log P of each line in nats (≤ 0), as soon as the line is there; a blank line of words costs 0.

        The lines are one stream, as in :meth:`evaluate`: each is predicted from all lines before it, and the
        sum is that of the text's nats, negated. With ``independent`` each line starts a stream of its own.
        A line of words is its words and ``<eos>``; a line of characters is its characters and the line
        end — added where a line came without, unless the lines before came with theirs: then it is the
        unfinished last line of a file. Nothing is added for a model that knows no line end.
        """
        start = self.model.start(1), self.vocabulary.start_id
        state, last = start
        ended = "\n" not in self.vocabulary  # nor can it be added
        for line in lines:
            ended = ended or line.endswith("\n")
            whole = line if ended or self.recipe.text.unit == "words" else line + "\n"
            ids = self.vocabulary.ids(self.tokeniser.tokens(whole))
            if independent:
                state, last = start
            nats = 0.0
            for begin in range(0, len(ids), CHUNK):
                piece = ids[begin : begin + CHUNK]
                targets = perplexity.column(piece).to(perplexity.device_of(state))
                inputs = torch.cat((targets.new_tensor([[last]]), targets[:-1]))
                with torch.no_grad():
                    logs, state = self.model.log_probabilities(inputs, targets, state)
                nats += logs.sum(dtype=torch.float64).item()
                last = int(piece[-1])
            yield nats

    def generate(
        self,
        prompt: str = "",
        tokens: int = 200,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        greedy: bool = False,
        seed: int | None = None,
        stop: str | None = None,
    ) -> Iterator[str]:
        """Text that goes on from ``prompt``: up to ``tokens`` pieces, each as soon as it is drawn.

        How a token is drawn: :func:`elman.decoding.choose_token`. The text ends before the first ``stop``.
        Where the compiled executor can, it draws as :meth:`streamed` does, packed at the first text.
        For many texts, give each another ``seed``. Raises :class:`~elman.errors.TokenError` for a prompt with
        a token that is not in the vocabulary, :class:`~elman.errors.OptionError` for a value out of range.
        """
        if stop == "":
            raise OptionError(
                "A text was to be generated up to a stop text.", "It is empty.", "Leave it out, or name one."
            )
        heard = self._prompt(prompt)
        ids = generate(
            self._by_steps(),
            heard,
            tokens,
            start_id=self.vocabulary.start_id,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            greedy=greedy,
            seed=seed,
        )
        spaced = not heard or prompt[-1].isspace()  # no other space is set before the first word then
        pieces = self._pieces(ids, None if spaced else self.vocabulary.tokens[heard[-1]])
        return pieces if stop is None else before(stop, pieces)

    def streamed(self, weights: str = "float32") -> "Run":
        """The same run, reading token by token on weights packed once: ``step`` and ``generate`` are faster.

        ``weights``: how they are kept, "float32", "bfloat16" or "int8"; fewer bits are faster again, and
        what they cost is what ``evaluate`` then finds. Packing takes a second or so, and evaluation token by
        token is slower than by scans: it pays for long texts and many steps. A snapshot: see
        :class:`elman.models.StreamedLanguageModel`.

        Raises :class:`~elman.errors.OptionError` for another format, a counted model, and a cell that cannot
        be traced.
        """
        if not isinstance(self.model, RecurrentLanguageModel):
            raise OptionError(
                f"The run {self.folder.path} was to be read with weights in {weights}.",
                f"Its model is a {type(self.model).__name__}; only a recurrent model is streamed.",
                "Use the run as it is.",
            )
        return replace(self, model=StreamedLanguageModel(self.model, weights))

    def _by_steps(self) -> LanguageModel:
        """The model on packed weights where the executor takes them, else as it is. Packed anew when its
        weights were changed."""
        model = self.model
        if not isinstance(model, RecurrentLanguageModel) or model.training:
            return model
        weights = [*model.parameters(), *model.buffers()]
        native = all(w.device.type == "cpu" and w.dtype == torch.float32 for w in model.parameters())
        if library.objection() is not None or not native:
            return model
        known = tuple((id(tensor), tensor._version) for tensor in weights)
        if known not in self._packed:
            self._packed.clear()
            try:
                self._packed[known] = StreamedLanguageModel(model)
            except OptionError:  # a cell that cannot be traced: it reads by its definition, as everywhere
                self._packed[known] = model
        return self._packed[known]

    def start(self) -> Prediction:
        """What a text begins with: the state of a stream that has read the start token only."""
        return self._read(self.vocabulary.start_id, self.model.start(1))

    def step(self, token: str | int, state: State = None) -> Prediction:
        """Reads one token — itself, or its id — and predicts the next. No ``state``: as the first of a text.

        log P of a text is the sum of what :meth:`start` and the steps give its tokens, as in :meth:`score`.
        Raises :class:`~elman.errors.TokenError` for a token without an id.
        """
        id_ = self._require([token])[0] if isinstance(token, str) else token
        if not 0 <= id_ < len(self.vocabulary):
            raise TokenError(
                f"The token with id {id_} was to be read.",
                f"The vocabulary has {len(self.vocabulary):,} tokens; ids go from 0.",
                f"Give an id from 0 to {len(self.vocabulary) - 1}, or the token itself as text.",
            )
        return self._read(id_, self.start().state if state is None else state)

    @torch.no_grad()
    def _read(self, token: int, state: State) -> Prediction:
        tokens = torch.tensor([token], device=perplexity.device_of(state))
        log_probabilities, state = self.model.step(tokens, state)
        return Prediction(log_probabilities[0], state)

    def _prompt(self, prompt: str) -> list[int]:
        for line in prompt.split("\n"):
            self._require(self.tokeniser.tokens(line))  # encoding alone makes <unk> of a strange word
        return self.tokeniser.encode(prompt, self.vocabulary).tolist()

    def _require(self, tokens: list[str]) -> list[int]:
        """The ids of tokens that all must be in the vocabulary, also where it has an unknown one."""
        for token in tokens:
            if token not in self.vocabulary:
                near = difflib.get_close_matches(token, self.vocabulary.tokens, n=1)
                unknown = self.vocabulary.unknown
                raise TokenError(
                    f"The model was to read {token!r}.",
                    f"It is not among the {len(self.vocabulary):,} tokens of the vocabulary"
                    + (f"; the nearest is {near[0]!r}." if near else "."),
                    f"Use tokens of the vocabulary, or write {unknown} for a word that it lacks."
                    if unknown
                    else "Leave it out, or train on a text that has it.",
                )
        return self.vocabulary.ids(tokens).tolist()

    def _pieces(self, ids: Iterator[int], previous: str | None) -> Iterator[str]:
        for id_ in ids:
            token = self.vocabulary.tokens[id_]
            yield self.tokeniser.piece(token, previous)
            previous = token


def load(path: Path | str, device: str = "cpu") -> Run:
    """Opens a run folder: the model with its best weights, ready to evaluate, score, generate and step.

    ``device``: "cpu", "cuda" or "auto". Raises :class:`~elman.errors.RunError` for a folder that is missing,
    cut short, in another format or not yet trained.
    """
    folder = RunFolder.open(Path(path))
    recipe = recipes.read(folder.recipe)
    vocabulary = Vocabulary.load(folder.vocabulary)
    stored = tensorfile.read_weights(folder.weights)
    if isinstance(recipe.model, RecurrentOptions):
        own = folder.cells() if is_own(recipe.model.cell) else None
        model = build_model(recipe.model, vocabulary, cell=own)
        kinds = {tensor.dtype for tensor in stored.values() if tensor.is_floating_point()}
        model.to(choose("float32", device).device, next(iter(kinds), torch.float32))
        tensorfile.put_weights(model, stored, folder.weights)
        return Run(folder, recipe, vocabulary, model.eval())
    asked = f"The run {folder.path} was to be opened."
    try:
        counted = CountedModel.from_arrays({name: tensor.numpy() for name, tensor in stored.items()})
    except ModelError as error:
        raise RunError(asked, error.came, error.do) from error
    if (counted.vocabulary_size, counted.end_id) != (len(vocabulary), vocabulary.end_id):
        raise RunError(
            asked,
            f"Its model is over {counted.vocabulary_size:,} tokens, the end being {counted.end_id}; "
            f"its vocabulary.json has {len(vocabulary):,}, the end being {vocabulary.end_id}.",
            "Copy the run again from where it was trained, or train it again.",
        )
    return Run(folder, recipe, vocabulary, counted)


def build_model(
    options: RecurrentOptions,
    vocabulary: Vocabulary,
    seed: int | None = None,
    cell: Callable[[int, int], Cell] | None = None,
) -> RecurrentLanguageModel:
    """A new model. The same ``seed`` gives the same weights; torch's own generator is left as it was.

    ``cell``: the class of a cell of one's own, where ``options.cell`` names a file's.
    """
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        return RecurrentLanguageModel(len(vocabulary), options, vocabulary.start_id, cell)


def before(stop: str, pieces: Iterable[str]) -> Iterator[str]:
    """The pieces of a text up to ``stop``, held back only while they may be its beginning.

    >>> list(before("\\n\\n", ["a", "\\n", "b", "\\n", "\\nc", "d"]))
    ['a', '\\nb']
    """
    held = ""
    for piece in pieces:
        held += piece
        at = held.find(stop)
        if at >= 0:
            held = held[:at]
            break
        begun = max(k for k in range(len(stop)) if held.endswith(stop[:k]))
        free = held[: len(held) - begun]
        if free:
            yield free
        held = held[len(free) :]
    if held:
        yield held
