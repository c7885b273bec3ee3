"""Runs any Program by the executor, and by :func:`elman.fused.program.evaluate` beside it."""

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import TorchDispatchMode

from elman.fused import choose, definition, library, native, passes
from elman.fused.compiled import Part
from elman.fused.passes import BackwardPass, Extent, Forward, Pair
from elman.fused.program import Program, evaluate
from elman.fused.trace import Traced

compiled_here = pytest.mark.skipif(
    library.objection() is not None, reason="no compiled executor on this machine"
)

Named = dict[str, Tensor]


class Values(NamedTuple):
    """What a scan gives: outputs and last states by name, and gradients by name."""

    outputs: Named
    gradients: Named


def by_definition_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on scans run by the definition, by nothing else."""
    monkeypatch.setattr(choose, "scan", definition.scan)
    monkeypatch.setattr(choose, "scan_layers", lambda *_: None)


def part_of(program: Program, leaves: tuple[str, ...], level: str | None = None) -> Part:
    chosen = library.load(level)
    assert chosen is not None
    names = (*program.names("vector"), *program.matrices())
    return Part(Traced(program, fx.GraphModule({}, fx.Graph()), names, leaves), chosen)


def drawn(program: Program, steps: int, batch: int, seed: int, dtype: torch.dtype = torch.float64) -> Named:
    """Random inputs, vectors and matrices for a Program."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*sizes: int) -> Tensor:
        return torch.randn(*sizes, generator=generator, dtype=torch.float64).to(dtype)

    tensors = {}
    for name, width in program.names("input").items():
        tensors[name] = normal(steps, batch, width) if name == "x" else normal(batch, width)
    for name, width in program.names("vector").items():
        tensors[name] = normal(width)
    for node in program.nodes:
        if node.op == "product":
            inner = program.nodes[node.args[0]].width
            rows, columns = (node.width, inner) if node.data[1] else (inner, node.width)
            tensors[str(node.data[0])] = normal(rows, columns) / inner**0.5
    return tensors


def by_executor(
    program: Program, tensors: Named, cotangents: Named, lengths: Tensor | None = None, reverse: bool = False,
    level: str | None = None, half: bool = False,
) -> Values:  # fmt: skip
    """Forward twice, with and without keeping, which must agree exactly; then backward."""
    leaves = tuple(name for name in tensors if name.startswith("state."))
    part = part_of(program, leaves, level)
    part = part.halved() if half else part
    names = ("x", *leaves, *part.fixed)
    given = [tensors[name] for name in names]
    steps, batch = tensors["x"].shape[:2]
    pair, width = Pair(None, part), part.widths["y"]
    extent = Extent(
        steps, batch, reverse, lengths is not None, torch.get_num_threads(), (batch * width, width)
    )
    asked = passes.wanted(pair, [True] * len(given))
    y, plain = (native.empty(given[0], steps, batch, width) for _ in range(2))
    last, kept = Forward(pair, asked, extent, given).started(given, lengths, y).run()
    plain_last, _ = Forward(pair, None, extent, given).started(given, lengths, plain).run()
    for a, b in zip([y, *last], [plain, *plain_last], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    d = [cotangents["y"], *(cotangents[f"{leaf}'"] for leaf in leaves)]
    found = BackwardPass(pair, asked, extent, given, d).started(given, lengths, y, kept, d).run()
    outputs = {"y": y} | {f"{leaf}'": end for leaf, end in zip(leaves, last, strict=True)}
    return Values(outputs, {name: each for name, each in zip(names, found, strict=True) if each is not None})


def by_definition(
    program: Program, tensors: Named, cotangents: Named, lengths: Tensor | None = None, reverse: bool = False
) -> Values:
    """The loop over ``evaluate``, differentiated by PyTorch."""
    own = {name: tensor.detach().requires_grad_() for name, tensor in tensors.items()}
    steps = own["x"].shape[0]
    state = {name: tensor for name, tensor in own.items() if name.startswith("state.")}
    ys: dict[int, Tensor] = {}
    for t in reversed(range(steps)) if reverse else range(steps):
        new = evaluate(program, {"x": own["x"][t], **state}, own)
        here = (
            torch.ones(own["x"].shape[1], 1, dtype=torch.bool)
            if lengths is None
            else (t < lengths).unsqueeze(1)
        )
        ys[t] = torch.where(here, new["y"], torch.zeros_like(new["y"]))
        state = {leaf: torch.where(here, new[f"{leaf}'"], old) for leaf, old in state.items()}
    outputs = {"y": torch.stack([ys[t] for t in range(steps)])} | {f"{n}'": last for n, last in state.items()}
    total = sum(((outputs[name] * cotangents[name]).sum() for name in outputs), torch.zeros(()))
    found = torch.autograd.grad(total, list(own.values()), allow_unused=True)
    gradients = {name: g for name, g in zip(own, found, strict=True) if g is not None}
    return Values({name: out.detach() for name, out in outputs.items()}, gradients)


class Rounding(TorchDispatchMode):
    """All that matrices are multiplied with, forward and backward, is rounded to bfloat16 first."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        aten = torch.ops.aten
        first = {aten.mm.default: 0, aten.bmm.default: 0, aten.addmm.default: 1}.get(function)
        if first is not None:
            args = (*args[:first], *(factor.bfloat16().to(factor.dtype) for factor in args[first:]))
        elif function in (aten.mv.default, aten.addmv.default, aten.dot.default, aten.baddbmm.default):
            raise NotImplementedError(f"{function} is not rounded")
        return function(*args, **(kwargs or {}))


def cotangents_for(values: Named, seed: int) -> Named:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value.dtype)
        for name, value in values.items()
    }


def shapes_of(program: Program, tensors: Named) -> Named:
    """Zeros shaped as the outputs of a scan."""
    steps, batch = tensors["x"].shape[:2]
    return {
        name: tensors["x"].new_zeros(
            (steps, batch, program.nodes[node].width) if name == "y" else (batch, program.nodes[node].width)
        )
        for name, node in program.outputs
    }


def agree(mine: Values, theirs: Values, within: float) -> None:
    """Every value and gradient, relative in norm. A gradient that PyTorch leaves out is zero."""
    for a, b in ((mine.outputs, theirs.outputs), (mine.gradients, theirs.gradients)):
        assert set(a) >= set(b)
        for name, value in a.items():
            other = b.get(name, torch.zeros_like(value))
            assert torch.isfinite(value).all(), name
            assert (value - other).norm() <= within * (other.norm() + 1e-3), name


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """New memory is full of NaN: what is read before it is written shows."""
    for name in ("empty", "lent"):
        monkeypatch.setattr(native, name, lambda like, *sizes: like.new_full(sizes, float("nan")))
