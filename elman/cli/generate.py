"""``elman generate``: text drawn from a trained model, token by token."""

import argparse
import secrets
import sys
from collections.abc import Callable, Iterator

from elman.cli import options
from elman.errors import OptionError

SUMMARY = """\
Draws text from the model of RUN and prints each token as soon as it is drawn. The same --seed draws the same
text; sample k of --count has the seed SEED + k - 1. What --json prints has the seed in it."""
EXAMPLE = """\
  elman generate runs/karpathy2015-shakespeare --prompt 'KING:' --temperature 0.8 --tokens 500 --seed 1
  elman generate runs/zaremba2014-ptb-small --prompt 'the company said' --top-p 0.9 --count 3 --json
  elman generate runs/novel --tokens 20000 --weights int8"""


def arguments(parser: argparse.ArgumentParser) -> None:
    options.add_run(parser)
    parser.add_argument("--prompt", default="", metavar="TEXT", help="what the text begins with")
    parser.add_argument(
        "--tokens", type=options.positive, default=200, metavar="N", help="at most (default: 200)"
    )
    parser.add_argument(
        "--temperature", type=float, default=1.0, help="below 1: likely tokens likelier (default: 1)"
    )
    parser.add_argument("--top-k", type=int, metavar="K", help="only the K likeliest tokens")
    parser.add_argument("--top-p", type=float, metavar="P", help="only the likeliest that make up P together")
    parser.add_argument("--greedy", action="store_true", help="always the likeliest token")
    parser.add_argument("--seed", type=int, help="of the draw (default: a new one each time)")
    parser.add_argument("--count", type=options.positive, default=1, metavar="C", help="samples (default: 1)")
    parser.add_argument("--stop", metavar="TEXT", help="end before this text")
    options.add_json(parser)


def run(args: argparse.Namespace) -> None:
    seed = secrets.randbelow(2**31) if args.seed is None else args.seed
    if seed < 0:
        raise OptionError(f"--seed {seed} was given.", "A seed is 0 or more.", "Give another.")
    loaded = options.open_run(args)

    def sample(k: int) -> Iterator[str]:
        return loaded.generate(
            args.prompt,
            args.tokens,
            temperature=args.temperature,
            top_k=args.top_k,
            top_p=args.top_p,
            greedy=args.greedy,
            seed=seed + k,
            stop=args.stop,
        )

    if args.json:
        samples = ["".join(sample(k)) for k in range(args.count)]
        options.print_json({"prompt": args.prompt, "samples": samples, "seed": seed})
    else:
        _stream(args.prompt, args.count, sample)


def _stream(prompt: str, count: int, sample: Callable[[int], Iterator[str]]) -> None:
    """Prints the samples as they are drawn, each after its prompt; a line of dashes between two."""
    for k in range(count):
        pieces = sample(k)
        sys.stdout.write(("-" * 40 + "\n" if k else "") + prompt)
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
        print(flush=True)
