"""``elman recipes``: what was published, what we measured, and each recipe's keys."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elman.cli import options
from elman.errors import OptionError

if TYPE_CHECKING:
    from elman.recipe import Recipe
    from elman.study.results import Result

SUMMARY = """\
Lists the recipes: each repeats one published number, which stands beside ours (the test text's, or the
validation text's where there is none). `elman recipes show NAME` prints one as it was written, and with
--scale as it runs, with all its keys."""
EXAMPLE = """\
  elman recipes show zaremba2014-ptb-small
  elman recipes show karpathy2015-shakespeare --scale laptop
  elman reproduce mikolov2011-ptb-kn5"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=["list", "show"], default="list", help="default: list")
    parser.add_argument("name", nargs="?", metavar="NAME", help="NAME, NAME:ABLATION, or a file (with show)")
    parser.add_argument(
        "--scale", choices=["paper", "laptop"], help="show the recipe as it runs at this scale"
    )
    parser.add_argument("--results", type=Path, metavar="FILE", help="where our results stand")
    options.add_json(parser)


def run(args: argparse.Namespace) -> None:
    if (args.action == "show") != (args.name is not None):
        raise OptionError(
            "`elman recipes` was to show a recipe."
            if args.action == "show"
            else "Recipes were to be listed.",
            "It was not named." if args.action == "show" else f"{args.name!r} was given too.",
            "Write: elman recipes, or: elman recipes show NAME",
        )
    if args.action == "show":
        _show(args)
    else:
        _list(args)


def _show(args: argparse.Namespace) -> None:
    from elman import recipe as recipes

    recipe = options.named_recipe(args.name)
    if args.scale:
        recipe = recipes.at_scale(recipe, args.scale)
    if args.json:
        options.print_json(recipes.to_tables(recipe))
    elif args.scale is None and args.name in recipes.names():
        print(recipes.source(args.name), end="")
    else:
        print(recipes.to_toml(recipe), end="")


def _list(args: argparse.Namespace) -> None:
    from elman import recipe as recipes
    from elman.study import results

    ours = results.latest(results.read(args.results or results.default_path()))
    found = [recipes.show(name) for name in recipes.names()]
    if args.json:
        options.print_json({"recipes": [_row(recipe, ours) for recipe in found]})
        return
    _print_table(found, ours)


def _row(recipe: "Recipe", ours: dict[tuple[str, str], "Result"]) -> dict[str, Any]:
    from elman.recipe import to_tables
    from elman.study.results import as_table

    mine = [as_table(row) for (name, _), row in ours.items() if name.partition(":")[0] == recipe.name]
    return {"name": recipe.name, "claim": to_tables(recipe).get("claim"), "results": mine}


def _print_table(found: list["Recipe"], ours: dict[tuple[str, str], "Result"]) -> None:
    from elman.study.results import headline, number

    rows: list[tuple[str, ...]] = [("recipe", "text", "measure", "published", "ours", "laptop")]
    for recipe in found:
        claim, measure = recipe.claim, recipe.measure
        published = None if claim is None else headline(claim, claim.valid, claim.test)
        values = [published]
        for scale in ("paper", "laptop"):
            row = ours.get((recipe.name, scale))
            values.append(None if row is None or claim is None else headline(claim, row.valid, row.test))
        numbers = [number(value, measure) for value in values]
        rows.append((recipe.name, recipe.corpus, measure.replace("_", " "), *numbers))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        left = [cell.ljust(width) for cell, width in zip(cells[:3], widths[:3], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(cells[3:], widths[3:], strict=True)]
        print("  ".join(left + right))
    print("ours: the test text, or validation where no test is published; laptop: scaled down; –: none yet")
