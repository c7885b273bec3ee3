"""The three mutants that a search over gated units found: MUT1, MUT2, MUT3."""

from typing import ClassVar

import torch
from torch.nn.functional import linear

from elman.axes import BG, BH, TBG, TBX
from elman.cells.cell import Cell, HiddenState
from elman.cells.packed import Packed
from elman.errors import ShapeError


class Literal(Cell):
    """A mutant of which one block adds x itself to features of h; ``projected`` maps it there first.

    ``weight_x`` has the rows of the other blocks in the order of ``GATES``, and where ``projected`` those of
    ``LITERAL`` too; ``bias`` (3H) has all.
    """

    LITERAL: ClassVar[str]

    def __init__(self, input_size: int, hidden_size: int, projected: bool = False) -> None:
        super().__init__(input_size, hidden_size)
        if input_size != hidden_size and not projected:
            name = type(self).__name__
            raise ShapeError(
                f"{name}(input_size={input_size}, hidden_size={hidden_size}) was asked for.",
                f"Its equations add x ({input_size} features) to h ({hidden_size} features) as it is.",
                f"Give both one size, or say {name}(…, projected=True), which learns a map of x.",
            )
        self.projected = projected
        self.weight_x = self._uniform((3 if projected else 2) * hidden_size, input_size)

    def _blocks(self, x: TBX) -> list[TBG]:
        """W x block by block in the order of ``GATES``, x itself in the place of what is not mapped."""
        blocks = list(linear(x, self.weight_x).split(self.hidden_size, dim=-1))
        if not self.projected:
            blocks.insert(self.GATES.split().index(self.LITERAL), x)
        return blocks

    def initial_state(self, batch: int) -> HiddenState:
        return HiddenState(self.zeros(batch))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, projected={self.projected}"


class MUT1(Literal):
    """MUT1: the update gate reads x alone, and tanh(x) enters the candidate as it is [jozefowicz2015].

    ::

        z = σ(W_xz x + b_z)
        r = σ(W_xr x + W_hr h + b_r)
        n = tanh(W_hn (r ⊙ h) + tanh(x) + b_n)      the candidate; projected: tanh(W_xn x)
        h = z ⊙ n + (1 − z) ⊙ h

    Shapes: x (… X), h (… H), and X = H unless ``projected``; ``weight_x`` (2H X), the rows z r (projected
    3H X: z r n), ``weight_h`` (2H H), the rows r n, ``bias`` (3H), all z r n. All start as U(±1/√H), where
    [jozefowicz2015] searches over scales. z weighs the *candidate*, the opposite of :class:`GRU`.

    Raises :class:`ShapeError` for sizes under 1, and for X ≠ H unless ``projected``.

    >>> import torch
    >>> outputs, state = MUT1(input_size=3, hidden_size=3).scan(torch.ones(5, 4, 3))
    >>> MUT1(input_size=2, hidden_size=3, projected=True)
    MUT1(input_size=2, hidden_size=3, projected=True)
    """

    GATES = "z r n"
    LITERAL = "n"

    def __init__(self, input_size: int, hidden_size: int, projected: bool = False) -> None:
        super().__init__(input_size, hidden_size, projected)
        self.weight_h = self._uniform(2 * hidden_size, hidden_size)
        self.bias = self._uniform(3 * hidden_size)

    def project(self, x: TBX) -> TBG:
        z, r, n = self._blocks(x)
        return torch.cat([z, r, torch.tanh(n)], dim=-1) + self.bias

    def advance(self, x: BG, state: HiddenState) -> tuple[BH, HiddenState]:
        reset, candidate = self.weight_h.chunk(2)
        x_z, x_r, x_n = x.chunk(3, dim=-1)
        z = torch.sigmoid(x_z)
        r = torch.sigmoid(x_r + linear(state.h, reset))
        n = self.candidate(torch.tanh(x_n + linear(r * state.h, candidate)))
        h = z * n + (1 - z) * state.h
        return h, HiddenState(h)


class MUT2(Literal):
    """MUT2: the reset gate reads x as it is, without a weight [jozefowicz2015].

    ::

        z = σ(W_xz x + W_hz h + b_z)
        r = σ(x + W_hr h + b_r)                     projected: W_xr x
        n = tanh(W_hn (r ⊙ h) + W_xn x + b_n)       the candidate
        h = z ⊙ n + (1 − z) ⊙ h

    Shapes: x (… X), h (… H), and X = H unless ``projected``; ``weight_x`` (2H X), the rows z n (projected
    3H X: z r n), ``weight_h`` (3H H) and ``bias`` (3H), all z r n. All start as U(±1/√H), where
    [jozefowicz2015] searches over scales. z weighs the *candidate*, the opposite of :class:`GRU`.

    Raises :class:`ShapeError` for sizes under 1, and for X ≠ H unless ``projected``.

    >>> import torch
    >>> outputs, state = MUT2(input_size=3, hidden_size=3).scan(torch.ones(5, 4, 3))
    >>> MUT2(input_size=2, hidden_size=3, projected=True)
    MUT2(input_size=2, hidden_size=3, projected=True)
    """

    GATES = "z r n"
    LITERAL = "r"

    def __init__(self, input_size: int, hidden_size: int, projected: bool = False) -> None:
        super().__init__(input_size, hidden_size, projected)
        self.weight_h = self._uniform(3 * hidden_size, hidden_size)
        self.bias = self._uniform(3 * hidden_size)

    def project(self, x: TBX) -> TBG:
        return torch.cat(self._blocks(x), dim=-1) + self.bias

    def advance(self, x: BG, state: HiddenState) -> tuple[BH, HiddenState]:
        gates, candidate = self.weight_h.split([2 * self.hidden_size, self.hidden_size])
        x_z, x_r, x_n = x.chunk(3, dim=-1)
        h_z, h_r = linear(state.h, gates).chunk(2, dim=-1)
        z = torch.sigmoid(x_z + h_z)
        r = torch.sigmoid(x_r + h_r)
        n = self.candidate(torch.tanh(x_n + linear(r * state.h, candidate)))
        h = z * n + (1 - z) * state.h
        return h, HiddenState(h)


class MUT3(Packed):
    """MUT3: the update gate reads tanh(h) in the place of h [jozefowicz2015].

    ::

        z = σ(W_xz x + W_hz tanh(h) + b_z)
        r = σ(W_xr x + W_hr h + b_r)
        n = tanh(W_hn (r ⊙ h) + W_xn x + b_n)       the candidate
        h = z ⊙ n + (1 − z) ⊙ h

    Shapes: x (… X), h (… H); ``weight_x`` (3H X), ``weight_h`` (3H H), ``bias`` (3H), blocks of rows in the
    order of ``GATES``. All start as U(±1/√H), where [jozefowicz2015] searches over scales. z weighs the
    *candidate*, the opposite of :class:`GRU`.

    Raises :class:`ShapeError` for sizes under 1.

    >>> import torch
    >>> outputs, state = MUT3(input_size=2, hidden_size=3).scan(torch.ones(5, 4, 2))
    >>> bool((outputs[-1] == state.h).all())
    True
    """

    GATES = "z r n"

    def advance(self, x: BG, state: HiddenState) -> tuple[BH, HiddenState]:
        update, reset, candidate = self.weight_h.chunk(3)
        x_z, x_r, x_n = x.chunk(3, dim=-1)
        z = torch.sigmoid(x_z + linear(torch.tanh(state.h), update))
        r = torch.sigmoid(x_r + linear(state.h, reset))
        n = self.candidate(torch.tanh(x_n + linear(r * state.h, candidate)))
        h = z * n + (1 - z) * state.h
        return h, HiddenState(h)

    def initial_state(self, batch: int) -> HiddenState:
        return HiddenState(self.zeros(batch))
