"""``torch.nn``'s LSTM, GRU and RNN on fused scans: swapping the import is the whole migration.

>>> import torch
>>> from elman.drop_in import LSTM  # instead of: from torch.nn import LSTM
>>> lstm = LSTM(3, 4, num_layers=2, bidirectional=True, batch_first=True)
>>> outputs, (h, c) = lstm(torch.ones(5, 7, 3))
>>> tuple(outputs.shape), tuple(h.shape), isinstance(lstm, torch.nn.LSTM)
((5, 7, 8), (4, 5, 4), True)

The modules are torch's own: constructor, parameters, ``state_dict`` (both ways), input forms (unbatched,
batched, ``batch_first``, ``PackedSequence``), results, messages. Only how ``forward`` computes differs: all
layers and directions up to a dropout are one call of the compiled executor, from the equations of
:mod:`elman.cells`. Dropout between layers draws the numbers that torch's modules draw. Under
``torch.autocast("cpu", torch.bfloat16)``, and in modules of bfloat16, only products are computed in bfloat16
(:mod:`elman.fused.bfloat16`), so results are nearer to those of float32 than torch's; they are returned in
the precision of torch's.

What the executor does not take, ``forward`` hands to torch: other devices than a CPU, other precisions, no
steps or rows, tensor subclasses, what ``torch.compile``, ``torch.export``, ``torch.jit.trace`` and
``torch.func`` look into, a machine without a compiler, and input that torch refuses. Not here:
``torch.jit.script``, which would have to compile this file; script a ``torch.nn`` module with the same
``state_dict``.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from elman import cells
from elman.axes import BH, TBH, TBX, B
from elman.fused import bfloat16, choose
from elman.fused.compiled import Compiled
from elman.fused.layers import Layer, run
from elman.fused.scan import Task, shaped
from elman.fused.surroundings import watched

PRECISIONS = (torch.float32, torch.float64, torch.bfloat16)

#: For each layer and direction the leaves of its state.
_Leaves = list[tuple[BH, ...]]


class _Sequences(NamedTuple):
    """What a module was given, as sequences T B X: all of one length, or each of its own, longest first."""

    x: TBX
    lengths: B | None = None

    def drop(self, rate: float) -> "_Sequences":
        """Dropout that draws as many numbers as torch's does: none for what stands past the end."""
        if self.lengths is None:
            return _Sequences(dropout(self.x, rate))
        packed = pack_padded_sequence(self.x, self.lengths)
        x, _ = pad_packed_sequence(packed._replace(data=dropout(packed.data, rate)))
        return _Sequences(x, self.lengths)


class _Scanning(nn.RNNBase):
    """A module of torch's whose layers are fused scans. The next class in line is the module itself."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Outputs and last state, as of the ``torch.nn`` module of this name."""
        self._update_flat_weights()
        start = self._start(input, hx)
        compiled = [] if start is None else self._compiled()
        if start is None or not compiled:
            return super().forward(input, hx)
        if input.data.dtype == torch.bfloat16 or torch.is_autocast_enabled("cpu"):
            with bfloat16.as_written():
                y, last = self._in_bfloat16(input, start, compiled)
        else:
            y, last = self._run(input, start, compiled)
        return y, self._hidden(last)

    def _in_bfloat16(self, input: Any, start: _Leaves, compiled: list[Compiled]) -> tuple[Any, list[Tensor]]:
        y, last = self._run(
            _to(input, torch.float32),
            [tuple(leaf.float() for leaf in leaves) for leaves in start],
            [each.halved for each in compiled],
        )
        ragged = isinstance(input, PackedSequence) and not _even(input)
        precisions = self._precisions(start[0], ragged)
        returned = [leaf.to(precision) for leaf, precision in zip(last, precisions, strict=True)]
        return _to(y, precisions[0]), returned

    def _run(self, input: Any, start: _Leaves, compiled: list[Compiled]) -> tuple[Any, list[Tensor]]:
        """Outputs in the form of the input, and the leaves of the last states."""
        if isinstance(input, PackedSequence):
            return self._packed(input, start, compiled)
        if input.dim() == 2:
            y, last = self._scan(_Sequences(input.unsqueeze(1)), start, compiled)
            return y.squeeze(1), [leaf.squeeze(1) for leaf in last]
        x = input.transpose(0, 1) if self.batch_first else input
        y, last = self._scan(_Sequences(x), start, compiled)
        return y.transpose(0, 1) if self.batch_first else y, last

    def _packed(
        self, input: PackedSequence, start: _Leaves, compiled: list[Compiled]
    ) -> tuple[PackedSequence, list[Tensor]]:
        data, sizes, order, back = input
        if _even(input):
            given = _Sequences(data.reshape(len(sizes), -1, data.shape[1]))
        else:
            given = _Sequences(*pad_packed_sequence(PackedSequence(data, sizes)))
        if order is not None:
            start = [tuple(leaf.index_select(0, order) for leaf in leaves) for leaves in start]
        y, last = self._scan(given, start, compiled)
        if back is not None:
            last = [leaf.index_select(1, back) for leaf in last]
        rows = y.flatten(0, 1) if given.lengths is None else pack_padded_sequence(y, given.lengths).data
        return PackedSequence(rows, sizes, order, back), last

    def _scan(self, given: _Sequences, start: _Leaves, compiled: list[Compiled]) -> tuple[TBH, list[Tensor]]:
        """All layers: outputs (T B H) and the leaves of the last states, each (layers · directions) B H."""
        directions = 2 if self.bidirectional else 1
        ends: _Leaves = []
        layers: list[Layer] = []
        for layer in range(self.num_layers):
            if layer > 0 and self.training and self.dropout > 0:
                y, last = run(given.x, layers)
                given, layers = given._replace(x=y).drop(self.dropout), []
                ends += last
            this, tasks = compiled[min(layer, 1)], []
            for reverse in range(directions):
                k = layer * directions + reverse
                fixed = self._fixed(k, this, given.x.dtype)
                tasks.append(Task(this, shaped(given.x, given.lengths, bool(reverse)), (*start[k], *fixed)))
            layers.append(tasks)
        y, last = run(given.x, layers)
        ends += last
        if len(ends) == 1:
            return y, [leaf.unsqueeze(0) for leaf in ends[0]]
        return y, [torch.stack(leaves) for leaves in zip(*ends, strict=True)]

    def _fixed(self, k: int, compiled: Compiled, dtype: torch.dtype) -> list[Tensor]:
        """The vectors and matrices of the Programs, from the parameters of layer and direction ``k``."""
        weights = cast(list[Tensor], self._flat_weights)
        count = len(weights) // (self.num_layers * (2 if self.bidirectional else 1))
        weight_x, weight_h, *rest = (weight.to(dtype) for weight in weights[k * count : (k + 1) * count])
        by_name = {"weight_x": weight_x, "weight_h": weight_h}
        if self.proj_size > 0:
            by_name["weight_p"] = rest.pop()
        by_name |= self._biases(*rest) if rest else self._biases(*[weight_x.new_zeros(weight_x.shape[0])] * 2)
        return [by_name[name] for name in (*compiled.project.fixed, *compiled.advance.fixed)]

    def _biases(self, first: Tensor, second: Tensor) -> dict[str, Tensor]:
        """Our cell's biases from torch's ``bias_ih`` and ``bias_hh``, which are only ever added."""
        return {"bias": first + second}

    def _start(self, input: Any, hx: Any) -> _Leaves | None:
        """The initial state of each layer and direction; None for what torch does or refuses."""
        packed = isinstance(input, PackedSequence)
        x = input.data if packed else input
        if not _plain([x, *self._flat_weights]) or x.shape[-1] != self.input_size:
            return None
        shapes = _shapes(
            self.mode, self.input_size, self.hidden_size, self.num_layers, 2 if self.bidirectional else 1,
            self.bias, self.proj_size,
        )  # fmt: skip
        if [weight.shape for weight in cast(list[Tensor], self._flat_weights)] != shapes:
            return None
        if x.dim() not in ((2,) if packed else (2, 3)):
            return None
        single = x.dim() == 2 and not packed
        batch = (
            1 if single else int(input.batch_sizes[0]) if packed else x.shape[0 if self.batch_first else 1]
        )
        count = self.num_layers * (2 if self.bidirectional else 1)
        sizes = [(count, batch, size) for size in self._widths()]
        if hx is None:
            return [tuple(x.new_zeros(batch, size) for size in self._widths())] * count
        leaves = self._leaves(hx)
        if leaves is None or not _plain([x, *leaves]):
            return None
        if single:
            leaves = [leaf.unsqueeze(1) if leaf.dim() == 2 else leaf.new_empty(0) for leaf in leaves]
        if [leaf.shape for leaf in leaves] != sizes:
            return None
        return list(zip(*(leaf.unbind(0) for leaf in leaves), strict=True))

    def _widths(self) -> list[int]:
        """The features of each leaf of the state."""
        return [self.hidden_size]

    def _precisions(self, start: tuple[BH, ...], ragged: bool) -> list[torch.dtype]:
        """In what torch returns a state (and outputs, in that of h) whose products were in bfloat16."""
        del start, ragged
        return [torch.bfloat16]

    def _leaves(self, hx: Any) -> list[Tensor] | None:
        """The leaves of a state as it is given; None if it has another form."""
        return [hx] if isinstance(hx, Tensor) else None

    def _hidden(self, leaves: list[Tensor]) -> Any:
        """The leaves of a state as it is returned."""
        return leaves[0]

    def _compiled(self) -> list[Compiled]:
        """What the first layer, and all those above it, are made into; nothing if they cannot be."""
        above = (self.proj_size or self.hidden_size) * (2 if self.bidirectional else 1)
        found = []
        for x in (self.input_size, above)[: self.num_layers]:
            compiled = _compile(self.mode, x, self.hidden_size, self.proj_size)
            if compiled is None:
                return []
            found.append(compiled)
        return found


class LSTM(_Scanning, nn.LSTM):
    """``torch.nn.LSTM`` on fused scans: see :mod:`elman.drop_in`. Equations: :class:`elman.cells.LSTM`.

    With ``proj_size`` those of :class:`elman.cells.ProjectedLSTM`.

    >>> lstm = LSTM(3, 4)
    >>> theirs = nn.LSTM(3, 4)
    >>> theirs.load_state_dict(lstm.state_dict())
    <All keys matched successfully>
    >>> x = torch.randn(5, 2, 3)
    >>> bool(torch.allclose(lstm(x)[0], theirs(x)[0], atol=1e-6))
    True
    """

    def _widths(self) -> list[int]:
        return [self.proj_size or self.hidden_size, self.hidden_size]

    def _precisions(self, start: tuple[BH, ...], ragged: bool) -> list[torch.dtype]:
        # Step by step a memory of float32 stays so, and makes h so; oneDNN takes whole sequences in bfloat16.
        stepwise = ragged or self.proj_size > 0
        h = start[1].dtype if stepwise and self.proj_size == 0 else torch.bfloat16
        return [h, start[1].dtype if stepwise else torch.bfloat16]

    def _leaves(self, hx: Any) -> list[Tensor] | None:
        pair = isinstance(hx, (tuple, list)) and len(hx) == 2
        return list(hx) if pair and all(isinstance(leaf, Tensor) for leaf in hx) else None

    def _hidden(self, leaves: list[Tensor]) -> Any:
        return tuple(leaves)


class GRU(_Scanning, nn.GRU):
    """``torch.nn.GRU`` on fused scans: see :mod:`elman.drop_in`. Equations: :class:`elman.cells.GRU`.

    >>> h = GRU(3, 4)(torch.randn(5, 2, 3))[1]
    >>> tuple(h.shape)
    (1, 2, 4)
    """

    def _precisions(self, start: tuple[BH, ...], ragged: bool) -> list[torch.dtype]:
        del ragged
        return [start[0].dtype]  # what is left of the old state is added as it is

    def _biases(self, first: Tensor, second: Tensor) -> dict[str, Tensor]:
        gates, candidate = second.split([2 * self.hidden_size, self.hidden_size])
        return {"bias": first + torch.cat([gates, torch.zeros_like(candidate)]), "bias_h": candidate}


class RNN(_Scanning, nn.RNN):
    """``torch.nn.RNN`` on fused scans: see :mod:`elman.drop_in`. Equations: :class:`elman.cells.Elman`.

    >>> RNN(3, 4, nonlinearity="relu")(torch.randn(5, 2, 3))[0].min() >= 0
    tensor(True)
    """


@cache
def _compile(mode: str, input_size: int, hidden_size: int, projection_size: int) -> Compiled | None:
    """The cell of these equations and sizes, ready for the executor: once for all modules that have them."""
    # Its own weights are drawn and thrown away: that must neither be seen nor depend on who asks.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"), torch.inference_mode(False):
        if mode == "LSTM" and projection_size > 0:
            cell: cells.Cell = cells.ProjectedLSTM(input_size, hidden_size, projection_size)
        elif mode == "LSTM":
            cell = cells.LSTM(input_size, hidden_size)
        elif mode == "GRU":
            cell = cells.GRU(input_size, hidden_size)
        else:
            cell = cells.Elman(input_size, hidden_size, mode.removeprefix("RNN_").lower())
        compiled = choose.compile_cell(cell.float())
    return compiled if isinstance(compiled, Compiled) else None


@cache
def _shapes(
    mode: str,
    input_size: int,
    hidden_size: int,
    layers: int,
    directions: int,
    bias: bool,
    projection_size: int,
) -> list[tuple[int, ...]]:
    """The shapes of a module's parameters, in order. Whatever else stands in their place torch refuses."""
    output_size = projection_size or hidden_size
    rows = {"LSTM": 4, "GRU": 3}.get(mode, 1) * hidden_size
    shapes: list[tuple[int, ...]] = []
    for layer in range(layers):
        x = input_size if layer == 0 else directions * output_size
        one = [(rows, x), (rows, output_size), *([(rows,)] * 2 if bias else [])]
        shapes += [*one, *([(projection_size, hidden_size)] if projection_size else [])] * directions
    return shapes


def _plain(tensors: Iterable[Any]) -> bool:
    """Whether these are tensors as the executor takes them, to be computed with here and now."""
    if (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
    ):
        return False
    first, *rest = tensors
    if (
        watched()
        or any(type(t) not in (Tensor, nn.Parameter) or t.layout != torch.strided for t in (first, *rest))
        or first.device.type != "cpu"
        or first.numel() == 0
        or any(t.device != first.device for t in rest)
    ):
        return False
    if torch.is_autocast_enabled("cpu"):
        mixed = all(t.dtype in (torch.float32, torch.bfloat16) for t in (first, *rest))
        return mixed and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return first.dtype in PRECISIONS and all(t.dtype == first.dtype for t in rest)


def _even(given: PackedSequence) -> bool:
    """Whether all its sequences are of one length."""
    return int(given.batch_sizes[0]) == int(given.batch_sizes[-1])


def _to(given: Any, dtype: torch.dtype) -> Any:
    """A tensor or a packed sequence in another precision."""
    return given._replace(data=given.data.to(dtype)) if isinstance(given, PackedSequence) else given.to(dtype)
