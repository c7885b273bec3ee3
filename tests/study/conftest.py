"""A small text of one's own and recipes for it, small enough to be carried out within a second."""

import random
from pathlib import Path

import pytest

from elman.recipe import Recipe, parse

WORDS = ["the", "a", "dog", "cat", "bird", "sees", "hears", "follows"]
WORDS += ["old", "small", "one", "in", "of", "house", "garden"]


def write_text(path: Path, lines: int = 300, seed: int = 4) -> Path:
    """Lines of three to seven words, the next word depending on the last."""
    draw = random.Random(seed)
    with path.open("w") as file:
        for _ in range(lines):
            at, line = draw.randrange(len(WORDS)), []
            for _ in range(draw.randint(3, 7)):
                at = (3 * at + draw.choice((1, 1, 1, 2, 5))) % len(WORDS)
                line.append(WORDS[at])
            file.write(" ".join(line) + "\n")
    return path


def recipe_for(path: Path, table: str, claim: str = "test = 9.0\ntolerance = 1.0") -> Recipe:
    """A recipe with a claim about the text at ``path``; ``table``: its [model] and [train]."""
    head = f"[claim]\npaper = 'elman1990'\ncorpus = '{path}'\n{claim}\n[text]\nshares = [0.8, 0.1, 0.1]\n"
    return parse(head + table, "small")


RECURRENT = """
[model]
kind = "recurrent"
cell = "gru"
hidden_size = 8
[train]
epochs = 2
batch = 4
steps = 10
loss = "mean-over-time"
optimizer = "adam"
learning_rate = 0.02
seed = 5
"""
COUNTED = "[model]\nkind = 'counted'\norder = 2\nsmoothing = 'witten-bell'\n"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return write_text(tmp_path / "text.txt")
