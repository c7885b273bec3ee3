"""The corpora Elman knows by name."""

from elman.corpora.published import Published, PublishedFile
from elman.text import TextOptions

_LDC = "Linguistic Data Consortium; not freely licensed, widely used for research"

CORPORA: dict[str, Published] = {
    corpus.name: corpus
    for corpus in (
        Published(
            "ptb-words",
            "Penn Treebank, Wall Street Journal, words [mikolov2011]: "
            "929,589 / 73,760 / 82,430 tokens, 10,000 types",
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
        ),
        Published(
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
                    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
                )
            },
        ),
    )
}
