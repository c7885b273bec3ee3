"""``elman evaluate``: the perplexity of a trained model."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from elman.cli import options

if TYPE_CHECKING:
    import numpy as np

    from elman.measures.perplexity import Perplexity
    from elman.run import Run

SUMMARY = """\
Reads a text as one stream, from its first token to its last, and says how well the model of RUN predicted it.
perplexity = exp(nats per token). Of characters also bits per character = nats per character / ln 2."""
EXAMPLE = """\
  elman evaluate runs/zaremba2014-ptb-small --split valid
  elman evaluate runs/shakespeare --data another-play.txt --json
  elman evaluate runs/shakespeare --weights int8"""


def arguments(parser: argparse.ArgumentParser) -> None:
    options.add_run(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--split", help="train, valid or test (default; valid where there is none)")
    which.add_argument("--data", type=Path, metavar="FILE", help="all of another text")
    parser.add_argument(
        "--chunk", type=options.positive, metavar="T", help="steps read at once; the result is the same"
    )
    options.add_data_dir(parser)
    options.add_json(parser)


def run(args: argparse.Namespace) -> None:
    from elman.measures.perplexity import CHUNK

    loaded = options.open_run(args)
    read, ids = _text(loaded, args)
    found = measures(loaded.evaluate_ids(ids, chunk=args.chunk or CHUNK), loaded.recipe.text.unit)
    if args.json:
        options.print_json(found)
        return
    print(f"{'text':<18}  {read}")
    for name, value in found.items():
        said = f"{value:,}" if name == "tokens" else f"{value:,.4f}"
        print(f"{name.replace('_', ' '):<18}  {said}")


def _text(loaded: "Run", args: argparse.Namespace) -> "tuple[str, np.ndarray]":
    """What is read, in words, and its ids."""
    from elman.corpora import open_corpus

    if args.data is not None:
        return str(args.data), loaded.ids("", args.data)
    recipe = loaded.recipe
    corpus = open_corpus(recipe.corpus, recipe.text, args.data_dir, loaded.vocabulary)
    split = args.split or ("test" if "test" in corpus.sources else "valid")
    return f"{split} of {corpus.name}", corpus.split(split)


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
