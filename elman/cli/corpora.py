"""``elman corpora``: the texts known by name: listed, fetched, verified."""

import argparse
import sys

from elman.cli import options
from elman.errors import CorpusError, OptionError

SUMMARY = """\
Lists the texts that Elman knows by name and where they are. `fetch NAME` brings one into --data-dir (default:
the user's cache) and verifies it; a text that is not freely licensed is taken from your own copy, --from.
`verify NAME` compares its files with the published ones. Any other text is used by its path."""
EXAMPLE = """\
  elman corpora fetch tinyshakespeare
  elman corpora fetch ptb-words --from simple-examples.tgz
  elman corpora verify ptb-words"""


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = ["list", "fetch", "verify"]
    parser.add_argument("action", nargs="?", choices=actions, default="list", help="default: list")
    parser.add_argument("name", nargs="?", metavar="NAME", help="which text (with fetch, verify)")
    parser.add_argument(
        "--from", dest="source", metavar="PATH|URL", help="a folder, archive or file that has it"
    )
    options.add_data_dir(parser)
    options.add_json(parser)


def run(args: argparse.Namespace) -> None:
    if (args.action == "list") != (args.name is None):
        raise OptionError(
            f"`elman corpora {args.action}` was asked for.",
            "Which text is not said." if args.name is None else f"{args.name!r} was given too.",
            "Write: elman corpora, or: elman corpora fetch NAME, elman corpora verify NAME",
        )
    if args.source is not None and args.action != "fetch":
        raise OptionError(
            f"`elman corpora {args.action}` was asked for with --from.",
            "Only fetch takes a text from somewhere.",
            "Leave --from out.",
        )
    {"list": _list, "fetch": _fetch, "verify": _verify}[args.action](args)


def _list(args: argparse.Namespace) -> None:
    from elman.corpora import CORPORA

    rows = [
        {
            "name": corpus.name,
            "description": corpus.description,
            "licence": corpus.licence,
            "where": None if (place := corpus.where(args.data_dir)) is None else str(place),
        }
        for corpus in CORPORA.values()
    ]
    if args.json:
        options.print_json({"corpora": rows})
        return
    for row in rows:
        where = row["where"] or f"not here yet: elman corpora fetch {row['name']}"
        print(f"{row['name']}\n  {row['description']}\n  {row['licence']}\n  {where}")


def _fetch(args: argparse.Namespace) -> None:
    from elman.corpora import fetch

    paths = [str(path) for path in fetch(args.name, args.data_dir, _progress, args.source)]
    if args.json:
        options.print_json({"corpus": args.name, "files": paths})
    else:
        print("\n".join(paths))


def _progress(there: int, whole: int | None) -> None:
    """One line on a terminal's stderr, written over again and again."""
    if sys.stderr.isatty():
        share = "" if not whole else f" of {whole / 1e6:.1f} MB ({100 * there / whole:.0f}%)"
        end = "\n" if there == whole else ""
        print(f"\r{there / 1e6:.1f} MB{share}", end=end, file=sys.stderr, flush=True)


def _verify(args: argparse.Namespace) -> None:
    from elman.corpora import remedy, verify

    checks = verify(args.name, args.data_dir)
    wrong = [check for check in checks if not check.good]
    if args.json:
        files = [
            {**check._asdict(), "path": None if check.path is None else str(check.path), "good": check.good}
            for check in checks
        ]
        options.print_json({"corpus": args.name, "files": files, "good": not wrong})
    else:
        for check in checks:
            state = "as published" if check.good else "NOT as published"
            print(f"{check.file}: " + ("absent" if check.path is None else f"{state}, {check.path}"))
    if wrong:
        said = [
            f"{check.file} is absent"
            if check.found is None
            else f"{check.path} has the SHA-256 {check.found}"
            for check in wrong
        ]
        raise CorpusError(
            f"{args.name} was to be verified.",
            f"{len(wrong)} of {len(checks)} files are not the published ones: {'; '.join(said)}.",
            remedy(args.name),
        )
