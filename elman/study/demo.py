"""The demo: a 5-gram, an Elman network and an LSTM on one English text, in about three minutes.

:func:`demonstrate` is the whole course. What it finds is a value, :class:`Findings`, which
:mod:`elman.study.demo_page` turns into ``report.html``. Each model is left as a run folder, so that
``elman generate elman-demo/lstm`` works afterwards.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch

from elman import run as runs
from elman.adaptation.mixture import Mixture
from elman.corpora import CORPORA, Corpus, open_corpus
from elman.decoding.generate import generate_many
from elman.errors import OptionError, RunError
from elman.insight import curves
from elman.insight.curves import Curve
from elman.insight.gradient_flow import GradientFlow, language_model_flow
from elman.insight.report import Row, Samples, duration
from elman.measures.perplexity import evaluate
from elman.models.language_model import RecurrentLanguageModel, RecurrentOptions
from elman.ngrams import CountedOptions
from elman.protocols import LanguageModel
from elman.recipe import Data, Recipe
from elman.study.execute import Setting, Trained, begin
from elman.text.config import TextOptions
from elman.training import optimizers
from elman.training.options import TrainingOptions
from elman.training.progress import Progress
from elman.training.streams import Streams

#: From the seconds that a training takes as a whole to those that the trainings after it will take.
After = Callable[[float], float]

COUNTED, ELMAN, LSTM, GRU, MIXTURE = "5-gram", "Elman", "LSTM", "GRU", "LSTM + 5-gram"
FOLDERS = {COUNTED: "5-gram", ELMAN: "elman", LSTM: "lstm"}
NETWORKS = {ELMAN: "elman", LSTM: "lstm"}
UNTRAINED = {**NETWORKS, GRU: "gru"}  # one more cell in the figure of gradients

TRAINING_SHARE = 0.86  # of the minutes; the rest is for counting, testing, writing and drawing
SLACK = 1.2  # a training that takes this much longer than planned is stopped
SAMPLES = 3


@dataclass(frozen=True)
class Plan:
    """What the demo does. ``minutes`` are for everything together, ``learning_rates`` by cell.

    Each cell has the rate, of 0.002, 0.004, 0.008 and 0.016, that served it best on the validation text: at
    the LSTM's the Elman network learns less well.
    """

    minutes: float = 3.0
    seed: int = 1
    corpus: str = "python-docs"
    text: TextOptions = field(default_factory=lambda: CORPORA["python-docs"].options)
    order: int = 5
    hidden_size: int = 256
    embedding_size: int = 128
    dropout: float = 0.2
    batch: int = 16
    steps: int = 35
    learning_rates: Mapping[str, float] = field(default_factory=lambda: {"elman": 0.004, "lstm": 0.008})
    evaluations: int = 20
    prompt: str = "if the"
    sample_tokens: int = 40
    temperature: float = 0.8
    distances: int = 50

    def model(self, cell: str) -> RecurrentOptions:
        return RecurrentOptions(
            cell=cell,
            hidden_size=self.hidden_size,
            embedding_size=self.embedding_size,
            tied=True,
            dropout_input=self.dropout,
            dropout_output=self.dropout,
            forget_bias=1.0 if cell == "lstm" else 0.0,
        )

    def training(self, cell: str, epochs: int, steps_per_epoch: int) -> TrainingOptions:
        return TrainingOptions(
            epochs=epochs,
            batch=self.batch,
            steps=self.steps,
            loss="mean-over-time",
            optimizer="adam",
            learning_rate=self.learning_rates[cell],
            schedule="cosine",
            clip_norm=1.0,
            evaluate_every=max(1, epochs * steps_per_epoch // self.evaluations),
            seed=self.seed,
        )

    def recipe(
        self, name: str, model: RecurrentOptions | CountedOptions, train: TrainingOptions | None
    ) -> Recipe:
        named = self.corpus in CORPORA
        data = Data(corpus=self.corpus) if named else Data(path=self.corpus)
        return Recipe(name=f"demo-{name}", text=self.text, model=model, train=train, data=data)

    def problems(self) -> list[str]:
        said = self.model("lstm").problems() + self.training("lstm", 1, 1).problems()
        return said if self.minutes > 0 else [f"minutes is {self.minutes}; it must be over 0.", *said]


@dataclass(frozen=True)
class Findings:
    """What the demo measured: ``rows`` on the test text, ``curves`` and ``counted_valid`` on validation.

    ``flows``: name, gradient by distance, whether the network was trained. ``weights``: the mixture's, of the
    LSTM and the 5-gram. ``tokens``: of training, validation and test. ``cut_short``: who ran out of time.
    """

    plan: Plan
    out: Path
    rows: Sequence[Row]
    samples: Sequence[Samples]
    curves: Sequence[Curve]
    counted_valid: float
    flows: Sequence[tuple[str, GradientFlow, bool]]
    weights: tuple[float, float]
    tokens: tuple[int, int, int]
    vocabulary_size: int
    unknown: str | None
    epochs: int
    cut_short: Sequence[str]
    seconds: float

    def row(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)


def free_folder(name: str = "elman-demo") -> Path:
    """The first of ``elman-demo``, ``elman-demo-2``, … in which nothing is."""
    number = 1
    while not _is_free(path := Path(name if number == 1 else f"{name}-{number}")):
        number += 1
    return path


def demonstrate(
    plan: Plan,
    out: Path,
    *,
    progress: Callable[[str, After | None], Progress],
    say: Callable[[str], None],
    data_dir: Path | None = None,
) -> Findings:
    """Trains, tests and draws samples from all models of ``plan``, each left in a run folder under ``out``.

    ``progress(name, after)`` shows the training of a model, ``say`` hears what is being done. Raises
    :class:`RunError` where ``out`` holds anything, :class:`OptionError` for a plan that cannot be followed.
    """
    began = time.monotonic()
    if not _is_free(out):
        raise RunError(
            f"The demo was to be left in {out}.",
            "Something is there already.",
            "Give another folder with --out, or none: then the next free one is taken.",
        )
    if problems := plan.problems():
        raise OptionError("The demo was asked for.", " ".join(problems), "Change these options.")
    corpus = open_corpus(plan.corpus, plan.text, data_dir)
    train, valid, test = (corpus.split(name) for name in ("train", "valid", "test"))
    say(
        f"Text: {corpus.name}, {len(train):,} words to learn from, {len(valid):,} to validate, {len(test):,} "
        f"to test; a vocabulary of {len(corpus.vocabulary):,}."
    )
    with _fastest_threads(lambda: _seconds_per_step(plan, corpus, "lstm")):
        return _course(plan, out, corpus, began, progress, say, data_dir)


def _course(
    plan: Plan,
    out: Path,
    corpus: Corpus,
    began: float,
    progress: Callable[[str, After | None], Progress],
    say: Callable[[str], None],
    data_dir: Path | None,
) -> Findings:
    """From counting to the last sample; ``began``: when the demo did, on the monotonic clock."""
    train, valid, test = corpus.train, corpus.valid, corpus.test
    start_id = corpus.vocabulary.start_id
    setting = Setting(data_dir, device="cpu")
    counted = plan.recipe(COUNTED, CountedOptions(order=plan.order), None)
    trained = {COUNTED: begin(counted, out / FOLDERS[COUNTED], setting, progress(COUNTED, None))}
    say(f"{COUNTED}: counted in {duration(trained[COUNTED].seconds)} seconds.")
    fresh = {name: _flow(plan, corpus, _fresh(plan, corpus, cell)) for name, cell in UNTRAINED.items()}
    epochs, minutes = _share_time(plan, corpus, began)
    steps_per_epoch = len(_streams(plan, corpus))
    for name, cell in NETWORKS.items():
        times = "once" if epochs == 1 else f"{epochs} times"
        say(f"{name}: {times} through the text, about {60 * minutes[name]:.0f} seconds.")
        recipe = plan.recipe(cell, plan.model(cell), plan.training(cell, epochs, steps_per_epoch))
        setting = Setting(data_dir, device="cpu", max_minutes=SLACK * minutes[name])
        after = partial(_seconds_after, name, minutes)
        trained[name] = begin(recipe, out / FOLDERS[name], setting, progress(name, after))
    say("Mixing, testing, drawing samples.")
    models: dict[str, LanguageModel] = {name: runs.load(out / FOLDERS[name]).model for name in trained}
    mixing = time.monotonic()
    mixture = Mixture.fit([models[LSTM], models[COUNTED]], valid, start_id)
    mixing = time.monotonic() - mixing
    rows = [_row(name, each) for name, each in trained.items()]
    parts = [row for row in rows if row.name in (LSTM, COUNTED)]
    parameters, seconds = sum(part.parameters for part in parts), sum(part.seconds for part in parts)
    rows.append(Row(MIXTURE, parameters, seconds + mixing, evaluate(mixture, test, start_id).perplexity))
    models[MIXTURE] = mixture
    return Findings(
        plan=plan,
        out=out,
        rows=rows,
        samples=[_samples(plan, corpus, name, model) for name, model in models.items()],
        curves=[curves.from_journal(trained[name].folder.journal, name) for name in NETWORKS],
        counted_valid=evaluate(models[COUNTED], valid, start_id).perplexity,
        flows=[
            *((name, flow, False) for name, flow in fresh.items()),
            *((name, _flow(plan, corpus, _recurrent(models[name])), True) for name in NETWORKS),
        ],
        weights=(mixture.weights[0], mixture.weights[1]),
        tokens=(len(train), len(valid), len(test)),
        vocabulary_size=len(corpus.vocabulary),
        unknown=corpus.vocabulary.unknown,
        epochs=epochs,
        cut_short=[name for name in NETWORKS if trained[name].reason == "max minutes"],
        seconds=time.monotonic() - began,
    )


def _is_free(path: Path) -> bool:
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


def _row(name: str, trained: Trained) -> Row:
    if trained.test is None:
        raise OptionError(
            "The demo was to compare models on a test text.",
            f"{trained.recipe.corpus} has none.",
            "Give text.shares a third number over 0.",
        )
    return Row(name, trained.parameters, trained.seconds, trained.test.perplexity)


def _fresh(plan: Plan, corpus: Corpus, cell: str) -> RecurrentLanguageModel:
    """The network as its training begins: the same weights from the same seed."""
    with torch.random.fork_rng([]):
        torch.manual_seed(plan.seed)
        return RecurrentLanguageModel(len(corpus.vocabulary), plan.model(cell), corpus.vocabulary.start_id)


def _recurrent(model: LanguageModel) -> RecurrentLanguageModel:
    if not isinstance(model, RecurrentLanguageModel):
        raise TypeError(f"{type(model).__name__} has no recurrence to look into")
    return model


def _share_time(plan: Plan, corpus: Corpus, began: float) -> tuple[int, Mapping[str, float]]:
    """How often both networks go through the text in the time left, and the minutes that each gets for it.

    Both go through it equally often: the whole number of times that comes nearest to the time there is, going
    by a few steps that are measured first. So two runs on one machine do the same, if it is left in peace.
    """
    steps_per_epoch = len(_streams(plan, corpus))
    epoch, validation = {}, {}
    for name, cell in NETWORKS.items():
        epoch[name] = _seconds_per_step(plan, corpus, cell) * steps_per_epoch / 60
        validating = time.monotonic()
        evaluate(_fresh(plan, corpus, cell), corpus.valid, corpus.vocabulary.start_id)
        validation[name] = plan.evaluations * (time.monotonic() - validating) / 60
    used = (time.monotonic() - began) / 60
    left = max(TRAINING_SHARE * plan.minutes - used, 0.1 * plan.minutes)
    epochs = max(1, round((left - sum(validation.values())) / sum(epoch.values())))
    planned = {name: epochs * epoch[name] + validation[name] for name in NETWORKS}
    fits = min(1.0, SLACK * left / sum(planned.values()))
    return epochs, {name: fits * minutes for name, minutes in planned.items()}


def _seconds_after(name: str, minutes: Mapping[str, float], seconds: float) -> float:
    """What the networks after ``name`` take if its ``seconds``, beside its ``minutes``, tell how they run."""
    names = list(minutes)
    to_come = sum(minutes[each] for each in names[names.index(name) + 1 :])
    return seconds * to_come / minutes[name]


@contextmanager
def _fastest_threads(seconds: Callable[[], float]) -> Iterator[None]:
    """Inside, torch has as many threads, of 1, 2, 4 … to its own, as make ``seconds()`` clearly less.

    Threads that wait for a core another program holds, or that a container does not grant, slow small
    products down tenfold; so the number is tried, not believed.
    """
    own = torch.get_num_threads()
    counts = [2**power for power in range(own.bit_length()) if 2**power < own]
    best, least = own, math.inf
    try:
        for count in [*counts, own] if counts else []:
            torch.set_num_threads(count)
            if (took := seconds()) > 0.9 * least:
                break
            best, least = count, took
        torch.set_num_threads(best)
        yield
    finally:
        torch.set_num_threads(own)


def _streams(plan: Plan, corpus: Corpus) -> Streams:
    return Streams(corpus.train, plan.batch, plan.steps, corpus.vocabulary.start_id)


def _seconds_per_step(plan: Plan, corpus: Corpus, cell: str, steps: int = 15) -> float:
    """Of training, on a model that is thrown away; the first few steps, slower ones, are not counted."""
    streams, model = _streams(plan, corpus), _fresh(plan, corpus, cell)
    optimizer = optimizers.build(plan.training(cell, 1, len(streams)), list(model.parameters()))
    warm = 3
    began = time.monotonic()
    for step in range(warm + steps):
        if step == warm:
            began = time.monotonic()
        piece = streams.piece(step % len(streams))
        optimizer.zero_grad(set_to_none=True)
        nats, _ = model.loss(piece.inputs, piece.targets, model.start(plan.batch))
        (nats / piece.targets.numel()).backward()
        optimizer.step()
    return (time.monotonic() - began) / steps


def _flow(plan: Plan, corpus: Corpus, model: RecurrentLanguageModel) -> GradientFlow:
    """The gradient flow on the validation text, read as sixteen streams side by side.

    Each has read as many words as the greatest distance before the first that is looked back to.
    """
    streams, positions = 16, 16
    length = min(len(corpus.valid) // streams, 2 * plan.distances + positions + 1)
    warm_up = max(0, length - plan.distances - positions - 1)
    ids = np.asarray(corpus.valid[: streams * length]).astype(np.int64)
    text = torch.from_numpy(ids).view(streams, length).T
    return language_model_flow(model, text[:-1], text[1:], plan.distances, positions, warm_up)


def _samples(plan: Plan, corpus: Corpus, name: str, model: LanguageModel) -> Samples:
    prompt = corpus.tokeniser.encode(plan.prompt, corpus.vocabulary).tolist()
    drawn = generate_many(
        model,
        prompt,
        plan.sample_tokens,
        count=SAMPLES,
        start_id=corpus.vocabulary.start_id,
        temperature=plan.temperature,
        seed=plan.seed,
    )
    texts = zip(*drawn, strict=True)  # nothing stops them early: each step has a token for each
    begun = corpus.tokeniser.decode(prompt, corpus.vocabulary)
    whole = [
        corpus.tokeniser.decode([*prompt, *(token for token in text if token is not None)], corpus.vocabulary)
        for text in texts
    ]
    return Samples(name, begun, [text[len(begun) :] for text in whole])
