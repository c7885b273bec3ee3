"""Bringing a published corpus into a data folder: from its public source, or from a copy the user has."""

import gzip
import hashlib
import lzma
import tarfile
import urllib.parse
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from elman.corpora.catalogue import CORPORA
from elman.corpora.download import Progress, download
from elman.corpora.embedded import Embedded
from elman.corpora.folders import SUFFIXES, user_cache
from elman.corpora.penn_treebank import PennCharacters
from elman.corpora.published import Check, Published, PublishedFile, how_to_get, wrong_hash
from elman.errors import CorpusError
from elman.text import write_atomically

_ARCHIVES = (".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2", ".zip")


def named(name: str) -> Published | Embedded:
    """The corpus of that name. Raises :class:`CorpusError` if there is none."""
    if name not in CORPORA:
        raise CorpusError(
            f"The corpus {name} was asked for.",
            "There is none of that name.",
            f"Known: {', '.join(CORPORA)}.",
        )
    return CORPORA[name]


def verify(name: str, data_dir: Path | None = None) -> list[Check]:
    """Hashes the files of a corpus: one :class:`Check` each, ``good`` where it is the published one."""
    return named(name).verify(data_dir)


def remedy(name: str) -> str:
    """What to do about a corpus that is absent or not as published."""
    corpus = named(name)
    if isinstance(corpus, Embedded):
        return f"Make it anew with: elman corpora fetch {name}"
    return how_to_get(corpus)


def fetch(
    name: str,
    data_dir: Path | None = None,
    progress: Progress | None = None,
    source: str | None = None,
) -> list[Path]:
    """Brings a corpus into ``data_dir`` (by default the user's cache) and returns its files, all verified.

    ``source``: a folder (searched through), an archive (tar, zip) or, for a corpus of one file, that file;
    as a path, or as the address of an archive, of that file, or of the folder the files are in. Packed files
    (.gz, .xz) are unpacked. Without ``source`` the corpus is downloaded from where it is published; nothing
    is done if it is there already. For ``ptb-chars`` the words are fetched, which its characters derive from;
    ``python-docs`` and ``python-code`` are made anew.

    Nothing is written unless every file is the published one. Raises :class:`CorpusError` otherwise, and for
    a corpus that is not freely licensed and has no ``source``.
    """
    corpus = named(name)
    if isinstance(corpus, Embedded):
        if source is not None:
            raise CorpusError(
                f"{name} was to be fetched from {source}.",
                "It is made from the Python at hand, not fetched.",
                f"Just use it by its name, {name}.",
            )
        return corpus.make()
    checks = corpus.verify(data_dir)
    present = [check.path for check in checks if check.path is not None and check.good]
    if source is None and len(present) == len(checks):
        return present
    if isinstance(corpus, PennCharacters):
        return fetch(corpus.words.name, data_dir, progress, source)
    folder = (data_dir or user_cache()) / corpus.folder
    if source is None:
        return _download(corpus, folder, progress)
    if urllib.parse.urlsplit(source).scheme in ("http", "https"):
        found = _from_address(corpus, source, folder / "incoming", progress)
    else:
        found = _from_path(corpus, Path(source).expanduser())
    return _install(corpus, found, folder)


def _download(corpus: Published, folder: Path, progress: Progress | None) -> list[Path]:
    paths = []
    for file in corpus.files.values():
        if file.url is None:
            raise CorpusError(
                f"{corpus.name} was to be downloaded.",
                f"Its text may not be passed on freely ({corpus.licence}), so it has no public source.",
                how_to_get(corpus),
            )
        paths.append(folder / file.name)
        download(file.url, paths[-1], sha256=file.sha256, progress=progress)
    return paths


def _from_address(
    corpus: Published, address: str, folder: Path, progress: Progress | None
) -> dict[str, list[tuple[str, bytes]]]:
    """The candidates for each file: (where it was, unpacked content)."""
    path = urllib.parse.unquote(urllib.parse.urlsplit(address).path)
    name = PurePosixPath(path).name
    single = len(corpus.files) == 1 and not path.endswith("/")
    if name.endswith(_ARCHIVES) or single:
        download(address, folder / name, progress=progress)
        found = _from_path(corpus, folder / name)
        (folder / name).unlink()
    else:
        found = {}
        for file in corpus.files.values():
            download(f"{address.rstrip('/')}/{file.name}", folder / file.name, progress=progress)
            found |= _from_path(corpus, folder / file.name, only=file)
            (folder / file.name).unlink()
    if not any(folder.iterdir()):
        folder.rmdir()
    return found


def _from_path(
    corpus: Published, path: Path, only: PublishedFile | None = None
) -> dict[str, list[tuple[str, bytes]]]:
    if not path.exists():
        raise CorpusError(
            f"{corpus.name} was to be taken from {path}.",
            "There is no such file or folder.",
            "Check the path.",
        )
    files = [only] if only else list(corpus.files.values())
    found: dict[str, list[tuple[str, bytes]]] = {file.name: [] for file in files}
    if path.is_file() and len(files) == 1 and not path.name.endswith(_ARCHIVES):
        found[files[0].name].append((str(path), _unpacked(path.name, path.read_bytes())))
        return found
    wanted = {file.name + suffix: file for file in files for suffix in SUFFIXES}
    for where, base, data in _members(corpus, path, set(wanted)):
        found[wanted[base].name].append((where, _unpacked(where, data)))
    return found


def _members(corpus: Published, path: Path, wanted: set[str]) -> Iterator[tuple[str, str, bytes]]:
    """(where, file name, content) of the wanted files in a folder or an archive."""
    try:
        if path.is_dir():
            for each in sorted(path.rglob("*")):
                if each.name in wanted and each.is_file():
                    yield str(each), each.name, each.read_bytes()
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for member in archive.infolist():
                    base = PurePosixPath(member.filename).name
                    if base in wanted:
                        yield f"{path}: {member.filename}", base, archive.read(member)
        else:
            with tarfile.open(path) as bundle:
                for entry in bundle:
                    base = PurePosixPath(entry.name).name
                    content = bundle.extractfile(entry) if base in wanted and entry.isfile() else None
                    if content:
                        yield f"{path}: {entry.name}", base, content.read()
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, lzma.LZMAError) as error:
        raise CorpusError(
            f"{corpus.name} was to be taken from {path}.",
            f"It is not a folder, nor a whole tar or zip archive: {str(error).splitlines()[0].rstrip(':')}.",
            "Name the folder or archive that holds its files.",
        ) from None


def _unpacked(where: str, data: bytes) -> bytes:
    try:
        if where.endswith(".gz"):
            return gzip.decompress(data)
        return lzma.decompress(data) if where.endswith(".xz") else data
    except (OSError, EOFError, lzma.LZMAError):
        return data  # its hash says that it is not the published file


def _install(corpus: Published, found: dict[str, list[tuple[str, bytes]]], folder: Path) -> list[Path]:
    chosen: dict[str, bytes] = {}
    for file in corpus.files.values():
        candidates = [(where, data, hashlib.sha256(data).hexdigest()) for where, data in found[file.name]]
        if not candidates:
            raise CorpusError(
                f"{corpus.name} was to be taken from the source given.",
                f"It has no file {file.name} (or .gz, .xz).",
                f"It must hold {', '.join(each.name for each in corpus.files.values())}.",
            )
        good = [data for _, data, digest in candidates if digest == file.sha256]
        if not good:
            where, _, digest = candidates[0]
            check = Check(file.name, Path(where), file.sha256, digest)
            raise wrong_hash(
                corpus.name, check, "Nothing was written. Look for the published files elsewhere."
            )
        chosen[file.name] = good[0]
    try:
        for name, data in chosen.items():
            write_atomically(folder / name, data)
    except OSError as error:
        raise CorpusError(
            f"{corpus.name} was to be written to {folder}.",
            f"It cannot be written: {error.strerror or error}.",
            "Make room there, or choose another folder by --data-dir.",
        ) from None
    return [folder / name for name in chosen]
