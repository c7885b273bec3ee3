"""A recipe carried out: its text opened, its model trained or counted, everything left in a run folder."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from elman.cells import Cell
from elman.cells.noise import Noisy
from elman.cells.own import OwnCell, is_own, short
from elman.cells.own import load as load_cell
from elman.cells.stored import describe
from elman.cells.stored import to_text as stored_cells
from elman.corpora import Corpus, open_corpus
from elman.errors import OptionError, RunError
from elman.measures.perplexity import Perplexity, evaluate
from elman.models.language_model import RecurrentLanguageModel, RecurrentOptions
from elman.ngrams import CountedModel, CountedOptions
from elman.protocols import LanguageModel
from elman.recipe import Recipe, read, to_tables, to_toml
from elman.run import build_model
from elman.text import TextOptions, Vocabulary
from elman.training import precision, tensorfile
from elman.training.counted import count
from elman.training.folder import RunFolder
from elman.training.loop import train
from elman.training.options import TrainingOptions
from elman.training.progress import Progress

TOKENS_SOON_READ = 500_000
"""A longer text is announced before it is evaluated."""


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
    """Where a recipe is carried out: what may differ between two runs of the same recipe.

    ``precision``: None is float32 for a new run, and its own for one that goes on.
    """

    data_dir: Path | None = None
    device: str = "auto"
    precision: str | None = None
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
    own = _own_cell(recipe)
    recipe = _at_home(recipe)
    before = None if start is None else RunFolder.open(start)
    vocabulary = None
    if before is not None:
        recipe = _with_the_tokens_of(before, recipe)
        vocabulary = Vocabulary.load(before.vocabulary)
    corpus = open_corpus(recipe.corpus, recipe.text, setting.data_dir, vocabulary)
    for split in corpus.sources:  # a token without an id is met now, not after the training
        corpus.split(split)
    numbers = precision.choose(setting.precision or "float32", setting.device)
    cell, initial = None, None if before is None else tensorfile.read_weights(before.weights)
    if isinstance(recipe.model, RecurrentOptions) and (own is not None or before is not None):
        model = build_model(recipe.model, corpus.vocabulary, (recipe.train or TrainingOptions()).seed, own)
        if before is None or initial is None:
            initial = tensorfile.weights(model)
        else:  # weights that do not fit are told of now, by the name of their own run
            tensorfile.put_weights(model, initial, before.weights)
        if own is not None:
            layers = [layer.cell if isinstance(layer, Noisy) else layer for layer in model.stack.cells]
            cell = stored_cells([layer for layer in layers if isinstance(layer, Cell)])
    folder = RunFolder.create(
        out,
        to_toml(recipe),
        corpus.vocabulary,
        device=numbers.device.type,
        precision=numbers.name,
        initial=initial,
        cell=cell,
    )
    try:
        return _carry_out(recipe, folder, corpus, replace(setting, precision=numbers.name), progress)
    except BaseException:
        if not folder.weights_exist():
            folder.remove()
        raise


def recipe_of(out: Path) -> Recipe:
    """The recipe of the run in ``out``. Raises :class:`~elman.errors.RunError` where there is none."""
    return read(RunFolder.open(out).recipe)


def resume(out: Path, recipe: Recipe | None, setting: Setting, progress: Progress) -> Trained:
    """Goes on with the run in ``out``; one that is finished is only evaluated again.

    Raises :class:`~elman.errors.RunError` where ``recipe`` is given and is not the run's own.
    """
    folder = RunFolder.open(out)
    own = read(folder.recipe)
    if recipe is not None:
        _require_same(folder, own, _at_home(recipe))
        _require_same_cell(folder, _own_cell(recipe))
    setting = replace(setting, precision=setting.precision or folder.precision)
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
        cell = folder.cells() if is_own(recipe.model.cell) else None
        model = build_model(recipe.model, vocabulary, training.seed, cell)
        outcome = train(
            model,
            corpus.train,
            valid,
            vocabulary.start_id,
            training,
            folder,
            max_minutes=setting.max_minutes,
            device=setting.device,
            precision=setting.precision or "float32",
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
        valid=_cost(model, corpus, "valid", progress),
        test=_cost(model, corpus, "test", progress) if "test" in corpus.sources else None,
    )


def _own_cell(recipe: Recipe) -> OwnCell | None:
    """The cell that the recipe names a file for, imported."""
    if isinstance(recipe.model, RecurrentOptions) and is_own(recipe.model.cell):
        return load_cell(recipe.model.cell)
    return None


def _require_same_cell(folder: RunFolder, own: OwnCell | None) -> None:
    """Raises :class:`RunError` where the file's equations are not those that the run keeps."""
    if own is None:
        return
    kept = folder.cells()
    with torch.random.fork_rng(devices=[]):  # a cell that is made draws its weights
        same = all(describe(own(x, h)) == describe(kept(x, h)) for x, h in kept.sizes)
    if not same:
        raise RunError(
            f"The run {folder.path} was to go on with the cell {own.name}.",
            "The equations in that file are no longer those that the run was begun with.",
            f"Go on with those (elman train --resume --out {folder.path}), or begin another run (--out).",
        )


def _at_home(recipe: Recipe) -> Recipe:
    """The recipe with its text's path made absolute: a run is evaluated from any folder. A cell's file is
    named without its folder: the run keeps what it needs of it."""
    if isinstance(recipe.model, RecurrentOptions) and is_own(recipe.model.cell):
        recipe = replace(recipe, model=replace(recipe.model, cell=short(recipe.model.cell)))
    if recipe.data is None or recipe.data.path is None:
        return recipe
    path = Path(recipe.data.path).expanduser().absolute()
    return replace(recipe, data=replace(recipe.data, path=str(path)))


def _with_the_tokens_of(before: RunFolder, recipe: Recipe) -> Recipe:
    """The recipe with the vocabulary options of the run that it begins from, whose vocabulary it takes.

    Raises :class:`RunError` where ``recipe`` asks for other tokens.
    """
    own, asked, usual = read(before.recipe).text, recipe.text, TextOptions()
    unlike = [
        f"text.{key} is {getattr(own, key)} there, {getattr(asked, key)} here"
        for key in ("unit", "split", "lowercase", "vocabulary_size", "min_count")
        if getattr(asked, key) != getattr(own, key)
        and (key not in ("vocabulary_size", "min_count") or getattr(asked, key) != getattr(usual, key))
    ]
    if unlike:
        raise RunError(
            f"A training was to begin from the run {before.path}, whose vocabulary it takes.",
            f"Its tokens are others: {'; '.join(unlike)}.",
            "Ask for the same tokens, or leave --from out.",
        )
    return replace(recipe, text=replace(asked, vocabulary_size=own.vocabulary_size, min_count=own.min_count))


def _cost(model: LanguageModel, corpus: Corpus, split: str, progress: Progress) -> Perplexity:
    """What a split costs, read as one stream: minutes for millions of tokens, so that it is said."""
    ids = corpus.split(split)
    if len(ids) > TOKENS_SOON_READ:
        progress.say(f"The {split} text is read as one stream: {len(ids):,} tokens.")
    return evaluate(model, ids, corpus.vocabulary.start_id)


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
