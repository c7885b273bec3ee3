"""Bringing a corpus in, from an address, a folder, an archive or a copy: all verified or nothing written."""

import gzip
import hashlib
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest

from elman.corpora import CORPORA, Published, PublishedFile, fetch
from elman.errors import CorpusError
from elman.text import TextOptions

from .breaking_server import Server

FILES = {"s.train.txt": b"train text\n" * 900, "s.valid.txt": b"valid text\n"}


def corpus_of(files: dict[str, bytes], url: str | None = None) -> Published:
    published = {
        name.split(".")[1]: PublishedFile(
            name, len(data), hashlib.sha256(data).hexdigest(), url and url + name
        )
        for name, data in files.items()
    }
    return Published("small", "", "all rights reserved", TextOptions(), "small-folder", published)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Published:
    corpus = corpus_of(FILES)
    monkeypatch.setitem(CORPORA, "small", corpus)
    return corpus


def installed(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


EXPECTED = {f"small-folder/{name}": data for name, data in FILES.items()}


def test_from_its_public_source(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CORPORA, "small", corpus_of(FILES, server.url("")))
    server.files = dict(FILES)
    server.behaviour = [5_000]
    monkeypatch.setattr("time.sleep", lambda _: None)
    paths = fetch("small", tmp_path)
    assert paths == [tmp_path / name for name in EXPECTED]
    assert installed(tmp_path) == EXPECTED
    server.asked = []
    assert fetch("small", tmp_path) == paths  # it is there: nothing is asked
    assert server.asked == []


@pytest.mark.usefixtures("small")
def test_what_may_not_be_passed_on_is_not_downloaded(tmp_path: Path) -> None:
    with pytest.raises(CorpusError) as caught:
        fetch("small", tmp_path)
    assert str(caught.value).split("\n  ") == [
        "small was to be downloaded.",
        "Its text may not be passed on freely (all rights reserved), so it has no public source.",
        "It is not freely licensed; bring your own copy: elman corpora fetch small --from PATH|URL, "
        "or name its folder by --data-dir or ELMAN_DATA.",
    ]


@pytest.mark.usefixtures("small")
def test_from_a_folder_with_packed_files_and_others(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    (mine / "deep" / "er").mkdir(parents=True)
    (mine / "deep" / "s.train.txt").write_bytes(b"an older version")
    (mine / "deep" / "er" / "s.train.txt.gz").write_bytes(gzip.compress(FILES["s.train.txt"]))
    (mine / "s.valid.txt.xz").write_bytes(lzma.compress(FILES["s.valid.txt"]))
    fetch("small", tmp_path / "data", source=str(mine))
    assert installed(tmp_path / "data") == EXPECTED


def archive(kind: str, path: Path) -> Path:
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as made:
            for name, data in FILES.items():
                made.writestr(f"./simple/data/{name}", data)
    else:
        with tarfile.open(path, f"w:{kind}") as bundle:  # type: ignore[call-overload]
            for name, data in FILES.items():
                entry = tarfile.TarInfo(f"../simple/{name}")  # read, never unpacked to that path
                entry.size = len(data)
                bundle.addfile(entry, io.BytesIO(data))
    return path


@pytest.mark.parametrize("kind", ["gz", "xz", "zip"])
@pytest.mark.usefixtures("small")
def test_from_an_archive(tmp_path: Path, kind: str) -> None:
    path = archive(kind, tmp_path / "simple-examples.archive")
    fetch("small", tmp_path / "data", source=str(path))
    assert installed(tmp_path / "data") == EXPECTED


@pytest.mark.usefixtures("small")
def test_from_the_address_of_an_archive(server: Server, tmp_path: Path) -> None:
    server.files = {"simple.tgz": archive("gz", tmp_path / "a").read_bytes()}
    fetch("small", tmp_path / "data", source=server.url("simple.tgz"))
    assert installed(tmp_path / "data") == EXPECTED


@pytest.mark.usefixtures("small")
def test_from_the_address_of_a_folder(server: Server, tmp_path: Path) -> None:
    server.files = {f"some/where/{name}": data for name, data in FILES.items()}
    fetch("small", tmp_path / "data", source=server.url("some/where/"))
    assert installed(tmp_path / "data") == EXPECTED
    assert not (tmp_path / "data" / "small-folder" / "incoming").exists()


def test_a_corpus_of_one_file_from_a_file_of_any_name(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = {"s.train.txt": FILES["s.train.txt"]}
    monkeypatch.setitem(CORPORA, "small", corpus_of(only))
    (tmp_path / "copy.gz").write_bytes(gzip.compress(FILES["s.train.txt"]))
    server.files = {"another": FILES["s.train.txt"]}
    for number, source in enumerate((str(tmp_path / "copy.gz"), server.url("another"))):
        fetch("small", tmp_path / str(number), source=source)
        assert installed(tmp_path / str(number)) == {"small-folder/s.train.txt": FILES["s.train.txt"]}


def test_a_copy_that_is_not_the_published_one_is_not_taken(small: Published, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for name, data in FILES.items():
        (mine / name).write_bytes(data)
    (mine / "s.valid.txt").write_bytes(b"changed")
    with pytest.raises(CorpusError) as caught:
        fetch("small", tmp_path / "data", source=str(mine))
    assert str(caught.value).split("\n  ") == [
        "s.valid.txt of the corpus small was to be the published file.",
        f"{mine}/s.valid.txt has the SHA-256 {hashlib.sha256(b'changed').hexdigest()}; "
        f"the published one is {small.files['valid'].sha256}.",
        "Nothing was written. Look for the published files elsewhere.",
    ]
    assert not (tmp_path / "data").exists()


@pytest.mark.usefixtures("small")
def test_sources_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("no archive")
    (tmp_path / "empty").mkdir()
    for source, came in (
        ("absent", "There is no such file or folder."),
        ("text.txt", "It is not a folder, nor a whole tar or zip archive: "),
        ("empty", "It has no file s.train.txt (or .gz, .xz)."),
    ):
        with pytest.raises(CorpusError) as caught:
            fetch("small", tmp_path / "data", source=str(tmp_path / source))
        assert caught.value.came.startswith(came)
    with pytest.raises(CorpusError, match="There is none of that name"):
        fetch("smal", tmp_path)
    with pytest.raises(CorpusError, match="It is made from the Python at hand, not fetched"):
        fetch("python-docs", tmp_path, source=str(tmp_path))


def test_ptb_from_a_folder_of_ones_own(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ELMAN_DATA")
    paths = fetch("ptb-chars", tmp_path, source=str(data / "ptb"))
    assert [path.name for path in paths] == ["ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"]
    assert all(check.good for check in CORPORA["ptb-chars"].verify(tmp_path))
