"""What a training computes: updates against gradients by hand, carried state, evaluations, early ends."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import trainee
from torch import Tensor, nn

from elman.errors import DivergenceError, OptionError, RunError
from elman.measures.perplexity import Perplexity, evaluate
from elman.training import journal, loop, tensorfile
from elman.training.folder import RunFolder
from elman.training.options import TrainingOptions
from elman.training.progress import Silent

PLAIN = TrainingOptions(epochs=1, batch=4, steps=6, learning_rate=0.7)


def one_step(tmp_path: Path, options: TrainingOptions, tokens: int = 24) -> dict[str, Tensor]:
    """The weights after one update, in float64 and without dropout."""
    model = trainee.new_model(trainee.CERTAIN)
    folder = trainee.new_folder(tmp_path / f"{len(list(tmp_path.iterdir()))}")
    outcome = loop.train(
        model, trainee.TRAIN[:tokens], trainee.VALID, trainee.START, options, folder, precision="float64"
    )
    assert outcome.steps == 1
    return tensorfile.weights(model)


def by_hand(divide_by: float) -> tuple[dict[str, Tensor], dict[str, Tensor], float]:
    """Weights, gradients of Σ −log p over the first 24 tokens divided by ``divide_by``, and their norm."""
    model = trainee.new_model(trainee.CERTAIN).double()
    targets = torch.from_numpy(trainee.TRAIN[:24].astype(np.int64)).view(4, 6).T
    before = torch.cat((torch.tensor([trainee.START]), torch.from_numpy(trainee.TRAIN[:23].astype(np.int64))))
    state, nats = model.start(4), torch.zeros((), dtype=torch.float64)
    for tokens, following in zip(before.view(4, 6).T, targets, strict=True):
        log_p, state = model.step(tokens, state)
        nats = nats - log_p[torch.arange(4), following].sum()
    (nats / divide_by).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    norm = float(torch.cat([g.flatten() for g in gradients.values()]).norm())
    return tensorfile.weights(model), gradients, norm


def differs(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.mark.parametrize(("loss", "divide_by"), [("sum-over-time", 4), ("mean-over-time", 24)])
def test_the_first_update_is_the_gradient_computed_step_by_step(
    tmp_path: Path, loss: str, divide_by: int
) -> None:
    weights, gradients, _ = by_hand(divide_by)
    updated = one_step(tmp_path, replace(PLAIN, loss=loss))
    expected = {name: weights[name] - 0.7 * gradients[name] for name in weights}
    assert differs(updated, expected) < 1e-12
    assert differs(updated, weights) > 0.01


def test_clipping_by_norm_shortens_the_whole_gradient(tmp_path: Path) -> None:
    weights, gradients, norm = by_hand(4)
    updated = one_step(tmp_path, replace(PLAIN, clip_norm=norm / 3))
    assert differs(updated, {k: weights[k] - 0.7 / 3 * gradients[k] for k in weights}) < 1e-12
    untouched = one_step(tmp_path, replace(PLAIN, clip_norm=norm * 1.01))
    assert differs(untouched, {k: weights[k] - 0.7 * gradients[k] for k in weights}) < 1e-12


def test_clipping_by_value_cuts_each_element(tmp_path: Path) -> None:
    weights, gradients, _ = by_hand(4)
    updated = one_step(tmp_path, replace(PLAIN, clip_value=0.05))
    expected = {k: weights[k] - 0.7 * gradients[k].clamp(-0.05, 0.05) for k in weights}
    assert differs(updated, expected) < 1e-12
    assert any(bool((g.abs() > 0.05).any()) for g in gradients.values())


def test_a_sum_over_time_is_a_mean_at_T_times_the_rate_and_a_Tth_of_the_clip(tmp_path: Path) -> None:
    summed = one_step(tmp_path, replace(PLAIN, learning_rate=1, clip_norm=0.5))
    mean = replace(PLAIN, loss="mean-over-time", learning_rate=6, clip_norm=0.5 / 6)
    assert differs(summed, one_step(tmp_path, mean)) < 1e-13


class Spy(nn.Module):
    """Counts in its state the steps it has read; its loss is w² per token."""

    class State(NamedTuple):
        steps: Tensor

    vocabulary_size = 11

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(0.25))
        self.seen: list[tuple[float, bool, int]] = []

    def start(self, batch: int) -> State:
        return Spy.State(torch.zeros(batch, 1))

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        raise NotImplementedError

    def log_probabilities(self, inputs: Tensor, _: Tensor, state: State) -> tuple[Tensor, State]:
        return -self.w.square() * torch.ones(inputs.shape), state

    def loss(self, inputs: Tensor, _: Tensor, state: State) -> tuple[Tensor, State]:
        self.seen.append((float(state.steps.min()), state.steps.requires_grad, len(inputs)))
        return self.w.square() * inputs.numel(), Spy.State(state.steps + len(inputs) + 0 * self.w)


def test_state_is_carried_without_its_graph_and_starts_anew_with_each_epoch(tmp_path: Path) -> None:
    spy = Spy()
    options = TrainingOptions(epochs=2, batch=4, steps=6, learning_rate=0.001)
    loop.train(spy, trainee.TRAIN[:62], trainee.VALID, 0, options, trainee.new_folder(tmp_path / "run"))
    assert spy.seen == [(0, False, 6), (6, False, 6), (12, False, 3)] * 2


def scripted(monkeypatch: pytest.MonkeyPatch, nats_per_token: list[float]) -> None:
    results = iter(nats_per_token)
    monkeypatch.setattr(loop, "evaluate", lambda *_, **__: Perplexity(next(results) * 40, 40))


def events(path: Path, kind: str) -> list[dict[str, Any]]:
    return [event for event in journal.read(path / "journal.jsonl") if event["event"] == kind]


def test_training_stops_after_evaluations_without_a_new_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [2.5, 2.25, 2.25, 2.75, 1.0])
    options = TrainingOptions(epochs=9, batch=4, steps=40, stop_after=2)
    outcome = trainee.run(trainee.new_folder(tmp_path / "run"), options)
    assert (outcome.reason, outcome.best_epoch, outcome.best_nats_per_token) == ("early stop", 2, 2.25)
    assert [event["best"] for event in events(tmp_path / "run", "evaluation")] == [True, True, False, False]
    assert tensorfile.read(tmp_path / "run/best.safetensors")[1]["step"] == "4"


def test_a_plateau_divides_the_rate_from_the_next_step_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [2.5, 2.6, 2.7, 2.8, 2.4, 2.41, 2.42])
    options = TrainingOptions(
        epochs=7, batch=4, steps=80, schedule="divide-on-plateau", divide_by=4, patience=2, learning_rate=0.5
    )
    trainee.run(trainee.new_folder(tmp_path / "run"), options)
    rates = [event["learning_rate"] for event in events(tmp_path / "run", "progress")]
    assert rates == [0.5, 0.5, 0.5, 0.125, 0.125, 0.125, 0.125]


def test_the_journal_and_the_outcome_say_what_evaluate_says(tmp_path: Path) -> None:
    folder = trainee.new_folder(tmp_path / "run")
    outcome = trainee.run(folder)
    model = trainee.new_model()
    tensorfile.put_weights(model, tensorfile.read_weights(folder.best), folder.best)
    best = evaluate(model, trainee.VALID, trainee.START, chunk=3).nats_per_token
    told = [event["nats_per_token"] for event in events(folder.path, "evaluation") if event["best"]][-1]
    assert outcome.best_nats_per_token == told == pytest.approx(best, rel=1e-6)
    (start,) = events(folder.path, "start")
    sizes = [start[key] for key in ("parameters", "tokens_per_epoch", "steps_per_epoch", "epochs")]
    assert sizes == [model.parameter_count, 288, 12, 3]
    assert [event["step"] for event in events(folder.path, "evaluation")] == [7, 14, 21, 28, 35, 36]
    assert events(folder.path, "end")[0]["reason"] == outcome.reason == "epochs"


def test_progress_lines_are_means_since_the_line_before(tmp_path: Path) -> None:
    spy = Spy()
    options = TrainingOptions(epochs=1, batch=1, steps=1, learning_rate=1e-9)
    loop.train(spy, trainee.TRAIN[:120], trainee.VALID, 0, options, trainee.new_folder(tmp_path / "run"))
    lines = events(tmp_path / "run", "progress")
    assert [line["tokens"] for line in lines] == list(range(2, 121, 2))
    assert all(line["nats_per_token"] == pytest.approx(0.0625, rel=1e-5) for line in lines)
    assert all(line["gradient_norm"] == pytest.approx(0.5, rel=1e-5) for line in lines)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_finite_weights(tmp_path: Path) -> None:
    folder = trainee.new_folder(tmp_path / "run")
    with pytest.raises(DivergenceError) as caught:
        trainee.run(folder, replace(PLAIN, learning_rate=1e38), checkpoint_seconds=60)
    asked, came, do = str(caught.value).splitlines()
    assert asked == "Training was at step 2 (epoch 1), at learning rate 1e+38."
    assert came.startswith("  The ")
    assert "; the gradient norm before was " in came
    assert do == (
        "  Lower train.learning_rate or set train.clip_norm (5 is usual); the weights after step 0 are kept."
    )
    kept = tensorfile.read_weights(folder.last)
    assert differs(kept, tensorfile.weights(trainee.new_model())) == 0


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    folder = trainee.new_folder(tmp_path / "run")
    options = replace(PLAIN, learning_rate=3e38)
    with pytest.raises(DivergenceError, match=r"largest weight is inf; the gradient norm before was 3\."):
        loop.train(Spy(), trainee.TRAIN, trainee.VALID, 0, options, folder, checkpoint_seconds=0)
    assert tensorfile.read_weights(folder.last) == {"w": 0.25}


def test_bfloat16_products_learn_with_float32_weights(tmp_path: Path) -> None:
    model = trainee.new_model(trainee.CERTAIN)
    pattern = np.tile(np.arange(8), 40)
    options = TrainingOptions(epochs=9, batch=4, steps=10, optimizer="adam", learning_rate=0.05, clip_norm=1)
    outcome = loop.train(
        model, pattern, pattern[:40], 7, options, trainee.new_folder(tmp_path / "run"), precision="bfloat16"
    )
    assert outcome.best_nats_per_token < 0.5 * np.log(8)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_bfloat16_products_learn_as_much_as_float32(tmp_path: Path) -> None:
    text = np.tile(trainee.TEXT[:20], 20)
    options = TrainingOptions(epochs=6, batch=4, steps=10, optimizer="adam", learning_rate=0.03, clip_norm=1)
    best = {}
    for precision in ("float32", "bfloat16"):
        model = trainee.new_model(replace(trainee.MODEL, dropout_between=0.0, dropout_output=0.0))
        folder = trainee.new_folder(tmp_path / precision)
        outcome = loop.train(model, text, text[:60], 7, options, folder, precision=precision)
        best[precision] = outcome.best_nats_per_token
    assert best["float32"] < 0.8 * np.log(11)
    assert best["bfloat16"] != best["float32"]
    assert abs(best["bfloat16"] - best["float32"]) < 0.03 * best["float32"]


def test_a_training_leaves_torchs_own_random_numbers_alone(tmp_path: Path) -> None:
    model, folder = trainee.new_model(), trainee.new_folder(tmp_path / "run")
    torch.manual_seed(99)
    expected = torch.rand(3)
    torch.manual_seed(99)
    loop.train(model, trainee.TRAIN, trainee.VALID, trainee.START, PLAIN, folder)
    assert torch.equal(torch.rand(3), expected)


def test_dropout_depends_on_the_seed_of_the_options_alone(tmp_path: Path) -> None:
    ended = []
    for around, seed in ((1, 1), (2, 1), (1, 2)):
        model, folder = trainee.new_model(), trainee.new_folder(tmp_path / f"{around}-{seed}")
        torch.manual_seed(around)
        loop.train(model, trainee.TRAIN, trainee.VALID, trainee.START, replace(PLAIN, seed=seed), folder)
        ended.append(tensorfile.weights(model))
    assert differs(ended[0], ended[1]) == 0
    assert differs(ended[0], ended[2]) > 1e-3


def test_what_cannot_be_trained_is_refused(tmp_path: Path) -> None:
    folder = trainee.new_folder(tmp_path / "run")
    with pytest.raises(OptionError, match=r"train\.epochs is 0; it must be 1 or more\."):
        trainee.run(folder, replace(PLAIN, epochs=0))
    with pytest.raises(OptionError, match="validated on 0"):
        loop.train(trainee.new_model(), trainee.TRAIN, trainee.VALID[:0], trainee.START, PLAIN, folder)
    with pytest.raises(OptionError, match='device "gpu"'):
        loop.train(trainee.new_model(), trainee.TRAIN, trainee.VALID, 0, PLAIN, folder, device="gpu")
    with pytest.raises(OptionError, match="There is no such precision"):
        loop.train(trainee.new_model(), trainee.TRAIN, trainee.VALID, 0, PLAIN, folder, precision="float8")
    assert not folder.last.exists()


def test_another_training_cannot_be_resumed(tmp_path: Path) -> None:
    folder = trainee.new_folder(tmp_path / "run")
    trainee.run(folder, max_minutes=0)
    with pytest.raises(RunError, match="batch 5, steps 6") as caught:
        trainee.run(folder, replace(trainee.OPTIONS, batch=5))
    assert "It was begun with 288 tokens per epoch, batch 4, steps 6" in str(caught.value)


@pytest.mark.parametrize(("was", "becomes"), [(0.0, 0.998), (0.998, 0.0), (0.998, 0.99)])
def test_an_average_cannot_begin_end_or_change_in_a_training(
    tmp_path: Path, was: float, becomes: float
) -> None:
    folder = trainee.new_folder(tmp_path / "run")
    trainee.run(folder, replace(PLAIN, average=was), max_minutes=0)
    with pytest.raises(RunError) as caught:
        trainee.run(folder, replace(PLAIN, average=becomes))
    same = "288 tokens per epoch, batch 4, steps 6, loss sum-over-time, optimizer sgd, seed 1, float32"
    asked, begun = (same + (f", average {average}" if average else "") for average in (becomes, was))
    assert str(caught.value).splitlines() == [
        f"The training of {folder.path} was to be resumed with {asked}.",
        f"  It was begun with {begun}.",
        "  Resume with the same text, options and precision, or begin anew with another --out.",
    ]


class Recorder(Silent):
    """Keeps the weights that each step leaves."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.weights = [self.now()]

    def now(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in tensorfile.weights(self.model).items()}

    def advance(self, *_: object) -> None:
        self.weights.append(self.now())


@pytest.mark.parametrize("precision", ["float64", "bfloat16"])
def test_the_average_is_evaluated_and_kept_while_training_goes_on_from_the_weights(
    tmp_path: Path, precision: str
) -> None:
    """Beside the sum of the weights after every step, each times its share; training itself is as without."""
    options = replace(PLAIN, epochs=2, evaluate_every=5, clip_norm=1, average=0.7)
    recorded: list[Recorder] = []
    for average in (0.0, 0.7):
        model = trainee.new_model(replace(trainee.MODEL, tied=True))
        model.to(torch.float64 if precision == "float64" else torch.float32)
        recorded.append(Recorder(model))
        folder = trainee.new_folder(tmp_path / f"{average}")
        outcome = loop.train(
            model, trainee.TRAIN, trainee.VALID, trainee.START, replace(options, average=average), folder,
            precision=precision, progress=recorded[-1], device="cpu",
        )  # fmt: skip
    without, steps = (each.weights for each in recorded)
    assert len(without) == len(steps) == 25
    assert max(differs(one, other) for one, other in zip(without, steps, strict=True)) == 0
    assert differs(tensorfile.read_weights(folder.last), steps[-1]) == 0

    best, words = tensorfile.read(folder.best)
    n, left, shares = int(words["step"]), 1.0, {}
    for step in range(n, 0, -1):
        decay = min(0.7, (1 + step) / (10 + step))
        shares[step], left = left * (1 - decay), left * decay
    shares[0] = left
    assert sum(shares.values()) == pytest.approx(1)
    expected = {name: sum(shares[m] * steps[m][name].double() for m in shares) for name in steps[0]}
    assert differs(best, expected) < (1e-13 if precision == "float64" else 1e-6)
    assert differs(best, steps[n]) > 0.01

    tensorfile.put_weights(model, best, folder.best)
    reached = evaluate(model, trainee.VALID, trainee.START, chunk=7).nats_per_token
    told = [event for event in events(folder.path, "evaluation") if event["best"]][-1]
    assert (told["step"], told["nats_per_token"]) == (n, outcome.best_nats_per_token)
    assert reached == pytest.approx(outcome.best_nats_per_token, rel=1e-6)


def test_an_average_begins_at_the_weights_that_the_run_begins_from(tmp_path: Path) -> None:
    given = {name: 2 * tensor for name, tensor in tensorfile.weights(trainee.new_model()).items()}
    folder = RunFolder.create(tmp_path / "run", "", trainee.VOCABULARY, initial=given)
    trainee.run(folder, replace(PLAIN, average=0.9), max_minutes=0)
    after, best = tensorfile.read_weights(folder.last), tensorfile.read_weights(folder.best)
    assert differs(best, {name: (2 * given[name] + 9 * after[name]) / 11 for name in given}) < 1e-6
    assert differs(after, given) > 0.01
