"""Text ↔ ids: reading files, words or characters, the vocabulary, and ids kept in memory-mapped files."""

from elman.text.characters import Characters
from elman.text.config import TextOptions
from elman.text.encoded import encode_once, vocabulary_once
from elman.text.files import read_lines, read_pieces, write_atomically
from elman.text.sources import Source, TextFile
from elman.text.tokeniser import Tokeniser, tokeniser
from elman.text.vocabulary import Vocabulary
from elman.text.words import Words

__all__ = [
    "Characters",
    "Source",
    "TextFile",
    "TextOptions",
    "Tokeniser",
    "Vocabulary",
    "Words",
    "encode_once",
    "read_lines",
    "read_pieces",
    "tokeniser",
    "vocabulary_once",
    "write_atomically",
]
