"""Where a scan's tensors lie, for :mod:`elman.fused.passes`."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from elman.fused.compiled import Part
from elman.fused.native import Matrix, Place
from elman.fused.plan import Plan


def home_of(plan: Plan, output: str, places: dict[str, Place]) -> str:
    """The buffer of an output: its home, or a new one among ``places`` for columns of that."""
    home = plan.home[output]
    if output not in plan.starts:
        return home
    places[output] = replace(places[home], offset=places[home].offset + plan.starts[output])
    return output


def steps_of(number: int, tensors: Sequence[Tensor]) -> Place:
    """A tensor T B …."""
    return Place(number, tensors[number].stride(0), tensors[number].stride(1))


def fixed_of(
    part: Part, fixed: Sequence[int], masks: Sequence[int], tensors: Sequence[Tensor]
) -> dict[str, Place]:
    """Vectors and masks. A mask that holds for all steps lies T times in one place."""
    vectors = zip(part.fixed, fixed, strict=True)
    places = {name: Place(number) for name, number in vectors if name not in part.matrices}
    return places | {name: steps_of(mask, tensors) for name, mask in zip(part.masks, masks, strict=True)}


def matrices_of(part: Part, fixed: Sequence[int], tensors: Sequence[Tensor]) -> dict[str, Matrix]:
    """All matrices, with their strides."""
    return {
        name: Matrix(number, *tensors[number].stride())
        for name, number in zip(part.fixed, fixed, strict=True)
        if name in part.matrices
    }
