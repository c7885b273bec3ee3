"""``docs/results.toml``: one ``[[result]]`` per reproduction, and ``docs/results.md`` rendered from it.

Where the file is: in a checkout of Elman, ``docs/results.toml`` beside the package that is running; elsewhere
(an installed package) ``results.toml`` in the user's data folder, ``$XDG_DATA_HOME/elman`` or
``~/.local/share/elman``. ``--results FILE`` names another. The rendering stands beside it, ending in ``.md``.
Rows are only ever added, by ``elman reproduce``.
"""

import errno
import os
import statistics
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import elman
from elman.errors import RecipeError
from elman.recipe import Claim
from elman.strict import read_table, to_table, write_tables
from elman.text.files import write_atomically

try:
    import fcntl
except ImportError:  # Windows: there two that finish at once are not kept apart
    fcntl = None  # type: ignore[assignment]

HEADER = """\
# What `elman reproduce` measured, oldest first; docs/results.md is rendered from it. Edit neither by hand.
# valid and test are in the unit of measure, means over the seeds; minutes are of training, for one seed.
"""
INTRODUCTION = """\
Rendered from `results.toml`, which `elman reproduce` writes. Numbers are in the unit of the measure, lower is
better; with several seeds they are means ± the standard deviation. *reproduced*: no farther above the
published number than the recipe's tolerance; *measured*: nothing comparable was published, or the recipe
was scaled down to a laptop."""


@dataclass(frozen=True)
class Result:
    """One reproduction. ``published`` is what it is compared with: the test number, else the valid one."""

    name: str
    scale: str
    measure: str
    seeds: int
    minutes: float
    tokens_per_second: int
    device: str
    commit: str
    date: str
    verdict: str
    valid: float | None = None
    test: float | None = None
    test_sd: float | None = None
    published: float | None = None


KEYS = (
    *("name", "scale", "measure", "valid", "test", "test_sd", "published", "seeds", "minutes"),
    *("tokens_per_second", "device", "commit", "date", "verdict"),
)


def verdict(claim: Claim, valid: float | None, test: float | None) -> str:
    """``"reproduced"`` where no farther above the published number than the tolerance; lower is better.

    >>> claim = Claim("zaremba2014", "ptb-words", test=114.5, tolerance=1.5)
    >>> verdict(claim, 118.0, 115.9), verdict(claim, 118.0, 112.0), verdict(claim, 118.0, 116.25)
    ('reproduced', 'reproduced', 'missed by 1.75')
    >>> verdict(Claim("karpathy2015", "tinyshakespeare"), 1.48, None)
    'measured'
    """
    published, ours = headline(claim, claim.valid, claim.test), headline(claim, valid, test)
    if published is None or ours is None:
        return "measured"
    over = ours - published
    return "reproduced" if over <= claim.tolerance else f"missed by {over:.2f}"


def headline(claim: Claim, valid: float | None, test: float | None) -> float | None:
    """The number that a claim is about: of the text that was published on, the test text first."""
    if claim.test is None and (claim.valid is not None or test is None):
        return valid
    return test


def mean(values: Sequence[float | None]) -> float | None:
    """The mean over seeds, to four decimals; None where a split has no text."""
    found = [value for value in values if value is not None]
    return round(statistics.fmean(found), 4) if found else None


def default_path() -> Path:
    """The results file where ``--results`` does not name one."""
    root = Path(elman.__file__).parent.parent
    if (root / "pyproject.toml").is_file() and (root / "docs").is_dir():
        return root / "docs" / "results.toml"
    folder = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(folder) / "elman" / "results.toml"


def read(path: Path) -> list[Result]:
    """All rows, oldest first; none where there is no file yet."""
    if not path.is_file():
        return []
    problems: list[str] = []
    rows: list[Result] = []
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        tables = {}
        problems.append(f"It is not TOML: {error}.")
    for number, table in enumerate(tables.get("result", []), 1):
        row = read_table(Result, table, f"result {number}", problems)
        rows += [row] if row else []
    if problems:
        raise RecipeError(
            f"the results in {path} were to be read.",
            "\n  ".join(problems),
            "Undo what was edited by hand: only `elman reproduce` writes this file.",
        )
    return rows


def add(path: Path, row: Result) -> None:
    """Appends ``row`` and renders the page beside the file again. What stood there stays as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path.parent):
        rows = [*read(path), row]
        before = path.read_text(encoding="utf-8") if path.is_file() else HEADER
        write_atomically(path, f"{before.rstrip()}\n\n{to_toml(row)}")
        write_atomically(path.with_suffix(".md"), render(rows))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Waits for whoever else is adding a row: files are replaced, so that their folder is what is locked."""
    if fcntl is None:
        yield
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):  # a file system without locks
                raise
        yield
    finally:
        os.close(opened)


def to_toml(row: Result) -> str:
    """The row as a ``[[result]]`` block; what there is no number for is left out."""
    return write_tables({"result": [as_table(row)]})


def as_table(row: Result) -> dict[str, object]:
    table = to_table(row)
    return {key: table[key] for key in KEYS if key in table}


def latest(rows: Iterable[Result]) -> dict[tuple[str, str], Result]:
    """The last row of each recipe at each scale, in the order of their names."""
    last = {(row.name, row.scale): row for row in rows}
    return {key: last[key] for key in sorted(last)}


def render(rows: Sequence[Result]) -> str:
    """The page: the last result of each recipe at each scale, then those before it."""
    current = list(latest(rows).values())
    earlier = [row for row in rows if row not in current]
    parts = ["# Results", INTRODUCTION, _page_table(current)]
    if earlier:
        parts += ["## Earlier runs", _page_table(earlier)]
    return "\n\n".join(parts) + "\n"


def _page_table(rows: Sequence[Result]) -> str:
    heads = "recipe|scale|measure|valid|test|published|verdict|seeds|minutes|tokens/s|device|commit|date"
    lines = [
        f"| {heads.replace('|', ' | ')} |",
        "|---|---|---|--:|--:|--:|---|--:|--:|--:|---|---|---|",
    ]
    for row in rows:
        spread = f" ± {row.test_sd:.2f}" if row.test_sd is not None else ""
        cells = (
            row.name,
            row.scale,
            row.measure.replace("_", " "),
            number(row.valid, row.measure),
            number(row.test, row.measure) + spread,
            number(row.published, row.measure),
            row.verdict,
            str(row.seeds),
            f"{row.minutes:.1f}" if row.minutes >= 1 else f"{row.minutes:.2f}",
            f"{row.tokens_per_second:,}",
            row.device,
            row.commit,
            row.date,
        )
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines)


def number(value: float | None, measure: str) -> str:
    """Two decimals for perplexities, three for nats and bits.

    >>> number(141.188, "perplexity"), number(1.4567, "nats_per_character"), number(None, "perplexity")
    ('141.19', '1.457', '–')
    """
    if value is None:
        return "–"
    return f"{value:.2f}" if measure == "perplexity" else f"{value:.3f}"
