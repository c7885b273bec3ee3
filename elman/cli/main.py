"""``elman VERB …``: the table of verbs, and what a command says and returns when it cannot go on.

Exit status: 0 done · 1 a mistake in Elman itself (with its traceback) · 2 a mistake of the caller, or a disk
that is full (three lines) · 130 interrupted by Ctrl-C · 141 the reader of the output went away. A verb is a
module with ``SUMMARY``, ``EXAMPLE``, ``arguments(parser)`` and ``run(args)``; only the one that is asked for
is imported, so that ``--help`` answers before torch could be loaded.
"""

import argparse
import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, Protocol, cast

import elman
from elman.errors import ElmanError
from elman.strict import nearest

VERBS = {
    "demo": "trains three language models on an English text in three minutes, mixes two and compares them",
    "train": "trains a recipe, or a model on your own text",
    "evaluate": "the perplexity of a trained model",
    "score": "the log-probability of each line of standard input",
    "generate": "text drawn from a trained model",
    "recipes": "the published results that can be repeated, with ours",
    "reproduce": "trains and evaluates a recipe and records the result",
    "kernels": "what cells run by on this machine, and why not faster",
    "corpora": "lists, fetches and verifies the texts that are known by name",
}

REMEDIES = {
    errno.ENOSPC: "Free some space and repeat the command; a training goes on with --resume.",
    errno.EDQUOT: "Free some of your quota and repeat the command; a training goes on with --resume.",
    errno.EACCES: "Name a file or folder that you may read and write, for instance with --out.",
    errno.EPERM: "Name a file or folder that you may read and write, for instance with --out.",
    errno.EROFS: "Name a folder on a disk that can be written, for instance with --out.",
    errno.ENOTDIR: "Name a folder whose parents are folders, for instance with --out.",
    errno.EISDIR: "Name a file, not a folder.",
    errno.ENAMETOOLONG: "Name a file or folder by a shorter path.",
}


class Verb(Protocol):
    """What a module of this room holds."""

    SUMMARY: str
    EXAMPLE: str

    def arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, args: argparse.Namespace) -> None: ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status. ``arguments``: those of the process where left out."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # it was closed (>&-): lest another file takes its number
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # texts are UTF-8, in and out, whatever the locale
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    try:
        try:
            _dispatch(given)
            sys.stdout.flush()
        except SystemExit as leaving:  # argparse's: 0 after --help, 2 after a mistake
            sys.stdout.flush()
            return int(leaving.code or 0)
    except ElmanError as error:
        return _refuse(error)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        _drop_output()
        return 141
    except OSError as error:
        if error.errno not in REMEDIES:
            raise
        return _refuse(
            OSError(
                f"`elman {' '.join(given[:2])}` was to read or write {error.filename or 'its files'}.\n"
                f"  The system refused: {error.strerror} ({errno.errorcode[error.errno]}).\n"
                f"  {REMEDIES[error.errno]}"
            )
        )
    return 0


def _dispatch(given: list[str]) -> None:
    if not given or given[0] in ("-h", "--help", "help"):
        print(_overview())
    elif given[0] in ("-V", "--version"):
        print(f"elman {elman.__version__}")
    elif given[0] in VERBS:
        verb = cast(Verb, importlib.import_module(f"elman.cli.{given[0]}"))
        parser = argparse.ArgumentParser(
            prog=f"elman {given[0]}",
            description=verb.SUMMARY,
            epilog=f"example:\n{verb.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        verb.arguments(parser)
        verb.run(parser.parse_args(given[1:]))
    else:
        _unknown(given[0])


def _unknown(word: str) -> NoReturn:
    print(f"elman: {word!r} is not a verb{nearest(word, VERBS)}.\n`elman` alone lists them.", file=sys.stderr)
    raise SystemExit(2)


def _overview() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {does}" for verb, does in VERBS.items()]
    return "\n".join(
        [
            f"elman {elman.__version__}: recurrent networks for language\n",
            "usage: elman VERB …   (elman VERB --help says more and ends in an example)\n",
            *lines,
            "\nexample:",
            "  elman demo",
        ]
    )


def _refuse(error: Exception) -> int:
    try:
        sys.stdout.flush()
    except OSError:  # the disk that stdout goes to is the full one
        _drop_output()
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    return 2


def _drop_output() -> None:
    """What still waits to be printed goes nowhere: Python would try, and fail, again when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
