"""Reproductions: seeds, means, verdicts, and where a row's facts come from."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import elman
from elman.errors import RecipeError, RunError
from elman.recipe import parse, with_changes
from elman.study import reproduce as module
from elman.study.execute import Setting, begin
from elman.study.reproduce import commit, device, reproduce
from elman.training.folder import RunFolder
from elman.training.progress import Silent
from tests.study.conftest import COUNTED, RECURRENT, recipe_for

CPU = Setting(device="cpu")


def silent(_: str) -> Silent:
    return Silent()


def test_a_row_says_the_means_over_the_seeds(text: Path, tmp_path: Path) -> None:
    recipe = recipe_for(text, RECURRENT)
    row = reproduce(recipe, tmp_path / "run", CPU, silent, seeds=2)
    runs = [elman.load(tmp_path / name) for name in ("run", "run-seed6")]
    assert [run.recipe.train.seed for run in runs if run.recipe.train] == [5, 6]
    tests = [run.evaluate("test").perplexity for run in runs]
    valids = [run.evaluate("valid").perplexity for run in runs]
    assert row.test == pytest.approx(sum(tests) / 2, abs=1e-4)
    assert row.valid == pytest.approx(sum(valids) / 2, abs=1e-4)
    assert row.test_sd == pytest.approx(abs(tests[0] - tests[1]) / 2**0.5, abs=1e-4)
    assert row.test_sd
    assert (row.name, row.scale, row.measure, row.seeds, row.published) == (
        "small",
        "paper",
        "perplexity",
        2,
        9.0,
    )


def test_a_finished_run_is_reused_and_an_unfinished_one_goes_on(text: Path, tmp_path: Path) -> None:
    recipe = recipe_for(text, RECURRENT)
    begin(recipe, tmp_path / "run", replace(CPU, max_minutes=1e-9), Silent())
    row = reproduce(recipe, tmp_path / "run", CPU, silent)
    best = (tmp_path / "run/best.safetensors").stat().st_mtime_ns
    again = reproduce(recipe, tmp_path / "run", CPU, silent)
    assert (again.test, again.valid, again.test_sd) == (row.test, row.valid, None)
    assert (tmp_path / "run/best.safetensors").stat().st_mtime_ns == best
    assert row.test == pytest.approx(reproduce(recipe, tmp_path / "fresh", CPU, silent).test)
    with pytest.raises(RunError, match="not empty"):
        reproduce(recipe, tmp_path / "run", CPU, silent, go_on=False)
    with pytest.raises(RunError, match="It was begun with another"):
        reproduce(with_changes(recipe, {"train.steps": 11}), tmp_path / "run", CPU, silent)


def test_out_of_time_nothing_is_told_and_the_same_call_goes_on(text: Path, tmp_path: Path) -> None:
    recipe = recipe_for(text, RECURRENT)
    short = replace(CPU, max_minutes=1e-9)
    assert reproduce(recipe, tmp_path / "run", short, silent, seeds=2) is None
    assert not (tmp_path / "run-seed6").exists()
    whole = reproduce(recipe, tmp_path / "run", replace(CPU, max_minutes=10.0), silent, seeds=2)
    straight = reproduce(recipe, tmp_path / "straight", CPU, silent, seeds=2)
    assert whole is not None
    assert straight is not None
    assert (whole.test, whole.valid, whole.seeds) == (straight.test, straight.valid, 2)


def test_a_counted_model_has_no_seeds(text: Path, tmp_path: Path) -> None:
    row = reproduce(recipe_for(text, COUNTED), tmp_path / "run", CPU, silent, seeds=3)
    assert (row.seeds, row.test_sd) == (1, None)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["run"]


def test_the_measure_is_the_claims(text: Path, tmp_path: Path) -> None:
    perplexity = reproduce(recipe_for(text, COUNTED), tmp_path / "a", CPU, silent)
    bits = recipe_for(text, COUNTED, claim='measure = "bits_per_character"\nvalid = 1.0\ntolerance = 0.5')
    row = reproduce(bits, tmp_path / "b", CPU, silent)
    assert perplexity.test is not None
    assert row.test is not None
    assert 2**row.test == pytest.approx(perplexity.test, rel=1e-3)
    assert row.published == 1.0
    assert row.valid is not None
    assert row.verdict == f"missed by {row.valid - 1:.2f}"


def test_a_laptops_result_is_measured_whatever_was_published(text: Path, tmp_path: Path) -> None:
    recipe = recipe_for(text, COUNTED, claim="test = 1000.0")
    assert reproduce(recipe, tmp_path / "a", CPU, silent).verdict == "reproduced"
    row = reproduce(replace(recipe, scale="laptop"), tmp_path / "b", CPU, silent)
    assert (row.scale, row.verdict, row.published) == ("laptop", "measured", 1000.0)


def test_only_a_claim_can_be_reproduced(text: Path, tmp_path: Path) -> None:
    own = parse(f"[data]\npath = '{text}'\n{COUNTED}", "own")
    with pytest.raises(RecipeError, match=r"It has no \[claim\]"):
        reproduce(own, tmp_path / "run", CPU, silent)


def test_the_device_is_what_the_run_was_begun_on(text: Path, tmp_path: Path) -> None:
    begin(recipe_for(text, COUNTED), tmp_path / "run", CPU, Silent())
    folder = RunFolder.open(tmp_path / "run")
    assert device(folder).endswith(", 1 thread")
    folder.machine.write_text(folder.machine.read_text().replace("threads = 1", "threads = 2"))
    assert device(folder).endswith(", 2 threads")
    folder.machine.write_text(folder.machine.read_text() + 'gpu = "An accelerator"\n')
    assert device(folder) == "An accelerator"
    folder.machine.write_text(folder.machine.read_text().replace('"float32"', '"bfloat16"'))
    assert device(folder) == "An accelerator, bfloat16"


def test_the_commit_is_the_packages_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "elman"
    package.mkdir()
    file = package / "__init__.py"
    file.write_text("")
    monkeypatch.setattr(module.elman, "__file__", str(file))
    assert commit() == f"v{elman.__version__}"  # no repository at all

    def git(*words: str) -> str:
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        done = subprocess.run(
            ["git", *identity, *words], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "other").write_text("")
    git("add", "other")
    git("commit", "-q", "-m", "another project")
    assert commit() == f"v{elman.__version__}"  # the repository is of the project that Elman lies in
    git("add", "elman")
    git("commit", "-q", "-m", "the package")
    assert commit() == git("rev-parse", "--short", "HEAD")
    (tmp_path / "other").write_text("changed")
    assert commit() == git("rev-parse", "--short", "HEAD")
    file.write_text("changed")
    assert commit() == git("rev-parse", "--short", "HEAD") + "+changes"
