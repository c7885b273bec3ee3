"""The rules of the house that a test can keep."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "elman").rglob("*.py"))
TEXTS = [
    path
    for pattern in ("*.md", "*.toml", "Makefile", "docs/**/*", "elman/**/*", "tests/**/*", "benchmarks/**/*")
    for path in sorted(ROOT.glob(pattern))
    if path.suffix in {".py", ".md", ".toml", ".bib", ".cpp", ""} and path.is_file()
]


def test_no_file_is_over_400_lines() -> None:
    assert len(SOURCES) > 30
    long = {str(path.relative_to(ROOT)): lines for path in SOURCES if (lines := _lines(path)) > 400}
    assert not long, f"a room is missing: {long}"


def test_every_file_is_named_by_its_duty() -> None:
    vague = {"utils.py", "helpers.py", "common.py", "misc.py", "base.py"}
    assert not [path for path in SOURCES if path.name in vague]


def test_every_citation_stands_in_the_bibliography() -> None:
    keys = set(re.findall(r"^@\w+\{(\w+),", (ROOT / "docs/references.bib").read_text(), re.M))
    cited = {
        (path.name, key)
        for path in SOURCES
        for key in re.findall(r"\[([a-z]+(?:19|20)\d\d[a-z]?)\]", path.read_text())
    }
    assert len(cited) >= 5
    assert not {(name, key) for name, key in cited if key not in keys}


def test_no_file_names_a_folder_of_one_machine() -> None:
    first = "|".join(("work", "farm", "root", "home"))
    machine = re.compile(rf"(?<![\w.])/(?:{first})/|/{'tmp'}/venv")
    named = [str(path.relative_to(ROOT)) for path in TEXTS if machine.search(path.read_text())]
    assert [name for name in named if name != "tests/test_house.py"] == []


def test_the_import_contract_holds() -> None:
    command = [Path(sys.executable).parent / "lint-imports"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_executes_text_or_swallows_errors() -> None:
    forbidden = re.compile(r"(?<![\w.])(?:exec|eval)\([^)]|import pickle|except[^:\n]*:\s*pass\b|\*\*kwargs")
    found = {str(path): m.group() for path in SOURCES if (m := forbidden.search(path.read_text()))}
    assert not found


def _lines(path: Path) -> int:
    return path.read_text().count("\n")
