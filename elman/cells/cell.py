"""The contract of a recurrence: start, step, scan — and scan is step, repeated.

A :class:`Cell` writes its equations once, in two methods. ``project`` holds what needs no past and is done
for all T steps in one product; ``advance`` holds what needs the past and is done step by step::

    class Elman(Cell):
        def project(self, x):           # T B X → T B G
            return linear(x, self.weight_x, self.bias)
        def advance(self, x, state):    # B G, state → B H, state
            h = tanh(x + linear(state.h, self.weight_h))
            return h, HiddenState(h)

``advance`` is plain PyTorch, and the reference that every faster way of running the cell is tested against.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from elman import axes
from elman.axes import BG, BH, BX, TBG, TBH, TBX, B, require_lengths
from elman.errors import OptionError, ShapeError
from elman.fused import choose
from elman.fused.choose import Side
from elman.fused.definition import flip
from elman.fused.noise import require
from elman.fused.recompute import STORES


class HiddenState(NamedTuple):
    """The state of a cell that remembers only its output."""

    h: BH


class MemoryState(NamedTuple):
    """The state of a cell with a memory ``c`` beside its output ``h``."""

    h: BH
    c: BH


class Encoder(nn.Module, ABC):
    """Anything that reads whole sequences; an output may depend on what follows it.

    Attributes: ``input_size`` (X) and ``output_size`` (H), in features per step.
    """

    input_size: int
    output_size: int

    @abstractmethod
    def initial_state(self, batch: int) -> Any:
        """The state before the first step, for ``batch`` sequences, on the parameters' device and dtype."""

    @abstractmethod
    def scan(self, x: TBX, state: Any = None, lengths: B | None = None, noise: Any = None) -> tuple[TBH, Any]:
        """Reads all steps of ``x`` (T B X) from ``state`` (default: the initial one).

        With ``lengths`` (int64, B; 0 … T): past the end of a sequence outputs are zero and the state
        does not move. ``noise``: masks drawn before the scan (:mod:`elman.cells.noise`), by the names of
        the sites where they fall, (1 or T) B H; a stack takes those of each layer. No gradient flows to
        them. Returns the outputs (T B H) and each sequence's last state.

        Raises :class:`ShapeError` where ``x``, ``state``, ``lengths`` or ``noise`` do not fit.
        """

    def draw(self, batch: int, steps: int, generator: torch.Generator | None = None) -> Any:
        """Masks for ``scan(…, noise=…)`` over so many steps; None for what has no noise."""
        del batch, steps, generator

    def _sides(self, state: Any, batch: int, reverse: bool) -> list[Side] | None:
        """The cells whose scans, side by side, are this one's; None where it does anything else."""
        del state, batch, reverse
        return None

    def _joined(self, states: Iterator[Any]) -> Any:
        """This one's state, of those of its sides: the next ones of all."""
        return next(states)


class Recurrence(Encoder):
    """Anything that reads a sequence step by step: a cell, or a stack of them.

    Its ``scan`` is ``step`` folded over the steps, so no output depends on what follows it.
    """

    @abstractmethod
    def step(self, x: BX, state: Any) -> tuple[BH, Any]:
        """One step: reads ``x`` (B X) in ``state``; returns the output (B H) and the new state."""

    def scan_reversed(
        self, x: TBX, state: Any = None, lengths: B | None = None, noise: Any = None
    ) -> tuple[TBH, Any]:
        """The same from the last step of each sequence to its first; outputs stand at their own steps.

        It is :meth:`scan` over sequences turned around, whose outputs are turned back. The state returned
        is the one after the first step has been read.
        """
        if lengths is not None:
            require_lengths(lengths, x)
        outputs, last = self.scan(flip(x, lengths), state, lengths, _turned(noise, lengths))
        return flip(outputs, lengths), last


class Cell(Recurrence):
    """One published recurrence. Subclasses write ``project`` and ``advance``; the rest is derived.

    ``GATES`` names, in order, the blocks of H rows that the packed weights ``weight_x`` (G X), ``weight_h``
    (G H) and ``bias`` (G) consist of; a cell that keeps its tensors otherwise says so.
    """

    GATES: ClassVar[str]
    TOGETHER: ClassVar[tuple[str, ...]] = ()
    """Leaves of the state that mean something only together: zoneout may hold none of them back."""
    hidden_size: int
    """H, in features: the size of ``h`` or, where a cell projects its output, of its memory ``c``."""

    _store = "all"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if size < 1:
                raise ShapeError(
                    f"{type(self).__name__}(input_size={input_size}, hidden_size={hidden_size}) "
                    "was asked for.",
                    f"{name} is {size}.",
                    "Sizes are whole numbers from 1.",
                )
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.output_size = hidden_size

    @property
    def store(self) -> str:
        """What a scan keeps for its gradient: "all" that it reads (the default), or "recompute". May be set.

        "recompute" keeps the state at every √T-th step, and runs the steps between forward again in the
        backward pass [chen2016]: another forward pass in time, for a fraction of the memory. Values are the
        same, gradients but for the order of their sums. Everything is kept, as by "all", where the compiled
        executor does not run the cell, in graphs that PyTorch compiles, and for second derivatives.

        Raises :class:`OptionError` when set to anything else.

        >>> from elman.cells import LSTM
        >>> cell = LSTM(input_size=2, hidden_size=3)
        >>> cell.store = "recompute"
        """
        return self._store

    @store.setter
    def store(self, store: str) -> None:
        if store not in STORES:
            raise OptionError(
                f"{type(self).__name__}({self.extra_repr()}) was to store {store!r} for its gradient.",
                f"A cell can store {' or '.join(map(repr, STORES))}.",
                "Set one of these.",
            )
        self._store = store

    @abstractmethod
    def project(self, x: TBX) -> TBG:
        """What needs no past, for any leading axes: (… X) → (… G)."""

    @abstractmethod
    def advance(self, x: BG, state: Any) -> tuple[BH, Any]:
        """What needs the past: one step on projected input. The cell's equations."""

    @abstractmethod
    def initial_state(self, batch: int) -> Any: ...

    def adjust_start(self) -> None:
        """What the start of this cell asks for once its tensors were drawn, such as 1 added to a bias.

        To be called after every drawing, and only then. By default nothing.
        """

    def step(self, x: BX, state: Any) -> tuple[BH, Any]:
        self._require(x, "B X")
        try:
            return self.advance(self.project(x), state)
        except Exception:
            choose.require_state(self, state, len(x))  # that is the cause where it is another cell's
            choose.require_precision(self, x)
            raise

    def candidate(self, g: BH) -> BH:
        """``g`` as it is: the mark by which ``advance`` says what a memory takes in, where dropout may fall.

        Write ``g = self.candidate(torch.tanh(g))`` for noise on it (:class:`elman.cells.noise.Noise`).
        """
        return g

    def scan(
        self, x: TBX, state: Any = None, lengths: B | None = None, noise: Mapping[str, Tensor] | None = None
    ) -> tuple[TBH, Any]:
        return self._scan(x, state, lengths, noise, reverse=False)

    def scan_reversed(
        self, x: TBX, state: Any = None, lengths: B | None = None, noise: Mapping[str, Tensor] | None = None
    ) -> tuple[TBH, Any]:
        return self._scan(x, state, lengths, noise, reverse=True)

    def _scan(
        self, x: TBX, state: Any, lengths: B | None, noise: Mapping[str, Tensor] | None, reverse: bool
    ) -> tuple[TBH, Any]:
        self._require(x, "T B X")
        if state is None:
            state = self.initial_state(x.shape[1])
        if lengths is not None:
            require_lengths(lengths, x)
        if not noise:
            return choose.scan(self, x, state, lengths, reverse=reverse)
        require(self, noise, x)
        within = {name: mask for name, mask in noise.items() if name not in ("input", "output")}
        if "input" in noise:
            x = x * noise["input"].detach().to(x)
        y, last = choose.scan(self, x, state, lengths, within, reverse)
        return y * noise["output"].detach().to(y) if "output" in noise else y, last

    def _sides(self, state: Any, batch: int, reverse: bool) -> list[Side] | None:
        if does_more(self, Cell):
            return None
        return [Side(self, self.initial_state(batch) if state is None else state, reverse)]

    def extra_repr(self) -> str:
        return f"input_size={self.input_size}, hidden_size={self.hidden_size}"

    def zeros(self, batch: int) -> BH:
        """Zeros (B H) where and as the parameters are: the start of most leaves."""
        like = next(iter(self._parameters.values()), None)  # parameters() would walk over all modules
        return (next(self.parameters()) if like is None else like).new_zeros(batch, self.hidden_size)

    def _uniform(self, *sizes: int) -> nn.Parameter:
        """A parameter drawn from U(±1/√H): the start of every cell's tensors, as of ``torch.nn``'s."""
        bound = self.hidden_size**-0.5
        return nn.Parameter(torch.empty(sizes).uniform_(-bound, bound))

    def _require(self, x: Tensor, letters: str) -> None:
        if isinstance(x, Tensor) and x.dim() == len(letters.split()) and x.shape[-1] == self.input_size:
            return  # before a message is written that nobody reads: a step takes microseconds
        axes.require(
            x,
            "x",
            letters,
            {"X": self.input_size},
            asked=f"{type(self).__name__}({self.extra_repr()}) was given an input"
            + (f" of {axes.say(x)}." if isinstance(x, Tensor) else "."),
            do="Sequences are T B X (time first); a single step is B X.",
        )


def does_more(encoder: Encoder, base: type[Any]) -> bool:
    """Whether its class, or someone for this one object, put another scan in place of that of ``base``."""
    own, kind = vars(encoder), type(encoder)
    return any(
        name in own or getattr(kind, name, None) is not getattr(base, name, None)
        for name in ("scan", "scan_reversed", "_scan")
    )


def scan_layers(
    layers: Sequence[Encoder], x: TBX, before: Sequence[Any], lengths: B | None, reverse: bool = False
) -> tuple[TBH, tuple[Any, ...]] | None:
    """Outputs of the last layer, and the last states: ``scan`` of one after the other in one native call.

    Or ``scan_reversed`` of each. None where each is to be done by itself: for what the executor does not run,
    or a layer does around its scan (:meth:`Encoder._sides`).
    """
    batch = x.shape[1] if isinstance(x, Tensor) and x.dim() == 3 else 0
    sides = [layer._sides(state, batch, reverse) for layer, state in zip(layers, before, strict=True)]
    known = [each for each in sides if each is not None]
    if len(known) < len(sides):
        return None
    for side in known[0]:
        side.cell._require(x, "T B X")
    if lengths is not None:
        require_lengths(lengths, x)
    found = choose.scan_layers(known, x, lengths)
    if found is None:
        return None
    ends = iter(found[1])
    return found[0], tuple(layer._joined(ends) for layer in layers)


def _turned(noise: Any, lengths: B | None) -> Any:
    """Masks for sequences turned around: those of every step are turned too."""
    if isinstance(noise, Mapping):
        return {
            name: flip(mask.expand(-1, len(lengths), -1) if lengths is not None else mask, lengths)
            if mask.dim() == 3 and mask.shape[0] > 1
            else mask
            for name, mask in noise.items()
        }
    return None if noise is None else tuple(_turned(each, lengths) for each in noise)


def require_at_least(least: int, name: str, number: int, cell: str) -> None:
    """Raises :class:`ShapeError` for a depth, a size or a number of rounds below ``least``."""
    if number < least:
        raise ShapeError(
            f"{cell}({name}={number}) was asked for.",
            f"{name} is {number}.",
            f"Give a whole number from {least}.",
        )
