"""Texts by name or path → arrays of ids, split and verified."""

from elman.corpora.catalogue import CORPORA
from elman.corpora.corpus import Corpus, open_corpus
from elman.corpora.embedded import Embedded
from elman.corpora.fetch import fetch, named, remedy, verify
from elman.corpora.folders import data_folders, user_cache
from elman.corpora.published import Check, Published, PublishedFile

__all__ = [
    "CORPORA",
    "Check",
    "Corpus",
    "Embedded",
    "Published",
    "PublishedFile",
    "data_folders",
    "fetch",
    "named",
    "open_corpus",
    "remedy",
    "user_cache",
    "verify",
]
