"""The places in a cell where noise can fall."""

from dataclasses import astuple, dataclass
from typing import Any


@dataclass(frozen=True)
class Weight:
    """A matrix that multiplies the state. ``columns`` of its operand are what it reads of the state."""

    matrix: str
    shape: tuple[int, int]
    axis: int
    columns: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Sites:
    """Where noise can fall in a cell: for each kind the names, with the width of the mask."""

    input_per_gate: dict[str, int]
    state: dict[str, int]
    state_per_gate: dict[str, int]
    candidate: dict[str, int]
    zoneout: dict[str, int]
    weights: dict[str, Weight]

    def told(self) -> tuple[Any, ...]:
        """The same as tuples of names and numbers, which a compiler takes for constants."""
        *widths, weights = (getattr(self, kind) for kind in self.__dataclass_fields__)
        return (*(tuple(each.items()) for each in widths), tuple((n, astuple(w)) for n, w in weights.items()))

    @classmethod
    def of(cls, told: tuple[Any, ...]) -> "Sites":
        """The inverse of :meth:`told`."""
        per_gate, state, state_per_gate, candidate, zoneout, weights = told
        of_weights = {name: Weight(*weight) for name, weight in weights}
        return cls(
            dict(per_gate), dict(state), dict(state_per_gate), dict(candidate), dict(zoneout), of_weights
        )
