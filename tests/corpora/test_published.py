"""Published files: found in their order, verified by hash, and said how to get."""

import gzip
import hashlib
from pathlib import Path

import pytest

from elman.corpora import CORPORA, Published, PublishedFile, data_folders, user_cache, verify
from elman.corpora.published import sha256_of
from elman.errors import CorpusError
from elman.text import TextOptions

TEXT = b"some published text\n"
TINY = Published(
    "tiny",
    "a tiny corpus",
    "free",
    TextOptions(),
    "tiny-folder",
    {
        "train": PublishedFile(
            "tiny.txt", len(TEXT), hashlib.sha256(TEXT).hexdigest(), "http://localhost/tiny.txt"
        )
    },
)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setenv("ELMAN_DATA", str(tmp_path / "named"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return [tmp_path / "given", tmp_path / "named", tmp_path / "cache" / "elman"]


def test_the_folders_and_their_order(places: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert data_folders(places[0]) == places
    assert data_folders() == places[1:]
    monkeypatch.delenv("ELMAN_DATA")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(places[0]))
    assert data_folders() == [user_cache()] == [places[0] / ".cache" / "elman"]


def test_the_first_good_copy_is_taken(places: list[Path]) -> None:
    file = TINY.files["train"]
    for place, content in zip(places, (b"changed", TEXT, TEXT), strict=True):
        (place / "tiny-folder").mkdir(parents=True)
        (place / "tiny-folder" / "tiny.txt").write_bytes(content)
    assert TINY.locate(file, places[0]) == places[1] / "tiny-folder" / "tiny.txt"
    (places[0] / "tiny.txt.gz").write_bytes(gzip.compress(TEXT))  # packed, and outside its folder
    assert TINY.locate(file, places[0]) == places[0] / "tiny.txt.gz"
    assert TINY.where(places[0]) == places[0] / "tiny-folder"


def test_a_wrong_hash_names_file_and_hashes(places: list[Path]) -> None:
    path = places[0] / "tiny-folder" / "tiny.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(TEXT + b" ")
    with pytest.raises(CorpusError) as caught:
        TINY.sources(TextOptions(), places[0])
    assert str(caught.value).split("\n  ") == [
        "tiny.txt of the corpus tiny was to be the published file.",
        f"{path} has the SHA-256 {hashlib.sha256(TEXT + b' ').hexdigest()}; "
        f"the published one is {hashlib.sha256(TEXT).hexdigest()}.",
        "Replace it by the published file, or give it as a text of your own, by its path.",
    ]


def test_an_absent_corpus_says_where_it_was_looked_for_and_how_to_get_it(places: list[Path]) -> None:
    with pytest.raises(CorpusError) as caught:
        TINY.sources(TextOptions(), places[0])
    assert str(caught.value).split("\n  ") == [
        "The corpus tiny was asked for.",
        f"tiny.txt (or .gz, .xz) is in none of: {', '.join(map(str, places))}; nor in tiny-folder/ there.",
        "Fetch it with: elman corpora fetch tiny",
    ]
    with pytest.raises(CorpusError) as caught:
        CORPORA["ptb-words"].sources(TextOptions())
    assert caught.value.do == (
        "It is not freely licensed; bring your own copy: elman corpora fetch ptb-words --from PATH|URL, "
        "or name its folder by --data-dir or ELMAN_DATA."
    )
    assert TINY.where() is None


@pytest.mark.parametrize(
    ("name", "unit", "other"), [("ptb-words", "characters", "ptb-chars"), ("ptb-chars", "words", "ptb-words")]
)
def test_the_treebank_in_the_wrong_unit(name: str, unit: str, other: str) -> None:
    with pytest.raises(CorpusError, match=f"Ask for {other}"):
        CORPORA[name].sources(TextOptions(unit))


def test_verify_says_what_each_file_is(places: list[Path]) -> None:
    (places[1] / "ptb").mkdir(parents=True)
    (places[1] / "ptb" / "ptb.valid.txt").write_bytes(b"mine")
    checks = verify("ptb-words", places[0])
    assert [(check.file, check.path is None, check.good) for check in checks] == [
        ("ptb.train.txt", True, False),
        ("ptb.valid.txt", False, False),
        ("ptb.test.txt", True, False),
    ]
    assert checks[1].found == hashlib.sha256(b"mine").hexdigest()


def test_the_hash_is_of_the_unpacked_content(tmp_path: Path) -> None:
    (tmp_path / "t.gz").write_bytes(gzip.compress(TEXT))
    assert sha256_of(tmp_path / "t.gz") == hashlib.sha256(TEXT).hexdigest()


def test_every_corpus_stands_under_its_name() -> None:
    assert list(CORPORA) == ["python-docs", "python-code", "ptb-words", "ptb-chars", "tinyshakespeare"]
    for name, corpus in CORPORA.items():
        assert corpus.name == name
        assert corpus.options.problems() == []


def test_the_development_data_is_the_published(data: Path) -> None:
    for name, files in (("ptb-words", 3), ("ptb-chars", 3), ("tinyshakespeare", 1)):
        checks = verify(name, data)
        assert [check.good for check in checks] == [True] * files
