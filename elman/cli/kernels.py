"""``elman kernels``: what cells run by on this machine, and every objection."""

import argparse
from typing import TYPE_CHECKING, Any

from elman.cli import options

if TYPE_CHECKING:
    from elman.cells import Cell

SUMMARY = """\
Lists what runs here: the compiled executor with its instructions, threads and precisions, and what each cell
runs by: the executor; a kernel of torch's own, where it has the same equations; or its definition, step by
step. Where it is not the executor, the objection is told. --cell asks about a cell of your own as well."""
EXAMPLE = """\
  elman kernels
  elman kernels --cell undertow.py:Undertow --json"""

INSTRUCTIONS = {
    "v4b": "AVX-512 with bfloat16",
    "v4": "AVX-512",
    "v3": "AVX2",
    "v2": "SSE4",
    "plain": "the processor's plain instructions",
}
SIZE = 8
"""X and H of the cells that are asked."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cell", metavar="FILE.py:NAME", help="a cell of your own, first in the list")
    parser.add_argument("--threads", type=options.positive, metavar="N", help="CPU threads to tell of")
    options.add_json(parser)


def run(args: argparse.Namespace) -> None:
    from elman.cells import CELLS, own

    options.set_threads(args)
    cells = {name: kind(SIZE, SIZE) for name, kind in CELLS.items()}
    if args.cell is not None:
        mine = own.load(args.cell)
        cells = {mine.name: mine(SIZE, SIZE), **cells}
    told = {**machine(), "cells": [_row(name, cell) for name, cell in cells.items()]}
    if args.json:
        options.print_json(told)
    else:
        print("\n".join(_lines(told)))


def machine() -> dict[str, Any]:
    """What there is on this machine, as ``--json`` tells it."""
    import torch

    from elman.fused import library

    objection = library.objection()
    chosen = library.load() if objection is None else None
    executor = chosen and {
        "level": chosen.level,
        "vector_bits": 8 * chosen.vector_bytes,
        "openmp": None if chosen.openmp is None else chosen.openmp.name,
        "precisions": [_name(kind) for kind in library.PRECISIONS],
        "products": [_name(kind) for kind in library.PRODUCTS],
    }
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "executor": executor,
        "objection": objection,
    }


def _row(name: str, cell: "Cell") -> dict[str, Any]:
    from elman.fused import choose
    from elman.fused.compiled import Compiled

    row: dict[str, Any] = {"name": name, "runs_by": choose.way(cell), "objections": choose.objections(cell)}
    compiled = choose.compile_cell(cell)
    if isinstance(compiled, Compiled):
        row["program"] = compiled.advance.program.key
        row["products"] = sum(node.op == "product" for node in compiled.advance.program.nodes)
    return row


def _lines(told: dict[str, Any]) -> list[str]:
    executor, cells = told["executor"], told["cells"]
    lines = [f"torch     {told['torch']}, threads: {told['threads']}"]
    if executor is None:
        lines.append(f"executor  none: {told['objection']}")
    else:
        threads = executor["openmp"] or "its own: torch's OpenMP was not found"
        more = [kind for kind in executor["products"] if kind not in executor["precisions"]]
        lines.append(
            f"executor  {INSTRUCTIONS[executor['level']]}, vectors of {executor['vector_bits']} bits, "
            f"threads of {threads}\n"
            f"numbers   {', '.join(executor['precisions'])}; products also in {', '.join(more)}"
        )
    width = max(len(row["name"]) for row in cells)
    lines.append(f"\n{'cell':<{width}}  runs by")
    for row in cells:
        products = row.get("products")
        said = "" if products is None else f", {products} product{'s' * (products != 1)} a step"
        lines.append(f"{row['name']:<{width}}  {row['runs_by']}{said}")
        if executor is not None:  # else the one objection stands above
            lines.extend(f"{'':<{width}}    {objection}" for objection in row["objections"])
    count = sum(row["runs_by"] == "executor" for row in cells)
    return [*lines, f"\n{count} of {len(cells)} cells run by the executor."]


def _name(precision: Any) -> str:
    return str(precision).removeprefix("torch.")
