"""Products of whole matrices by the executor, beside the same in float64."""

import pytest
import torch
from torch import Tensor

from elman.fused import library
from elman.fused.linear import Linear, linear

pytestmark = pytest.mark.skipif(library.objection() is not None, reason="no compiled executor")

SIZES = [(1, 1, 1), (3, 7, 65), (130, 33, 17), (65, 129, 31)]  # rows, inputs, outputs


def product(dtype: torch.dtype, inputs: int, outputs: int, half: bool = False) -> Linear:
    made = linear(torch.zeros(1, dtype=dtype), inputs, outputs, half)
    assert made is not None
    return made


def close(found: Tensor | None, wanted: Tensor, error: float) -> None:
    assert found is not None
    assert found.shape == wanted.shape
    assert (found.double() - wanted).norm() <= error * wanted.norm()


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(
    ("dtype", "half", "error"),
    [(torch.float32, False, 1e-6), (torch.float64, False, 1e-14), (torch.float32, True, 6e-3)],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_values_and_gradients(
    sizes: tuple[int, int, int], dtype: torch.dtype, half: bool, error: float, threads: int
) -> None:
    torch.set_num_threads(threads)
    rows, inputs, outputs = sizes
    x, weight, bias = torch.randn(rows, inputs), torch.randn(outputs, inputs), torch.randn(outputs)
    d, out = torch.randn(rows, outputs), torch.full((rows, outputs), torch.nan, dtype=dtype)
    given = [tensor.to(dtype) for tensor in (x, weight, bias)]
    by_executor = product(dtype, inputs, outputs, half)
    by_executor.forward(*given, out)
    exact_x, exact_weight, exact_d = x.double(), weight.double(), d.double()
    close(out, exact_x @ exact_weight.T + bias.double(), error)
    for for_x, for_weight in ((True, True), (True, False), (False, True)):
        found = by_executor.backward(d.to(dtype), given[0], given[1], for_x, for_weight)
        assert (found.x is None, found.weight is None) == (not for_x, not for_weight)
        if for_x:
            close(found.x, exact_d @ exact_weight, error)
        if for_weight:
            close(found.weight, exact_d.T @ exact_x, error)


def test_operands_may_lie_in_any_order() -> None:
    x, weight, bias = torch.randn(7, 5).t(), torch.randn(7, 9).t(), torch.randn(18)[::2]
    out, d = torch.empty(5, 9), torch.randn(9, 5).t()
    by_executor = product(torch.float32, 7, 9)
    by_executor.forward(x, weight, bias, out)
    torch.testing.assert_close(out, x @ weight.T + bias)
    found = by_executor.backward(d, x, weight, True, True)
    torch.testing.assert_close(found.x, d @ weight)
    torch.testing.assert_close(found.weight, d.T @ x)


def test_half_rounds_what_is_multiplied_and_nothing_else() -> None:
    x, weight, bias = torch.randn(6, 33), torch.randn(8, 33), torch.randn(8)
    out = torch.empty(6, 8)
    product(torch.float32, 33, 8, half=True).forward(x, weight, bias, out)
    close(out, x.bfloat16().double() @ weight.bfloat16().double().T + bias.double(), 1e-6)


def test_what_the_executor_does_not_take() -> None:
    assert linear(torch.zeros(1, dtype=torch.float16), 3, 4, half=False) is None
    assert linear(torch.zeros(1, dtype=torch.bfloat16), 3, 4, half=False) is None
    assert linear(torch.zeros(1, device="meta"), 3, 4, half=False) is None
