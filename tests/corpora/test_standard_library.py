"""Sources, docstrings and topics of a standard library, read but never imported."""

import sys
from pathlib import Path

import pytest

from elman.corpora.standard_library import docstrings, library_folder, source_files, topics
from elman.errors import CorpusError


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A small standard library: modules that would fail if they were imported, and what is to be left out."""
    for number in range(100):
        (tmp_path / f"m{number:03}.py").write_text("raise SystemExit")
    for name in (
        "json/decoder.py",
        "json/tests/test_it.py",
        "test/support.py",
        "idlelib/run.py",
        "site-packages/six.py",
        "config-3.11-x86/makefile.py",
        "_sysconfigdata_linux.py",
        "json/notes.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    return tmp_path


def test_which_files_are_read(library: Path) -> None:
    files = source_files(library)
    assert [name for name, _ in files] == ["json/decoder.py", *(f"m{number:03}.py" for number in range(100))]
    assert all(path == library / name for name, path in files)


def test_a_python_without_sources(library: Path) -> None:
    for number in range(2):
        (library / f"m{number:03}.py").unlink()
    with pytest.raises(CorpusError) as caught:
        source_files(library)
    assert str(caught.value).split("\n  ") == [
        "The source files of Python's standard library were to be read.",
        f"{library} has 99 of them; a whole library has over 100.",
        "Use a Python with its library in plain files (no zip, no minimal one), or a text of your own.",
    ]
    with pytest.raises(CorpusError, match="has 0 of them"):
        source_files(library / "absent")


def test_docstrings_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_text('''"""Module."""
x = """no docstring"""
def f():
    """Function.

    One:
        two.
    """
    def g():
        "Inner."
class C:
    """Class."""
    async def h(self): "Method."
    def none(self): return """no docstring"""
if x:
    def i(): b"bytes"
else:
    def j(): "Other."
''')
    assert list(docstrings(path)) == [
        "Module.",
        "Function.\n\nOne:\n    two.",
        "Inner.",
        "Class.",
        "Method.",
        "Other.",
    ]
    path.write_text("def broken(:")
    assert list(docstrings(path)) == []


def test_topics(tmp_path: Path) -> None:
    path = tmp_path / "pydoc_data" / "topics.py"
    path.parent.mkdir()
    path.write_text("# made by Sphinx\ntopics = {'if': 'The if\\n' 'statement', 'for': 'Loop'}\n")
    assert topics(tmp_path) == {"if": "The if\nstatement", "for": "Loop"}
    path.write_text("other = 3")
    with pytest.raises(CorpusError, match="is absent, or holds no table of topics"):
        topics(tmp_path)
    with pytest.raises(CorpusError, match="Install the whole of Python's standard library"):
        topics(tmp_path / "absent")


def test_the_library_at_hand() -> None:
    before = set(sys.modules)
    names = [name for name, _ in source_files(library_folder())]
    assert {"os.py", "json/decoder.py", "asyncio/tasks.py"} < set(names)
    assert "if" in topics(library_folder())
    assert "pydoc_data.topics" not in set(sys.modules) - before
