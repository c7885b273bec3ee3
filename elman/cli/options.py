"""Options that several verbs share, each said once."""

import argparse
import json
import math
import os
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elman.errors import OptionError

if TYPE_CHECKING:  # at run time only inside the functions: --help must not wait for torch
    from elman.recipe import Recipe
    from elman.run import Run


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print exactly one JSON object on stdout")


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="look for published texts here first, then in $ELMAN_DATA and the user's cache",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("machine")
    group.add_argument("--device", default="auto", help="cpu, cuda, or auto: a GPU if there is one (default)")
    group.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: torch's choice)")


def add_run(parser: argparse.ArgumentParser) -> None:
    """For verbs that use a trained model: the run, and how its weights are kept; see :func:`open_run`."""
    parser.add_argument("folder", type=Path, metavar="RUN", help="the folder that `elman train` wrote")
    parser.add_argument(
        "--weights",
        metavar="FORMAT",
        help="read token by token, weights packed as float32, bfloat16 or int8 (default: the model as it is)",
    )
    add_device(parser)


def open_run(args: argparse.Namespace) -> "Run":
    import elman

    set_threads(args)
    loaded = elman.load(args.folder, args.device)
    return loaded if args.weights is None else loaded.streamed(args.weights)


def add_machine(parser: argparse.ArgumentParser) -> None:
    """For verbs that train: also the precision."""
    add_device(parser)
    parser.add_argument(
        "--precision", help="float32 (default; with --resume the run's own), float64 or bfloat16"
    )


def set_threads(args: argparse.Namespace) -> None:
    if args.threads is not None:
        import torch

        torch.set_num_threads(args.threads)


def positive(text: str) -> int:
    """A whole number from 1; argparse says the rest."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {text}")
    return number


def positive_float(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be over 0, not {text}")
    return number


def settings(given: Sequence[str]) -> dict[str, Any]:
    """``["train.epochs=3", "model.cell=gru"]`` as a dictionary; values are TOML, or texts without quotes.

    >>> settings(["train.epochs=3", "model.cell=gru", "text.shares=[0.8, 0.1, 0.1]"])
    {'train.epochs': 3, 'model.cell': 'gru', 'text.shares': [0.8, 0.1, 0.1]}
    """
    changes: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise OptionError(
                f"--set {text} was given.",
                "It has no value: a setting is TABLE.KEY=VALUE.",
                "Write for instance --set train.epochs=3.",
            )
        try:
            changes[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            changes[key.strip()] = value.strip()
    return changes


def named_recipe(name: str) -> "Recipe":
    """A recipe that comes with Elman, ``NAME`` or ``NAME:ABLATION``; or the file at that path."""
    from elman import recipe

    if name.endswith(".toml") or os.sep in name:
        return recipe.read(Path(name))
    return recipe.show(name)


def print_json(value: object) -> None:
    """One line of JSON; it has no infinities, so a number that is not finite is null."""
    print(json.dumps(_finite(value), ensure_ascii=False, allow_nan=False), flush=True)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def say(text: str) -> None:
    """A line for people, on stderr."""
    print(text, file=sys.stderr, flush=True)
