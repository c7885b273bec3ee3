"""``elman train``: a recipe, or a model on one's own text, into a run folder."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elman.cli import options
from elman.errors import OptionError

if TYPE_CHECKING:
    from elman.recipe import Recipe
    from elman.study.execute import Trained

SUMMARY = """\
Trains a model and leaves it in a run folder, which `elman evaluate`, `score` and `generate` read.
What is trained is a RECIPE (a name that `elman recipes` lists, or a file of your own), or a language model on
the text of --data. Ctrl-C saves and stops; --resume goes on from there and ends with the same numbers."""
EXAMPLE = """\
  elman train zaremba2014-ptb-small --out runs/small
  elman train --task language-model --data novel.txt --unit characters --hidden-size 256 --set train.epochs=5
  elman train --resume --out runs/small"""

SHORT = {  # options that are a recipe's keys under a shorter name
    "model": ("model.kind", str, "recurrent (default) or counted (an n-gram model)"),
    "cell": ("model.cell", str, "lstm (default), gru, elman, …, or FILE.py:NAME for one of your own"),
    "layers": ("model.layers", int, "layers of cells"),
    "hidden-size": ("model.hidden_size", int, "features of each layer"),
    "order": ("model.order", int, "tokens of the longest n-gram (--model counted)"),
    "unit": ("text.unit", str, "what a token is: words or characters"),
    "vocabulary-size": ("text.vocabulary_size", int, "keep so many of the most frequent tokens"),
    "min-count": ("text.min_count", int, "keep tokens seen so often"),
    "seed": ("train.seed", int, "of the first weights and the dropout"),
}
RECURRENT = {  # what --task language-model starts from: sizes and rates that suit a text of a few megabytes
    "model.layers": 2,
    "model.hidden_size": 256,
    "model.dropout_between": 0.2,
    "model.dropout_output": 0.2,
    "train.epochs": 10,
    "train.batch": 32,
    "train.steps": 64,
    "train.loss": "mean-over-time",
    "train.optimizer": "adam",
    "train.learning_rate": 0.003,
    "train.schedule": "cosine",
    "train.clip_norm": 1.0,
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help="a recipe's name or file")
    parser.add_argument("--task", choices=["language-model"], help="what to train on --data")
    parser.add_argument("--data", metavar="FILE|FOLDER|CORPUS", help="the text to train on")
    parser.add_argument("--scale", choices=["paper", "laptop"], help="of a RECIPE (default: paper)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run folder (default: runs/NAME)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--from", dest="start", type=Path, metavar="RUN", help="begin from a run's weights")
    parser.add_argument("--max-minutes", type=options.positive_float, metavar="M", help="stop after so long")
    group = parser.add_argument_group("recipe")
    for name, (key, kind, help_text) in SHORT.items():
        said = f"{help_text}; short for --set {key}=…"
        group.add_argument(
            f"--{name}", type=kind, dest=key, metavar="N" if kind is int else "NAME", help=said
        )
    group.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any key of a recipe")
    options.add_machine(parser)
    options.add_data_dir(parser)
    options.add_json(parser)


def run(args: argparse.Namespace) -> None:
    from elman.study import execute
    from elman.training.progress import on_stderr

    options.set_threads(args)
    recipe = _recipe(args)
    out = args.out or Path("runs") / (execute.folder_name(recipe) if recipe else "")
    goes_on = recipe is None or (args.resume and out.exists())
    if goes_on and args.start is not None:
        raise OptionError(
            f"The run {out} was to go on, and to begin from {args.start}.",
            "A run that goes on has its own weights.",
            "Leave out --from, or --resume with another --out.",
        )
    setting = execute.Setting(args.data_dir, args.device, args.precision, args.max_minutes)
    progress = on_stderr((recipe or execute.recipe_of(out)).text.unit)
    try:
        if recipe is None or goes_on:
            trained = execute.resume(out, recipe, setting, progress)
        else:
            trained = execute.begin(recipe, out, setting, progress, args.start)
    except KeyboardInterrupt:
        if (out / "last.safetensors").exists():
            options.say(f"Saved. Go on with: elman train --resume --out {shlex.quote(str(out))}")
        raise
    if args.json:
        options.print_json(summary(trained))
    else:
        print("\n".join(_lines(trained)))


def summary(trained: "Trained") -> dict[str, Any]:
    """What ``--json`` prints."""
    return {
        "run": str(trained.folder.path),
        "name": trained.recipe.name,
        "reason": trained.reason,
        "parameters": trained.parameters,
        "valid": trained.valid.perplexity,
        "test": None if trained.test is None else trained.test.perplexity,
        "minutes": round(trained.seconds / 60, 3),
        "tokens_per_second": round(trained.tokens_per_second),
    }


def _lines(trained: "Trained") -> list[str]:
    from elman.training.progress import measured

    unit, run = trained.recipe.text.unit, shlex.quote(str(trained.folder.path))
    results = [
        f"{split} {measured(cost, unit)}"
        for split, cost in (("valid", trained.valid), ("test", trained.test))
        if cost
    ]
    more = (
        f"\nStopped by --max-minutes; more: elman train --resume --out {run}"
        if trained.reason == "max minutes"
        else ""
    )
    return [
        f"{trained.recipe.name}: {', '.join(results)} · {trained.parameters:,} parameters",
        f"{trained.seconds / 60:.1f} minutes at {trained.tokens_per_second:,.0f} tokens/s, in {run}{more}",
        f"Next: elman generate {run} · elman evaluate {run}",
    ]


def _recipe(args: argparse.Namespace) -> "Recipe | None":
    """What the arguments ask for; None where ``--resume`` is alone: then it stands in the run folder."""
    from elman import recipe as recipes

    changes = {key: value for key, _, _ in SHORT.values() if (value := getattr(args, key)) is not None}
    changes |= options.settings(args.set)
    own = args.data is not None
    if args.recipe is not None and not own and args.task is None:
        recipe = recipes.at_scale(options.named_recipe(args.recipe), args.scale or "paper")
        return recipes.with_changes(recipe, changes)
    if args.recipe is None and own and args.scale is None:
        return _own_text(args.data, changes)
    alone = args.recipe is None and args.task is None and not own and args.scale is None and not changes
    if alone and args.resume and args.out is not None:
        return None
    raise OptionError(
        "`elman train` was to train something.",
        "It needs either a RECIPE, or --data with a text, or --resume and --out alone.",
        "`elman recipes` lists recipes; `elman train --help` ends in examples.",
    )


def _own_text(data: str, changes: dict[str, Any]) -> "Recipe":
    """A recipe for a user's text: RECURRENT with what was changed, and the published corpus's own [text]."""
    from elman import recipe as recipes
    from elman.corpora import CORPORA
    from elman.strict import to_table

    published = CORPORA.get(data)
    name = data if published else Path(data).expanduser().resolve().name.split(".")[0]
    where = {"corpus": data} if published else {"path": str(Path(data).expanduser().resolve())}
    text = to_table(published.options) if published else {}
    counted = changes.get("model.kind") == "counted"
    kind = "counted" if counted else "recurrent"
    tables: dict[str, Any] = {"name": name, "data": where, "text": text, "model": {"kind": kind}}
    usual = {} if counted else dict(RECURRENT)
    if changes.get("model.layers") == 1:
        usual.pop("model.dropout_between", None)  # there is nothing between
    return recipes.with_changes(recipes.from_tables(tables, name), {**usual, **changes})
