"""The standard library as text: its source files, docstrings and ``help()`` topics. Nothing is imported."""

import ast
import inspect
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from elman.errors import CorpusError

TOPICS = "pydoc_data/topics.py"
_NOT_READ = frozenset(
    {"test", "tests", "idle_test", "idlelib", "site-packages", "dist-packages", "__pycache__"}
)
_FEWEST_FILES = 100


def library_folder() -> Path:
    """Where the standard library of this Python is."""
    return Path(sysconfig.get_path("stdlib"))


def source_files(root: Path) -> list[tuple[str, Path]]:
    """The Python files of a standard library as ``("json/decoder.py", path)``, sorted by name.

    Not among them: tests, idlelib, installed packages, and files that were written for one machine.
    Raises :class:`CorpusError` where this Python came without its sources (in a zip file, or minimal).
    """
    files = []
    for folder, inner, names in os.walk(root):
        inner[:] = [each for each in inner if each not in _NOT_READ and not each.startswith("config-")]
        paths = [Path(folder, each) for each in names if each.endswith(".py")]
        files += [(path.relative_to(root).as_posix(), path) for path in paths]
    files = [each for each in files if not each[0].startswith(("_sysconfigdata", "__phello__"))]
    if len(files) < _FEWEST_FILES:
        raise CorpusError(
            "The source files of Python's standard library were to be read.",
            f"{root} has {len(files)} of them; a whole library has over {_FEWEST_FILES}.",
            "Use a Python with its library in plain files (no zip, no minimal one), or a text of your own.",
        )
    return sorted(files)


def docstrings(path: Path) -> Iterator[str]:
    """The docstrings of a source file: of the module, its classes and its functions, in their order."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # some files are broken on purpose; they have no docstrings to give
        return
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                text = first.value.value
                if isinstance(text, str):
                    yield inspect.cleandoc(text)
        inner = [*getattr(node, "body", []), *getattr(node, "orelse", [])]
        waiting.extend(each for each in reversed(inner) if isinstance(getattr(each, "body", None), list))


def topics(root: Path) -> dict[str, str]:
    """The documentation topics of ``help()``: the dictionary in ``pydoc_data/topics.py``.

    Raises :class:`CorpusError` where this Python came without them.
    """
    path = root / TOPICS
    for node in ast.parse(path.read_bytes()).body if path.is_file() else []:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            return {str(name): str(text) for name, text in ast.literal_eval(node.value).items()}
    raise CorpusError(
        "The documentation topics of this Python were to be read.",
        f"{path} is absent, or holds no table of topics.",
        "Install the whole of Python's standard library, or use a text of your own.",
    )
