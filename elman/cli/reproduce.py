"""``elman reproduce``: a published number, repeated and recorded."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from elman.cli import options

SUMMARY = """\
Trains the recipe NAME, evaluates it, appends the result to docs/results.toml and renders docs/results.md
(where Elman is installed without its checkout: results.toml in the user's data folder, ~/.local/share/elman).
A run that was interrupted goes on; one that is finished is only evaluated and recorded. With --json: the row,
or after --max-minutes {"run", "reason"}."""
EXAMPLE = """\
  elman reproduce mikolov2011-ptb-kn5
  elman reproduce karpathy2015-shakespeare --scale laptop --seeds 3 --json"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a recipe's name or file, or NAME:ABLATION")
    parser.add_argument("--ablation", metavar="A", help="with the changes of this [[ablation]]: NAME:A")
    parser.add_argument("--scale", choices=["paper", "laptop"], default="paper", help="default: paper")
    parser.add_argument("--seeds", type=options.positive, default=1, metavar="N", help="runs (default: 1)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run folder (default: runs/NAME)")
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="go on with a run of this recipe that is there",
    )
    parser.add_argument(
        "--max-minutes",
        type=options.positive_float,
        metavar="M",
        help="stop after so long, all seeds together; the same command goes on",
    )
    parser.add_argument("--results", type=Path, metavar="FILE", help="the results.toml to append to")
    options.add_machine(parser)
    options.add_data_dir(parser)
    options.add_json(parser)


def run(args: argparse.Namespace) -> None:
    from elman import recipe as recipes
    from elman.study import execute, reproduce, results
    from elman.training.progress import on_stderr

    options.set_threads(args)
    recipe = options.named_recipe(args.name)
    if args.ablation:
        recipe = recipes.ablation(recipe, args.ablation)
    recipe = recipes.at_scale(recipe, args.scale)
    path = args.results or results.default_path()
    results.read(path)  # a file that cannot be appended to is refused now, not after an hour
    out = args.out or Path("runs") / execute.folder_name(recipe)
    row = reproduce.reproduce(
        recipe,
        out,
        execute.Setting(args.data_dir, args.device, args.precision, args.max_minutes),
        lambda title: on_stderr(recipe.text.unit, title),
        seeds=args.seeds,
        go_on=args.resume,
    )
    if row is None:
        if args.json:
            options.print_json({"run": str(out), "reason": "max minutes"})
        options.say("Stopped by --max-minutes, nothing recorded yet; the same command goes on.")
        return
    results.add(path, row)
    if args.json:
        options.print_json(keys(row))
    else:
        print(results.to_toml(row), end="")
    options.say(f"Recorded in {path}")


def keys(row: Any) -> dict[str, Any]:
    """What ``--json`` prints: every key of a result, null where there is no number."""
    from elman.study.results import KEYS

    table = asdict(row)
    return {key: table[key] for key in KEYS if key != "test_sd" or table[key] is not None}
