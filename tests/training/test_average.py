"""The moving average of weights beside arithmetic by hand and torch's own, and how it lends itself."""

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from elman.training.average import Average


class Model(nn.Module):
    """Two parameters, one of them tied under a second name, one that is not trained, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[3.0, -5.0, 0.5], [7.0, 11.0, -2.0]], dtype=torch.float64))
        self.b = nn.Parameter(torch.tensor(13.0, dtype=torch.float64))
        self.tied = self.w
        self.fixed = nn.Parameter(torch.tensor([17.0]), requires_grad=False)
        self.buffer: Tensor
        self.register_buffer("buffer", torch.tensor([19.0]))

    @torch.no_grad()
    def change(self, by: float) -> None:
        """Every number changes, by its own amount."""
        for number, tensor in enumerate([*self.parameters(), *self.buffers()], start=1):
            tensor.add_(by * number).mul_(1 + by / 10)


def test_the_first_steps_by_hand() -> None:
    model = Model()
    average = Average(model, 0.25)
    assert average.tensors.keys() == {"w", "b"}
    for step, b in enumerate((2.0, -4.0, 10.0), start=1):
        with torch.no_grad():
            model.b.fill_(b)
        average.update(step)
    first = 2 / 11 * 13 + 9 / 11 * 2  # (1 + 1) / (10 + 1) is under 1/4
    second = 0.25 * first + 0.75 * -4  # (1 + 2) / (10 + 2) is 1/4, and from here on the decay
    assert average.tensors["b"].item() == pytest.approx(0.25 * second + 0.75 * 10, abs=1e-14)
    assert model.b.item() == 10
    assert torch.equal(average.tensors["w"], model.w)


def test_it_is_torchs_average_with_the_decay_of_each_step() -> None:
    model = Model()
    average = Average(model, 0.6)
    expected = [model.w.detach().clone(), model.b.detach().clone()]
    decays = []
    for step in range(1, 31):
        model.change(0.01 * step * (-1) ** step)
        average.update(step)
        decays.append(min(0.6, (1 + step) / (10 + step)))
        get_ema_multi_avg_fn(decays[-1])(expected, [model.w.detach(), model.b.detach()], step)
    assert decays[11] < decays[12] == decays[29] == 0.6  # both of its phases
    torch.testing.assert_close([*average.tensors.values()], expected, rtol=1e-13, atol=0)
    assert (average.tensors["w"] - model.w).abs().min() > 0.01


class Broken(Exception):
    pass


@pytest.mark.parametrize("error", [None, Broken, KeyboardInterrupt])
def test_it_is_in_use_inside_and_gone_after_whatever_happens(error: type[BaseException] | None) -> None:
    model = Model()
    average = Average(model, 0.9)
    model.change(0.5)
    average.update(1)
    own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    kept = {name: tensor.clone() for name, tensor in average.tensors.items()}
    places = [parameter.data_ptr() for parameter in model.parameters()]
    with nullcontext() if error is None else pytest.raises(error), average.in_use():
        assert torch.equal(model.w, kept["w"])
        assert torch.equal(model.b, kept["b"])
        assert model.tied is model.w
        assert torch.equal(model.fixed, own["fixed"])
        assert torch.equal(model.buffer, own["buffer"])
        if error is not None:
            raise error
    assert all(torch.equal(tensor, own[name]) for name, tensor in model.state_dict().items())
    assert [parameter.data_ptr() for parameter in model.parameters()] == places
    assert all(torch.equal(tensor, kept[name]) for name, tensor in average.tensors.items())
    model.change(0.25)  # the weights move, the average does not until it is told
    assert all(torch.equal(tensor, kept[name]) for name, tensor in average.tensors.items())


def test_without_a_decay_nothing_is_kept_and_the_weights_are_used() -> None:
    model = Model()
    average = Average(model, 0.0)
    model.change(0.5)
    average.update(1)
    assert not average.tensors
    own = model.w.detach().clone()
    with average.in_use():
        assert torch.equal(model.w, own)


def test_what_does_not_fit_is_not_taken_up() -> None:
    average = Average(Model(), 0.9)
    kept = {"w": torch.full((2, 3), 23.0), "b": torch.tensor(29.0)}
    average.restore(kept)
    assert (average.tensors["w"] == 23).all()
    assert average.tensors["b"].item() == 29
    with pytest.raises(KeyError, match="b"):
        average.restore({"w": kept["w"]})
    with pytest.raises(ValueError, match="the average of w has another shape"):
        average.restore(kept | {"w": torch.zeros(3, 2)})
