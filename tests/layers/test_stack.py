"""Stacks: dropout between the layers, and sizes that do not chain. (Their laws stand in ``tests/laws``.)"""

import pytest
import torch

from elman.cells import GRU, LSTM, Elman
from elman.errors import OptionError, ShapeError
from elman.layers import Stack


def test_dropout_falls_between_layers_only_and_afresh_at_every_step() -> None:
    first, second = Elman(4, 200, "logistic"), Elman(200, 3)  # above zero: zeros come from dropout alone
    stack = Stack([first, second], dropout=0.3)
    seen = []
    for cell in (first, second):
        scan = cell.scan
        cell.scan = lambda x, *rest, scan=scan: (seen.append(x), scan(x, *rest))[1]  # type: ignore[method-assign]
    x = torch.randn(6, 5, 4)
    outputs, (below, _) = stack.scan(x)

    assert torch.equal(seen[0], x)
    assert (below.h > 0).all()
    assert (outputs != 0).all()
    kept = seen[1] != 0
    assert 0.66 < kept.double().mean() < 0.74
    torch.testing.assert_close(seen[1][5][kept[5]], (below.h / 0.7)[kept[5]])
    masks = {tuple(mask.flatten().tolist()) for mask in kept}
    assert len(masks) == 6

    stack.eval()
    seen.clear()
    stack.scan(x)
    assert (seen[1] != 0).all()


def test_a_step_drops_as_a_scan_does() -> None:
    stack = Stack([Elman(4, 30), Elman(30, 3)], dropout=0.5).double()
    x, state = torch.randn(1, 5, 4, dtype=torch.float64), stack.initial_state(5)
    torch.manual_seed(7)
    scanned, _ = stack.scan(x, state)
    torch.manual_seed(7)
    stepped, _ = stack.step(x[0], state)
    torch.testing.assert_close(stepped, scanned[0])
    assert not torch.allclose(stack.eval().step(x[0], state)[0], stepped)


def test_layers_that_do_not_chain() -> None:
    with pytest.raises(ShapeError) as error:
        Stack([LSTM(10, 20), GRU(30, 5)])
    assert str(error.value) == (
        "Stack(LSTM 10:20 → GRU 30:5) was asked for.\n"
        "  Layer 1 gives 20 features, layer 2 reads 30.\n"
        "  Give each layer the input_size that the layer below gives."
    )


def test_no_layers() -> None:
    with pytest.raises(ShapeError, match="A Stack of no layers"):
        Stack([])


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_a_rate_that_is_no_share(rate: float) -> None:
    with pytest.raises(OptionError, match=r"the share of features dropped: from 0 to below 1\."):
        Stack([LSTM(2, 3)], dropout=rate)


def test_a_layer_that_is_none() -> None:
    with pytest.raises(OptionError) as error:
        Stack([LSTM(2, 3), GRU])  # type: ignore[list-item]
    assert str(error.value) == (
        "Stack(LSTM 2:3 → …) was asked for.\n"
        "  Layer 2 is the class GRU itself.\n"
        "  Give cells that were made, such as LSTM(10, 20); weights of torch.nn by from_torch."
    )
    with pytest.raises(OptionError, match=r"Layer 1 is of torch\.nn\.modules\.rnn\.GRU, no encoder"):
        Stack([torch.nn.GRU(2, 3)])  # type: ignore[list-item]


@pytest.mark.parametrize("way", ["scan", "scan_reversed", "step"])
def test_a_state_with_other_layers(way: str) -> None:
    stack = Stack([LSTM(2, 3), GRU(3, 4)])
    x = torch.randn(5, 2) if way == "step" else torch.randn(6, 5, 2)
    with pytest.raises(ShapeError) as error:
        getattr(stack, way)(x, stack.initial_state(5)[:1])
    assert str(error.value) == (
        "Stack(LSTM 2:3 → GRU 3:4) was given a state.\n"
        "  It is a tuple of 1; it must be a tuple of 2, one for each layer.\n"
        "  Give one as initial_state and scan return it."
    )
    with pytest.raises(ShapeError, match=r"GRU.* was given a state for a batch of 5"):
        getattr(stack, way)(x, (LSTM(2, 3).initial_state(5), GRU(3, 4).initial_state(4)))


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_masks_of_other_layers(dropout: float) -> None:
    stack, x = Stack([LSTM(3, 4), GRU(4, 2)], dropout), torch.randn(5, 2, 3)
    for scan in (stack.scan, stack.scan_reversed):
        with pytest.raises(ShapeError) as error:
            scan(x, noise=())
        assert str(error.value) == (
            "Stack(LSTM 3:4 → GRU 4:2) was given noise.\n"
            "  It is a tuple of 0; it must be a tuple of 2, one for each layer.\n"
            "  Give masks as draw returns them, None for a layer that has none."
        )
        with pytest.raises(ShapeError, match="It is a dict"):
            scan(x, noise={"state.h": torch.ones(1, 2, 4)})  # type: ignore[arg-type]
        torch.manual_seed(1)
        outputs, _ = scan(x, (None, stack.initial_state(2)[1]), noise=(None, {}))
        torch.manual_seed(1)
        assert torch.equal(outputs, scan(x)[0])
