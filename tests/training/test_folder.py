import tomllib
from pathlib import Path

import pytest
import trainee

from elman.errors import RunError
from elman.training.folder import RunFolder


def said(caught: pytest.ExceptionInfo[RunError]) -> list[str]:
    return str(caught.value).splitlines()


def test_a_new_run_says_what_it_runs_on_but_not_where(tmp_path: Path) -> None:
    folder = RunFolder.create(
        tmp_path / "new/run", "epochs = 3\n", trainee.VOCABULARY, device="cpu", precision="float64"
    )
    assert folder.recipe.read_text() == "epochs = 3\n"
    assert type(trainee.VOCABULARY).load(folder.vocabulary) == trainee.VOCABULARY
    told = tomllib.loads(folder.machine.read_text())
    assert told["format"] == 1
    assert (told["threads"], told["device"], told["precision"]) == (1, "cpu", "float64")
    assert str(tmp_path) not in folder.machine.read_text()
    assert RunFolder.open(tmp_path / "new/run") == folder
    assert {"elman", "python", "torch", "system", "cpu", "cores"} <= told.keys()


def test_nothing_is_written_over(tmp_path: Path) -> None:
    run = tmp_path / "run"
    trainee.new_folder(run)
    before = {path: path.read_bytes() for path in run.iterdir()}
    with pytest.raises(RunError) as caught:
        trainee.new_folder(run)
    assert said(caught) == [
        f"A new run was to be written to {run}.",
        "  That folder is not empty.",
        "  Go on with it by --resume, or give the new run another folder with --out.",
    ]
    assert {path: path.read_bytes() for path in run.iterdir()} == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="That is a file"):
        trainee.new_folder(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_what_is_no_whole_run_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="There is no such folder"):
        RunFolder.open(tmp_path / "absent")
    for name in ("recipe.toml", "vocabulary.json", "machine.toml"):
        folder = trainee.new_folder(tmp_path / name)
        (folder.path / name).unlink()
        with pytest.raises(RunError) as caught:
            RunFolder.open(folder.path)
        assert said(caught)[1] == (
            f"  {name} is missing: this is no run folder, or its beginning was cut short."
        )


def test_a_run_of_another_format_is_not_opened(tmp_path: Path) -> None:
    folder = trainee.new_folder(tmp_path / "run")
    folder.machine.write_text(folder.machine.read_text().replace("format = 1", "format = 7"))
    with pytest.raises(RunError) as caught:
        RunFolder.open(folder.path)
    assert said(caught) == [
        f"The run {folder.path} was to be opened.",
        "  It is in format 7; this version of Elman reads format 1.",
        "  Open it with the version of Elman named in its machine.toml.",
    ]
    folder.machine.write_text("format = ")
    with pytest.raises(RunError, match=r"Its machine\.toml cannot be read"):
        RunFolder.open(folder.path)


def test_a_run_that_learnt_nothing_is_taken_back_without_what_else_is_there(tmp_path: Path) -> None:
    folder = trainee.new_folder(tmp_path / "run")
    with pytest.raises(RunError, match="its training never began"):
        _ = folder.weights
    folder.remove()
    assert list(tmp_path.iterdir()) == []
    folder = trainee.new_folder(tmp_path / "run")
    (folder.path / "notes").touch()
    folder.remove()
    assert [path.name for path in folder.path.iterdir()] == ["notes"]
