"""Small texts for the tests of counted models."""

import numpy as np

WORDS = 120
END = 3


def words(seed: int, tokens: int = 900, end: int | None = END) -> np.ndarray:
    """Skewed ids 0 … 119 in which pieces return, so that all counts 1 … 4 occur in orders 1 to 3."""
    generator = np.random.default_rng(seed)
    weights = 1 / np.arange(2, WORDS + 2) ** 1.1
    ids = generator.choice(WORDS, tokens, p=weights / weights.sum())
    for place in generator.integers(8, tokens - 8, tokens // 20):
        length = int(generator.integers(2, 6))
        source = int(generator.integers(0, tokens // 4))
        ids[place : place + length] = ids[source : source + length][: tokens - place]
    if end is None:
        ids[ids == END] = END + 1
    return ids
