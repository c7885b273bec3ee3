"""Measures everything, each part in a process of its own.

    python -m benchmarks.cells --json docs/speed.json     all of it: about 25 minutes on two idle cores
    python -m benchmarks.cells --json docs/speed.json --only imports      this part anew, the others stay
    python -m benchmarks.cells --only torch.nn --shapes 35x20x200
    python -m benchmarks.cells --quick                    that it runs; the numbers mean nothing

It refuses to start while other programs use the processor (``--anyway`` measures nevertheless).
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine, rows, sequences
from benchmarks.epochs import epochs
from benchmarks.imports import imports
from benchmarks.memory import memory
from benchmarks.report import line
from benchmarks.rows import Measurements, Part, Row
from benchmarks.scans import SHAPES, Shape
from benchmarks.steps import steps
from benchmarks.timing import FULL, QUICK, Budget
from elman.cells import CELLS

QUICK_SHAPE = Shape(3, 2, 8)
LARGE = 10**10  # multiplications of an LSTM's forward pass, above which few cells run eagerly
EAGER_IF_LARGE = ("lstm", "gru", "elman", "peephole", "nas")


def main(arguments: list[str] | None = None) -> int:
    options = _read(arguments)
    torch.manual_seed(1)
    busy = None if options.quick else machine.busy()
    if busy is not None:
        print(f"This machine has other work: {busy}.", file=sys.stderr)
        if not options.anyway:
            print("Nothing was measured. Wait until it is idle, or give --anyway.", file=sys.stderr)
            return 1
    machine.use(options.threads)
    about = machine.describe(options.threads) | ({"quick": True} if options.quick else {})
    kept = _kept(options, about)
    if kept is None:
        return 1
    stamp = machine.now() | {"busy": busy or ""}
    print(f"{about['cpu']}, {options.threads} threads, load {stamp['load_before']}", file=sys.stderr)

    def save(part: str, found: Sequence[Row]) -> None:
        kept[part] = Part(**stamp, command=_command(options, part), rows=found)
        if options.json is not None:
            in_order = {name: kept[name] for name in PARTS if name in kept}
            rows.write(options.json, Measurements(about, in_order))

    failed: list[str] = []
    if len(options.only) == 1:
        save(options.only[0], _shown(PARTS[options.only[0]](options)))
    else:
        failed = _in_turn(options, save)
    if failed:
        print(f"Failed: {', '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0


def _kept(options: argparse.Namespace, about: Mapping[str, Any]) -> dict[str, Part] | None:
    """What the file has that is not measured anew; None, and a word, where another machine measured it."""
    if options.json is None or not options.json.exists() or set(options.only) == set(PARTS):
        return {}
    before = rows.read(options.json)
    if different := rows.unlike(before.machine, about):
        print(
            f"{options.json} was not measured here, or not with these versions: {'; '.join(different)}.\n"
            "Nothing was measured. Measure all parts (without --only), or give --json another file.",
            file=sys.stderr,
        )
        return None
    return dict(before.parts)


def _command(options: argparse.Namespace, part: str) -> str:
    """By which the part can be measured again; what is as usual is left out."""
    words = ["python -m benchmarks.cells --only", part]
    if options.quick:
        words.append("--quick")
    elif tuple(options.shapes) != SHAPES:
        words += ["--shapes", *map(str, options.shapes)]
    if options.cells != list(CELLS):
        words += ["--cells", *options.cells]
    return " ".join([*words, "--threads", str(options.threads)])


def _in_turn(options: argparse.Namespace, save: Callable[[str, Sequence[Row]], None]) -> list[str]:
    """Each part in a fresh process: what spins or fills memory in one does not slow the next.

    Everything measured so far is saved after each. Returns the parts that failed.
    """
    failed = []
    for part in options.only:
        before = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "part.json"
            command = [
                sys.executable,
                "-m",
                "benchmarks.cells",
                "--anyway",
                "--only",
                part,
                "--json",
                str(path),
            ]
            command += ["--threads", str(options.threads), "--cells", *options.cells]
            command += ["--quick"] if options.quick else ["--shapes", *map(str, options.shapes)]
            if subprocess.run(command, cwd=machine.ROOT, check=False).returncode == 0:
                save(part, rows.read(path).rows)
            else:
                failed.append(part)
        print(f"# {part}: {time.monotonic() - before:.0f} s", file=sys.stderr, flush=True)
    return failed


def _shown(found: Iterator[Row]) -> list[Row]:
    kept = []
    for row in found:
        print(line(row), flush=True)
        kept.append(row)
    return kept


def _over_shapes(measure: Callable[[argparse.Namespace, Shape], Iterator[Row]]) -> "Measure":
    return lambda options: (row for shape in options.shapes for row in measure(options, shape))


def _all_cells(options: argparse.Namespace, shape: Shape) -> Iterator[Row]:
    """At the largest shapes the definition takes seconds: there only a few cells run by it."""
    large = 8 * shape.steps * shape.batch * shape.size**2 > LARGE
    eager = [name for name in options.cells if not large or name in EAGER_IF_LARGE]
    return sequences.all_cells(shape, options.cells, eager, _budget(options))


def _budget(options: argparse.Namespace) -> Budget:
    return QUICK if options.quick else FULL


Measure = Callable[[argparse.Namespace], Iterator[Row]]

PARTS: dict[str, Measure] = {
    "torch.nn": _over_shapes(lambda o, shape: sequences.counterparts(shape, o.threads, _budget(o))),
    "cells": _over_shapes(_all_cells),
    "bfloat16": _over_shapes(lambda o, shape: sequences.bfloat16(shape, _budget(o))),
    "bidirectional": _over_shapes(lambda o, shape: sequences.bidirectional(shape, _budget(o))),
    "lengths": _over_shapes(lambda o, shape: sequences.ragged(shape, _budget(o))),
    "torchrecurrent": lambda o: sequences.other_library(o.shapes[0], _budget(o)),
    "torch.compile": lambda o: sequences.compiled_loop(o.shapes, _budget(o)),
    "steps": lambda o: steps(o.threads, o.cells, _budget(o), o.quick),
    "epochs": lambda o: epochs(o.quick),
    "memory": lambda o: memory(o.threads, o.quick, _budget(o)),
    "imports": lambda o: imports(o.quick),
}


def _read(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cells", description="Measures Elman beside others."
    )
    add = parser.add_argument
    add("--json", type=Path, help="where to write what is measured; a file's other parts stay")
    add("--only", nargs="+", choices=PARTS, default=list(PARTS), help="these parts only")
    add("--shapes", nargs="+", type=Shape.parse, default=list(SHAPES), metavar="TxBxH")
    add("--cells", nargs="+", choices=CELLS, default=list(CELLS), metavar="CELL")
    add("--threads", type=int, default=len(os.sched_getaffinity(0)), help="how many cores to run on")
    add("--quick", action="store_true", help="everything once, at a tiny shape: tests only that it runs")
    add("--anyway", action="store_true", help="also while other programs run")
    options = parser.parse_args(arguments)
    if options.quick:
        options.shapes = [QUICK_SHAPE]
    return options


if __name__ == "__main__":
    sys.exit(main())
