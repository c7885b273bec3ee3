"""The formats of weights beside arithmetic by hand."""

import math

import pytest
import torch

from elman.errors import OptionError
from elman.fused.weights import require_format, restored, rounded


def test_int8_is_a_scale_for_each_row_and_whole_numbers() -> None:
    matrix = torch.tensor([[0.5, -1.27, 0.014], [12.7, 0.25, -0.05], [0.0, 0.0, 0.0]])
    kept = rounded(matrix, "int8")
    assert kept.values.tolist() == [[50, -127, 1], [127, 2, 0], [0, 0, 0]]  # 2.5 and −0.5: to the even
    assert kept.scales is not None
    assert kept.scales.tolist() == pytest.approx([0.01, 0.1, 0.0])
    wanted = torch.tensor([[0.5, -1.27, 0.01], [12.7, 0.2, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(restored(kept, matrix), wanted)


def test_bfloat16_has_eight_significant_bits() -> None:
    kept = rounded(torch.tensor([[1.0, 1 + 2**-8, 1 + 3 * 2**-8, -3.14159]]), "bfloat16")
    assert restored(kept, torch.zeros(())).tolist() == [[1.0, 1.0, 1 + 2**-6, -3.140625]]


def test_float32_is_what_it_was() -> None:
    matrix = torch.randn(3, 2)
    assert torch.equal(restored(rounded(matrix, "float32"), matrix), matrix)


@pytest.mark.parametrize("strange", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_does_not_become_a_number(strange: float) -> None:
    restored_row, other = restored(
        rounded(torch.tensor([[1.0, strange], [1.0, 2.0]]), "int8"), torch.zeros(())
    )
    assert not restored_row.isfinite().any()
    assert other.isfinite().all()


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(OptionError) as caught:
        require_format("int4")
    assert str(caught.value) == (
        'Weights were to be kept as "int4".\n  The formats are float32, bfloat16, int8.\n  Use one of them.'
    )
