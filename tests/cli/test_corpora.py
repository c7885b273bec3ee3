"""``elman corpora``: the list, a user's own copy fetched, and files that are not the published ones."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from elman.corpora import CORPORA
from tests.cli.conftest import Said, refused


@pytest.fixture(autouse=True)
def _no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ELMAN_DATA", raising=False)


def test_the_list_says_what_and_where(elman: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_text("not Shakespeare")
    rows = json.loads(elman("corpora", "--data-dir", tmp_path, "--json").out)["corpora"]
    assert [row["name"] for row in rows] == list(CORPORA)
    assert all(row.keys() == {"name", "description", "licence", "where"} for row in rows)
    where = {row["name"]: row["where"] for row in rows}
    assert (where["tinyshakespeare"], where["ptb-words"]) == (str(tmp_path), None)
    printed = elman("corpora", "--data-dir", tmp_path).out
    assert all(name in printed for name in CORPORA)
    assert "not here yet" in printed


def test_a_wrong_file_is_named_with_its_hash(elman: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_text("abc")
    said = elman("corpora", "verify", "tinyshakespeare", "--data-dir", tmp_path)
    assert (said.status, said.out) == (2, f"input.txt: NOT as published, {tmp_path / 'input.txt'}\n")
    # the SHA-256 of "abc" that its standard prints
    hashed = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert said.err == (
        "CorpusError: tinyshakespeare was to be verified.\n"
        f"  1 of 1 files are not the published ones: {tmp_path / 'input.txt'} has the SHA-256 {hashed}.\n"
        "  Fetch it with: elman corpora fetch tinyshakespeare\n"
    )
    absent = elman("corpora", "verify", "ptb-words", "--data-dir", tmp_path)
    assert (
        "It is not freely licensed; bring your own copy: elman corpora fetch ptb-words --from" in absent.err
    )
    found = json.loads(elman("corpora", "verify", "ptb-words", "--data-dir", tmp_path, "--json").out)
    assert (found["corpus"], found["good"], len(found["files"])) == ("ptb-words", False, 3)
    assert {(file["file"], file["path"]) for file in found["files"]} >= {("ptb.test.txt", None)}
    trained = elman("train", "--data", "tinyshakespeare", "--data-dir", tmp_path, "--out", tmp_path / "run")
    assert hashed in refused(trained, "CorpusError")[1]


def test_an_own_copy_is_fetched_and_verified(elman: Callable[..., Said], data: Path, tmp_path: Path) -> None:
    source = data / "tinyshakespeare/input.txt"
    said = elman("corpora", "fetch", "tinyshakespeare", "--from", source, "--data-dir", tmp_path)
    assert said.status == 0
    (path,) = said.out.splitlines()
    assert Path(path).read_bytes() == source.read_bytes()
    verified = elman("corpora", "verify", "tinyshakespeare", "--data-dir", tmp_path)
    assert (verified.status, verified.out) == (0, f"input.txt: as published, {path}\n")
    again = json.loads(elman("corpora", "fetch", "tinyshakespeare", "--data-dir", tmp_path, "--json").out)
    assert again == {"corpus": "tinyshakespeare", "files": [path]}


def test_what_cannot_be_fetched(elman: Callable[..., Said], tmp_path: Path) -> None:
    licensed = refused(elman("corpora", "fetch", "ptb-words", "--data-dir", tmp_path), "CorpusError")
    assert "bring your own copy: elman corpora fetch ptb-words --from" in licensed[2]
    assert refused(elman("corpora", "fetch"), "OptionError")[1] == "Which text is not said."
    assert refused(elman("corpora", "list", "x"), "OptionError")[1] == "'x' was given too."
    assert (
        refused(elman("corpora", "fetch", "shakespeare"), "CorpusError")[1] == "There is none of that name."
    )
    verify = elman("corpora", "verify", "ptb-words", "--from", tmp_path)
    assert refused(verify, "OptionError")[1] == "Only fetch takes a text from somewhere."
