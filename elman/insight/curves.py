"""Learning curves: validation perplexity against seconds, from a run's journal."""

import math
from pathlib import Path
from typing import NamedTuple

from elman.training import journal


class Curve(NamedTuple):
    """One model's way down: ``perplexity[i]`` on the validation text after ``seconds[i]`` of training."""

    name: str
    seconds: list[float]
    perplexity: list[float]


def from_journal(path: Path, name: str) -> Curve:
    """The evaluations that the journal ``path`` holds, oldest first; none where it holds none yet."""
    evaluations = [entry for entry in journal.read(path) if entry["event"] == "evaluation"]
    return Curve(
        name,
        [float(entry["seconds"]) for entry in evaluations],
        [math.exp(entry["nats_per_token"]) for entry in evaluations],
    )
