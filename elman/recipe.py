"""TOML → Recipe, strictly: everything that decides a number, in one value.

A recipe is a file of tables. ``[claim]`` says which published number it is about (a run on one's own text
has ``[data]`` in its place), ``[text]`` how characters become ids, ``[model]`` and ``[train]`` what is
trained and how, ``[unstated]`` what the paper leaves open and what we chose. ``[laptop.model]``,
``[laptop.train]`` … change keys for two CPU cores; each ``[[ablation]]`` has a name and the keys it changes,
dotted (``model.cutoffs = [1, 1, 1, 1, 2]``). Any mistake is an error, and all are shown at once.

    >>> recipe = show("zaremba2014-ptb-small")
    >>> recipe.claim.test, recipe.model.hidden_size, recipe.train.batch
    (114.5, 200, 20)
    >>> with_changes(recipe, {"train.epochs": 3}).train.epochs
    3

Not here: what the options mean (their dataclasses), and running a recipe (:mod:`elman.run`, ``elman train``).
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from elman.errors import RecipeError
from elman.models.language_model import RecurrentOptions
from elman.ngrams.config import CountedOptions
from elman.strict import nearest, read_table, to_table, write_tables, written
from elman.text.config import TextOptions
from elman.text.files import is_utf8
from elman.training.options import TrainingOptions

FOLDER = Path(__file__).parent / "recipes"
MODELS: dict[str, type[RecurrentOptions] | type[CountedOptions]] = {
    "recurrent": RecurrentOptions,
    "counted": CountedOptions,
}
MEASURES = ("perplexity", "nats_per_character", "bits_per_character")
SCALES = ("paper", "laptop")
TABLES = ("name", "scale", "claim", "data", "text", "model", "train", "unstated", "laptop", "ablation")
CHANGEABLE = ("claim", "data", "text", "model", "train")


@dataclass(frozen=True)
class Claim:
    """The published number that a recipe is about.

    ``paper`` is a key of ``docs/references.bib``, ``where`` the table or file. ``valid`` and ``test`` are in
    the unit of ``measure``, and absent where nothing was published. ``tolerance``: a result no farther above
    the published one than this reproduces it.
    """

    paper: str
    corpus: str
    where: str = ""
    measure: str = "perplexity"
    valid: float | None = None
    test: float | None = None
    tolerance: float = 0.0

    def problems(self) -> list[str]:
        found = []
        if self.measure not in MEASURES:
            choice = ", ".join(MEASURES)
            found.append(f"claim.measure must be one of {choice}; it is {written(self.measure)}.")
        for key in ("valid", "test"):
            value = getattr(self, key)
            if value is not None and value <= 0:
                found.append(f"claim.{key} must be over 0; it is {value}.")
        if self.tolerance < 0:
            found.append(f"claim.tolerance must be 0 or more; it is {self.tolerance}.")
        return found


@dataclass(frozen=True)
class Data:
    """What a run of one's own reads: a ``corpus`` by name, or a file or folder by ``path``."""

    corpus: str | None = None
    path: str | None = None

    def problems(self) -> list[str]:
        if (self.corpus is None) == (self.path is None):
            return ["data.corpus or data.path: exactly one of the two must be there."]
        if self.path is not None and not is_utf8(self.path):
            return [f"data.path has bytes that are not UTF-8, {self.path!r}: rename that file or folder."]
        return []


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a number. Made by :func:`show`, :func:`read` and :func:`parse`."""

    name: str
    text: TextOptions
    model: RecurrentOptions | CountedOptions
    train: TrainingOptions | None
    claim: Claim | None = None
    data: Data | None = None
    unstated: Mapping[str, str] = field(default_factory=dict)
    laptop: Mapping[str, Any] = field(default_factory=dict)
    ablations: Sequence[Mapping[str, Any]] = ()
    scale: str = "paper"

    @property
    def corpus(self) -> str:
        """The name of a corpus, or the path of a file or folder."""
        if self.claim is not None:
            return self.claim.corpus
        assert self.data is not None  # one of the two is there: see _assemble
        return self.data.corpus or self.data.path or ""

    @property
    def kind(self) -> str:
        """``"recurrent"`` or ``"counted"``."""
        return next(kind for kind, options in MODELS.items() if isinstance(self.model, options))

    @property
    def measure(self) -> str:
        if self.claim is not None:
            return self.claim.measure
        return "perplexity" if self.text.unit == "words" else "bits_per_character"


def names() -> list[str]:
    """The recipes that come with Elman."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def show(name: str) -> Recipe:
    """The recipe ``name`` that comes with Elman; ``NAME:ABLATION`` is one of its ablations.

    Raises :class:`~elman.errors.RecipeError` for a name that is not there, with the nearest one.
    """
    stem, _, wanted = name.partition(":")
    recipe = parse(source(stem), stem)
    return ablation(recipe, wanted) if wanted else recipe


def source(name: str) -> str:
    """The text of the file of recipe ``name``, with its comments."""
    path = FOLDER / f"{name}.toml"
    if name not in names():
        raise RecipeError(
            f"recipe {name!r} was asked for.",
            f"There is none of that name{nearest(name, names())}.",
            "`elman recipes` lists them; a recipe of your own is named by its path, such as ./mine.toml.",
        )
    return path.read_text(encoding="utf-8")


def read(path: Path) -> Recipe:
    """The recipe in the file ``path``."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"the recipe {path} was to be read.",
            f"It cannot be: {error.strerror if isinstance(error, OSError) else 'it is not UTF-8 text'}.",
            "Name a TOML file, or one of those that `elman recipes` lists.",
        ) from None
    return parse(text, path.stem)


def parse(text: str, name: str) -> Recipe:
    """A recipe from TOML text. ``name`` is its name unless the text has one."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(
            f"recipe {name} was to be read.",
            f"It is not TOML: {error}.",
            "Texts stand in quotes, lists in brackets: see `elman recipes show zaremba2014-ptb-small`.",
        ) from None
    return from_tables(tables, name)


def to_toml(recipe: Recipe) -> str:
    """The recipe as TOML with every key written, so that it means the same when defaults change.

    ``parse(to_toml(recipe), "")`` equals ``recipe``.
    """
    return write_tables(to_tables(recipe))


def to_tables(recipe: Recipe) -> dict[str, Any]:
    """The same as nested dictionaries: what ``--json`` prints and what changes are applied to."""
    tables: dict[str, Any] = {"name": recipe.name, "scale": recipe.scale}
    if recipe.claim is not None:
        tables["claim"] = to_table(recipe.claim)
    if recipe.data is not None:
        tables["data"] = to_table(recipe.data)
    tables["text"] = to_table(recipe.text)
    tables["model"] = {"kind": recipe.kind, **to_table(recipe.model)}
    if recipe.train is not None:
        tables["train"] = to_table(recipe.train)
    if recipe.unstated:
        tables["unstated"] = dict(recipe.unstated)
    if recipe.laptop:
        tables["laptop"] = dict(recipe.laptop)
    if recipe.ablations:
        tables["ablation"] = [dict(each) for each in recipe.ablations]
    return tables


def with_changes(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """The recipe with dotted keys changed, checked like a file; without its laptop scale and ablations.

    ``{"model.kind": …}`` starts that table afresh. A value may be any TOML value, or ``"none"``.
    """
    nested: dict[str, dict[str, Any]] = {}
    wrong = []
    for path, value in changes.items():
        table, _, key = path.partition(".")
        if table in CHANGEABLE and key and "." not in key:
            nested.setdefault(table, {})[key] = value
        elif table not in CHANGEABLE and key:
            near = nearest(table, CHANGEABLE, "[", "]")
            wrong.append(f"{path}: [{table}] is not a table of a recipe{near}.")
        else:
            wrong.append(f"{path} is not a key of a recipe: they are TABLE.KEY, such as train.epochs.")
    if wrong:
        raise _mistakes(recipe.name, wrong)
    return from_tables(_changed(to_tables(recipe), nested), recipe.name)


def at_scale(recipe: Recipe, scale: str) -> Recipe:
    """The recipe at scale ``"paper"`` or ``"laptop"``, to be run. Without ``[laptop]`` they are the same."""
    if scale not in SCALES:
        raise RecipeError(
            f"recipe {recipe.name} at scale {scale!r} was asked for.",
            f"A recipe has the scales {' and '.join(SCALES)}.",
            "Change single keys with --set, such as --set train.epochs=3.",
        )
    if scale == recipe.scale or not recipe.laptop:
        return with_changes(recipe, {})
    return from_tables({**_changed(to_tables(recipe), recipe.laptop), "scale": scale}, recipe.name)


def ablation(recipe: Recipe, name: str) -> Recipe:
    """The recipe with the changes of its ``[[ablation]]`` ``name``; it is called ``RECIPE:ABLATION``."""
    known = {str(each["name"]): each for each in recipe.ablations}
    if name not in known:
        raise RecipeError(
            f"ablation {name!r} of recipe {recipe.name} was asked for.",
            f"It has none of that name{nearest(name, known)}." if known else "This recipe has no ablations.",
            f"`elman recipes show {recipe.name}` prints its tables.",
        )
    changes = {key: value for key, value in known[name].items() if key != "name"}
    tables = {**_changed(to_tables(recipe), changes), "name": f"{recipe.name}:{name}"}
    return from_tables(tables, recipe.name)


def _changed(tables: Mapping[str, Any], changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    merged = {key: value for key, value in tables.items() if key not in ("laptop", "ablation")}
    for table, keys in changes.items():
        before = merged.get(table)
        before = before if isinstance(before, Mapping) else {}
        if table == "model" and keys.get("kind", before.get("kind")) != before.get("kind"):
            before = {}
            merged.pop("train", None)
            if keys["kind"] == "recurrent":
                merged["train"] = {}
        merged[table] = {**before, **keys}
    return merged


def from_tables(tables: Mapping[str, Any], name: str) -> Recipe:
    """A recipe from nested dictionaries, as TOML reads them. Raises RecipeError with all that is wrong."""
    recipe, problems = _assemble(tables, name)
    laptop, ablations = tables.get("laptop", {}), tables.get("ablation", [])
    if not isinstance(ablations, list) or not all(isinstance(each, Mapping) for each in ablations):
        problems.append("ablation must be a list of tables, each begun with [[ablation]].")
        ablations = []
    variants = [("laptop", laptop)]
    for each in ablations:
        if not isinstance(each.get("name"), str):
            problems.append("[[ablation]] needs a name, a text in quotes.")
        variants.append((f"ablation {each.get('name')}", {k: v for k, v in each.items() if k != "name"}))
    for title, changes in variants:
        problems.extend(_problems_of_changes(tables, changes, title, problems))
    if problems or recipe is None:
        raise _mistakes(str(tables.get("name", name)), problems)
    return replace(recipe, laptop=laptop, ablations=tuple(ablations))


def _problems_of_changes(tables: Mapping[str, Any], changes: Any, title: str, known: list[str]) -> list[str]:
    """What is wrong with ``[laptop]`` or an ablation, beyond what is wrong with the recipe itself."""
    if not isinstance(changes, Mapping):
        return [f"{title} must be tables, such as [{title}.train]."]
    wrong = [
        f"{title}: {table} is not a table that can be changed{nearest(table, CHANGEABLE, '[', ']')}."
        for table, keys in changes.items()
        if table not in CHANGEABLE or not isinstance(keys, Mapping)
    ]
    if wrong:
        return wrong
    _, found = _assemble(_changed(tables, changes), "")
    return [f"{title}: {problem}" for problem in found if problem not in known]


def _assemble(tables: Mapping[str, Any], name: str) -> tuple[Recipe | None, list[str]]:
    problems = [
        f"[{key}] is not a table of a recipe{nearest(key, TABLES, '[', ']')}."
        for key in tables
        if key not in TABLES
    ]

    def table(key: str) -> dict[str, Any]:
        found = tables.get(key, {})
        if isinstance(found, dict):
            return found
        problems.append(f"{key} must be a table, begun with [{key}].")
        return {}

    claim = read_table(Claim, table("claim"), "claim", problems) if "claim" in tables else None
    data = read_table(Data, table("data"), "data", problems) if "data" in tables else None
    if ("claim" in tables) == ("data" in tables):
        problems.append("[claim] or [data]: exactly one of the two must say which text is read.")
    text = read_table(TextOptions, table("text"), "text", problems)
    model_table = dict(table("model"))
    kind = model_table.pop("kind", None)
    model, train = None, None
    if isinstance(kind, str) and kind in MODELS:
        problems.extend(_of_another_kind(kind, model_table))
        model = read_table(MODELS[kind], model_table, "model", problems)
    else:
        came = "it is missing" if kind is None else f"it is {written(kind)}"
        problems.append(f"model.kind must be {' or '.join(written(each) for each in MODELS)}; {came}.")
    if kind == "counted" and "train" in tables:
        problems.append('[train] must be left out where model.kind is "counted": its counts are taken once.')
    elif kind != "counted":
        train = read_table(TrainingOptions, table("train"), "train", problems)
    unstated = table("unstated")
    problems.extend(
        f"unstated.{key} must be a text in quotes: our value and why."
        for key, why in unstated.items()
        if not isinstance(why, str)
    )
    title, scale = tables.get("name", name), tables.get("scale", "paper")
    if not isinstance(title, str):
        problems.append(f"name must be a text in quotes; it is {written(title)}.")
    if scale not in SCALES:
        problems.append(f"scale must be one of {', '.join(SCALES)}; it is {written(scale)}.")
    if text is None or model is None or problems:
        return None, problems
    return Recipe(title, text, model, train, claim, data, unstated, scale=scale), problems


def _of_another_kind(kind: str, table: dict[str, Any]) -> list[str]:
    """The mistake of each key that another kind of model has, and takes it out of the ``table``."""
    names = {each: {key.name for key in fields(options)} for each, options in MODELS.items()}
    return [
        f'model.{key} is for model.kind = "{other}"; the kind is "{kind}".'
        for other, keys in names.items()
        for key in sorted(keys - names[kind])
        if table.pop(key, None) is not None
    ]


def _mistakes(name: str, problems: list[str]) -> RecipeError:
    count, them = ("one mistake", "it") if len(problems) == 1 else (f"{len(problems)} mistakes", "them all")
    return RecipeError(
        f"recipe {name} has {count}.",
        "\n  ".join(problems),
        f"Correct {them}; `elman recipes show zaremba2014-ptb-small --scale paper` prints a recipe's keys.",
    )
