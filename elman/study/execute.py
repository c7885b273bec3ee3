"""A recipe carried out: its text opened, its model trained or counted, everything left in a run folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from elman.corpora import Corpus, open_corpus
from elman.errors import OptionError, RunError
from elman.measures.perplexity import Perplexity, evaluate
from elman.models.language_model import RecurrentLanguageModel
from elman.ngrams import CountedModel, CountedOptions
from elman.protocols import LanguageModel
from elman.recipe import Recipe, read, to_tables, to_toml
from elman.text import Vocabulary
from elman.training import precision, tensorfile
from elman.training.counted import count
from elman.training.folder import RunFolder
from elman.training.loop import train
from elman.training.options import TrainingOptions
from elman.training.progress import Progress


@dataclass(frozen=True)
class Trained:
    """A run that was carried out, and what its best weights reach, each text read as one stream.

    ``seconds`` are of training, all invocations together: validation is in them, opening the text is not.
    ``reason``: "epochs", "early stop" or "max minutes".
    """

    recipe: Recipe
    folder: RunFolder
    reason: str
    parameters: int
    seconds: float
    tokens_per_second: float
    valid: Perplexity
    test: Perplexity | None


@dataclass(frozen=True)
class Setting:
    """Where a recipe is carried out: what may differ between two runs of the same recipe."""

    data_dir: Path | None = None
    device: str = "auto"
    precision: str = "float32"
    max_minutes: float | None = None


def folder_name(recipe: Recipe) -> str:
    """The name of a run folder: the scale is told unless it is the paper's, and a colon becomes a plus.

    >>> from elman.recipe import at_scale, show
    >>> folder_name(show("mikolov2011-ptb-kn5:singletons-cut"))
    'mikolov2011-ptb-kn5+singletons-cut'
    >>> folder_name(at_scale(show("zaremba2014-ptb-small"), "laptop"))
    'zaremba2014-ptb-small-laptop'
    """
    name = recipe.name.replace(":", "+")
    return name if recipe.scale == "paper" else f"{name}-{recipe.scale}"


def begin(
    recipe: Recipe, out: Path, setting: Setting, progress: Progress, start: Path | None = None
) -> Trained:
    """Carries ``recipe`` out in the new folder ``out``, then evaluates its best weights.

    ``start``: a run whose weights and vocabulary it begins from. An error before the first checkpoint
    leaves no folder behind. Raises what its parts raise: :class:`~elman.errors.RunError` where ``out`` is
    not empty, :class:`~elman.errors.CorpusError`, :class:`~elman.errors.OptionError` …
    """
    RunFolder.require_new(out)
    if start is not None and isinstance(recipe.model, CountedOptions):
        raise OptionError(
            f"A counted model was to begin from the run {start}.",
            "It is made of counts, not of weights that go on from others.",
            "Leave --from out.",
        )
    before = None if start is None else RunFolder.open(start)
    vocabulary = None if before is None else Vocabulary.load(before.vocabulary)
    corpus = open_corpus(recipe.corpus, recipe.text, setting.data_dir, vocabulary)
    numbers = precision.choose(setting.precision, setting.device)
    folder = RunFolder.create(
        out,
        to_toml(recipe),
        corpus.vocabulary,
        device=numbers.device.type,
        precision=numbers.name,
        initial=None if before is None else tensorfile.read_weights(before.weights),
    )
    try:
        return _carry_out(recipe, folder, corpus, setting, progress)
    except BaseException:
        if not folder.weights_exist():
            folder.remove()
        raise


def resume(out: Path, recipe: Recipe | None, setting: Setting, progress: Progress) -> Trained:
    """Goes on with the run in ``out``; one that is finished is only evaluated again.

    Raises :class:`~elman.errors.RunError` where ``recipe`` is given and is not the run's own.
    """
    folder = RunFolder.open(out)
    own = read(folder.recipe)
    if recipe is not None:
        _require_same(folder, own, recipe)
    vocabulary = Vocabulary.load(folder.vocabulary)
    corpus = open_corpus(own.corpus, own.text, setting.data_dir, vocabulary)
    return _carry_out(own, folder, corpus, setting, progress)


def _carry_out(
    recipe: Recipe, folder: RunFolder, corpus: Corpus, setting: Setting, progress: Progress
) -> Trained:
    vocabulary, valid = corpus.vocabulary, corpus.split("valid")
    model: RecurrentLanguageModel | CountedModel
    if isinstance(recipe.model, CountedOptions):
        model, outcome = count(corpus.train, valid, vocabulary, recipe.model, folder, progress=progress)
        parameters = model.parameters
    else:
        training = recipe.train or TrainingOptions()
        with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they were
            torch.manual_seed(training.seed)
            model = RecurrentLanguageModel(len(vocabulary), recipe.model, vocabulary.start_id)
        outcome = train(
            model,
            corpus.train,
            valid,
            vocabulary.start_id,
            training,
            folder,
            max_minutes=setting.max_minutes,
            device=setting.device,
            precision=setting.precision,
            progress=progress,
        )
        parameters = model.parameter_count
        tensorfile.put_weights(model, tensorfile.read_weights(folder.best), folder.best)
    return Trained(
        recipe=recipe,
        folder=folder,
        reason=outcome.reason,
        parameters=parameters,
        seconds=outcome.seconds,
        tokens_per_second=outcome.tokens_per_second,
        valid=evaluate(model, valid, vocabulary.start_id),
        test=_test(model, corpus),
    )


def _test(model: LanguageModel, corpus: Corpus) -> Perplexity | None:
    """What the test text costs; None where the corpus has none."""
    if "test" not in corpus.sources:
        return None
    return evaluate(model, corpus.split("test"), corpus.vocabulary.start_id)


def _require_same(folder: RunFolder, own: Recipe, asked: Recipe) -> None:
    """Two recipes are the same where all that decides the numbers is; what is claimed may be reworded."""
    before, after = _deciding(own), _deciding(asked)
    unlike = [key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]
    if not unlike:
        return
    said = [f"{key} is {before.get(key, 'absent')}, not {after.get(key, 'absent')}" for key in unlike[:4]]
    raise RunError(
        f"The run {folder.path} was to go on with the recipe {asked.name}.",
        f"It was begun with another: {'; '.join(said)}{'; …' if len(unlike) > 4 else ''}.",
        f"Go on with its own (elman train --resume --out {folder.path}), or name another folder with --out.",
    )


def _deciding(recipe: Recipe) -> dict[str, Any]:
    tables = to_tables(recipe)
    keys = {
        f"{table}.{key}": value
        for table in ("text", "model", "train")
        for key, value in tables.get(table, {}).items()
    }
    return {"corpus": recipe.corpus, **keys}
