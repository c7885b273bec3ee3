"""A recipe reproduced: trained with each seed, evaluated, and what came of it as a row of results."""

import datetime
import math
import statistics
import subprocess
import time
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import elman
from elman.errors import RecipeError
from elman.measures.perplexity import Perplexity
from elman.recipe import Recipe, with_changes
from elman.study.execute import Setting, Trained, begin, resume
from elman.study.results import Result, headline, mean, verdict
from elman.training.folder import RunFolder
from elman.training.progress import Progress


def reproduce(
    recipe: Recipe,
    out: Path,
    setting: Setting,
    progress: Callable[[str], Progress],
    *,
    seeds: int = 1,
    go_on: bool = True,
) -> Result | None:
    """Carries ``recipe`` (at its scale) out with ``seeds`` seeds in a row, from its own on.

    The first run stands in ``out``, the others beside it (``out-seed2`` …). With ``go_on`` a run of the same
    recipe that is there goes on, and one that is finished is only evaluated. A counted model has no seed
    and is counted once. ``progress(title)`` shows one run. None where ``setting.max_minutes``, which all
    seeds share, ran out before the last run was finished: the same call goes on from there.

    Raises :class:`~elman.errors.RecipeError` for a recipe without a claim, and what the runs raise.
    """
    if recipe.claim is None:
        raise RecipeError(
            f"recipe {recipe.name} was to be reproduced.",
            "It has no [claim]: nothing was published that it could be compared with.",
            "Use elman train, or add a [claim] that says what is measured.",
        )
    runs = []
    began = time.monotonic()
    for each, folder in _with_seeds(recipe, out, seeds):
        shown = progress("" if each.train is None or seeds == 1 else f"seed {each.train.seed}")
        there = go_on and folder.exists()
        left = setting
        if setting.max_minutes is not None:
            spent = (time.monotonic() - began) / 60
            left = replace(setting, max_minutes=max(0.0, setting.max_minutes - spent))
        runs.append(resume(folder, each, left, shown) if there else begin(each, folder, left, shown))
        if runs[-1].reason == "max minutes":
            return None
    return _result(recipe, runs)


def _with_seeds(recipe: Recipe, out: Path, seeds: int) -> list[tuple[Recipe, Path]]:
    if recipe.train is None:
        return [(recipe, out)]
    first = recipe.train.seed
    others = [
        (with_changes(recipe, {"train.seed": seed}), out.with_name(f"{out.name}-seed{seed}"))
        for seed in range(first + 1, first + seeds)
    ]
    return [(recipe, out), *others]


def _result(recipe: Recipe, runs: list[Trained]) -> Result:
    claim = recipe.claim
    assert claim is not None  # reproduce() has refused it
    valid = mean([measured(run.valid, claim.measure) for run in runs])
    tests = [measured(run.test, claim.measure) for run in runs if run.test is not None]
    test = mean(tests)
    comparable = recipe.scale == "paper"
    return Result(
        name=recipe.name,
        scale=recipe.scale,
        measure=claim.measure,
        valid=valid,
        test=test,
        test_sd=round(statistics.stdev(tests), 4) if len(tests) > 1 else None,
        published=headline(claim, claim.valid, claim.test),
        seeds=len(runs),
        minutes=round(statistics.fmean(run.seconds / 60 for run in runs), 3),
        tokens_per_second=round(statistics.fmean(run.tokens_per_second for run in runs)),
        device=device(runs[0].folder),
        commit=commit(),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        verdict=verdict(claim, valid, test) if comparable else "measured",
    )


def measured(cost: Perplexity, measure: str) -> float:
    """A cost in the unit of a claim.

    >>> cost = Perplexity(nats=300 * math.log(2), tokens=100)
    >>> [round(measured(cost, f"{unit}_per_character"), 4) for unit in ("nats", "bits")]
    [2.0794, 3.0]
    """
    if measure == "perplexity":
        return cost.perplexity
    return cost.nats_per_token / (math.log(2) if measure == "bits_per_character" else 1)


def device(folder: RunFolder) -> str:
    """What a run was begun on, in words, from its machine.toml; and its precision if that is not float32."""
    told = tomllib.loads(folder.machine.read_text(encoding="utf-8"))
    threads = told["threads"]
    words = (
        str(told["gpu"]) if "gpu" in told else f"{told['cpu']}, {threads} thread{'s' if threads != 1 else ''}"
    )
    return words if told["precision"] == "float32" else f"{words}, {told['precision']}"


def commit() -> str:
    """The commit that the running package is at, ``+changes`` if its files were edited; else its version."""
    package = Path(elman.__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=package, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # not merely inside of another project
        return git("rev-parse", "--short", "HEAD") + ("+changes" if git("status", "--porcelain", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return f"v{elman.__version__}"
