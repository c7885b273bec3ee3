"""Documentation → sentences of English, prepared as the Penn Treebank's text was: one per line, in tokens.

What is done, in this order:

1. Paragraphs are parted at blank lines and list markers; wrapped lines are joined, and words broken at a
   hyphen.
2. Code goes: prompts (``>>>``), grammar, tables, and what is indented below a line that ends in ``:``, unless
   it reads as English. Titles with a line drawn under them go too.
3. Markup goes: quotation marks, backquotes, asterisks, ``:class:`` and the like. Of a dotted name the last
   part stays, and of a call the name.
4. Sentences are parted after ``.``, ``?``, ``!`` before a capital; ``e.g.``, ``i.e.`` are spelt out before.
5. Words are lower-cased, numbers become ``N``, marks stand alone; ``don't`` and ``built-in`` stay whole.
6. A sentence is kept if it has four words or more, one in five of them an everyday word (``the``, ``of``,
   ``is``), and no symbol but marks of punctuation. If no mark ends it, a full stop does.
"""

import re
from collections.abc import Iterator

_EVERYDAY_WORDS = """
a about after all also an and any are as at be because been before being but by can do does each for from
get given has have how if in into is it its may more most must no not of on one only or other over same set
should so some such than that the their them then there these they this to too two up use used uses using
was were what when where which while who will with without would you your
"""
_EVERYDAY = frozenset(_EVERYDAY_WORDS.split())
_RULE = re.compile(r"([-=*~^_#+\"'.])\1{2,}(?:\s+\1+)*")
_MARKER = re.compile(r"(?:[*+•-]|\d{1,2}[.)]|\(\d\)|\[\d+\]|[a-z]\))\s+")
_DEFINED = re.compile(r"(?:[\w.*-]+(?:\([^()]*\))?\s+(?:--?|=>?)|\*{0,2}[\w.]+:)\s+(?=[A-Za-z])")
_CODE = re.compile(
    r"\S+\s*::=|(?:def|class|import|from|return|raise|async|elif|else)\b.*[:(=]|[\w.\[\]]+\s*[-+*/|]?=\s|[$#@|]"
    r"|[\w.]+\(.*\)\s*(?:->.*)?:?$|with\b.* as \w+:$|for \w+ in \S+:$"
)
_END = re.compile(r"(?<=[.?!])[)\"']*\s+(?=[\"'(]*[A-Z])")
_SPELT_OUT = (
    (re.compile(r"\b(?:e\.g\.|eg\.),?", re.IGNORECASE), "for example"),
    (re.compile(r"\b(?:i\.e\.|ie\.),?", re.IGNORECASE), "that is"),
    (re.compile(r"\betc\.(?=\s*[a-z,;:)])"), "etc"),
    (re.compile(r"\bvs\."), "versus"),
    (re.compile(r":[a-z]+:(?:[a-z]+:)?`[~!]?"), ""),  # :class:`~dict`
    (re.compile("[’‘]"), "'"),
    (re.compile(r"[\"“”`*]|(?<!\w)'|'(?!\w)"), ""),
    (re.compile("…"), "..."),
    (re.compile("\\s*[–—]\\s*|\\s+-\\s+"), " -- "),
    (re.compile(r"(?<=\w)(?:\[[^\[\]]*\])+"), ""),  # of a subscript, the name
    (re.compile(r"(?<=\w)\([^()\s]*(?:,\s*[^()\s]+)*\)"), ""),  # of a call, the name
    (re.compile(r"\b([A-Za-z]\w+)\.(?:py|txt|cfg|ini|html?|xml|json|toml)\b"), r"\1"),
    (re.compile(r"(?<![\w/])(?:[A-Za-z_]\w*\.)+([A-Za-z_]\w*)"), r"\1"),  # of a dotted name, the last part
    (re.compile(r"(?<![\w.])\d+(?:[.,]\d+)*(?=-[A-Za-z]|(?!\w))"), "N"),
)
_TOKEN = re.compile(r"[^\W\d]\w*(?:['-]\w+)*|--|\.\.\.|\S")
_MARKS = frozenset({",", ".", ";", ":", "?", "!", "(", ")", "/", "--", "..."})
_LONGEST = 80


def sentences(text: str) -> Iterator[str]:
    """The English sentences of a documentation text, each a line of tokens with single spaces between.

    >>> list(sentences("Return the 'item' at index 3 (a copy); it isn't changed."))
    ["return the item at index N ( a copy ) ; it isn't changed ."]
    """
    for paragraph in _paragraphs(text):
        for pattern, replacement in _SPELT_OUT:
            paragraph = pattern.sub(replacement, paragraph)
        for sentence in _END.split(paragraph):
            prepared = _prepare(sentence)
            if prepared:
                yield prepared


def _paragraphs(text: str) -> Iterator[str]:
    """Runs of lines that belong together, joined, without titles and what is plainly code."""
    lines: list[str] = []
    indent: int | None = None
    session = False
    for line in [*text.expandtabs().splitlines(), ""]:
        bare = line.strip()
        if bare.startswith((">>>", "... ")):
            session = True
        if not bare or session:
            session = session and bool(bare)
            yield from _join(lines)
            lines, indent = [], None
            continue
        if _RULE.fullmatch(bare):
            lines, indent = [], None  # a title stood above it
            continue
        item = _MARKER.match(bare) or _DEFINED.match(bare)
        begins = len(line) - len(line.lstrip()) + (item.end() if item else 0)
        if item or (indent is not None and abs(begins - indent) > 1):
            yield from _join(lines)
            lines = []
        if not lines and _CODE.match(bare):
            continue
        lines.append(bare[item.end() :] if item else bare)
        indent = None if item else begins


def _join(lines: list[str]) -> Iterator[str]:
    if lines:
        yield re.sub(r"(?<=\w-)\n(?=\w)", "", "\n".join(lines)).replace("\n", " ")


def _prepare(sentence: str) -> str:
    """One sentence in tokens, or nothing if it is not one."""
    tokens = [token if token == "N" else token.lower() for token in _TOKEN.findall(sentence)]
    tokens = ["N" + token[1:] if token.startswith("n-") else token for token in tokens]
    if tokens.count("(") != tokens.count(")"):
        tokens = [token for token in tokens if token not in "()"]
    while tokens and tokens[0] in _MARKS - {"("}:
        del tokens[0]
    while tokens and tokens[-1] in {",", ";", "--", "/", "or", "and"}:
        del tokens[-1]
    words = [token for token in tokens if token[0].isalpha() or token[0] == "_"]
    marks = sum(map(_MARKS.__contains__, tokens))
    if len(words) < 4 or len(tokens) > _LONGEST or len(words) + marks < len(tokens):
        return ""
    if sum(map(_EVERYDAY.__contains__, words)) < len(words) / 5:
        return ""
    if tokens[-1] not in {".", "?", "!", ":", "..."}:
        tokens.append(".")
    return " ".join(tokens)
