"""The corpora Elman knows by name."""

from elman.corpora.embedded import Embedded, documentation, source_code
from elman.corpora.penn_treebank import PennCharacters
from elman.corpora.published import Published, PublishedFile
from elman.text import TextOptions

_LDC = "Linguistic Data Consortium; not freely licensed, widely used for research"
_CHAR_RNN = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"

PYTHON_DOCS = Embedded(
    "python-docs",
    "English: the documentation of the Python at hand, in sentences: about 250,000 words, 5,600 types",
    "PSF License (part of every Python)",
    TextOptions(unit="words", split="punctuation", min_count=2),
    documentation,
)
PYTHON_CODE = Embedded(
    "python-code",
    "code: the source of the standard library of the Python at hand: about 8 million characters, 96 types",
    "PSF License (part of every Python)",
    TextOptions(unit="characters"),
    source_code,
)
PTB_WORDS = Published(
    "ptb-words",
    "Penn Treebank in words [mikolov2011]: 929,589 / 73,760 / 82,430 tokens, 10,000 types",
    _LDC,
    TextOptions(unit="words"),
    "ptb",
    {
        "train": PublishedFile(
            "ptb.train.txt",
            5_101_618,
            "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
        ),
        "valid": PublishedFile(
            "ptb.valid.txt",
            399_782,
            "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
        ),
        "test": PublishedFile(
            "ptb.test.txt",
            449_945,
            "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
        ),
    },
)
PTB_CHARS = PennCharacters(
    "ptb-chars",
    "Penn Treebank in characters [mikolov2012]: 5,017,482 / 393,042 / 442,423 symbols, 50 types",
    _LDC,
    TextOptions(unit="characters"),
    "ptb",
    {
        "train": PublishedFile(
            "ptb.char.train.txt",
            10_034_964,
            "e313d91425e06c4f0a8fb6e881dcce0c291f2a0e9f4dda54833069b122f91da9",
        ),
        "valid": PublishedFile(
            "ptb.char.valid.txt",
            786_084,
            "21661f63ec355085879458b6524644d4add5573541b4be14fb52ab2e2e995eb8",
        ),
        "test": PublishedFile(
            "ptb.char.test.txt",
            884_846,
            "1ef5607ac3c463b16e38bfe7900dd3bfc91de5a96e0f21e7eab5188b465b8ebe",
        ),
    },
    PTB_WORDS,
)
TINY_SHAKESPEARE = Published(
    "tinyshakespeare",
    "Shakespeare's plays in one file [karpathy2015]: 1,115,394 characters, 65 types",
    "public domain (the text), MIT (the repository it comes from)",
    TextOptions(unit="characters", shares=(0.95, 0.05, 0.0)),
    "tinyshakespeare",
    {
        "all": PublishedFile(
            "input.txt",
            1_115_394,
            "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            _CHAR_RNN,
        )
    },
)

CORPORA: dict[str, Published | Embedded] = {
    corpus.name: corpus for corpus in (PYTHON_DOCS, PYTHON_CODE, PTB_WORDS, PTB_CHARS, TINY_SHAKESPEARE)
}
