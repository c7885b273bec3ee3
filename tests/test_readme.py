"""The README does what it says: its commands on a user's own text, and its Python, are run as written."""

import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import elman
from elman.cli.main import main

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
OWN_TEXT = README[README.index("## On your own text") : README.index("## Published numbers")]
SENTENCES = (
    "It was a bright cold day in April, and the clocks were striking.",
    "The cat sat by the window; it was late.",
)


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", OWN_TEXT, re.M | re.S)


@pytest.mark.slow
def test_a_text_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("novel.txt").write_text("\n".join(SENTENCES * 20) + "\n")
    (console,), (session, swap) = blocks("console"), blocks("python")
    commands = re.findall(r"^\$ elman (.*)$", console, re.M)
    assert [command.split()[0] for command in commands] == ["train", "train", "evaluate", "generate"]
    for command in commands:
        assert main(shlex.split(command, comments=True)) == 0, command
    said = capsys.readouterr().out
    assert re.findall(r"^perplexity +([\d.]+)$", said, re.M)
    assert len(said.rpartition("\nIt was")[2]) == 301  # so many characters were asked for, and a line end

    names = ran(session)
    run, printed = elman.load("runs/novel"), capsys.readouterr().out
    first, rest = printed.split("\n", 1)
    assert float(first) == pytest.approx(run.evaluate("test").perplexity)
    drawn = "".join(run.generate("It was", tokens=300, temperature=0.8, seed=1))
    text, likeliest = rest[: len("It was" + drawn)], rest[len("It was" + drawn) :]
    assert text == "It was" + drawn
    assert likeliest == f"\n{run.vocabulary.tokens[after(run, 'It')]}\n"
    assert torch.equal(names["log_p"], run.step("t", run.step("I").state).log_probabilities)
    assert issubclass(ran(swap)["LSTM"], nn.LSTM)


def after(run: elman.Run, text: str) -> int:
    """The likeliest id after ``text``, by one scan: no step is taken."""
    ids = [run.vocabulary.start_id, *run.vocabulary.ids(list(text)).tolist()]
    everything = torch.arange(len(run.vocabulary))
    inputs = torch.tensor(ids)[:, None].expand(-1, len(everything))
    targets = torch.cat((inputs[1:], everything[None]))
    found, _ = run.model.log_probabilities(inputs, targets, run.model.start(len(everything)))
    return int(found[-1].argmax())


def ran(code: str) -> dict[str, Any]:
    Path("block.py").write_text(code)
    return runpy.run_path("block.py")
