"""Products of whole matrices by the executor: for what stands above the cells, such as a softmax's logits."""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from elman.axes import BH, BX
from elman.fused import library
from elman.fused.compiled import Part
from elman.fused.invariants import Invariants
from elman.fused.native import Call, Matrix, Place, Room, Work, team
from elman.fused.passes import BackwardPass, Extent, Pair, wanted
from elman.fused.program import Builder
from elman.fused.surroundings import held
from elman.fused.trace import Traced

NAMES = ("weight", "bias")


class Gradients(NamedTuple):
    """Of x (B X) and of the weight (H X); None where it was not asked for."""

    x: Tensor | None
    weight: Tensor | None


class Linear:
    """y = x Wᵀ + b over many rows at once, and its gradients.

    Shapes: x (B X) → y (B H); weight (H X), bias (H). All are float32 or float64 on the CPU. ``half``: what
    is multiplied is rounded to bfloat16, and sums are float32. Not itself differentiable.
    """

    def __init__(self, part: Part) -> None:
        self._part = part

    def forward(self, x: BX, weight: Tensor, bias: Tensor, out: BH) -> None:
        """Writes y to ``out``, which is contiguous."""
        x, bias, plan = _rows(x), bias.contiguous(), self._part.forward(False)
        y = Place(3, row=out.stride(0))
        places = {"x": Place(0, row=x.stride(1)), "bias": Place(2), plan.home["y"]: y}
        threads = team(plan, len(out), torch.get_num_threads())
        call = Call(
            self._part.library, Work(plan, places, {"weight": Matrix(1, *weight.stride())}), steps=1,
            batch=len(out), dtype=x.dtype, room=Room(), threads=threads, half=self._part.half,
        )  # fmt: skip
        call.run((x, weight, bias, out))

    def backward(self, d_y: BH, x: BX, weight: Tensor, for_x: bool, for_weight: bool) -> Gradients:
        """The gradients that are asked for: d_y W and d_yᵀ x."""
        pair = Pair(None, self._part)
        asked = wanted(pair, (for_x, for_weight, False))
        tensors = (_rows(x), weight, weight.new_empty(weight.shape[0]))  # the bias: no gradient reads it
        d = (_rows(d_y),)
        extent = Extent(
            1, len(x), descending=False, ragged=False, threads=torch.get_num_threads(),
            apart=(0, d_y.shape[1]),
        )  # fmt: skip
        made = BackwardPass(pair, asked, extent, tensors, d)
        d_x, d_weight, _ = made.started(tensors, None, d_y, weight.new_empty(0), d).run()
        return Gradients(None if d_x is None else d_x[0], d_weight)


def linear(like: Tensor, inputs: int, outputs: int, half: bool) -> Linear | None:
    """The product for tensors like this one; None where the executor does not run."""
    values = torch.float32 if half else like.dtype
    traced = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
    here = like.device.type == "cpu" and held((like,))
    if traced or not here or values not in library.PRECISIONS or library.objection():
        return None
    part = _part(inputs, outputs)
    return Linear(part.halved() if half else part)


@cache
def _part(inputs: int, outputs: int) -> Part:
    builder = Builder()
    x = builder.add("input", width=inputs, data=("x",))
    product = builder.add("product", x, width=outputs, data=("weight", True))
    bias = builder.add("vector", width=outputs, data=("bias",))
    program = builder.finish({"y": builder.add("add", product, bias)})
    chosen = library.load()
    if chosen is None:
        raise RuntimeError("a product was asked of an executor that is not there")
    return Part(Traced(program, Invariants(NAMES, (), (0, 1)), NAMES, ()), chosen)


def _rows(x: Tensor) -> Tensor:
    """One step of these rows, each contiguous."""
    return (x if x.stride(-1) == 1 else x.contiguous()).unsqueeze(0)
