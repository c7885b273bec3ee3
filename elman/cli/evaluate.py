"""``elman evaluate``: the perplexity of a trained model."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from elman.cli import options

if TYPE_CHECKING:
    from elman.measures.perplexity import Perplexity

SUMMARY = """\
Reads a text as one stream, from its first token to its last, and says how well the model of RUN predicted it.
perplexity = exp(nats per token). Of characters also bits per character = nats per character / ln 2."""
EXAMPLE = """\
  elman evaluate runs/zaremba2014-ptb-small --split valid
  elman evaluate runs/shakespeare --data another-play.txt --json"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="RUN", help="the folder that `elman train` wrote")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--split", help="train, valid or test of the run's own text (default: test)")
    which.add_argument("--data", type=Path, metavar="FILE", help="all of another text")
    parser.add_argument(
        "--chunk", type=options.positive, metavar="T", help="steps read at once; the result is the same"
    )
    options.add_device(parser)
    options.add_data_dir(parser)
    options.add_json(parser)


def run(args: argparse.Namespace) -> None:
    import elman
    from elman.measures.perplexity import CHUNK

    options.set_threads(args)
    loaded = elman.load(args.folder, args.device)
    cost = loaded.evaluate(args.split or "test", args.data, data_dir=args.data_dir, chunk=args.chunk or CHUNK)
    found = measures(cost, loaded.recipe.text.unit)
    if args.json:
        options.print_json(found)
    else:
        for name, value in found.items():
            said = f"{value:,}" if name == "tokens" else f"{value:,.4f}"
            print(f"{name.replace('_', ' '):<18}  {said}")


def measures(cost: "Perplexity", unit: str) -> dict[str, float]:
    """What ``--json`` prints.

    >>> from elman.measures.perplexity import Perplexity
    >>> measures(Perplexity(nats=200 * math.log(4), tokens=200), "characters")["bits_per_character"]
    2.0
    """
    found = {"perplexity": cost.perplexity, "nats_per_token": cost.nats_per_token}
    if unit == "characters":
        found["bits_per_character"] = cost.nats_per_token / math.log(2)
    return {**found, "tokens": cost.tokens}
