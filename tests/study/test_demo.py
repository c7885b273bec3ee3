"""The demo on a small text: its numbers are those that the runs themselves give, and its page says them."""

import io
import json
import math
import random
import re
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import elman
from elman.cli import demo as verb
from elman.cli.main import main
from elman.errors import OptionError, RunError
from elman.insight import report
from elman.study import demo, demo_page
from elman.study.demo import Findings, Plan
from elman.text.config import TextOptions
from elman.training import journal
from elman.training.progress import Shown, Silent

pytestmark = pytest.mark.slow


def small(text: Path, **changes: object) -> Plan:
    options = {
        "minutes": 0.02,
        "corpus": str(text),
        "text": TextOptions(shares=(0.8, 0.1, 0.1)),
        "order": 3,
        "hidden_size": 12,
        "embedding_size": 6,
        "batch": 4,
        "steps": 10,
        "learning_rates": {"elman": 0.02, "lstm": 0.03},
        "evaluations": 3,
        "prompt": "the cat",
        "sample_tokens": 5,
        "distances": 8,
        **changes,
    }
    return Plan(**options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences about cats and dogs; who is named first decides the last word."""
    draw = random.Random(5)
    lines = []
    for _ in range(700):
        subject, other = draw.sample(["cat", "dog", "bird"], 2)
        verb = draw.choice(["sees", "likes", "follows"])
        lines.append(f"the {subject} {verb} the {draw.choice(['old', 'small'])} {other} , says the {subject}")
    path = tmp_path_factory.mktemp("demo") / "animals.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def found(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Findings:
    torch.set_num_threads(1)
    said: list[str] = []
    out = tmp_path_factory.mktemp("out") / "demo"
    findings = demo.demonstrate(small(text), out, progress=lambda *_: Silent(), say=said.append)
    assert any("words to learn from" in line for line in said)
    return findings


def test_the_table_has_the_numbers_that_the_runs_give(found: Findings) -> None:
    assert [row.name for row in found.rows] == ["5-gram", "Elman", "LSTM", "LSTM + 5-gram"]
    for row, folder in zip(found.rows, ("5-gram", "elman", "lstm"), strict=False):
        run = elman.load(found.out / folder)
        assert row.perplexity == pytest.approx(run.evaluate("test").perplexity, rel=1e-6)
        assert run.evaluate("test").tokens == found.tokens[2]
    assert found.row("LSTM").parameters == elman.load(found.out / "lstm").model.parameter_count
    parts = [found.row("LSTM"), found.row("5-gram")]
    assert found.row("LSTM + 5-gram").parameters == sum(part.parameters for part in parts)
    assert found.row("LSTM + 5-gram").seconds > sum(part.seconds for part in parts)


def test_the_mixture_is_the_average_of_the_two_with_weights_of_the_validation_text(found: Findings) -> None:
    runs = [elman.load(found.out / folder) for folder in ("lstm", "5-gram")]

    def nats(weights: tuple[float, float], split: str) -> float:
        logs = []
        for run in runs:
            ids = run.ids(split).astype(np.int64)
            heard = np.concatenate(([run.vocabulary.start_id], ids[:-1]))
            inputs, targets = (torch.from_numpy(each)[:, None] for each in (heard, ids))
            logs.append(run.model.log_probabilities(inputs, targets, run.model.start(1))[0].double()[:, 0])
        mixed = weights[0] * logs[0].exp() + weights[1] * logs[1].exp()
        return float(-mixed.log().mean())

    assert sum(found.weights) == pytest.approx(1)
    assert found.row("LSTM + 5-gram").perplexity == pytest.approx(
        math.exp(nats(found.weights, "test")), rel=1e-5
    )
    fitted = nats(found.weights, "valid")
    for shift in (-0.05, 0.05):
        moved = min(max(found.weights[0] + shift, 0.0), 1.0)
        assert nats((moved, 1 - moved), "valid") >= fitted - 1e-7


def test_curves_end_where_the_journals_do_and_the_level_is_the_counted_models(found: Findings) -> None:
    for curve, folder in zip(found.curves, ("elman", "lstm"), strict=True):
        events = [
            each
            for each in journal.read(found.out / folder / "journal.jsonl")
            if each["event"] == "evaluation"
        ]
        assert curve.perplexity == pytest.approx([each["perplexity"] for each in events])
        assert len(events) >= 1
    run = elman.load(found.out / "5-gram")
    assert found.counted_valid == pytest.approx(run.evaluate("valid").perplexity, rel=1e-6)


def test_both_networks_go_through_the_text_equally_often(found: Findings) -> None:
    trained = [elman.load(found.out / folder).recipe.train for folder in ("elman", "lstm")]
    assert trained[0] is not None
    assert trained[0].epochs == found.epochs >= 1
    assert trained[0].learning_rate == 0.02
    assert trained[1] == replace(trained[0], learning_rate=0.03)


def test_the_time_left_of_the_demo_goes_by_the_rate_that_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Planned: Elman 60 seconds, LSTM 90. Elman runs half as fast as planned."""
    now, stream = [500.0], io.StringIO()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    minutes = {"Elman": 1.0, "LSTM": 1.5}
    for name, seconds_per_step in (("Elman", 1.2), ("LSTM", 0.9)):
        after = partial(demo._seconds_after, name, minutes)
        shown = Shown(stream, live=False, title=name, after=after)
        shown.begin(step=0, total_steps=100, epochs=1, seconds_left=None)
        for step in range(1, 51):
            now[0] += seconds_per_step
            shown.advance(step, 1, 1.0, 6)
    last = [[line for line in stream.getvalue().splitlines() if name in line][-1] for name in minutes]
    # 54 s after the first line at 10.8 s, Elman is at step 45: 66 s are left, then 2 × 90 s
    assert last[0].endswith("45% · perplexity 2.7 · 5 tokens/s · 1:06 left, 4:06 until all are trained")
    assert last[1].endswith("48% · perplexity 2.7 · 7 tokens/s · 0:47 left")


def test_three_samples_of_each_go_on_from_the_prompt_and_differ(found: Findings) -> None:
    assert [group.name for group in found.samples] == [row.name for row in found.rows]
    for group in found.samples:
        assert group.prompt == "the cat"
        assert len(group.texts) == 3
        assert len(set(group.texts)) > 1
        assert all(len(text.split()) <= 5 for text in group.texts)
    run = elman.load(found.out / "lstm")
    alone = "".join(run.generate("the cat", tokens=5, temperature=0.8, seed=found.plan.seed))
    assert found.samples[2].texts[0] == alone


def test_the_gradient_is_measured_before_and_after_training(found: Findings) -> None:
    assert [(name, trained) for name, _, trained in found.flows] == [
        ("Elman", False),
        ("LSTM", False),
        ("GRU", False),
        ("Elman", True),
        ("LSTM", True),
    ]
    flows = {(name, trained): flow.norms for name, flow, trained in found.flows}
    assert all(len(norms) == 9 for norms in flows.values())
    assert not np.allclose(flows["LSTM", False], flows["LSTM", True], rtol=0.01)


def test_the_page_holds_the_table_the_samples_and_both_figures(found: Findings) -> None:
    path, missing = demo_page.write(found)
    assert missing is None
    html = path.read_text(encoding="utf-8")
    for row in found.rows:
        assert (
            f"<td>{row.parameters:,}</td><td>{report.duration(row.seconds)}</td><td>{row.perplexity:,.1f}<"
            in html
        )
    assert html.count("<svg") == 4
    assert html.count("<b>the cat</b>") == 12
    assert f"elman generate {found.out / 'lstm'}" in html
    assert not re.search(r"<(script|link|img|iframe)\b", html)
    for name in ("curves.png", "figure-gradient.png"):
        assert (found.out / name).read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_page_says_what_to_install(
    found: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    path, missing = demo_page.write(found)
    assert missing is not None
    assert missing.startswith("They are drawn by matplotlib, which is not installed.")
    assert missing.endswith("pip install 'elman[report]'")
    html = path.read_text(encoding="utf-8")
    assert html.count("A figure is left out") == 2
    assert "<svg" not in html


def test_the_words_tell_who_won_whoever_it_is(found: Findings) -> None:
    def told(**perplexities: float) -> str:
        names = {"counted": "5-gram", "elman": "Elman", "lstm": "LSTM", "mixture": "LSTM + 5-gram"}
        rows = [found.row(names[key])._replace(perplexity=value) for key, value in perplexities.items()]
        return demo_page.verdict(Findings(**{**vars(found), "rows": rows, "weights": (0.75, 0.25)}))

    assert told(counted=90.0, elman=120.0, lstm=80.0, mixture=60.0) == (
        "Alone, the LSTM is best with perplexity 80.0, before the 5-gram with 90.0 and the Elman network "
        "with 120.0. But LSTM and 5-gram err in different places: 0.75 of the LSTM’s probability and 0.25 "
        "of the 5-gram’s give 60.0, 25% lower than the LSTM alone."
    )
    assert told(counted=70.0, elman=60.0, lstm=80.0, mixture=65.0) == (
        "Alone, the Elman network is best with perplexity 60.0, before the 5-gram with 70.0 and the LSTM "
        "with 80.0. Mixing LSTM and 5-gram did not help here: 0.75 of the LSTM’s probability and 0.25 of "
        "the 5-gram’s give 65.0."
    )


def test_nothing_is_overwritten(found: Findings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert demo.free_folder() == Path("elman-demo")
    for name in ("elman-demo", "elman-demo-2"):
        Path(name).mkdir()
        (Path(name) / "mine").touch()
    assert demo.free_folder() == Path("elman-demo-3")
    before = sorted(found.out.rglob("*"))
    with pytest.raises(RunError) as there:
        demo.demonstrate(found.plan, found.out, progress=lambda *_: Silent(), say=lambda _: None)
    assert str(there.value).splitlines()[1:] == [
        "  Something is there already.",
        "  Give another folder with --out, or none: then the next free one is taken.",
    ]
    assert sorted(found.out.rglob("*")) == before


def test_a_plan_that_cannot_be_followed_is_refused_before_anything_is_read(
    text: Path, tmp_path: Path
) -> None:
    with pytest.raises(OptionError) as wrong:
        demo.demonstrate(
            small(text, minutes=0.0, seed=-1, hidden_size=0),
            tmp_path / "x",
            progress=lambda *_: Silent(),
            say=print,
        )
    for said in (
        "minutes is 0.0; it must be over 0.",
        "train.seed is -1",
        "model.hidden_size must be 1 or more",
    ):
        assert said in str(wrong.value)
    assert not (tmp_path / "x").exists()


def test_threads_are_as_many_as_are_fastest_and_given_back() -> None:
    seconds = {1: 5.0, 2: 3.0, 4: 2.9, 6: 1.0}
    tried: list[int] = []

    def measure() -> float:
        tried.append(torch.get_num_threads())
        return seconds[torch.get_num_threads()]

    torch.set_num_threads(6)
    with demo._fastest_threads(measure):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 6
    assert tried == [1, 2, 4]  # four were hardly faster than two
    torch.set_num_threads(1)
    with demo._fastest_threads(measure):
        assert torch.get_num_threads() == 1
    assert tried == [1, 2, 4]


def test_the_command_prints_one_json_object(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[dict[str, object]] = []

    def plan(**options: object) -> Plan:
        asked.append(options)
        return small(text, seed=options["seed"])

    monkeypatch.setattr(demo, "Plan", plan)
    assert main(["demo", "--json", "--minutes", "0.5", "--seed", "3", "--out", str(tmp_path / "d")]) == 0
    assert asked == [{"minutes": 0.5, "seed": 3}]
    printed = json.loads(capsys.readouterr().out)
    assert set(printed) == {"models", "report"}
    assert [set(row) for row in printed["models"]] == [{"name", "parameters", "seconds", "perplexity"}] * 4
    assert Path(printed["report"]).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_the_command_prints_the_table_the_verdict_and_the_samples(
    found: Findings, capsys: pytest.CaptureFixture[str]
) -> None:
    verb._print(found, demo_page.verdict(found))
    printed = capsys.readouterr().out
    for row in found.rows:
        cells = (
            re.escape(row.name),
            f"{row.parameters:,}",
            report.duration(row.seconds),
            f"{row.perplexity:,.1f}",
        )
        assert re.search(" +".join(cells), printed)
    assert " ".join(demo_page.verdict(found).split()) in " ".join(printed.split())
    assert printed.count("  the cat ") == 12
