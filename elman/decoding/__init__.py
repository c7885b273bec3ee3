"""Log-probabilities → sequences. Knows nothing of a model but ``start`` and ``step``."""

from elman.decoding.generate import generate, generate_many
from elman.decoding.sample import choose_token

__all__ = ["choose_token", "generate", "generate_many"]
