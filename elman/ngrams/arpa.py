r"""ARPA files: the text form in which SRILM, KenLM and others keep a counted model.

A header with how many n-grams each order has, then per order one line for each: log₁₀ P(last | rest), the
words, and log₁₀ of the back-off weight where it is not 0. −99 stands for log 0::

    \data\
    ngram 1=3
    ngram 2=2

    \1-grams:
    -99	<s>	-0.30103
    …
    \end\

``<s>`` and ``</s>`` are the beginning and the end of a sentence, ``<unk>`` the unknown word. White space in a
token, which characters may be, is written as ``\u0020``, ``\u000a`` and so on.
"""

from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np

from elman.errors import ModelError
from elman.ngrams.tables import Table, find
from elman.text.files import AtomicFile, read_lines
from elman.text.vocabulary import Vocabulary

START, END, UNKNOWN = "<s>", "</s>", "<unk>"
LOG_ZERO = -99.0
LOG_10 = float(np.log(10))
BLOCK = 10_000  # lines written at once


def write_tables(path: Path, tables: list[Table], vocabulary: Vocabulary) -> None:
    """Writes the file, all of it or nothing. Probabilities keep 9 decimals of their log₁₀.

    Raises :class:`ModelError` where two tokens would be written alike.
    """
    names = _names(vocabulary)
    width = len(vocabulary) + 1
    sentences = vocabulary.end_id is not None
    sizes = [len(vocabulary) + sentences, *(table.rows for table in tables[1:])]
    path.parent.mkdir(parents=True, exist_ok=True)
    with AtomicFile(path) as file:
        header = "".join(f"ngram {n}={size}\n" for n, size in enumerate(sizes, start=1))
        file.write(f"\\data\\\n{header}".encode())
        words = [*names, START]
        for n, (table, size) in enumerate(zip(tables, sizes, strict=True), start=1):
            if n > 1:
                rows, last = (half.tolist() for half in np.divmod(table.keys, width))
                words = [f"{words[row]} {names[word]}" for row, word in zip(rows, last, strict=True)]
            file.write(f"\n\\{n}-grams:\n".encode())
            log_p, log_backoff = (np.maximum(column / LOG_10, LOG_ZERO) for column in table[1:])
            for first in range(0, size, BLOCK):
                block = slice(first, min(first + BLOCK, size))
                lines = (
                    f"{p:.9f}\t{text}\t{backoff:.9f}\n" if backoff else f"{p:.9f}\t{text}\n"
                    for p, text, backoff in zip(
                        log_p[block].tolist(), words[block], log_backoff[block].tolist(), strict=True
                    )
                )
                file.write("".join(lines).encode())
        file.write(b"\n\\end\\\n")


def read_tables(path: Path, vocabulary: Vocabulary, say: Callable[[str], None]) -> list[Table]:
    """Reads a file (also ``.gz``, ``.xz``) whose words are those of ``vocabulary``, in any order.

    Words of the vocabulary that the file lacks get the probability 0; ``say`` is told. The probabilities are
    taken as they are: that they sum to 1 is not verified. Raises :class:`ModelError` for a file that is not
    an ARPA file or was cut short, has words that the vocabulary lacks, has n-grams without their prefix, or
    has sentences where the vocabulary has no end of one; :class:`TextError` for one that cannot be read.
    """
    asked = f"The ARPA file {path} was to be read for a vocabulary of {len(vocabulary)} tokens."
    width = len(vocabulary) + 1
    ids = {name: index for index, name in enumerate(_names(vocabulary))}
    if vocabulary.end_id is not None:
        ids[START] = len(vocabulary)
    tables: list[Table] = []
    for section in _sections(path, ids, asked):
        n = section.words.shape[1]
        if n == 1:
            table = _unigrams(section, width)
            if len(np.unique(section.words)) < len(section.words):
                _refuse(asked, "A 1-gram is there twice.")
            missing = width - 1 - len(np.unique(section.words[section.words < width - 1]))
            if missing:
                say(f"{missing} tokens of the vocabulary are not in {path}: their probability is 0.")
        else:
            rows = section.words[:, 0]
            for k in range(2, n):
                rows = find(tables[k - 1], rows, section.words[:, k - 1], width)
            lost = np.flatnonzero(rows < 0)
            if len(lost):
                text = _text(section.words[lost[0]], ids)
                _refuse(asked, f'The {n}-gram "{text}" is there, but not the {n - 1}-gram it begins with.')
            keys = rows * width + section.words[:, -1]
            order = np.argsort(keys, kind="stable")
            table = Table(keys[order], section.log_probability[order], section.log_backoff[order])
        if np.any(table.keys[1:] == table.keys[:-1]):
            _refuse(asked, f"A {n}-gram is there twice.")
        tables.append(table)
    return tables


class _Section(NamedTuple):
    """The n-grams of one order as the file has them, in natural logarithms."""

    words: np.ndarray  # M×n, int64
    log_probability: np.ndarray  # M
    log_backoff: np.ndarray  # M


def _sections(path: Path, ids: dict[str, int], asked: str) -> Iterator[_Section]:
    lines = (line.strip(" \t\r\n") for line in read_lines(path))
    if "\\data\\" not in lines:
        _refuse(asked, "It has no line \\data\\.")
    sizes: list[int] = []
    for line in lines:
        if line.startswith("ngram "):
            sizes.append(int(_number(line.partition("=")[2], line, asked)))
        elif line:
            break
    if not sizes:
        _refuse(asked, "Its header has no line such as ngram 1=10000.")
    unknown: dict[str, None] = {}
    for n, size in enumerate(sizes, start=1):
        if line != f"\\{n}-grams:":
            _refuse(asked, f'Where \\{n}-grams: should be, there is "{line}".')
        words, numbers = array("q"), array("d")
        line = ""
        for line in lines:
            if line.startswith("\\"):
                break
            if not line:
                continue
            fields = [field for field in line.replace("\t", " ").split(" ") if field]
            if len(fields) not in (n + 1, n + 2):
                _refuse(asked, f'A {n}-gram cannot be read from the line "{line}".')
            for place, word in enumerate(fields[1 : n + 1]):
                index = ids.get(word, -1)
                if word == START and index >= 0 and place > 0:
                    _refuse(asked, f'<s> is inside the {n}-gram "{line}"; it can only begin one.')
                if index < 0:
                    unknown[word] = None
                words.append(index)
            numbers.append(_number(fields[0], line, asked))
            numbers.append(_number(fields[-1], line, asked) if len(fields) == n + 2 else 0.0)
        if unknown:
            _refuse_words(list(unknown), ids, asked)
        found = len(words) // n
        if found != size:
            _refuse(asked, f"Its header promises {size} {n}-grams; there are {found}.")
        log_p, log_backoff = np.array(numbers).reshape(found, 2).T
        yield _Section(
            np.array(words, np.int64).reshape(found, n),
            np.where(log_p <= LOG_ZERO, -np.inf, log_p * LOG_10),
            np.where(log_backoff <= LOG_ZERO, -np.inf, log_backoff * LOG_10),
        )
    if line != "\\end\\":
        _refuse(asked, "It does not end with the line \\end\\.")


def _unigrams(section: _Section, width: int) -> Table:
    """A row for every token and for ``<s>``, whether the file has it or not."""
    table = Table(np.arange(width), np.full(width, -np.inf), np.zeros(width))
    words = section.words[:, 0]
    table.log_probability[words] = section.log_probability
    table.log_probability[-1] = -np.inf  # KenLM writes log 1 for <s>; it is never predicted
    table.log_backoff[words] = section.log_backoff
    return table


def _names(vocabulary: Vocabulary) -> list[str]:
    """How each token is written."""
    names = [
        END
        if token == vocabulary.end
        else UNKNOWN
        if token == vocabulary.unknown
        else "".join(f"\\u{ord(letter):04x}" if letter.isspace() else letter for letter in token)
        for token in vocabulary.tokens
    ]
    taken = {START} if vocabulary.end is not None else set()
    for name in names:
        if name in taken or not name:
            raise ModelError(
                f"A counted model with {len(names)} tokens was to be exchanged as an ARPA file.",
                f'Two tokens would both be written "{name}".' if name else "A token is empty.",
                "Estimate it on a text without that token.",
            )
        taken.add(name)
    return names


def _number(text: str, line: str, asked: str) -> float:
    try:
        return float(text)
    except ValueError:
        _refuse(asked, f'"{text}" is no number, in the line "{line}".')


def _text(words: np.ndarray, ids: dict[str, int]) -> str:
    names = {index: name for name, index in ids.items()}
    return " ".join(names[int(word)] for word in words)


def _refuse_words(unknown: list[str], ids: dict[str, int], asked: str) -> NoReturn:
    if START not in ids and {START, END} & set(unknown):
        raise ModelError(
            asked,
            "Its n-grams are of sentences, with <s> and </s>; the vocabulary has no end of a sentence.",
            "Read it with the vocabulary of a text of words.",
        )
    more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
    raise ModelError(
        asked,
        f"Not in the vocabulary: {', '.join(unknown[:3])}{more}.",
        "Use the vocabulary of the text that the file was estimated from.",
    )


def _refuse(asked: str, came: str) -> NoReturn:
    raise ModelError(asked, came, "Give a whole ARPA file, as SRILM, KenLM or write_arpa make them.")
