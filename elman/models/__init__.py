"""One file per task."""

from elman.models.language_model import RecurrentLanguageModel, RecurrentOptions

__all__ = ["RecurrentLanguageModel", "RecurrentOptions"]
