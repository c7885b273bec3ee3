"""Downloads from a server on this machine that breaks off, changes its mind and its files."""

import hashlib
import random
from pathlib import Path

import pytest

from elman.corpora.download import download
from elman.errors import CorpusError

from .breaking_server import Server

CONTENT = random.Random(7).randbytes(300_001)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _one_file(server: Server) -> None:
    server.files["file.bin"] = CONTENT


def get(server: Server, path: Path, sha256: str | None = DIGEST, attempts: int = 3) -> None:
    download(server.url(), path, sha256=sha256, attempts=attempts, first_wait_seconds=0)


def ranges(server: Server) -> list[str | None]:
    return [wanted for _, wanted, _ in server.asked]


def test_a_whole_file_at_once(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = tmp_path / "new" / "f"
    download(server.url(), path, sha256=DIGEST, progress=lambda have, total: seen.append((have, total)))
    assert path.read_bytes() == CONTENT
    assert [each.name for each in path.parent.iterdir()] == ["f"]
    assert seen[-1] == (300_001, 300_001)
    assert [have for have, _ in seen] == sorted(have for have, _ in seen)
    assert ranges(server) == [None]


def test_it_goes_on_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    server.behaviour = [100_000, 50_000, 0, "503"]
    get(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=100000-", "bytes=150000-", "bytes=150000-", "bytes=150000-"]
    assert {guard for _, _, guard in server.asked[1:]} == {'"one"'}


def test_a_later_call_goes_on_too(server: Server, tmp_path: Path) -> None:
    server.behaviour = [200_000, "503", "500", "429"]
    with pytest.raises(CorpusError) as caught:
        get(server, tmp_path / "f")
    assert str(caught.value).split("\n  ") == [
        f"{server.url()} was to be downloaded.",
        "200,000 bytes have come, none in the last 3 attempts: the server says 429 Too Many Requests.",
        "Try again: the download continues where it broke off.",
    ]
    assert not (tmp_path / "f").exists()
    server.behaviour, server.asked = [], []
    get(server, tmp_path / "f", sha256=None)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert ranges(server) == ["bytes=200000-"]
    assert [each.name for each in tmp_path.iterdir()] == ["f"]


def test_a_file_that_changed_meanwhile_is_begun_anew(server: Server, tmp_path: Path) -> None:
    server.files["file.bin"] = b"old" * 40_000
    server.behaviour = [90_000, "503", "503", "503"]
    with pytest.raises(CorpusError):
        get(server, tmp_path / "f")
    server.files["file.bin"], server.etag = CONTENT, '"two"'
    get(server, tmp_path / "f", sha256=None)
    assert (tmp_path / "f").read_bytes() == CONTENT


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_the_date_guards_where_there_is_no_strong_tag(
    server: Server, tmp_path: Path, etag: str | None
) -> None:
    server.etag, server.modified = etag, "Mon, 01 Jan 2024 00:00:00 GMT"
    server.behaviour = [90_000]
    get(server, tmp_path / "f", sha256=None)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert server.asked[1] == ("file.bin", "bytes=90000-", "Mon, 01 Jan 2024 00:00:00 GMT")


def test_unguarded_only_a_checked_file_is_continued(server: Server, tmp_path: Path) -> None:
    server.etag = None
    for sha256, wanted in ((DIGEST, "bytes=90000-"), (None, None)):
        server.behaviour, server.asked = [90_000], []
        get(server, tmp_path / "f", sha256)
        assert (tmp_path / "f").read_bytes() == CONTENT
        assert ranges(server) == [None, wanted]


def test_a_server_without_ranges_sends_all_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.behaviour = [90_000, 120_000]
    get(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_a_wrong_part_is_thrown_away_once(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(b"something else entirely")
    get(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert ranges(server) == ["bytes=23-", None]


def test_a_part_longer_than_the_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(bytes(400_000))
    get(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_another_file_than_the_published(server: Server, tmp_path: Path) -> None:
    with pytest.raises(CorpusError) as caught:
        get(server, tmp_path / "f", sha256="0" * 64)
    assert str(caught.value).split("\n  ") == [
        f"{server.url()} was to be the published file.",
        f"It has the SHA-256 {DIGEST}; the published one is {'0' * 64}.",
        "The file was changed there. Give another source by --from.",
    ]
    assert list(tmp_path.iterdir()) == []
    assert len(server.asked) == 1


def test_a_refusal_is_not_tried_again(server: Server, tmp_path: Path) -> None:
    with pytest.raises(CorpusError) as caught:
        download(server.url("absent"), tmp_path / "f", first_wait_seconds=0)
    assert caught.value.came == "The server says 404 Not Found."
    assert len(server.asked) == 1


def test_nobody_answers(server: Server, tmp_path: Path) -> None:
    url = server.url()
    server.shutdown()
    server.server_close()
    with pytest.raises(CorpusError, match=r"0 bytes have come, none in the last 2 attempts: .*refused"):
        download(url, tmp_path / "f", attempts=2, first_wait_seconds=0)


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CorpusError, match="It cannot be written: File exists"):
        get(server, tmp_path / "file" / "f")


def test_the_wait_doubles(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    server.behaviour = ["503", "503", "503", "503"]
    with pytest.raises(CorpusError):
        download(server.url(), tmp_path / "f", first_wait_seconds=0.5)
    assert waits == [0.5, 1.0, 2.0]
