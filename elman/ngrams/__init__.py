"""Counted language models: smoothed n-grams, estimated from a text or read from an ARPA file."""

from elman.ngrams.config import CountedOptions
from elman.ngrams.model import CountedModel, HistoryState

__all__ = ["CountedModel", "CountedOptions", "HistoryState"]
