"""The recurrent language model: against torch.nn's layers, its own steps, and the published sizes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from elman import states
from elman.cells import CELLS, LSTM
from elman.cells.noise import Noise, Noisy
from elman.errors import OptionError, ShapeError, TokenError
from elman.layers import to_torch
from elman.models import RecurrentLanguageModel, RecurrentOptions
from elman.protocols import LanguageModel

V, T, B = 13, 7, 3
OPTIONS = {
    "plain": RecurrentOptions(layers=2, hidden_size=6, embedding_size=5),
    "relu": RecurrentOptions(cell="elman", nonlinearity="relu", hidden_size=6),
    "gru": RecurrentOptions(cell="gru", hidden_size=6),
    "reset before": RecurrentOptions(cell="gru-reset-before", layers=2, hidden_size=6),
    "one-hot": RecurrentOptions(one_hot=True, layers=2, hidden_size=6, forget_bias=1.0),
    "tied": RecurrentOptions(tied=True, hidden_size=6),
    "tied, mapped": RecurrentOptions(tied=True, hidden_size=6, embedding_size=4),
}
every = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())


def drawn(options: RecurrentOptions) -> tuple[RecurrentLanguageModel, Tensor, Tensor, Any]:
    model = RecurrentLanguageModel(V, replace(options, initial_scale=0.8)).double()
    state = states.transform(lambda leaf: torch.randn_like(leaf) * 0.5, model.start(B))
    return model, torch.randint(V, (T, B)), torch.randint(V, (T, B)), state


@every
def test_loss_probabilities_and_steps_are_one_distribution(options: RecurrentOptions) -> None:
    model, inputs, targets, state = drawn(options)
    nats, after = model.loss(inputs, targets, state)
    log_p, also_after = model.log_probabilities(inputs, targets, state)
    stepped = []
    for t in range(T):
        distribution, state = model.step(inputs[t], state)
        torch.testing.assert_close(distribution.exp().sum(1), torch.ones(B, dtype=torch.float64))
        stepped.append(distribution.gather(1, targets[t, :, None]).squeeze(1))
    torch.testing.assert_close(log_p, torch.stack(stepped))
    torch.testing.assert_close(nats, -log_p.sum())
    for other in (after, also_after):
        for (_, a), (_, b) in zip(states.leaves(other), states.leaves(state), strict=True):
            torch.testing.assert_close(a, b)
    assert not log_p.requires_grad


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_is_built_by_its_name(cell: str) -> None:
    options = RecurrentOptions(cell=cell, layers=2, hidden_size=6, embedding_size=5, initial_scale=0.6)
    model = RecurrentLanguageModel(V, options).double()
    assert all(type(layer) is CELLS[cell] for layer in model.stack.cells)
    inputs, targets = torch.randint(V, (T, B)), torch.randint(V, (T, B))
    nats, _ = model.loss(inputs, targets, model.start(B))
    state, stepped = model.start(B), torch.zeros((), dtype=torch.float64)
    for t in range(T):
        distribution, state = model.step(inputs[t], state)
        stepped = stepped - distribution.gather(1, targets[t, :, None]).sum()
    torch.testing.assert_close(nats, stepped)
    nats.backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_what_single_cells_ask_for() -> None:
    def first(options: RecurrentOptions) -> Any:
        return RecurrentLanguageModel(V, options).stack.cells[0]

    assert first(RecurrentOptions(cell="rhn", depth=5)).depth == 5
    assert first(RecurrentOptions(cell="mogrifier", rounds=4, forget_bias=0.5)).rounds == 4
    assert first(RecurrentOptions(cell="mogrifier", rounds=4, forget_bias=0.5)).forget_bias == 0.5
    assert first(RecurrentOptions(cell="janet", forget_bias=0.5)).forget_bias == 0.5
    assert first(RecurrentOptions(cell="lstm-b")).forget_bias == 1.0
    assert first(RecurrentOptions(cell="mut1", hidden_size=6, embedding_size=5)).projected
    assert not first(RecurrentOptions(cell="mut2", hidden_size=6)).projected
    tied = RecurrentLanguageModel(
        V,
        RecurrentOptions(
            cell="lstmp", layers=2, hidden_size=8, projection_size=3, embedding_size=5, tied=True
        ),
    )
    assert [(cell.input_size, cell.output_size) for cell in tied.stack.cells] == [(5, 3), (3, 3)]
    assert tuple(tied.map.weight.shape) == (5, 3)


def test_a_scale_for_all_tensors_leaves_what_a_start_asks_for() -> None:
    rhn = RecurrentLanguageModel(V, RecurrentOptions(cell="rhn", hidden_size=6, initial_scale=0.04))
    bias = rhn.stack.cells[0].bias.view(3, 2, 6)
    assert bias[:, 0].abs().max() <= 0.04 < 1.96 <= bias[:, 1].abs().min()
    norm = RecurrentLanguageModel(V, RecurrentOptions(cell="layer-norm", hidden_size=6, initial_scale=0.04))
    assert (norm.stack.cells[0].gain_h == 1).all()
    assert norm.stack.cells[0].weight_h.abs().max() <= 0.04


@pytest.mark.parametrize("name", ["plain", "relu", "gru", "one-hot", "tied", "tied, mapped"])
def test_values_and_gradients_are_those_of_torchs_layers(name: str) -> None:
    model, inputs, targets, _ = drawn(OPTIONS[name])
    nats, _ = model.loss(inputs, targets, model.start(B))
    nats.backward()
    found = {key: parameter.grad for key, parameter in model.named_parameters()}

    recurrent = to_torch(model.stack)
    table = getattr(model.embedding, "weight", torch.eye(V, dtype=torch.float64)).detach().requires_grad_()
    output = table if OPTIONS[name].tied else model.softmax.weight.detach().requires_grad_()
    bias = model.softmax.bias.detach().requires_grad_()
    hidden, _ = recurrent(functional.embedding(inputs, table))
    if model.map is not None:
        hidden = hidden @ model.map.weight.detach().T
    logits = hidden @ output.T + bias
    theirs = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    theirs.backward()
    torch.testing.assert_close(nats, theirs)
    if "embedding.weight" in found:
        torch.testing.assert_close(found["embedding.weight"], table.grad)
    if not OPTIONS[name].tied:
        torch.testing.assert_close(found["softmax.weight"], output.grad)
    torch.testing.assert_close(found["softmax.bias"], bias.grad)
    torch.testing.assert_close(found["stack.cells.0.weight_h"], recurrent.weight_hh_l0.grad)
    torch.testing.assert_close(found["stack.cells.0.bias"], recurrent.bias_ih_l0.grad)


@every
def test_two_pieces_of_a_stream_with_the_state_carried_are_one(options: RecurrentOptions) -> None:
    model, inputs, targets, state = drawn(options)
    whole, _ = model.log_probabilities(inputs, targets, state)
    first, middle = model.log_probabilities(inputs[:3], targets[:3], state)
    second, _ = model.log_probabilities(inputs[3:], targets[3:], middle)
    torch.testing.assert_close(torch.cat([first, second]), whole)


def test_it_is_a_language_model() -> None:
    model = RecurrentLanguageModel(V, RecurrentOptions(hidden_size=3))
    assert isinstance(model, LanguageModel)
    assert model.vocabulary_size == V


@pytest.mark.parametrize(
    ("size", "millions"), [(200, 4.65), (650, 19.78), (1500, 66.02)], ids=["small", "medium", "large"]
)
def test_zaremba2014_has_its_parameters(size: int, millions: float) -> None:
    """4.65, 19.78 and 66.03 million with torch's second biases, which are only ever added to the first."""
    with torch.device("meta"):
        model = RecurrentLanguageModel(10_000, RecurrentOptions(layers=2, hidden_size=size))
    assert model.parameter_count / 1e6 == pytest.approx(millions, abs=0.005)


def test_a_tied_weight_counts_once_is_saved_once_and_stays_tied(tmp_path: Path) -> None:
    options = OPTIONS["tied, mapped"]
    model, inputs, targets, state = drawn(options)
    own = RecurrentLanguageModel(V, replace(options, tied=False))
    assert model.softmax.weight is model.embedding.weight
    assert own.parameter_count - model.parameter_count == V * 6 - 4 * 6
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    again = RecurrentLanguageModel(V, options).double()
    again.load_state_dict(load_file(tmp_path / "model.safetensors"))
    expected, _ = model.log_probabilities(inputs, targets, state)
    found, _ = again.log_probabilities(inputs, targets, state)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("cell", sorted(set(CELLS) - {"lstm-b", "layer-norm", "indrnn", "rhn"}))
def test_initial_scale_reaches_every_tensor(cell: str) -> None:
    model = RecurrentLanguageModel(300, RecurrentOptions(cell=cell, hidden_size=40, initial_scale=0.03))
    for name, parameter in model.named_parameters():
        assert parameter.abs().max() <= 0.03, name
        assert parameter.abs().max() > 0.025, name
        assert parameter.min() < 0 < parameter.max(), name


@pytest.mark.parametrize("scale", [None, 0.08])
def test_forget_bias_comes_on_top(scale: float | None) -> None:
    options = RecurrentOptions(layers=2, hidden_size=50, initial_scale=scale, forget_bias=1.0)
    model = RecurrentLanguageModel(20, options)
    for cell in model.stack.cells:
        assert isinstance(cell, LSTM)
        bound = scale or 50**-0.5
        i, f, g, o = cell.bias.chunk(4)
        assert (f - 1).abs().max() <= bound + 1e-6
        assert f.std() > bound / 3
        assert torch.cat([i, g, o]).abs().max() <= bound


def test_dropout_falls_where_zaremba2014_puts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    options = RecurrentOptions(
        cell="gru", layers=2, hidden_size=150, dropout_input=0.2, dropout_between=0.4, dropout_output=0.6
    )
    model = RecurrentLanguageModel(V, options)
    seen: dict[str, Tensor] = {}

    def note(name: str, owner: nn.Module, method: str) -> None:
        original = getattr(owner, method)

        def noted(x: Tensor, *rest: Any) -> Any:
            seen[name] = x.view(T, B, -1)
            return original(x, *rest)

        monkeypatch.setattr(owner, method, noted)

    note("input", model.stack.cells[0], "scan")
    note("between", model.stack.cells[1], "scan")
    note("output", model.softmax, "loss")
    inputs = torch.full((T, B), 4)
    model.loss(inputs, inputs, model.start(B))
    for name, rate in (("input", 0.2), ("between", 0.4), ("output", 0.6)):
        dropped = seen[name] == 0
        assert dropped.double().mean().item() == pytest.approx(rate, abs=0.03), name
        assert len({tuple(mask.flatten().tolist()) for mask in dropped}) == T, f"{name}: afresh at every step"
    kept = seen["input"] != 0
    row = model.embedding.weight[4].expand(T, B, -1)
    torch.testing.assert_close(seen["input"][kept], row[kept] / 0.8)

    model.eval()
    first, _ = model.loss(inputs, inputs, model.start(B))
    assert all((x != 0).all() for x in seen.values())
    second, _ = model.loss(inputs, inputs, model.start(B))
    assert torch.equal(first, second)


def test_truncation_cuts_at_the_carried_state() -> None:
    model, inputs, targets, state = drawn(OPTIONS["plain"])
    _, carried = model.loss(inputs, targets, state)
    detached = states.detach(carried)
    assert all(leaf.requires_grad for _, leaf in states.leaves(carried))
    assert not any(leaf.requires_grad for _, leaf in states.leaves(detached))


def test_training_lowers_the_loss_of_a_text_that_repeats() -> None:
    model = RecurrentLanguageModel(5, RecurrentOptions(hidden_size=16))
    text = torch.arange(41)[:, None].repeat(1, 2) % 5
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        nats, _ = model.loss(text[:-1], text[1:], model.start(2))
        nats.backward()
        optimizer.step()
    assert nats.item() / 80 < 0.15


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_recomputing_reaches_every_cell_and_changes_no_gradient(noise: float) -> None:
    options = replace(OPTIONS["plain"], dropout_state=noise, dropout_candidate=noise)
    model, inputs, targets, state = drawn(options)
    other = RecurrentLanguageModel(V, replace(options, store="recompute")).double()
    other.load_state_dict(model.state_dict())
    assert [layer.store for layer in model.stack.cells] == ["all", "all"]
    assert [layer.store for layer in other.stack.cells] == ["recompute", "recompute"]
    found = []
    for each in (model, other):
        torch.manual_seed(7)  # the same masks
        nats, _ = each.loss(inputs, targets, state)
        found.append([nats, *torch.autograd.grad(nats, list(each.parameters()))])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_options_say_all_that_is_wrong_with_them() -> None:
    assert RecurrentOptions().problems() == []
    wrong = RecurrentOptions(
        cell="lstn", nonlinearity="swish", layers=0, hidden_size=-3, dropout_output=1.0, initial_scale=0.0,
        store="some",
    )  # fmt: skip
    assert wrong.problems() == [
        f'model.cell must be one of {", ".join(CELLS)}, or FILE.py:NAME for one of your own; it is "lstn".',
        'model.nonlinearity must be one of tanh, relu, logistic; it is "swish".',
        'model.store must be one of all, recompute; it is "some".',
        "model.layers must be 1 or more; it is 0.",
        "model.hidden_size must be 1 or more; it is -3.",
        "model.dropout_output must be from 0 to below 1; it is 1.0.",
        "model.initial_scale must be above 0; it is 0.0.",
    ]
    idle = RecurrentOptions(
        cell="gru", nonlinearity="relu", forget_bias=1.0, dropout_between=0.5, one_hot=True, tied=True,
        embedding_size=20, dropout_input=0.1,
    )  # fmt: skip
    assert idle.problems() == [
        'model.nonlinearity is for model.cell = "elman"; the cell is "gru".',
        "model.dropout_between falls between layers; model.layers is 1.",
        "model.embedding_size needs an embedding; model.one_hot has none.",
        "model.tied needs an embedding; model.one_hot has none.",
        "model.dropout_input needs an embedding; model.one_hot has none.",
        "model.forget_bias is for model.cell = lstm, lstm-i, lstm-o, lstm-b, coupled, capped, peephole, "
        'peephole-full, lstmp, layer-norm, mogrifier, slstm, janet; the cell is "gru".',
    ]
    strange = RecurrentOptions(cell="rhn", depth=0, rounds=3, projection_size=5)
    assert strange.problems() == [
        "model.depth must be 1 or more; it is 0.",
        'model.rounds is for model.cell = "mogrifier"; the cell is "rhn".',
        'model.projection_size is for model.cell = "lstmp"; the cell is "rhn".',
    ]


def test_noise_falls_where_the_options_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """An LSTM and a softmax written out, with the masks that were drawn."""
    options = RecurrentOptions(
        layers=2, hidden_size=6, embedding_size=5, dropout_variational=True, dropout_input=0.2,
        dropout_between=0.3, dropout_output=0.4, dropout_state=0.25, dropout_candidate=0.15,
        dropout_weights=0.5, zoneout_h=0.05, zoneout_c=0.35,
    )  # fmt: skip
    inner = {"state": 0.25, "candidate": 0.15, "weights": 0.5, "zoneout": {"h": 0.05, "c": 0.35}}
    model, inputs, targets, state = drawn(options)
    lower, upper = model.stack.cells
    assert lower.noise == Noise(input=0.2, **inner)
    assert upper.noise == Noise(input=0.3, output=0.4, **inner)
    masks: list[dict[str, Tensor]] = []
    draw = Noisy.draw

    def remembered(self: Noisy, *sizes: int) -> dict[str, Tensor]:
        masks.append(draw(self, *sizes))
        return masks[-1]

    monkeypatch.setattr(Noisy, "draw", remembered)
    nats, _ = model.loss(inputs, targets, state)
    y = functional.embedding(inputs, model.embedding.weight)
    for layer, (h, c), m in zip((lower.cell, upper.cell), state, masks, strict=True):
        outputs = []
        for t in range(T):
            weight_h = layer.weight_h * m["weights.0"]
            sums = (y[t] * m["input"][0]) @ layer.weight_x.T + (h * m["state.h"][0]) @ weight_h.T + layer.bias
            i, f, g, o = sums.chunk(4, dim=1)
            new = f.sigmoid() * c + i.sigmoid() * g.tanh() * m["candidate.0"][t]
            h = torch.where(m["zoneout.h"][t] == 1, h, o.sigmoid() * new.tanh())
            c = torch.where(m["zoneout.c"][t] == 1, c, new)
            outputs.append(h * m["output"][0] if "output" in m else h)
        y = torch.stack(outputs)
    logits = y @ model.softmax.weight.T + model.softmax.bias
    expected = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    torch.testing.assert_close(nats, expected)


def test_noise_is_off_in_evaluation_but_for_the_mean_of_zoneout() -> None:
    noisy = RecurrentOptions(
        hidden_size=6, dropout_variational=True, dropout_per_gate=True, dropout_input=0.3
    )
    plain = RecurrentLanguageModel(V, RecurrentOptions(hidden_size=6))
    for options, same in (
        (replace(noisy, dropout_state=0.5, dropout_weights=0.5, dropout_output=0.5), True),
        (replace(noisy, zoneout_c=0.5), False),
    ):
        model = RecurrentLanguageModel(V, options)
        own = {name.replace("cells.0.cell.", "cells.0."): p for name, p in model.state_dict().items()}
        plain.load_state_dict(own)
        model.eval()
        inputs, targets = torch.randint(V, (T, B)), torch.randint(V, (T, B))
        log_p, _ = model.log_probabilities(inputs, targets, model.start(B))
        expected, _ = plain.log_probabilities(inputs, targets, plain.start(B))
        assert torch.equal(log_p, expected) == same
        state, stepped = model.start(B), []
        for t in range(T):
            distribution, state = model.step(inputs[t], state)
            stepped.append(distribution.gather(1, targets[t, :, None]).squeeze(1))
        torch.testing.assert_close(torch.stack(stepped), log_p)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            RecurrentOptions(cell="elman", dropout_candidate=0.2),
            'model.dropout_candidate cannot be had with model.cell = "elman": '
            "the cell marks no candidate by self.candidate.",
        ),
        (
            RecurrentOptions(cell="gru", zoneout_c=0.2),
            'model.zoneout_c cannot be had with model.cell = "gru": the state has h, not c.',
        ),
        (
            RecurrentOptions(cell="mingru", dropout_weights=0.2),
            'model.dropout_weights cannot be had with model.cell = "mingru": '
            "the cell multiplies its state by no matrix.",
        ),
        (
            RecurrentOptions(dropout_state=1.0),
            "model.dropout_state must be from 0 to below 1; it is 1.0.",
        ),
        (
            RecurrentOptions(dropout_per_gate=True),
            "model.dropout_per_gate needs model.dropout_state or model.dropout_variational.",
        ),
    ],
)
def test_noise_that_cannot_be_had(options: RecurrentOptions, problem: str) -> None:
    assert options.problems() == [problem]


def test_a_model_of_wrong_options() -> None:
    with pytest.raises(OptionError) as error:
        RecurrentLanguageModel(50, RecurrentOptions(layers=0), start_id=50)
    assert str(error.value) == (
        "A recurrent language model over 50 tokens was asked for.\n"
        "  model.layers must be 1 or more; it is 0. start_id must be from 0 to below 50 (V); it is 50.\n"
        "  Change these options."
    )


def test_ids_beyond_the_vocabulary() -> None:
    model, inputs, targets, state = drawn(OPTIONS["plain"])
    with pytest.raises(TokenError) as error:
        model.step(torch.tensor([2, 13, 5]), state)
    assert str(error.value) == (
        "A recurrent language model over 13 tokens was given tokens.\n"
        "  The ids go from 2 to 13; they must be from 0 to 12.\n"
        "  Encode the text with the vocabulary that the model was trained with."
    )
    with pytest.raises(TokenError, match="was given targets"):
        model.loss(inputs, targets - 14, state)


def test_ids_of_another_shape() -> None:
    model, inputs, targets, state = drawn(OPTIONS["plain"])
    with pytest.raises(ShapeError) as error:
        model.log_probabilities(inputs[0], targets[0], state)
    assert str(error.value) == (
        "A recurrent language model over 13 tokens was given inputs.\n"
        "  inputs are (3,) of torch.int64; they must be T B of torch.int64.\n"
        "  Sequences of ids are T B (time first); a single step is B."
    )
    with pytest.raises(ShapeError, match=r"inputs are \(7, 3\), targets \(6, 3\) \(T B\)"):
        model.loss(inputs, targets[1:], state)
    with pytest.raises(ShapeError, match=r"tokens are \(3,\) of torch.float32"):
        model.step(torch.zeros(3), state)


def test_a_cell_of_ones_own_takes_the_place_of_the_named_one() -> None:
    from tests.cells.own_cells import Rich

    model = RecurrentLanguageModel(V, RecurrentOptions(layers=2, hidden_size=4, tied=True), cell=Rich)
    assert [(type(layer), layer.input_size) for layer in model.stack.cells] == [(Rich, 4), (Rich, 5)]
    nats, _ = model.loss(torch.tensor([[1, 2], [3, 4]]), torch.tensor([[3, 4], [0, 1]]), model.start(2))
    nats.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters() if p.requires_grad)


def test_options_of_another_cell_are_refused_for_ones_own() -> None:
    from tests.cells.own_cells import Rich

    with pytest.raises(OptionError, match=r'the cell is "own.py:Rich"'):
        RecurrentLanguageModel(V, RecurrentOptions(forget_bias=1.0), cell=Rich)
    with pytest.raises(OptionError, match=r'model.cell is "mine.py:Mine", and no class was given'):
        RecurrentLanguageModel(V, RecurrentOptions(cell="mine.py:Mine"))
