"""The published perplexity of the 5-gram, and SRILM's own of the trigram, on the Penn Treebank."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from elman.ngrams import CountedModel, CountedOptions


@pytest.fixture(scope="module")
def penn(data: Path) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Training and test ids, V, and the id of ``<eos>``; read here, so that only the model is on trial."""
    train = gzip.decompress((data / "ptb/ptb.train.txt.gz").read_bytes()).decode()
    test = (data / "ptb/ptb.test.txt").read_text()
    streams = [
        [word for line in text.splitlines() for word in [*line.split(), "<eos>"]] for text in (train, test)
    ]
    ids = {word: index for index, word in enumerate(dict.fromkeys(streams[0]))}
    first, second = (np.array([ids[word] for word in stream], np.uint16) for stream in streams)
    return first, second, len(ids), ids["<eos>"]


def scored(
    penn: tuple[np.ndarray, np.ndarray, int, int], options: CountedOptions
) -> tuple[CountedModel, float]:
    train, test, size, end = penn
    model = CountedModel.estimate(train, size, end, options, pytest.fail)
    nats = model.score(test)
    assert len(nats) == 82_430
    return model, float(nats.sum())


def test_all_5_grams_have_perplexity_141_19(penn) -> None:
    model, nats = scored(penn, CountedOptions())
    assert model.ngrams == (10_000, 264_990, 586_558, 717_733, 737_952)
    assert nats / np.log(10) == pytest.approx(177_207.34, abs=0.005)
    assert np.exp(nats / 82_430) == pytest.approx(141.19, abs=0.005)


def test_5_grams_seen_once_cut_have_perplexity_141_47(penn) -> None:
    model, nats = scored(penn, CountedOptions(cutoffs=(1, 1, 1, 1, 2)))
    assert model.ngrams == (10_000, 264_990, 586_558, 717_733, 22_983)
    assert np.exp(nats / 82_430) == pytest.approx(141.47, abs=0.005)


def test_all_trigrams_have_the_perplexity_that_srilm_printed(penn) -> None:
    """148.2832: SRILM 1.7.3 with ``-order 3 -interpolate -kndiscount -gt3min 1 -unk``, as recorded."""
    _, nats = scored(penn, CountedOptions(order=3))
    assert np.exp(nats / 82_430) == pytest.approx(148.28316532800372, rel=2e-5)
