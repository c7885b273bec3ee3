"""Which way a scan runs: by the compiled executor, by a kernel of torch's own, or by the definition."""

import copy
from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from elman import states
from elman.axes import TBH, TBX, B
from elman.fused import bfloat16, definition, library, torch_kernels
from elman.fused import scan as fused
from elman.fused.compiled import Compiled
from elman.fused.operations import Objection

#: What each cell was made into, or why not; for each way it was set up.
_known: WeakKeyDictionary[nn.Module, dict[Any, Compiled | str]] = WeakKeyDictionary()

#: How far, relative in norm, the executor may be from ``advance`` on random values at a cell's first scan.
TOLERANCE = 1e-4


def scan(cell: Any, x: TBX, state: Any, lengths: B | None, reverse: bool = False) -> tuple[TBH, Any]:
    """The scan of :func:`elman.fused.definition.scan`, the fastest way there is for these tensors.

    With products in bfloat16 where :mod:`elman.fused.bfloat16` says so.
    """
    leaves = dict(states.leaves(state))
    returned = bfloat16.result(x, (*leaves.values(), *cell.parameters()))
    if returned is None:
        found = _by_executor(cell, x, leaves, lengths, reverse)
    else:
        with bfloat16.as_written():
            wide = {name: leaf.float() for name, leaf in leaves.items()}
            found = _by_executor(cell, x.float(), wide, lengths, reverse, half=True)
    if found is not None:
        y, last = found[0], states.replace(state, dict(zip(leaves, found[1], strict=True)))
    elif _transformed():
        y, last = definition.scan(cell, x, state, lengths, reverse=reverse)
    else:
        y, last = torch_kernels.scan(cell, x, state, lengths, reverse=reverse)
    return (
        (y, last) if returned is None else (y.to(returned), states.transform(lambda t: t.to(returned), last))
    )


def _by_executor(
    cell: Any, x: TBX, leaves: dict[str, Tensor], lengths: B | None, reverse: bool, half: bool = False
) -> tuple[TBH, tuple[Tensor, ...]] | None:
    """Outputs and last state, leaf by leaf; None where the executor cannot run it."""
    if not _plain(x, leaves.values()):
        return None
    compiled = compile_cell(cell)
    if not isinstance(compiled, Compiled):
        return None
    fixed = compiled.prepare(cell)
    if not _fits(compiled, x, leaves, fixed):
        return None
    compiled = compiled.halved if half else compiled
    return fused.scan(compiled, x, tuple(leaves.values()), fixed, lengths, reverse)


def objections(cell: Any) -> list[str]:
    """Why the executor cannot run this cell on this machine; empty if it can."""
    compiled = compile_cell(cell)
    return [] if isinstance(compiled, Compiled) else [compiled]


def way(cell: Any) -> str:
    """What a scan on this machine's CPU runs by: "executor", "torch's lstm" (a kernel), "definition"."""
    if isinstance(compile_cell(cell), Compiled):
        return "executor"
    kernel = torch_kernels.kernel(cell)
    return "definition" if kernel is None else f"torch's {kernel}"


def compile_cell(cell: Any) -> Compiled | str:
    """The cell made ready for the executor, or what speaks against it. Done once for each of its settings."""
    if (missing := library.objection()) is not None:
        return missing
    tensors = [*cell.named_parameters(), *cell.named_buffers()]
    key = (cell.training, cell.extra_repr(), tuple((name, tensor.shape) for name, tensor in tensors))
    ways = _known.setdefault(cell, {})
    if key not in ways:
        ways[key] = _compiled(cell)
    return ways[key]


def _compiled(cell: Any) -> Compiled | str:
    chosen = library.load()
    if chosen is None:
        return "no compiled executor was found"
    with bfloat16.as_written():
        try:
            compiled = Compiled(cell, chosen)
        except Objection as objection:
            return str(objection)
        return _mismatch(cell, compiled) or compiled


def _mismatch(cell: Any, compiled: Compiled) -> str | None:
    """Compares with ``project`` and ``advance`` on random values: what depends on values cannot be traced."""
    generator = torch.Generator().manual_seed(4)
    like = next(cell.parameters(), torch.zeros(())).detach()
    if like.device.type != "cpu":
        return None  # compared when it comes to the CPU
    if like.dtype == torch.bfloat16:  # the comparison is one of equations, not of roundings
        cell, like = copy.deepcopy(cell).float(), like.float()

    def drawn(shape: Iterable[int]) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(like.dtype)

    if like.dtype not in library.PRECISIONS:
        return None
    with torch.no_grad():
        x = drawn((3, 4, cell.input_size))
        # Near the start, and to one side of it: a normaliser drawn close to zero would magnify any rounding.
        state = states.transform(lambda leaf: leaf + drawn(leaf.shape).abs(), cell.initial_state(4))
        leaves = dict(states.leaves(state))
        y, last = fused.scan(compiled, x, tuple(leaves.values()), compiled.prepare(cell))
        defined, end = definition.scan(cell, x, state, None)
    for mine, theirs in zip([y, *last], [defined, *(leaf for _, leaf in states.leaves(end))], strict=True):
        if mine.shape != theirs.shape or not (mine - theirs).norm() <= TOLERANCE * (theirs.norm() + 1e-6):
            return "its equations depend on values in a way that tracing does not see"
    return None


def _plain(x: Tensor, leaves: Iterable[Tensor]) -> bool:
    """Whether these are tensors as the executor takes them, to be computed with here and now."""
    return (
        x.numel() > 0
        and all(
            t.device.type == "cpu" and t.dtype == x.dtype and t.layout == torch.strided for t in (x, *leaves)
        )
        and x.dtype in library.PRECISIONS
        and (x.dtype == torch.float64 or not torch.is_autocast_enabled("cpu"))  # it leaves float64 alone
        and not _transformed()
    )


def _transformed() -> bool:
    """Whether PyTorch compiles, maps or differentiates forwards: then it must see every operation."""
    return (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
    )


def _fits(compiled: Compiled, x: Tensor, leaves: dict[str, Tensor], fixed: tuple[Tensor, ...]) -> bool:
    """Whether sizes and precisions are those that were traced; if not, the definition says what is wrong."""
    advance = compiled.advance
    return (
        tuple(leaves) == advance.leaves
        and all(leaf.shape == (x.shape[1], advance.widths[f"{name}'"]) for name, leaf in leaves.items())
        and all(tensor.dtype == x.dtype and tensor.device == x.device for tensor in fixed)
    )
