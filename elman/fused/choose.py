"""Which way a scan runs: by the compiled executor, by a kernel of torch's own, or by the definition."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from threading import RLock
from typing import Any, NamedTuple, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from elman import states
from elman.axes import TBH, TBX, B
from elman.errors import ShapeError
from elman.fused import bfloat16, definition, layers, library, operator, recompute, torch_kernels
from elman.fused import scan as fused
from elman.fused.compiled import Compiled
from elman.fused.noise import inside, traces
from elman.fused.operations import Objection
from elman.fused.surroundings import held, unseen, watched
from elman.fused.trace import settings

#: What each cell was made into, or why not; for each way it was set up.
_known: WeakKeyDictionary[nn.Module, dict[Any, Compiled | str]] = WeakKeyDictionary()

#: Held while a cell is made into something: others stand in for its own tensors then, which no scan may read.
_making = RLock()


def scan(
    cell: Any,
    x: TBX,
    state: Any,
    lengths: B | None,
    noise: Mapping[str, Tensor] | None = None,
    reverse: bool = False,
) -> tuple[TBH, Any]:
    """The scan of :func:`elman.fused.definition.scan`, the fastest way there is for these tensors.

    With products in bfloat16 where :mod:`elman.fused.bfloat16` says so. ``cell.store`` "recompute" is heeded
    by the executor alone, and not while PyTorch compiles.
    """
    leaves, noise = dict(states.leaves(state)), noise or {}
    returned = bfloat16.result(x, chain(leaves.values(), cell.parameters()))
    if returned is None:
        found = _by_executor(cell, x, leaves, lengths, noise, reverse)
    else:
        with bfloat16.as_written():
            wide = {name: leaf.float() for name, leaf in leaves.items()}
            found = _by_executor(cell, x.float(), wide, lengths, noise, reverse, half=True)
    if found is not None:
        y, last = found[0], states.replace(state, dict(zip(leaves, found[1], strict=True)))
    else:
        require_state(cell, state, x.shape[1])  # torch's kernels do not look: they would write beyond it
        if torch.compiler.is_compiling():
            y, last = definition.scan(cell, x, state, lengths, noise, reverse)
        else:
            try:
                if noise or _transformed():
                    y, last = definition.scan(cell, x, state, lengths, noise, reverse)
                else:
                    y, last = torch_kernels.scan(cell, x, state, lengths, reverse=reverse)
            except RuntimeError:
                require_precision(cell, x)
                raise
    return (
        (y, last) if returned is None else (y.to(returned), states.transform(lambda t: t.to(returned), last))
    )


def require_state(cell: Any, state: Any, batch: int) -> None:
    """Raises :class:`ShapeError` for the state of another cell or batch."""
    states.require(
        state,
        cell.initial_state(batch),
        asked=f"{type(cell).__name__}({cell.extra_repr()}) was given a state for a batch of {batch}.",
        do=f"Give one as this cell's initial_state({batch}) and scan return it.",
    )


def require_precision(cell: Any, x: Tensor) -> None:
    """Raises :class:`ShapeError` where no parameter is of the type of ``x``, and something went wrong.

    Only then: a cell may convert what it reads, and autocast does.
    """
    kinds = {parameter.dtype for parameter in cell.parameters()}
    if kinds and x.dtype not in kinds:
        has = " and ".join(sorted(str(kind).removeprefix("torch.") for kind in kinds))
        came = str(x.dtype).removeprefix("torch.")
        raise ShapeError(
            f"{type(cell).__name__}({cell.extra_repr()}) was given an input of {came}.",
            f"Its parameters are {has}.",
            f"Convert one: x.to(torch.{has.split(' ')[0]}), or cell.to(x.dtype)."
            if x.is_floating_point()
            else "Token ids are looked up first: in an Embedding, or a OneHot.",
        )


def _by_executor(
    cell: Any,
    x: TBX,
    leaves: dict[str, Tensor],
    lengths: B | None,
    noise: Mapping[str, Tensor],
    reverse: bool,
    half: bool = False,
) -> tuple[TBH, tuple[Tensor, ...]] | None:
    """Outputs and last state, leaf by leaf; None where the executor cannot run it."""
    if torch.compiler.is_compiling():
        return (
            _by_operator(cell, x, leaves, lengths, noise, reverse, half)
            if _plain(x, leaves.values())
            else None
        )
    task = _task(cell, x, leaves, lengths, noise, reverse, half)
    if task is None:
        return None
    if cell.store == "recompute":
        return recompute.run(x, task)
    y, (last,) = layers.run(x, [[task]])
    return y, last


def _task(
    cell: Any,
    x: TBX,
    leaves: dict[str, Tensor],
    lengths: B | None,
    noise: Mapping[str, Tensor],
    reverse: bool,
    half: bool = False,
) -> fused.Task | None:
    """The scan for the executor, of an input like ``x``; None where it cannot run it."""
    if watched() or not _plain(x, leaves.values()) or not held((x, *leaves.values())):
        return None
    compiled = compile_cell(cell, inside(noise))
    if not isinstance(compiled, Compiled):
        return None
    fixed = compiled.prepare(cell, noise)
    if not _fits(compiled.state, x, leaves, fixed) or not held(fixed):
        return None
    compiled, masks = compiled.halved if half else compiled, compiled.traces.masks(noise, x)
    return fused.Task(compiled, fused.shaped(x, lengths, reverse), (*leaves.values(), *fixed, *masks))


class Side(NamedTuple):
    """A cell that reads its layer's input from ``state`` on: from its beginning, or in ``reverse``."""

    cell: Any
    state: Any
    reverse: bool


def scan_layers(sides: Sequence[Sequence[Side]], x: TBX, lengths: B | None) -> tuple[TBH, list[Any]] | None:
    """Scans by cells in layers, in one native call: outputs of the last layer, and the cells' last states.

    Each layer reads the outputs of the one before, side by side. None where not all of it is the executor's
    with everything kept: then each scan is to be done by itself.
    """
    every = [side for layer in sides for side in layer]
    if torch.compiler.is_compiling() or any(side.cell.store == "recompute" for side in every):
        return None
    before = [dict(states.leaves(side.state)) for side in every]
    given = (
        chain(leaves.values(), side.cell.parameters()) for leaves, side in zip(before, every, strict=True)
    )
    returned = bfloat16.result(x, chain.from_iterable(given))
    if returned is None:
        found = _by_layers(sides, x, before, lengths)
    else:
        with bfloat16.as_written():
            wide = [{name: leaf.float() for name, leaf in leaves.items()} for leaves in before]
            found = _by_layers(sides, x.float(), wide, lengths, half=True)
    if found is None:
        return None
    y, last = found
    ends = [
        states.replace(side.state, dict(zip(leaves, end, strict=True)))
        for side, leaves, end in zip(every, before, last, strict=True)
    ]
    if returned is not None:
        y, ends = y.to(returned), [states.transform(lambda leaf: leaf.to(returned), end) for end in ends]
    return y, ends


def _by_layers(
    sides: Sequence[Sequence[Side]],
    x: TBX,
    before: Sequence[dict[str, Tensor]],
    lengths: B | None,
    half: bool = False,
) -> tuple[TBH, list[tuple[Tensor, ...]]] | None:
    """Outputs and each cell's last state, leaf by leaf; None where the executor cannot run one of them."""
    tasks: list[list[fused.Task]] = []
    rest, width = iter(before), x.shape[-1]
    for layer in sides:
        tasks.append([])
        for side in layer:
            task = _task(side.cell, x, next(rest), lengths, {}, side.reverse, half)
            if task is None or side.cell.input_size != width:
                return None  # by itself each says what it cannot read
            tasks[-1].append(task)
        width = sum(layers.widths(tasks[-1]))
    return layers.run(x, tasks)


def _by_operator(
    cell: Any,
    x: TBX,
    leaves: dict[str, Tensor],
    lengths: B | None,
    noise: Mapping[str, Tensor],
    reverse: bool,
    half: bool,
) -> tuple[TBH, tuple[Tensor, ...]] | None:
    """The same, of tensors that are only being compiled for."""
    known = _operator(cell, cell.training, cell.extra_repr(), tuple(noise), half)
    if known is None:
        return None
    name, state, sites = known
    fixed = operator.prepare(name, cell, noise)
    if not _fits(state, x, leaves, fixed) or any(noise[site].shape[-1] != width for site, width in sites):
        return None
    masks = [noise[site].detach().to(x).expand(*x.shape[:2], -1) for site, _ in sites]
    return operator.scan(name, x, tuple(leaves.values()), fixed, lengths, reverse, masks)


def _operator(
    cell: Any, _training: bool, _settings: str, noise: tuple[str, ...], half: bool
) -> tuple[str, tuple[tuple[str, int], ...], tuple[tuple[str, int], ...]] | None:
    """The cell's name as an operator, what its state and its masks must be; None if it has none.

    To a compiler this is one constant: it holds for this cell in this mode, with these settings.
    """
    compiled = unseen(compile_cell, cell, inside(noise))
    if isinstance(compiled, str):
        return None
    return operator.register(compiled.halved if half else compiled), compiled.state, compiled.masks


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


def compile_cell(cell: Any, masks: frozenset[str] = frozenset()) -> Compiled | str:
    """The cell made ready for the executor, or what speaks against it. Done once for each of its settings.

    ``masks``: the sites of :mod:`elman.fused.noise` at which its Programs are to have masks.
    """
    if (missing := library.objection()) is not None:
        return missing
    found = _known.setdefault(cell, {}).get((settings(cell), masks))
    return unseen(_made, cell, masks) if found is None else found


def _made(cell: Any, masks: frozenset[str]) -> Compiled | str:
    """The same, made now unless another thread has just done it."""
    with _making:
        key, ways = (settings(cell), masks), _known.setdefault(cell, {})
        if key not in ways:
            compiled = _compiled(cell, masks)
            if isinstance(compiled, Compiled) and any(_valueless(tensor) for tensor in cell.parameters()):
                return compiled  # exported before it ever ran: compared with its definition when it does
            ways[key] = (isinstance(compiled, Compiled) and _mismatch(cell, compiled)) or compiled
        return ways[key]


def _compiled(cell: Any, masks: frozenset[str]) -> Compiled | str:
    chosen = library.load()
    if chosen is None:
        return "no compiled executor was found"
    with bfloat16.as_written():
        try:
            made = traces(cell, masks)
            if made.ready is None or made.ready.advance.library is not chosen:
                made.ready = Compiled(made, chosen)
            return cast(Compiled, made.ready)
        except Objection as objection:
            return str(objection)


def _valueless(tensor: Tensor) -> bool:
    """Whether a tensor only stands for one, as in an export."""
    return tensor.device.type == "cpu" and tensor.untyped_storage().device.type == "meta"


def _mismatch(cell: Any, compiled: Compiled) -> str | None:
    """Compares with ``project`` and ``advance`` on random values: what depends on values cannot be traced."""
    like = next(cell.parameters(), torch.zeros(()))
    if like.device.type != "cpu" or like.dtype not in (*library.PRECISIONS, torch.bfloat16):
        return None  # compared when it comes to the CPU

    def run(x: TBX, state: tuple[Tensor, ...], fixed: tuple[Tensor, ...], masks: tuple[Tensor, ...]) -> Any:
        return layers.scan(compiled, x, state, fixed, masks=masks)

    with bfloat16.as_written():
        return definition.mismatch(cell, compiled.traces, run)


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
    """Whether PyTorch maps or differentiates forwards: then it must see every operation."""
    return torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0


def _fits(
    state: tuple[tuple[str, int], ...], x: Tensor, leaves: dict[str, Tensor], fixed: Sequence[Tensor]
) -> bool:
    """Whether sizes and precisions are those that were traced; if not, the definition says what is wrong."""
    return (
        tuple(leaves) == tuple(name for name, _ in state)
        and all(
            leaf.shape == (x.shape[1], width) for leaf, (_, width) in zip(leaves.values(), state, strict=True)
        )
        and all(tensor.dtype == x.dtype and tensor.device == x.device for tensor in fixed)
    )


# What torch.compiler.assume_constant_result does, which would import the whole compiler: over a second.
for _asked in (_operator, _transformed):
    _asked.__dict__["_dynamo_marked_constant"] = True
