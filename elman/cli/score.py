"""``elman score``: the log-probability of each line of standard input."""

import argparse
import io
import sys
from collections.abc import Iterator
from typing import BinaryIO

from elman.cli import options
from elman.errors import TextError

SUMMARY = """\
Reads lines from standard input and prints log P of each in nats, one number per line, as soon as it is there.
The model's state carries over from line to line, as in `elman evaluate`: the sum is that of the whole text.
With --independent each line is the beginning of a text of its own. A blank line of words has no token: 0."""
EXAMPLE = """\
  printf 'the company said\\nsaid company the\\n' | elman score runs/zaremba2014-ptb-small --independent"""


def arguments(parser: argparse.ArgumentParser) -> None:
    options.add_run(parser)
    parser.add_argument(
        "--independent", action="store_true", help="forget everything at the end of each line"
    )
    options.add_json(parser)


def run(args: argparse.Namespace) -> None:
    loaded = options.open_run(args)
    scores = loaded.score(lines_of(sys.stdin.buffer), independent=args.independent)
    if args.json:
        nats = list(scores)
        options.print_json({"log_probabilities": nats, "sum": sum(nats), "lines": len(nats)})
        return
    for score in scores:
        print(repr(score), flush=True)


def lines_of(stream: BinaryIO) -> Iterator[str]:
    """The lines of a UTF-8 stream with their ends, each as soon as it is whole; ends are read as in files.

    Raises :class:`TextError` for a line that is binary, not UTF-8, or longer than a line of a file may be.
    """
    from elman.text.files import LINE_LIMIT

    text = io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline=None)
    number = 0
    while line := text.readline(LINE_LIMIT + 1):
        number += 1
        if number == 1:
            line = line.removeprefix("\ufeff")
        wrong = None
        if len(line) > LINE_LIMIT and not line.endswith("\n"):
            wrong = f"Line {number:,} has over {LINE_LIMIT:,} characters."
        elif "\0" in line:
            wrong = f"Line {number:,} has a NUL byte: that is binary, or UTF-16."
        elif any("\udc80" <= character <= "\udcff" for character in line):
            wrong = f"Line {number:,} has bytes that are not UTF-8."
        if wrong:
            raise TextError(
                "Standard input was to be read as lines of UTF-8 text.",
                wrong,
                "Break long texts into lines; convert other encodings with iconv -t UTF-8.",
            )
        yield line
