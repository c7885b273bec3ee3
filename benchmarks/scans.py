"""Scans as things to be timed: by Elman, by the definition, by a module of another library."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from elman.cells import Cell
from elman.cells.cell import Encoder
from elman.fused import choose, definition
from elman.fused.program import Program

FORWARD, TRAINING, TRAINING_X = "forward", "forward + backward", "forward + backward, x too"
MODES = (FORWARD, TRAINING, TRAINING_X)

Call = Callable[[], Any]
Scan = Callable[[Tensor], Tensor]


class Shape(NamedTuple):
    """T steps of B sequences, as many features in as out: H."""

    steps: int
    batch: int
    size: int

    def __str__(self) -> str:
        return "×".join(map(str, self))

    @staticmethod
    def parse(text: str) -> "Shape":
        steps, batch, size = map(int, text.replace("×", "x").split("x"))
        return Shape(steps, batch, size)


SHAPES = tuple(
    map(Shape.parse, ("35×20×200", "35×20×650", "100×50×512", "25×32×256", "50×64×1024", "100×64×128"))
)


class Given(NamedTuple):
    """The input of a scan and the gradient of its outputs."""

    x: Tensor
    cotangent: Tensor


def given(shape: Shape, outputs: int | None = None) -> Given:
    x = torch.randn(shape.steps, shape.batch, shape.size)
    return Given(x, torch.randn(shape.steps, shape.batch, outputs or shape.size))


def call(
    scan: Scan, parameters: Sequence[Tensor], data: Given, mode: str, precision: str = "float32"
) -> Call:
    """One scan, with the gradients of ``mode``; in "bfloat16" the forward pass is under autocast."""
    x = data.x.detach().requires_grad_(mode == TRAINING_X)
    wanted = [p for p in parameters if p.requires_grad] + ([x] if mode == TRAINING_X else [])

    def run() -> Any:
        products = torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else nullcontext()
        if mode == FORWARD:
            with torch.no_grad(), products:
                return scan(x)
        with products:
            y = scan(x)
        return torch.autograd.grad(y, wanted, data.cotangent.to(y.dtype))

    return run


def ours(
    cell: Encoder, data: Given, mode: str, precision: str = "float32", lengths: Tensor | None = None
) -> Call:
    return call(lambda x: cell.scan(x, lengths=lengths)[0], list(cell.parameters()), data, mode, precision)


def eager(cell: Cell, data: Given, mode: str) -> Call:
    """The definition, step by step, by autograd."""
    scan = by_definition(cell)
    return call(scan, list(cell.parameters()), data, mode)


def theirs(module: nn.Module, data: Given, mode: str, precision: str = "float32") -> Call:
    """A module that returns outputs and state, as torch.nn's do."""
    return call(lambda x: module(x)[0], list(module.parameters()), data, mode, precision)


def by_definition(cell: Cell) -> Scan:
    return lambda x: definition.scan(cell, x, cell.initial_state(x.shape[1]), None)[0]


def products_per_row(cell: Cell) -> int:
    """Multiplications of products in one step of one sequence, from the cell's Programs."""
    compiled = choose.compile_cell(cell)
    if isinstance(compiled, str):
        raise RuntimeError(f"{cell} has no Program here: {compiled}")
    return sum(_products(part.program) for part in (compiled.project, compiled.advance))


def recurrent(cell: Cell) -> bool:
    """Whether there are products inside the loop."""
    compiled = choose.compile_cell(cell)
    return not isinstance(compiled, str) and _products(compiled.advance.program) > 0


def _products(program: Program) -> int:
    return sum(
        node.width * program.nodes[node.args[0]].width for node in program.nodes if node.op == "product"
    )
