"""One file per task."""

from elman.models.language_model import RecurrentLanguageModel, RecurrentOptions
from elman.models.streamed import StreamedLanguageModel

__all__ = ["RecurrentLanguageModel", "RecurrentOptions", "StreamedLanguageModel"]
