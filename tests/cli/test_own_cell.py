"""``elman train --cell FILE.py:NAME``: trained, stored, reopened and resumed without that file."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import elman as package
from elman.cells.noise import Noisy
from elman.cells.stored import StoredCell
from elman.fused import library
from tests.cli.conftest import Said, refused

CELLS = Path(__file__).parents[1] / "cells" / "own_cells.py"
QUICK = ("--layers", 2, "--hidden-size", 6, "--set", "train.epochs=2", "--set", "train.batch=4",
         "--set", "train.steps=10", "--device", "cpu")  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return Path(shutil.copy(CELLS, tmp_path / "cells.py"))


def test_a_run_needs_the_file_no_more(
    elman: Callable[..., Said], folder: Path, tmp_path: Path, file: Path
) -> None:
    train = ("train", "--data", folder / "text.txt", "--cell", f"{file}:Rich", *QUICK)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    summary = json.loads(elman(*train, "--out", whole, "--json").out)
    assert elman(*train, "--out", parts, "--max-minutes", 1e-9).status == 0
    file.unlink()
    assert 'cell = "cells.py:Rich"' in (whole / "recipe.toml").read_text()
    assert elman("train", "--resume", "--out", parts).status == 0
    for name in ("last.safetensors", "best.safetensors"):
        one, other = load_file(whole / name), load_file(parts / name)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one), name
    run = package.load(whole)
    assert all(isinstance(cell, StoredCell) for cell in run.model.stack.cells)
    assert [cell.input_size for cell in run.model.stack.cells] == [6, 7]  # it gives one feature more
    assert run.evaluate("test").perplexity == pytest.approx(summary["test"])
    assert elman("generate", whole, "--tokens", 5).status == 0
    (score,) = run.score(["the dog sees the cat"])
    assert -30 < score < 0
    assert float(elman("score", whole, stdin=b"the dog sees the cat\n").out) == pytest.approx(score)


def test_noise_falls_on_it_and_is_not_stored_with_it(
    elman: Callable[..., Said], folder: Path, tmp_path: Path, file: Path
) -> None:
    train = ("train", "--data", folder / "text.txt", "--cell", f"{file}:Rich", *QUICK,
             "--set", "model.dropout_state=0.3", "--set", "model.dropout_weights=0.3")  # fmt: skip
    summary = json.loads(elman(*train, "--out", tmp_path / "run", "--json").out)
    file.unlink()
    run = package.load(tmp_path / "run")
    layers = list(run.model.stack.cells)
    assert all(isinstance(layer, Noisy) and isinstance(layer.cell, StoredCell) for layer in layers)
    assert set(layers[0].draw(batch=2, steps=3)) == {"state.quick", "weights.0"}
    assert run.evaluate("test").perplexity == pytest.approx(summary["test"])


def test_weights_begin_as_the_class_draws_them(
    elman: Callable[..., Said], folder: Path, tmp_path: Path, file: Path
) -> None:
    train = ("train", "--data", folder / "text.txt", "--cell", f"{file}:Rich", *QUICK)
    assert elman(*train, "--out", tmp_path / "run", "--max-minutes", 1e-9).status == 0
    begun = load_file(tmp_path / "run/initial.safetensors")
    assert torch.equal(begun["stack.cells.1.signs"], torch.tensor([1.0, -1, 1, -1, 1, -1]))
    assert bool((begun["stack.cells.0.floor"] == -0.7).all())
    assert begun["stack.cells.0.turn"].std() > 0.5


def test_resuming_with_the_file_asks_for_the_same_equations(
    elman: Callable[..., Said], folder: Path, tmp_path: Path, file: Path
) -> None:
    train = ("train", "--data", folder / "text.txt", "--cell", f"{file}:Rich", *QUICK)
    train = (*train, "--out", tmp_path / "run", "--resume")
    assert elman(*train, "--max-minutes", 1e-9).status == 0
    assert elman(*train, "--max-minutes", 1e-9).status == 0
    file.write_text(file.read_text().replace("torch.tensor(0.75)", "torch.tensor(0.5)"))
    lines = refused(elman(*train), "RunError")
    assert lines[0].endswith("was to go on with the cell cells.py:Rich.")
    assert lines[1] == "The equations in that file are no longer those that the run was begun with."


def test_what_cannot_be_stored_leaves_nothing(
    elman: Callable[..., Said], folder: Path, tmp_path: Path, file: Path
) -> None:
    out = tmp_path / "run"
    said = elman("train", "--data", folder / "text.txt", "--cell", f"{file}:Sorted", *QUICK, "--out", out)
    assert refused(said, "OptionError")[1] == (
        "They cannot be: it uses aten.sort.default, which has no counterpart here."
    )
    said = elman(
        "train", "--data", folder / "text.txt", "--cell", f"{file}:Rich", "--set", "model.forget_bias=1"
    )
    assert refused(said, "RecipeError")[1].endswith('the cell is "' + f'{file}:Rich".')
    assert not out.exists()


def test_a_run_whose_equations_are_lost_or_damaged_says_so(
    elman: Callable[..., Said], folder: Path, tmp_path: Path, file: Path
) -> None:
    out = tmp_path / "run"
    train = ("train", "--data", folder / "text.txt", "--cell", f"{file}:Rich", *QUICK, "--out", out)
    assert elman(*train, "--max-minutes", 1e-9).status == 0
    kept = (out / "cell.json").read_text()
    (out / "cell.json").write_text(kept.replace('"aten.eye.default"', '"aten.from_file.default"'))
    assert refused(elman("evaluate", out), "RunError")[1] == (
        "Its cell.json is damaged: aten.from_file.default is no operation on parameters."
    )
    (out / "cell.json").write_text(kept[:-9])
    assert refused(elman("evaluate", out), "RunError")[1].startswith("Its cell.json is damaged: Expecting")
    (out / "cell.json").unlink()
    assert refused(elman("evaluate", out), "RunError")[1] == (
        "It has no cell.json, which holds the equations of its cell."
    )


def test_without_a_compiled_executor_it_is_the_same(
    elman: Callable[..., Said], folder: Path, tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = ("train", "--data", folder / "text.txt", "--cell", f"{file}:Rich", *QUICK, "--json")
    with_it = json.loads(elman(*train, "--out", tmp_path / "with").out)
    monkeypatch.setattr(library, "load", lambda *_: None)
    without = json.loads(elman(*train, "--out", tmp_path / "without").out)
    assert without["test"] == pytest.approx(with_it["test"], rel=1e-4)
    file.unlink()
    assert package.load(tmp_path / "without").evaluate("test").perplexity == pytest.approx(without["test"])


def test_noise_falls_in_a_stored_cell_too(
    elman: Callable[..., Said], folder: Path, tmp_path: Path, file: Path
) -> None:
    noise = ("--set", "model.dropout_state=0.3", "--set", "model.zoneout_h=0.1")
    train = ("train", "--data", folder / "text.txt", "--cell", f"{file}:Leaky", *QUICK, *noise)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert elman(*train, "--out", whole).status == 0
    assert elman(*train, "--out", parts, "--max-minutes", 1e-9).status == 0
    file.unlink()
    assert elman("train", "--resume", "--out", parts).status == 0
    one, other = load_file(whole / "best.safetensors"), load_file(parts / "best.safetensors")
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert package.load(whole).evaluate("test").perplexity < 12


def test_the_mark_on_a_candidate_is_kept(
    elman: Callable[..., Said], folder: Path, tmp_path: Path, file: Path
) -> None:
    noise = ("--set", "model.dropout_candidate=0.3")
    train = ("train", "--data", folder / "text.txt", "--cell", f"{file}:Leaky", *QUICK, *noise)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert elman(*train, "--out", whole).status == 0
    assert elman(*train, "--out", parts, "--max-minutes", 1e-9).status == 0
    file.unlink()
    assert elman("train", "--resume", "--out", parts).status == 0
    one, other = load_file(whole / "best.safetensors"), load_file(parts / "best.safetensors")
    # Without the executor the parts run the file's step and then the kept equations, which round otherwise.
    apart = 0 if library.objection() is None else 1e-6
    assert all((one[key] - other[key]).abs().max() <= apart for key in one)
    layers = list(package.load(whole).model.stack.cells)
    assert set(layers[1].draw(batch=2, steps=3)) == {"candidate.0"}


def test_a_candidate_that_is_not_marked_is_asked_for(
    elman: Callable[..., Said], folder: Path, tmp_path: Path, file: Path
) -> None:
    words = ("--cell", f"{file}:Rich", *QUICK, "--set", "model.dropout_candidate=0.1")
    lines = refused(
        elman("train", "--data", folder / "text.txt", *words, "--out", tmp_path / "run"), "OptionError"
    )
    assert lines[0].endswith("with Noise(candidate=0.1) was asked for.")
    assert lines[1] == "candidate: the cell marks no candidate by self.candidate."
    assert lines[2].endswith("A candidate is marked so: g = self.candidate(g).")
    assert not (tmp_path / "run").exists()
