"""The scan as operators of PyTorch's, ``elman::scan`` and ``elman::scan_backward``: opaque to what compiles,
exports or fakes tensors.

An operator takes tensors, numbers and text, so the compiled cell is named by the hash of its Programs.
Eager code calls :func:`elman.fused.layers.run` itself, which costs less per call.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from elman.axes import TBH, TBX, B, require_lengths
from elman.errors import ElmanError
from elman.fused import layers
from elman.fused import scan as fused
from elman.fused.compiled import Compiled
from elman.fused.passes import Wanted
from elman.fused.trace import named_tensors

Tensors = tuple[Tensor, ...]

#: The compiled cells that the operators know, by the hash of their content.
_programs: dict[str, Compiled] = {}

# A cell's tensors by name, and masks of its weights → vectors and matrices of its Programs. It is made of
# PyTorch's own operations, which a compiler sees.
torch.library.define(
    "elman::prepare",
    "(str program, str[] names, Tensor[] tensors, str[] sites, Tensor[] masks) -> Tensor[]",
)
# ``tensors``: x, the state's leaves, vectors and matrices, masks; ``needs``: for each, "1" where its gradient
# is wanted, "0" where not; all "0" keeps nothing. Returns outputs, last state, and what is kept.
torch.library.define(
    "elman::scan",
    "(str program, Tensor[] tensors, Tensor? lengths, bool reverse, str needs) -> Tensor[]",
)
# ``kept``: what elman::scan returned, but for the last state; ``given``: gradients of outputs and last state.
# Returns the gradients of the tensors that ``needs`` marks.
torch.library.define(
    "elman::scan_backward",
    "(str program, Tensor[] tensors, Tensor? lengths, bool reverse, str needs, Tensor[] kept, "
    "Tensor?[] given) -> Tensor[]",
)


def register(compiled: Compiled) -> str:
    """The name by which the operators know a compiled cell from now on."""
    return _programs.setdefault(compiled.key, compiled).key


def prepare(program: str, cell: nn.Module, noise: Mapping[str, Tensor] | None = None) -> list[Tensor]:
    """The vectors and matrices of a cell that :func:`register` gave the name ``program``."""
    named = named_tensors(cell)
    dropped = {site: mask for site, mask in (noise or {}).items() if site.startswith("weights.")}
    return torch.ops.elman.prepare(
        program, list(named), list(named.values()), list(dropped), list(dropped.values())
    )


def scan(
    program: str,
    x: TBX,
    state: Sequence[Tensor],
    fixed: Sequence[Tensor],
    lengths: B | None,
    reverse: bool,
    masks: Sequence[Tensor] = (),
) -> tuple[TBH, Tensors]:
    """As :func:`elman.fused.layers.scan`, of the cell called ``program``."""
    tensors = [x, *state, *fixed, *masks]
    graded = torch.is_grad_enabled()
    needs = "".join("1" if graded and tensor.requires_grad else "0" for tensor in tensors)
    y, *rest = torch.ops.elman.scan(program, tensors, lengths, reverse, needs)
    return y, tuple(rest[: len(state)])


def _known(program: str) -> Compiled:
    if program not in _programs:
        raise ElmanError(
            f"The operator elman::scan was called for the Program {program}.",
            "This process has not traced a cell of that content.",
            "Scan one step of the cell before the graph that names it is run.",
        )
    return _programs[program]


def _wanted(compiled: Compiled, needs: str) -> Wanted | None:
    return fused.wanted(compiled, [need == "1" for need in needs]) if "1" in needs else None


def _task(
    compiled: Compiled, tensors: Sequence[Tensor], lengths: B | None, reverse: bool
) -> tuple[TBX, fused.Task]:
    x, *rest = tensors
    return x, fused.Task(compiled, fused.shaped(x, lengths, reverse), tuple(rest))


def _prepare(
    program: str, names: list[str], tensors: list[Tensor], sites: list[str], masks: list[Tensor]
) -> list[Tensor]:
    named, dropped = zip(names, tensors, strict=True), zip(sites, masks, strict=True)
    return list(_known(program).prepare(dict(named), dict(dropped)))


def _scan(program: str, tensors: list[Tensor], lengths: B | None, reverse: bool, needs: str) -> list[Tensor]:
    compiled = _known(program)
    if lengths is not None:  # what a graph is compiled from has no values to look at: they are seen here
        require_lengths(lengths, tensors[0])
    (x, task), wanted = _task(compiled, tensors, lengths, reverse), _wanted(compiled, needs)
    if wanted is None:
        y, last = fused.values(task, x)
        return [y, *last]
    y, last, kept = fused.keeping(task, x, wanted)
    return [y, *last, kept]


def _scan_backward(
    program: str, tensors: list[Tensor], lengths: B | None, reverse: bool, needs: str, kept: list[Tensor],
    given: list[Tensor | None],
) -> list[Tensor]:  # fmt: skip
    compiled = _known(program)
    wanted = _wanted(compiled, needs)
    if wanted is None:
        return []
    x, task = _task(compiled, tensors, lengths, reverse)
    y, rest = kept
    found = fused.gradients(task, x, wanted, y, rest, given)
    return [
        tensor.new_zeros(tensor.shape) if d is None else d
        for d, tensor, need in zip(found, tensors, needs, strict=True)
        if need == "1"
    ]


def _scan_fake(
    program: str, tensors: list[Tensor], lengths: B | None, reverse: bool, needs: str
) -> list[Tensor]:
    compiled = _known(program)
    wanted, x = _wanted(compiled, needs), tensors[0]
    sizes = fused.sizes(compiled, fused.shaped(tensors[0], lengths, reverse), wanted)
    return [x.new_empty(size) for size in sizes]


def _scan_backward_fake(
    program: str, tensors: list[Tensor], lengths: B | None, reverse: bool, needs: str, kept: list[Tensor],
    given: list[Tensor | None],
) -> list[Tensor]:  # fmt: skip
    return [
        tensor.new_empty(tensor.shape) for tensor, need in zip(tensors, needs, strict=True) if need == "1"
    ]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    program, tensors, lengths, reverse, needs = inputs
    ctx.set_materialize_grads(False)
    ctx.told = program, reverse, needs
    y, *rest = output
    last = len(_known(program).advance.leaves)
    ctx.mark_non_differentiable(*rest[last:])
    ctx.save_for_backward(lengths, *tensors, y, *rest[last:])


def _backward(ctx: Any, given: Sequence[Tensor | None]) -> tuple[Any, ...]:
    program, reverse, needs = ctx.told
    lengths, *saved = ctx.saved_tensors
    tensors, kept = saved[: len(needs)], saved[len(needs) :]
    compiled = _known(program)
    d_outputs = list(given[: 1 + len(compiled.advance.leaves)])
    wanted = [need == "1" for need in needs]
    if torch.is_grad_enabled():  # a second derivative may be asked for
        x, task = _task(compiled, tensors, lengths, reverse)
        gradients = layers.again(x, [task], wanted, d_outputs)
    else:
        found = iter(
            torch.ops.elman.scan_backward(program, tensors, lengths, reverse, needs, kept, d_outputs)
        )
        gradients = [next(found) if need else None for need in wanted]
    return None, gradients, None, None, None


torch.library.impl("elman::prepare", "CompositeImplicitAutograd", _prepare)
torch.library.impl("elman::scan", "CPU", _scan)
torch.library.impl("elman::scan_backward", "CPU", _scan_backward)
torch.library.register_fake("elman::scan", _scan_fake)
torch.library.register_fake("elman::scan_backward", _scan_backward_fake)
torch.library.register_autograd("elman::scan", _backward, setup_context=_setup)
