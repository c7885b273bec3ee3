"""The softmax's loss in chunks: values and gradients against torch's, and how much of the logits lives."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from elman.errors import OptionError, ShapeError
from elman.fused import library, native
from elman.layers import Softmax
from elman.layers import softmax as softmax_room

N, H, V = 10, 7, 11


@pytest.fixture(params=["executor", "torch"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Everything once with products by the compiled executor and once without."""
    if request.param == "torch":
        monkeypatch.setattr(softmax_room, "linear", lambda *_: None)
    elif library.objection() is not None:
        pytest.skip("no compiled executor")
    return request.param


def drawn(chunk: int | None, dtype: torch.dtype = torch.float64) -> tuple[Softmax, Tensor, Tensor, Tensor]:
    softmax = Softmax(H, V, chunk=chunk).to(dtype)
    nn.init.normal_(softmax.bias)
    hidden = torch.randn(N, H, dtype=dtype, requires_grad=True)
    return softmax, hidden, torch.randint(V, (N,)), torch.rand(N, dtype=dtype) + 0.1


def by_torch(softmax: Softmax, hidden: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    logits = functional.linear(hidden, softmax.weight, softmax.bias)
    nats = functional.cross_entropy(logits, targets, reduction="none")
    return (nats if weights is None else nats * weights).sum()


@pytest.mark.parametrize("chunk", [1, 3, 5, 10, 64, None])
@pytest.mark.parametrize("weighted", [False, True])
def test_loss_and_gradients_are_those_of_cross_entropy(chunk: int | None, weighted: bool) -> None:
    softmax, hidden, targets, weights = drawn(chunk)
    given = weights if weighted else None
    inputs = [hidden, softmax.weight, softmax.bias]
    ours, theirs = softmax.loss(hidden, targets, given), by_torch(softmax, hidden, targets, given)
    torch.testing.assert_close(ours, theirs)
    found = torch.autograd.grad(ours * 0.37, inputs)
    expected = torch.autograd.grad(theirs * 0.37, inputs)
    torch.testing.assert_close(found, expected)


def test_gradients_are_those_of_finite_differences() -> None:
    softmax, hidden, targets, weights = drawn(4)
    assert torch.autograd.gradcheck(
        lambda *_: softmax.loss(hidden, targets, weights), (hidden, softmax.weight, softmax.bias)
    )


@pytest.mark.parametrize("chunk", [3, None])
def test_under_autocast_products_are_short_and_the_loss_is_not(chunk: int | None) -> None:
    softmax, hidden, targets, weights = drawn(chunk, torch.float32)
    inputs = [hidden, softmax.weight, softmax.bias]
    exact = torch.autograd.grad(by_torch(softmax, hidden, targets, weights), inputs)
    with torch.autocast("cpu", torch.bfloat16):
        loss = softmax.loss(hidden, targets, weights)
        of_bfloat = softmax.loss(hidden.bfloat16(), targets, weights)
    assert loss.dtype == of_bfloat.dtype == torch.float32
    assert loss != by_torch(softmax, hidden, targets, weights), "the products were to run in bfloat16"
    torch.testing.assert_close(loss, by_torch(softmax, hidden, targets, weights), rtol=5e-3, atol=0)
    torch.testing.assert_close(of_bfloat, loss)
    for gradient, expected in zip(torch.autograd.grad(loss, inputs), exact, strict=True):
        assert gradient.dtype == torch.float32
        assert (gradient - expected).norm() < 0.01 * expected.norm()


def test_a_module_in_bfloat16_has_its_loss_in_float32() -> None:
    softmax, hidden, targets, _ = drawn(3, torch.bfloat16)
    loss = softmax.loss(hidden, targets)
    loss.backward()
    assert loss.dtype == torch.float32
    assert hidden.grad is not None
    assert hidden.grad.dtype == softmax.weight.grad.dtype == torch.bfloat16
    wide = by_torch(softmax.float(), hidden.detach().float(), targets, None)
    torch.testing.assert_close(loss, wide, rtol=1e-2, atol=0)


def test_logits_of_any_size_give_finite_losses() -> None:
    softmax = Softmax(1, 3)
    softmax.weight.data = torch.tensor([[1e4], [-1e4], [0.0]])
    hidden = torch.tensor([[1.0], [-1.0], [0.0]], requires_grad=True)
    loss = softmax.loss(hidden, torch.tensor([1, 1, 2]))
    loss.backward()
    assert loss.item() == pytest.approx(2e4 + 0 + 1.0986123)
    assert hidden.grad is not None
    assert hidden.grad.isfinite().all()
    assert softmax.weight.grad is not None
    assert softmax.weight.grad.isfinite().all()


def test_small_probabilities_have_the_right_logarithm() -> None:
    """From e^0 through e^-75, where p loses its digits, to e^-150, which float32 does not have."""
    softmax = Softmax(1, 151)
    softmax.weight.data = -torch.arange(151.0).unsqueeze(1)
    hidden, targets = torch.ones(151, 1, requires_grad=True), torch.arange(151)
    exact = torch.log_softmax(softmax.weight.detach().double().squeeze(1), 0)
    torch.testing.assert_close(
        softmax.log_probability_of(hidden, targets).double(), exact, rtol=3e-7, atol=3e-7
    )
    torch.testing.assert_close(softmax.loss(hidden, targets), -exact.sum().float())


def test_a_part_that_is_frozen_gets_no_gradient_and_moves_no_other() -> None:
    softmax, hidden, targets, weights = drawn(4)
    expected = torch.autograd.grad(by_torch(softmax, hidden, targets, weights), [hidden, softmax.bias])
    softmax.weight.requires_grad_(False)
    softmax.loss(hidden, targets, weights).backward()
    assert softmax.weight.grad is None
    torch.testing.assert_close((hidden.grad, softmax.bias.grad), expected)


def test_backward_twice_gives_the_gradient_twice() -> None:
    softmax, hidden, targets, _ = drawn(4)
    loss = softmax.loss(hidden, targets)
    once = torch.autograd.grad(loss, hidden, retain_graph=True)
    twice = torch.autograd.grad(loss * 2, hidden)
    torch.testing.assert_close(twice[0], once[0] * 2)


def test_a_second_derivative_is_refused() -> None:
    softmax, hidden, targets, _ = drawn(4)
    with pytest.raises(OptionError) as error:
        torch.autograd.grad(softmax.loss(hidden, targets), hidden, create_graph=True)
    assert str(error.value) == (
        "The loss of a Softmax was to be differentiated twice (create_graph=True).\n"
        "  Its gradient is formed together with the loss, from logits that are not kept.\n"
        "  Differentiate log_probabilities(hidden), which holds all of them."
    )


@pytest.mark.parametrize("chunk", [1, 4, None])
def test_log_probabilities_agree_and_sum_to_one(chunk: int | None) -> None:
    softmax, hidden, targets, _ = drawn(chunk)
    log_p = softmax.log_probabilities(hidden)
    torch.testing.assert_close(log_p.exp().sum(1), torch.ones(N, dtype=torch.float64))
    of_targets = softmax.log_probability_of(hidden, targets)
    torch.testing.assert_close(of_targets, log_p[torch.arange(N), targets])
    torch.testing.assert_close(-of_targets.sum(), softmax.loss(hidden, targets))
    assert not of_targets.requires_grad


def test_no_rows_cost_nothing() -> None:
    softmax, hidden, targets, _ = drawn(4)
    assert softmax.loss(hidden[:0], targets[:0]).item() == 0
    assert softmax.log_probability_of(hidden[:0], targets[:0]).shape == (0,)


class Sizes(TorchDispatchMode):
    """Notes the size of every tensor that an operation gives, and how many matrix products there were."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0
        self.products = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.largest = max(self.largest, result.numel())
        self.products += function.__name__.split(".")[0] in {"mm", "addmm", "addmm_", "matmul"}
        return result


def test_never_more_than_a_chunk_of_the_logits_lives(way: str) -> None:
    softmax = Softmax(3, 500, chunk=800)
    hidden, targets = torch.randn(6400, 3, requires_grad=True), torch.randint(500, (6400,))
    with Sizes() as sizes:
        softmax.loss(hidden, targets).backward()
        softmax.log_probability_of(hidden, targets)
    if way == "torch":
        assert sizes.largest == 800 * 500
    else:  # the executor has a little memory of its own beside
        assert 800 * 500 <= sizes.largest <= 1.25 * 800 * 500
    with Sizes() as sizes:
        by_torch(softmax, hidden, targets, None).backward()
    assert sizes.largest == 6400 * 500, "the measure sees what it should"


def test_logits_are_formed_once_and_their_gradient_only_where_asked(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    softmax, hidden, targets, weights = drawn(5)
    run, runs = native.Call.run, list[int]()

    def counted(call: native.Call, tensors: Any) -> None:
        runs.append(len(call.work.gradients))
        run(call, tensors)

    monkeypatch.setattr(native.Call, "run", counted)
    with Sizes() as sizes:
        softmax.loss(hidden, targets).backward()
    if way == "torch":
        assert sizes.products == 2 * 3, "of two chunks each: logits, gradient of hidden, gradient of weight"
    else:
        assert sizes.products == 0
        assert runs == [0, 1] * 2, "of two chunks each: logits, then both gradients together"
    with Sizes() as sizes, torch.no_grad():
        without = softmax.loss(hidden, targets, weights)
    assert (sizes.products, len(runs)) == ((2, 0) if way == "torch" else (0, 4 + 2))
    torch.testing.assert_close(without, softmax.loss(hidden, targets, weights).detach())


def test_the_default_chunk_bounds_memory() -> None:
    assert Softmax(2, 10_000).chunk * 10_000 * 4 <= 32 << 20
    assert Softmax(2, 10_000).chunk == 838
    assert Softmax(1, 10_000_000).chunk == 1, "one row may be over the bound; less than one cannot be"


def test_tied_it_owns_its_bias_alone_and_fills_the_other_weight() -> None:
    shared = nn.Parameter(torch.randn(V, H))
    softmax = Softmax(H, V, shared)
    assert softmax.weight is shared
    assert [name for name, _ in softmax.named_parameters()] == ["bias"]
    assert list(softmax.state_dict()) == ["bias"]
    softmax.loss(torch.randn(N, H), torch.randint(V, (N,))).backward()
    assert shared.grad is not None
    assert (shared.grad != 0).all()


def test_tied_to_a_weight_of_another_size() -> None:
    with pytest.raises(ShapeError) as error:
        Softmax(200, 50, nn.Parameter(torch.zeros(50, 100)))
    assert str(error.value) == (
        "Softmax(hidden_size=200, vocabulary_size=50) was to be tied.\n"
        "  weight is 50×100 (V H); it must be 50×200.\n"
        "  Where the embedding has another size, put a linear map between the hidden layer and this."
    )


def test_input_that_does_not_fit() -> None:
    softmax, hidden, targets, _ = drawn(4)
    with pytest.raises(ShapeError, match=r"hidden is 2×5×7: 3 axes; it must have the 2 axes N H"):
        softmax.loss(hidden.view(2, 5, H), targets)
    with pytest.raises(ShapeError, match=r"targets is 9 \(N\); N must be 10\."):
        softmax.loss(hidden, targets[:9])
    with pytest.raises(OptionError, match="chunk is 0"):
        Softmax(2, 3, chunk=0)
