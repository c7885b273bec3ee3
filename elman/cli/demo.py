"""``elman demo``: three language models on an English text, and two of them mixed, in about three minutes."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from elman.cli import options

if TYPE_CHECKING:
    from elman.study.demo import Findings

SUMMARY = """\
Trains a counted 5-gram, an Elman network and an LSTM on an English text that comes with Python, mixes the
LSTM with the 5-gram, and compares the four on words that none has seen: a table, three samples from each, and
a page with the learning curves and the vanishing gradient, report.html. The models stay as run folders."""
EXAMPLE = """\
  elman demo
  elman demo --minutes 15 --seed 7 --out runs/demo"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--minutes", type=options.positive_float, default=3.0, metavar="M", help="for everything (default: 3)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of weights, dropout and samples (default: 1)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="a new folder (default: elman-demo, or the next that is free)"
    )
    options.add_data_dir(parser)
    options.add_json(parser)


def run(args: argparse.Namespace) -> None:
    from elman.study import demo, demo_page
    from elman.training.progress import on_stderr

    found = demo.demonstrate(
        demo.Plan(minutes=args.minutes, seed=args.seed),
        args.out or demo.free_folder(),
        progress=lambda name, after: on_stderr("words", name, after),
        say=options.say,
        data_dir=args.data_dir,
    )
    path, missing = demo_page.write(found)
    if args.json:
        options.print_json({"models": [row._asdict() for row in found.rows], "report": str(path)})
    else:
        _print(found, demo_page.verdict(found))
        for command in demo_page.commands(found)[:1]:
            print(f"\nGo on:  {command.command}")
        print(f"Report: {path}")
    if missing:
        options.say(f"The report has no figures. {missing}")


def _print(found: "Findings", verdict: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from elman.insight.report import duration

    console = Console(highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("model")
    for name in ("parameters", "seconds", "perplexity"):
        table.add_column(name, justify="right")
    best = min(row.perplexity for row in found.rows)
    for row in found.rows:
        style = "bold" if row.perplexity == best else ""
        cells = row.name, f"{row.parameters:,}", duration(row.seconds), f"{row.perplexity:,.1f}"
        table.add_row(*cells, style=style)
    console.print()
    console.print(table)
    console.print(verdict, markup=False)
    for group in found.samples:
        console.print(f"\n{group.name}", style="bold", markup=False)
        for text in group.texts:
            console.print("  " + " ".join((group.prompt + text).split()), markup=False)
