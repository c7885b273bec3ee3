import gzip
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from elman.errors import ModelError, TextError
from elman.ngrams import CountedModel, CountedOptions
from elman.text import Vocabulary

from .texts import END, WORDS, words

VOCABULARY = Vocabulary(["<eos>", "cat", "the", "<unk>"], unknown="<unk>", end="<eos>")

# As KenLM and SRILM write them between them: words in their own order, log 1 or −99 for <s>, blanks or tabs.
BY_HAND = """\
made by hand

\\data\\
ngram 1=5
ngram 2=3
ngram 3=1

\\1-grams:
0\t<s>\t-0.5
-1.0\t<unk>
-0.25\t</s>
-0.5 the -0.125
-0.75\tcat\t-0.0625

\\2-grams:
-0.2\tthe cat\t-0.3
-0.1\t<s> the\t-0.7
-0.4\tcat </s>

\\3-grams:
-0.05\t<s> the cat

\\end\\
"""


def read(path: Path, text: str, vocabulary: Vocabulary = VOCABULARY) -> CountedModel:
    path.write_text(text, encoding="utf-8")
    return CountedModel.read_arpa(path, vocabulary, pytest.fail)


def test_a_file_written_by_hand_gives_its_probabilities(tmp_path: Path) -> None:
    """log₁₀, in the order of the stream "the cat </s> cat <unk> the </s>".

    the | <s>: −.1            cat | <s> the: −.05           </s> | the cat: back off −.3, then −.4
    cat | <s>: −.5 − .75      <unk> | <s> cat: no such pair; cat −.0625, then −1
    the | cat <unk>: <unk> has no weight, −.5               </s> | <unk> the: the −.125, then −.25
    """
    model = read(tmp_path / "hand.arpa", BY_HAND)
    ids = VOCABULARY.ids(["the", "cat", "<eos>", "cat", "<unk>", "the", "<eos>"])
    expected = [-0.1, -0.05, -0.7, -1.25, -1.0625, -0.5, -0.375]
    np.testing.assert_allclose(-model.score(ids) / math.log(10), expected, rtol=1e-14)
    assert (model.order, model.ngrams, model.end_id) == (3, (4, 3, 1), 0)
    model.write_arpa(tmp_path / "again.arpa", VOCABULARY)
    assert "-99.000000000\t<s>\t-0.500000000\n" in (tmp_path / "again.arpa").read_text()
    dense, _ = model.step(torch.tensor([2]), model.start(1))  # after "<s> the"
    np.testing.assert_allclose(
        dense[0] / math.log(10),
        [-0.7 - 0.125 - 0.25, -0.05, -0.7 - 0.125 - 0.5, -0.7 - 0.125 - 1],
        rtol=1e-14,
    )


def test_a_packed_file_is_read_as_well(tmp_path: Path) -> None:
    (tmp_path / "hand.arpa.gz").write_bytes(gzip.compress(BY_HAND.encode()))
    model = CountedModel.read_arpa(tmp_path / "hand.arpa.gz", VOCABULARY, pytest.fail)
    ids = np.array([2, 1, 0])
    assert model.score(ids).tolist() == read(tmp_path / "hand.arpa", BY_HAND).score(ids).tolist()


def test_what_is_written_is_what_other_programs_read(tmp_path: Path) -> None:
    """Witten–Bell on "a b <eos> a c <eos>" : P(a|<s>) 23/30, P(b|a) .35, P(<eos>|b) .65."""
    vocabulary = Vocabulary(["<eos>", "a", "b", "c"], end="<eos>")
    options = CountedOptions(2, "witten-bell")
    model = CountedModel.estimate(np.array([1, 2, 0, 1, 3, 0]), 4, 0, options, pytest.fail)
    model.write_arpa(tmp_path / "new folder" / "small.arpa", vocabulary)

    def log(p: float) -> str:
        return f"{math.log10(p):.9f}"

    # Weights, kinds / (total + kinds): <s> 1/(2 + 1), a 2/(2 + 2), b and c 1/(1 + 1).
    assert (tmp_path / "new folder" / "small.arpa").read_text().splitlines() == [
        "\\data\\",
        "ngram 1=5",
        "ngram 2=5",
        "",
        "\\1-grams:",
        f"{log(0.3)}\t</s>",
        f"{log(0.3)}\ta\t{log(1 / 2)}",
        f"{log(0.2)}\tb\t{log(1 / 2)}",
        f"{log(0.2)}\tc\t{log(1 / 2)}",
        f"-99.000000000\t<s>\t{log(1 / 3)}",
        "",
        "\\2-grams:",
        f"{log(0.35)}\ta b",
        f"{log(0.35)}\ta c",
        f"{log(0.65)}\tb </s>",
        f"{log(0.65)}\tc </s>",
        f"{log(23 / 30)}\t<s> a",
        "",
        "\\end\\",
    ]


@pytest.mark.parametrize("cutoffs", [None, (2, 3, 2)])
@pytest.mark.parametrize("end", [END, None])
def test_a_round_trip_keeps_the_probabilities(tmp_path: Path, cutoffs, end) -> None:
    ids = words(5, end=end)
    model = CountedModel.estimate(ids, WORDS, end, CountedOptions(3, cutoffs=cutoffs), pytest.fail)
    tokens = [f"w{index}" for index in range(WORDS)]
    vocabulary = Vocabulary(tokens, unknown="w7", end=None if end is None else tokens[end])
    model.write_arpa(tmp_path / "model.arpa", vocabulary)
    again = CountedModel.read_arpa(tmp_path / "model.arpa", vocabulary, pytest.fail)
    assert again.ngrams == model.ngrams
    text = np.concatenate([ids, np.random.default_rng(3).integers(0, WORDS, 300)])
    np.testing.assert_allclose(np.exp(-again.score(text)), np.exp(-model.score(text)), rtol=1e-6)
    state = model.log_probabilities(torch.tensor([[3], [8]]), torch.tensor([[8], [1]]), model.start(1))[1]
    for token in range(0, WORDS, 10):
        ours, theirs = (each.step(torch.tensor([token]), state)[0].exp() for each in (model, again))
        np.testing.assert_allclose(theirs, ours, rtol=1e-6)


def test_characters_that_are_white_space_are_written_by_their_number(tmp_path: Path) -> None:
    vocabulary = Vocabulary(["e", " ", "\n", "\u00a0", "\ufffd"], unknown="\ufffd")
    ids = np.array([0, 1, 0, 2, 0, 0, 3, 0, 1])
    model = CountedModel.estimate(ids, 5, None, CountedOptions(2, "witten-bell"), pytest.fail)
    model.write_arpa(tmp_path / "characters.arpa", vocabulary)
    names = [line.split("\t")[1] for line in (tmp_path / "characters.arpa").read_text().splitlines()[5:10]]
    assert names == ["e", "\\u0020", "\\u000a", "\\u00a0", "<unk>"]
    again = CountedModel.read_arpa(tmp_path / "characters.arpa", vocabulary, pytest.fail)
    np.testing.assert_allclose(again.score(ids), model.score(ids), rtol=1e-7)


def test_tokens_that_the_file_lacks_have_no_probability_and_are_said(tmp_path: Path) -> None:
    path = tmp_path / "hand.arpa"
    path.write_text(BY_HAND)
    heard: list[str] = []
    larger = Vocabulary([*VOCABULARY.tokens, "dog", "cow"], unknown="<unk>", end="<eos>")
    model = CountedModel.read_arpa(path, larger, heard.append)
    assert heard == [f"2 tokens of the vocabulary are not in {path}: their probability is 0."]
    assert model.score(larger.ids(["the", "dog", "cow"])).tolist()[1:] == [math.inf, math.inf]


@pytest.mark.parametrize(
    ("old", "new", "came"),
    [
        ("\\data\\\n", "", "It has no line \\data\\."),
        ("ngram 1=5\nngram 2=3\nngram 3=1\n", "", "Its header has no line such as ngram 1=10000."),
        ("ngram 2=3", "ngram 2=4", "Its header promises 4 2-grams; there are 3."),
        ("ngram 2=3", "ngram 2=many", '"many" is no number, in the line "ngram 2=many".'),
        ("\\2-grams:", "\\3-grams:", 'Where \\2-grams: should be, there is "\\3-grams:".'),
        ("\\end\\\n", "", "It does not end with the line \\end\\."),
        ("-0.4\tcat </s>", "-0.4\tcat", 'A 2-gram cannot be read from the line "-0.4\tcat".'),
        ("-0.4\tcat", "zero\tcat", '"zero" is no number, in the line "zero\tcat </s>".'),
        ("cat </s>", "cat <s>", '<s> is inside the 2-gram "-0.4\tcat <s>"; it can only begin one.'),
        ("cat </s>", "dog cow", "Not in the vocabulary: dog, cow."),
        (
            "<s> the cat",
            "cat the cat",
            'The 3-gram "cat the cat" is there, but not the 2-gram it begins with.',
        ),
        ("cat </s>", "the cat", "A 2-gram is there twice."),
        ("-1.0\t<unk>", "-1.0\tthe", "A 1-gram is there twice."),
    ],
)
def test_files_that_are_not_whole_are_refused(tmp_path: Path, old: str, new: str, came: str) -> None:
    with pytest.raises(ModelError) as refused:
        read(tmp_path / "hand.arpa", BY_HAND.replace(old, new, 1))
    assert refused.value.came == came
    assert (
        refused.value.asked
        == f"The ARPA file {tmp_path / 'hand.arpa'} was to be read for a vocabulary of 4 tokens."
    )


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    for size in range(0, len(BY_HAND.rstrip()), 7):
        with pytest.raises((ModelError, TextError)):
            read(tmp_path / "hand.arpa", BY_HAND[:size])


def test_a_file_of_sentences_does_not_fit_a_vocabulary_without_an_end(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"the vocabulary has no end of a sentence"):
        read(tmp_path / "hand.arpa", BY_HAND, Vocabulary(["cat", "the", "<unk>"], unknown="<unk>"))


def test_what_would_be_ambiguous_is_not_written(tmp_path: Path) -> None:
    options = CountedOptions(1, "witten-bell")
    model = CountedModel.estimate(np.array([0, 1, 2]), 3, 0, options, pytest.fail)
    path = tmp_path / "model.arpa"
    with pytest.raises(ModelError, match=r'Two tokens would both be written "</s>".'):
        model.write_arpa(path, Vocabulary(["<eos>", "</s>", "a"], end="<eos>"))
    with pytest.raises(ModelError, match=r'Two tokens would both be written "<s>".'):
        model.write_arpa(path, Vocabulary(["<eos>", "<s>", "a"], end="<eos>"))
    with pytest.raises(ModelError, match=r"The vocabulary has 2 tokens, the end being 0."):
        model.write_arpa(path, Vocabulary(["<eos>", "a"], end="<eos>"))
    with pytest.raises(ModelError, match=r"The vocabulary has 3 tokens, the end being None."):
        model.write_arpa(path, Vocabulary(["<eos>", "a", "b"]))
    assert not path.exists()
