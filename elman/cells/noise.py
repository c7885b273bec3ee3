"""Noise for any cell, drawn once per scan: variational masks, zoneout, dropped candidates and weights.

Randomness is a value. :meth:`Noise.draw` gives masks by the names of the sites where they fall; ``scan(…,
noise=masks)`` is a function of its arguments, so the same masks replay the same scan, and masks drawn once
serve as many scans as one likes. :class:`Noisy` draws them in training. The sites are found in the cell's
equations (:mod:`elman.fused.noise`): a cell of one's own needs nothing for it but a mark on its candidate.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from elman import states
from elman.axes import BG, BH, BX, TBG, TBH, TBX, B
from elman.cells.cell import Cell
from elman.errors import OptionError
from elman.fused.noise import sites, told
from elman.fused.operations import Objection
from elman.fused.sites import Sites


@dataclass(frozen=True)
class Noise:
    """How much noise of which kind: each rate the share that is dropped or kept back, from 0 to below 1.

    ::

        input      project(x ⊙ m)                       one m for all steps [gal2016]
        state      W (h ⊙ m) wherever h meets a matrix  one m for all steps [gal2016]
        output     y ⊙ m                                one m for all steps [gal2016]
        candidate  c = f ⊙ c + i ⊙ (g ⊙ m_t)            a mask at each step [semeniuta2016]
        weights    (W ⊙ M) h                            one M for all steps and rows [wan2013, merity2017]
        zoneout    h_t = m_t ⊙ h_{t−1} + (1 − m_t) ⊙ ĥ  a mask at each step; ĥ the new h [krueger2017]

    Masks hold 0 with the rate as probability and 1/(1 − rate) elsewhere; those of zoneout 1 and 0. Each row
    of the batch has its own, but for ``weights``: these are dropped for the whole batch, element by element
    of all matrices that multiply the state. ``per_gate``: instead of one mask m on the input and one on the
    state, one for each gate, that is for each H columns of a product, in the order of the step [gal2016,
    "untied weights"]. ``zoneout`` names leaves of the state, such as ``{"h": 0.05, "c": 0.5}``; ĥ is made
    from the new c as it was before zoneout. In evaluation zoneout is the mean over its masks, and all else
    is off.

    What a mask on the state falls on: the leaf itself, or what pointwise operations make of it before the
    product. So r ⊙ h is masked in a GRU that resets before, tanh(h) in MUT3, and in an RHN the state at every
    depth, by one mask; full peepholes mask c by its own. Pointwise uses, such as f ⊙ c, are not masked.
    """

    input: float = 0.0
    state: float = 0.0
    output: float = 0.0
    candidate: float = 0.0
    weights: float = 0.0
    zoneout: Mapping[str, float] = field(default_factory=dict)
    per_gate: bool = False

    def __bool__(self) -> bool:
        """Whether there is any."""
        return any(self.rates().values())

    def __str__(self) -> str:
        given = [f"{name}={rate}" for name, rate in self.rates().items() if rate]
        return ", ".join([*given, "per_gate=True"] if self.per_gate else given)

    def rates(self) -> dict[str, float]:
        """All rates by name, zoneout's as ``zoneout.h`` and so on."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        del own["zoneout"], own["per_gate"]
        return own | {f"zoneout.{leaf}": rate for leaf, rate in self.zoneout.items()}

    def problems(self, cell: Cell) -> dict[str, str]:
        """For each rate that this cell cannot have, why not."""
        found = {
            name: f"it is {rate}, but a rate goes from 0 to below 1"
            for name, rate in self.rates().items()
            if not 0 <= rate < 1
        }
        asked = {name for name, rate in self.rates().items() if rate and name not in found}
        if not asked - ({"input", "output"} if not self.per_gate else {"output"}):
            return found
        try:
            places = sites(cell)
        except Objection as objection:
            return found | dict.fromkeys(asked - {"output"}, f"the cell cannot be traced: {objection}")
        if "candidate" in asked and not places.candidate:
            found["candidate"] = "the cell marks no candidate by self.candidate"
        for name in asked & {"state", "weights"}:
            if not places.weights:
                found[name] = "the cell multiplies its state by no matrix"
        for name in asked - {"input", "state", "output", "candidate", "weights"}:
            leaf = name.removeprefix("zoneout.")
            if name not in places.zoneout:
                has = ", ".join(known.removeprefix("zoneout.") for known in places.zoneout)
                found[name] = f"the state has {has}, not {leaf}"
            elif leaf in cell.TOGETHER:
                found[name] = f"the cell's {', '.join(cell.TOGETHER)} mean something only together"
        return found

    def draw(
        self, cell: Cell, batch: int, steps: int, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Masks for ``cell.scan(x, noise=…)`` by the names of their sites, (1 or T) B H; see Scans below.

        Drawn on the device and in the precision of the cell, by PyTorch's own generator or the given one.
        """
        like = next(cell.parameters())
        every = {name: rate for name, rate in self.rates().items() if rate}

        def mask(rate: float, *sizes: int) -> Tensor:
            kept = like.new_empty(sizes, requires_grad=False).bernoulli_(1 - rate, generator=generator)
            return kept.div_(1 - rate)

        found: dict[str, Tensor] = {}
        places = sites(cell) if every.keys() - {"input", "output"} or self.per_gate else None
        for name, rate in every.items():
            if name in ("input", "output") and not (name == "input" and self.per_gate):
                width = cell.input_size if name == "input" else cell.output_size
                found[name] = mask(rate, 1, batch, width)
                continue
            assert places is not None
            if name == "weights":
                found |= _dropped(places, like, rate, mask)
            elif name.startswith("zoneout."):
                stays = like.new_empty(steps, batch, places.zoneout[name], requires_grad=False)
                found[name] = stays.bernoulli_(rate, generator=generator)
            else:
                time = steps if name == "candidate" else 1
                for site, width in self._where(places, name).items():
                    found[site] = mask(rate, time, batch, width)
        return found

    def _where(self, places: Sites, name: str) -> dict[str, int]:
        if name == "state":
            return places.state_per_gate if self.per_gate else places.state
        return places.input_per_gate if name == "input" else places.candidate


def _dropped(places: Sites, like: Tensor, rate: float, mask: Any) -> dict[str, Tensor]:
    found = {}
    for name, weight in places.weights.items():
        found[name] = like.new_ones(weight.shape, requires_grad=False)
        for start, stop in weight.columns:
            part = found[name].narrow(weight.axis, start, stop - start)
            part.copy_(mask(rate, *part.shape))
    return found


class Noisy(Cell):
    """Any cell with :class:`Noise`: drawn for each scan in training; in evaluation off, zoneout its mean.

    ::

        training     scan(x) = cell.scan(x, noise=draw(B, T))
        evaluation   h_t = p ⊙ h_{t−1} + (1 − p) ⊙ ĥ_t        for zoneout at rate p [krueger2017]

    Masks that are handed in are used as they are, in training and in evaluation, and are then all the noise
    there is: Monte-Carlo dropout is ``scan(x, noise=masks)`` with masks from :meth:`draw`. A step in training
    draws masks for itself alone; to take steps under one mask, hand it in.

    Raises :class:`OptionError` for noise that the cell has no place for.

    >>> from elman.cells import LSTM
    >>> cell = Noisy(LSTM(input_size=2, hidden_size=3), Noise(state=0.5, zoneout={"c": 0.1}))
    >>> x, masks = torch.ones(5, 4, 2), cell.draw(batch=4, steps=5)
    >>> {name: tuple(mask.shape) for name, mask in masks.items()}
    {'state.h': (1, 4, 3), 'zoneout.c': (5, 4, 3)}
    >>> bool((cell.scan(x, noise=masks)[0] == cell.scan(x, noise=masks)[0]).all())
    True
    """

    def __init__(self, cell: Cell, noise: Noise) -> None:
        super().__init__(cell.input_size, cell.hidden_size)
        problems = noise.problems(cell)
        if problems:
            raise OptionError(
                f"{told(cell)} with Noise({noise}) was asked for.",
                "; ".join(f"{name}: {why}" for name, why in problems.items()) + ".",
                "Leave these rates 0, or take another cell. A candidate is marked so: g = self.candidate(g).",
            )
        self.cell = cell
        self.noise = noise
        self.output_size = cell.output_size

    @property
    def store(self) -> str:
        """What a scan keeps for its gradient: that of the cell within."""
        return self.cell.store

    @store.setter
    def store(self, store: str) -> None:
        self.cell.store = store

    def draw(self, batch: int, steps: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Masks for a scan of ``steps`` steps, by the names of their sites; see :meth:`Noise.draw`."""
        return self.noise.draw(self.cell, batch, steps, generator)

    def project(self, x: TBX) -> TBG:
        return self.cell.project(x)

    def advance(self, x: BG, state: Any) -> tuple[BH, Any]:
        """The cell's own step and, in evaluation, the mean over the masks of zoneout."""
        y, new = self.cell.advance(x, state)
        if self.training or not self._zoned():
            return y, new
        before, after = dict(states.leaves(state)), dict(states.leaves(new))
        for leaf, rate in self.noise.zoneout.items():
            fresh = after[f"state.{leaf}"]
            after[f"state.{leaf}"] = rate * before[f"state.{leaf}"] + (1 - rate) * fresh
            if y is fresh:
                y = after[f"state.{leaf}"]
        return y, states.replace(new, after)

    def initial_state(self, batch: int) -> Any:
        return self.cell.initial_state(batch)

    def adjust_start(self) -> None:
        self.cell.adjust_start()

    def step(self, x: BX, state: Any, noise: Mapping[str, Tensor] | None = None) -> tuple[BH, Any]:
        """One step, under masks for one step where ``noise`` is given."""
        self._require(x, "B X")
        if noise is None and not (self.training and self.noise):
            return super().step(x, state) if self._zoned() else self.cell.step(x, state)
        y, new = self.scan(x.unsqueeze(0), state, None, noise)
        return y.squeeze(0), new

    def extra_repr(self) -> str:
        return ", ".join([super().extra_repr(), str(self.noise)])

    def _scan(
        self, x: TBX, state: Any, lengths: B | None, noise: Mapping[str, Tensor] | None, reverse: bool
    ) -> tuple[TBH, Any]:
        self._require(x, "T B X")
        if noise is None and self.training:
            noise = self.draw(x.shape[1], x.shape[0])
        if noise is None and self._zoned():
            return super()._scan(x, state, lengths, None, reverse)
        return self.cell._scan(x, state, lengths, noise, reverse)

    def _zoned(self) -> bool:
        return any(self.noise.zoneout.values())
