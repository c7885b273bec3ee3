"""Weights to and from torch.nn: outputs, final states and gradients are the same."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from elman import states
from elman.cells import GRU, LSTM, Elman, GRUResetBefore
from elman.cells.cell import Recurrence
from elman.errors import ModelError
from elman.layers import Stack, from_torch, to_torch
from tests.fused.running import by_definition_alone

T, B, X, H = 6, 3, 4, 5
MODULES: dict[str, Callable[[int, bool], nn.LSTM | nn.GRU | nn.RNN]] = {
    "lstm": lambda layers, bias: nn.LSTM(X, H, layers, bias=bias),
    "gru": lambda layers, bias: nn.GRU(X, H, layers, bias=bias),
    "tanh": lambda layers, bias: nn.RNN(X, H, layers, bias=bias),
    "relu": lambda layers, bias: nn.RNN(X, H, layers, bias=bias, nonlinearity="relu"),
}
CELLS_OF: dict[str, Callable[[int], Recurrence]] = {
    "lstm": lambda x: LSTM(x, H),
    "gru": lambda x: GRU(x, H),
    "tanh": lambda x: Elman(x, H),
    "relu": lambda x: Elman(x, H, "relu"),
}


def run_torch(
    module: nn.LSTM | nn.GRU | nn.RNN, x: Tensor, parts: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """``parts``: the initial h (L B H), and c."""
    outputs, last = module(x, tuple(parts) if isinstance(module, nn.LSTM) else parts[0])
    return outputs, list(last) if isinstance(module, nn.LSTM) else [last]


def run_ours(stack: Stack, x: Tensor, parts: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    like = stack.initial_state(B)
    layers = [type(state)(*(part[k] for part in parts)) for k, state in enumerate(like)]
    outputs, last = stack.scan(x, tuple(layers))
    return outputs, [torch.stack([state[k] for state in last]) for k in range(len(parts))]


def gradient(result: tuple[Tensor, list[Tensor]], inputs: list[Tensor]) -> tuple[Tensor, ...]:
    outputs, last = result
    value = sum((part * torch.randn(part.shape, dtype=part.dtype)).sum() for part in [outputs, *last])
    return torch.autograd.grad(value, inputs)


@pytest.mark.parametrize("by_definition", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", MODULES)
def test_from_torch_and_back(
    kind: str, layers: int, bias: bool, by_definition: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_definition:
        by_definition_alone(monkeypatch)
    module = MODULES[kind](layers, bias).double()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    stack = from_torch(module)
    back = to_torch(stack)
    assert type(back) is type(module)
    x = torch.randn(T, B, X, dtype=torch.float64, requires_grad=True)
    parts = [torch.randn(layers, B, H, dtype=torch.float64, requires_grad=True)] * (
        2 if kind == "lstm" else 1
    )
    results, gradients = [], []
    for each, run in ((module, run_torch), (stack, run_ours), (back, run_torch)):
        results.append(run(each, x, parts))  # type: ignore[operator]
        torch.manual_seed(5)
        gradients.append(gradient(results[-1], [x, *parts]))
    for other in (1, 2):
        torch.testing.assert_close(results[other], results[0])
        torch.testing.assert_close(gradients[other], gradients[0])


@pytest.mark.parametrize("kind", CELLS_OF)
def test_to_torch_gives_every_weight_the_same_gradient(kind: str) -> None:
    stack = Stack([CELLS_OF[kind](X), CELLS_OF[kind](H)], dropout=0.25).double().eval()
    for parameter in stack.parameters():
        nn.init.normal_(parameter, std=0.5)
    module = to_torch(stack)
    assert module.dropout == 0.25
    x = torch.randn(T, B, X, dtype=torch.float64)
    weight = torch.randn(T, B, H, dtype=torch.float64)
    (stack.scan(x)[0] * weight).sum().backward()
    (module.eval()(x)[0] * weight).sum().backward()
    for k, cell in enumerate(stack.cells):
        pairs = {"weight_x": f"weight_ih_l{k}", "weight_h": f"weight_hh_l{k}", "bias": f"bias_ih_l{k}"}
        for ours, theirs in pairs.items():
            torch.testing.assert_close(getattr(cell, ours).grad, getattr(module, theirs).grad)
        if isinstance(cell, GRU):
            torch.testing.assert_close(cell.bias_h.grad, getattr(module, f"bias_hh_l{k}").grad[2 * H :])


def test_one_cell_alone_and_its_dtype() -> None:
    cell = GRU(X, H).double()
    module = to_torch(cell)
    assert module.weight_hh_l0.dtype == torch.float64
    x = torch.randn(T, B, X, dtype=torch.float64)
    torch.testing.assert_close(module(x)[0], cell.scan(x)[0])


def test_changing_the_copy_leaves_the_original() -> None:
    module = nn.LSTM(X, H)
    before = module.weight_hh_l0.clone()
    for _, leaf in states.leaves(tuple(from_torch(module).parameters())):
        leaf.data.zero_()
    assert torch.equal(module.weight_hh_l0, before)


@pytest.mark.parametrize(
    "stack",
    [
        Stack([LSTM(2, 3), GRU(3, 3)]),
        Stack([LSTM(2, 3), LSTM(3, 4)]),
        Stack([Elman(2, 3), Elman(3, 3, "relu")]),
        Elman(2, 3, "logistic"),
        GRUResetBefore(2, 3),
    ],
    ids=["kinds", "sizes", "nonlinearities", "logistic", "reset before"],
)
def test_what_torch_does_not_have(stack: Stack) -> None:
    with pytest.raises(ModelError) as error:
        to_torch(stack)
    assert error.value.asked == "A torch.nn counterpart was asked for."
    assert error.value.do == (
        "torch.nn has the LSTM, the GRU (reset after the product), and Elman's network (tanh or ReLU)."
    )


def test_what_a_stack_does_not_have() -> None:
    with pytest.raises(ModelError) as error:
        from_torch(nn.LSTM(4, 6, proj_size=2))
    assert str(error.value) == (
        "The weights of a torch.nn.LSTM were asked for as a Stack.\n"
        "  Its proj_size is 2; a Stack reads one way and puts out all of h.\n"
        "  Only a module without proj_size can be taken over."
    )
    with pytest.raises(ModelError, match="Its bidirectional is True"):
        from_torch(nn.GRU(4, 6, bidirectional=True))
    with pytest.raises(ModelError, match="It is no recurrent module of"):
        from_torch(nn.Linear(4, 6))  # type: ignore[arg-type]
