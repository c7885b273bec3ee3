"""Exact resume: a training that was stopped, by whatever, ends as one that never was."""

import os
import random
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import trainee
from torch import Tensor

from elman.errors import RunError
from elman.text import files
from elman.training import journal, tensorfile
from elman.training.folder import RunFolder
from elman.training.options import TrainingOptions
from elman.training.progress import Silent

CLOCKS = {"seconds", "tokens_per_second"}


class Killed(BaseException):
    """Stands in for the end of the process."""


def ends(folder: RunFolder) -> tuple[dict[str, Tensor], dict[str, Tensor], list[dict[str, Any]]]:
    """All that a training leaves: the last tensors, the loop's included, the best ones, and the journal."""
    told = [
        {key: value for key, value in event.items() if key not in CLOCKS}
        for event in journal.read(folder.journal)
    ]
    return tensorfile.read(folder.last)[0], tensorfile.read(folder.best)[0], told


def assert_same(one: RunFolder, other: RunFolder) -> None:
    (last, best, told), (last2, best2, told2) = ends(one), ends(other)
    for mine, its in ((last, last2), (best, best2)):
        assert mine.keys() == its.keys()
        assert [name for name in mine if not torch.equal(mine[name], its[name])] == []
    assert told == told2


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    torch.set_num_threads(1)
    folder = trainee.new_folder(tmp_path_factory.mktemp("whole") / "run")
    assert trainee.run(folder).reason == "epochs"
    return folder


def test_dropout_momentum_and_schedule_all_matter_here(uninterrupted: RunFolder) -> None:
    """What resuming must restore is really at work in the training that the tests below compare with."""
    last, _, told = ends(uninterrupted)
    assert {"loop/random/cpu", "loop/optimizer/0/momentum_buffer", "loop/state.1.c"} <= last.keys()
    assert len({event["learning_rate"] for event in told if event["event"] == "progress"}) > 1


@pytest.mark.slow
def test_killed_at_three_random_moments_and_resumed(tmp_path: Path, uninterrupted: RunFolder) -> None:
    path = tmp_path / "run"
    trainees = subprocess.Popen(
        [sys.executable, trainee.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert trainees.stdin is not None
    assert trainees.stdout is not None
    for step in [*sorted(random.Random(11).sample(range(2, 36), 3)), None]:
        print(path, file=trainees.stdin, flush=True)
        child = 0
        for line in trainees.stdout:
            word, number = line.split()
            if word == "child":
                child = int(number)
            elif word == "step" and int(number) == step:
                os.kill(child, signal.SIGKILL)
            elif word == "ended":
                assert int(number) == (0 if step is None else -signal.SIGKILL)
                break
        RunFolder.open(path)  # whole at any moment
    trainees.communicate()
    assert_same(RunFolder.open(path), uninterrupted)


def operations(monkeypatch: pytest.MonkeyPatch, end_at: int | None) -> list[str]:
    """Every bringing to disk and every replacing of a file from now on; the one numbered ``end_at`` kills."""
    done: list[str] = []

    def before(name: str) -> None:
        if end_at == len(done):
            raise Killed
        done.append(name)

    def fsync(number: int, really: Any = os.fsync) -> None:
        before("fsync")
        really(number)

    def moved(self: Path, target: Path, really: Any = Path.replace) -> Path:
        before("replace")
        return really(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", moved)
    return done


def test_killed_before_any_single_write(tmp_path: Path) -> None:
    options = replace(trainee.OPTIONS, steps=24, evaluate_every=2, epochs=1, average=0.9)
    whole, path = trainee.new_folder(tmp_path / "whole"), tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        done = operations(patch, end_at=None)
        trainee.run(whole, options)
    assert len(done) == 15
    for end_at in range(len(done)):
        folder = trainee.new_folder(path / str(end_at))
        with pytest.MonkeyPatch.context() as patch:
            operations(patch, end_at)
            with pytest.raises(Killed):
                trainee.run(folder, options)
        trainee.run(folder, options)
        assert_same(folder, whole)


class Signalling(Silent):
    """Sends this process a signal as soon as step ``step`` is taken."""

    def __init__(self, step: int, number: signal.Signals) -> None:
        self.step, self.number, self.said = step, number, ""

    def advance(self, step: int, *_: object) -> None:
        if step == self.step:
            os.kill(os.getpid(), self.number)

    def say(self, text: str) -> None:
        self.said += text


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_saves_then_ends(
    tmp_path: Path, uninterrupted: RunFolder, number: signal.Signals, raised: type[BaseException]
) -> None:
    folder, progress = trainee.new_folder(tmp_path / "run"), Signalling(17, number)
    handler = signal.getsignal(number)
    with pytest.raises(raised) as caught:
        trainee.run(folder, progress=progress, checkpoint_seconds=1000)
    assert signal.getsignal(number) == handler
    assert progress.said == "Interrupted: saved after step 17; it can be resumed from there."
    assert list(journal.read(folder.journal))[-1]["reason"] == "interrupted"
    if isinstance(caught.value, SystemExit):
        assert caught.value.code == 143
    trainee.run(folder)
    assert_same(folder, uninterrupted)


def test_a_limit_of_time_evaluates_once_more_and_can_be_resumed(
    tmp_path: Path, uninterrupted: RunFolder
) -> None:
    folder = trainee.new_folder(tmp_path / "run")
    outcome = trainee.run(folder, max_minutes=0)
    assert (outcome.reason, outcome.steps) == ("max minutes", 1)
    assert [event["event"] for event in journal.read(folder.journal)] == [
        "start", "progress", "evaluation", "end"
    ]  # fmt: skip
    assert outcome.best_nats_per_token == list(journal.read(folder.journal))[2]["nats_per_token"]
    assert folder.weights == folder.best
    trainee.run(folder)
    assert_same(folder, uninterrupted)


def test_a_finished_training_called_again_changes_nothing(uninterrupted: RunFolder) -> None:
    before = ends(uninterrupted)
    outcome = trainee.run(uninterrupted)
    assert (outcome.reason, outcome.steps) == ("epochs", 36)
    assert ends(uninterrupted)[2] == before[2]
    assert all(torch.equal(before[0][name], tensor) for name, tensor in ends(uninterrupted)[0].items())


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_the_memory_of_every_optimizer_is_restored(tmp_path: Path, optimizer: str) -> None:
    options = TrainingOptions(epochs=1, batch=4, steps=6, optimizer=optimizer, learning_rate=0.01)
    whole, halved = trainee.new_folder(tmp_path / "whole"), trainee.new_folder(tmp_path / "halved")
    trainee.run(whole, options)
    with pytest.raises(KeyboardInterrupt):
        trainee.run(halved, options, progress=Signalling(5, signal.SIGINT))
    trainee.run(halved, options)
    assert_same(halved, whole)


def test_the_average_of_the_weights_is_restored(tmp_path: Path, uninterrupted: RunFolder) -> None:
    options = replace(trainee.OPTIONS, average=0.8, epochs=1)
    whole, parts = trainee.new_folder(tmp_path / "whole"), trainee.new_folder(tmp_path / "parts")
    trainee.run(whole, options)
    with pytest.raises(KeyboardInterrupt):
        trainee.run(parts, options, progress=Signalling(5, signal.SIGINT))
    trainee.run(parts, options, max_minutes=0)
    trainee.run(parts, options)
    assert_same(parts, whole)
    last, best, _ = ends(whole)
    averaged = {name for name in last if name.startswith("loop/average/")}
    assert averaged == {f"loop/average/{name}" for name in best}
    assert last.keys() - averaged == ends(uninterrupted)[0].keys()  # and without the option nothing more


def test_a_checkpoint_without_its_average_is_refused(tmp_path: Path) -> None:
    folder, options = trainee.new_folder(tmp_path / "run"), replace(trainee.OPTIONS, average=0.8)
    trainee.run(folder, options, max_minutes=0)
    data = folder.last.read_bytes()
    folder.last.write_bytes(data.replace(b"loop/average/softmax.bias", b"loop/average/softmax.bios"))
    with pytest.raises(RunError, match=r"last\.safetensors is damaged.*KeyError\('softmax.bias'\)"):
        trainee.run(folder, options)


def test_a_run_begins_from_given_weights_also_when_killed_at_once(tmp_path: Path) -> None:
    model = trainee.new_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    given = tensorfile.weights(model)
    RunFolder.create(tmp_path / "run", "", trainee.VOCABULARY, initial=given)
    folder = RunFolder.open(tmp_path / "run")
    trainee.run(folder, TrainingOptions(epochs=1, batch=4, steps=6, learning_rate=1e-20))
    ended = tensorfile.read_weights(folder.last)
    assert all(torch.allclose(ended[name], tensor, rtol=0, atol=1e-15) for name, tensor in given.items())


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    given = tensorfile.weights(trainee.new_model())
    given["softmax.bias"] = torch.zeros(12)
    given["more"] = given.pop("softmax.weight")
    folder = RunFolder.create(tmp_path / "run", "", trainee.VOCABULARY, initial=given)
    with pytest.raises(RunError) as caught:
        trainee.run(folder)
    assert str(caught.value).splitlines()[1:] == [
        "  They do not fit: softmax.weight is missing; more is unknown; softmax.bias is 12, not 11.",
        "  Use weights of the same cell, sizes and vocabulary as model.* and text.* say.",
    ]


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path, uninterrupted: RunFolder) -> None:
    """A real refusal of the system, half-way through a file: the limit on the size of files."""
    folder = trainee.new_folder(tmp_path / "run")
    trainee.run(folder, max_minutes=0)
    size, names = folder.last.stat().st_size, sorted(folder.path.iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - 100, hard))
    try:
        with pytest.raises(RunError) as caught:
            trainee.run(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value).splitlines() == [
        f"{folder.last} was to be written.",
        "  The system refused: File too large.",
        "  Make room or choose a folder that can be written; what was saved before is whole (--resume).",
    ]
    assert sorted(folder.path.iterdir()) == names
    assert folder.last.stat().st_size == size
    trainee.run(folder)
    assert_same(folder, uninterrupted)


def test_no_space_for_a_new_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(RunError, match="The system refused: No space left on device"):
        trainee.new_folder(tmp_path / "run")


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b'"place"', b'"plbce"'),
        (b"best_step", b"best_stdp"),
        (b"loop/random/cpu", b"loop/random/cqu"),
    ],
)
def test_a_damaged_header_is_said_in_three_lines(was: bytes, becomes: bytes, tmp_path: Path) -> None:
    folder = trainee.new_folder(tmp_path / "run")
    trainee.run(folder)
    data = folder.last.read_bytes()
    assert was in data
    folder.last.write_bytes(data.replace(was, becomes))
    with pytest.raises(RunError) as caught:
        trainee.run(folder)
    first, second, third = str(caught.value).splitlines()
    assert first == f"The training of {folder.path} was to be resumed."
    assert second.startswith("  Its last.safetensors is damaged, or from another version of Elman: ")
    assert third == "  Copy it again from where it was trained, or train anew with another --out."
