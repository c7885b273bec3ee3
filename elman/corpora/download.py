"""Downloading one file: resumed where it broke off, tried again, checked, and there only when whole."""

import hashlib
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from elman.errors import CorpusError
from elman.text import write_atomically

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there so far and, if the server says it, the size of the whole."""

_BLOCK = 1 << 16


class _BrokenOff(Exception):
    """The connection broke or the server was busy: worth another try."""


class _NotThePart(Exception):
    """The server cannot continue what is there: begin anew."""


def download(
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    progress: Progress | None = None,
    attempts: int = 4,
    first_wait_seconds: float = 1.0,
    timeout_seconds: float = 30.0,
) -> None:
    """Downloads ``url`` (http, https) to ``path``.

    What has come stands in ``path.part`` until it is whole, with the server's ETag or date beside it: a later
    attempt, in this call or another, asks only for the rest (``Range``, guarded by ``If-Range``), and begins
    anew if the file changed or the server cannot continue. A broken connection, 408, 429 and 5xx are tried
    again, with a wait that doubles, up to ``attempts`` times in a row that bring nothing. With ``sha256`` the
    bytes are checked; where those of a continued download are wrong, it is begun once more.

    Raises :class:`CorpusError` if the server refuses, cannot be reached, or sends something else than the
    file of that hash; and where the disk is full. The partial file stays, except where it is wrong.
    """
    part = path.with_name(path.name + ".part")
    failures, continued = 0, False
    while True:
        before = _size(part)
        continued = continued or before > 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _fetch_rest(url, part, before, sha256 is not None, progress, timeout_seconds)
        except _NotThePart:
            _discard(part)
            continue
        except _BrokenOff as error:
            failures = 0 if _size(part) > before else failures + 1
            if failures >= attempts:
                raise CorpusError(
                    f"{url} was to be downloaded.",
                    f"{_size(part):,} bytes have come, none in the last {attempts} attempts: {error}.",
                    "Try again: the download continues where it broke off.",
                ) from None
            time.sleep(first_wait_seconds * 2 ** max(failures - 1, 0))
            continue
        except OSError as error:
            raise CorpusError(
                f"{url} was to be downloaded to {path}.",
                f"It cannot be written: {error.strerror or error}.",
                "Make room there, or choose another folder by --data-dir.",
            ) from None
        found = _sha256(part) if sha256 else None
        if found == sha256:
            part.replace(path)
            _validator_file(part).unlink(missing_ok=True)
            return
        _discard(part)
        if not continued:
            raise CorpusError(
                f"{url} was to be the published file.",
                f"It has the SHA-256 {found}; the published one is {sha256}.",
                "The file was changed there. Give another source by --from.",
            )
        continued = False


def _fetch_rest(
    url: str, part: Path, have: int, checked: bool, progress: Progress | None, timeout_seconds: float
) -> None:
    headers = {"User-Agent": "elman", "Accept-Encoding": "identity"}
    validator = _read_validator(part, url)
    if have and (validator or checked):
        headers["Range"] = f"bytes={have}-"
        if validator:
            headers["If-Range"] = validator
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=timeout_seconds
        ) as response:
            _receive(response, url, part, have, progress)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            raise _NotThePart from None
        if error.code in (408, 429) or error.code >= 500:
            raise _BrokenOff(f"the server says {error.code} {error.reason}") from None
        raise CorpusError(
            f"{url} was to be downloaded.",
            f"The server says {error.code} {error.reason}.",
            "Check the address, or give another source by --from.",
        ) from None
    except urllib.error.URLError as error:
        raise _BrokenOff(str(error.reason)) from None


def _receive(
    response: http.client.HTTPResponse, url: str, part: Path, have: int, progress: Progress | None
) -> None:
    if response.status == 206:
        if not (response.headers.get("Content-Range") or "").startswith(f"bytes {have}-"):
            raise _NotThePart
    else:
        have = 0
    length = response.headers.get("Content-Length")
    total = have + int(length) if length and length.isdigit() else None
    tag = response.headers.get("ETag") or ""
    validator = (
        tag if tag.startswith('"') else response.headers.get("Last-Modified")
    )  # a weak ETag cannot guard
    if have == 0:
        write_atomically(_validator_file(part), json.dumps({"url": url, "validator": validator}))
    with part.open("ab" if have else "wb") as file:
        while block := _read(response):
            file.write(block)
            have += len(block)
            if progress:
                progress(have, total)
    if total is not None and have < total:
        raise _BrokenOff(f"the connection ended {total - have:,} bytes too early")


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(_BLOCK)
    except (OSError, http.client.HTTPException) as error:  # only what the network did, not the disk
        raise _BrokenOff(str(error) or type(error).__name__) from None


def _read_validator(part: Path, url: str) -> str | None:
    try:
        stored = json.loads(_validator_file(part).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(stored, dict) or stored.get("url") != url:
        return None
    return str(stored["validator"]) if stored.get("validator") else None


def _validator_file(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator_file(part).unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
