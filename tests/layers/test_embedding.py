"""Embedding and one-hot input."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from elman.errors import ShapeError
from elman.layers import Embedding, OneHot, Softmax


def test_a_token_is_its_row() -> None:
    embedding = Embedding(7, 3)
    ids = torch.tensor([[6, 0], [2, 6]])
    vectors = embedding(ids)
    assert torch.equal(vectors[0, 0], embedding.weight[6])
    assert torch.equal(vectors[1, 0], embedding.weight[2])
    vectors.sum().backward()
    assert embedding.weight.grad is not None
    assert embedding.weight.grad[:, 0].tolist() == [1, 0, 1, 0, 0, 0, 2]


def test_it_starts_uniform_within_a_tenth() -> None:
    weight = Embedding(100, 30).weight
    assert 0.099 < weight.max() <= 0.1
    assert -0.099 > weight.min() >= -0.1


def test_dropout_in_training_alone() -> None:
    embedding = Embedding(5, 400, dropout=0.25)
    ids = torch.tensor([3, 3])
    first, second = embedding(ids)
    kept = first != 0
    assert 0.68 < kept.double().mean() < 0.82
    torch.testing.assert_close(first[kept], embedding.weight[3][kept] / 0.75)
    assert not torch.equal(first, second), "each step has a mask of its own"
    assert torch.equal(embedding.eval()(ids)[1], embedding.weight[3])


def test_one_hot_is_a_row_of_the_identity() -> None:
    ids = torch.tensor([[3, 0], [1, 3]])
    one_hot = OneHot(4).double()
    assert torch.equal(one_hot(ids), torch.eye(4, dtype=torch.float64)[ids])
    assert not list(one_hot.parameters())
    assert not one_hot.state_dict()


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Embedding(0, 3), "vocabulary_size"),
        (lambda: Embedding(3, 0), "embedding_size"),
        (lambda: OneHot(0), "vocabulary_size"),
        (lambda: Softmax(0, 3), "hidden_size"),
        (lambda: Softmax(3, 0), "vocabulary_size"),
    ],
)
def test_sizes_below_one(make: Callable[[], Any], name: str) -> None:
    with pytest.raises(ShapeError, match=rf"\({name}=0\) was asked for\.\n  {name} is 0\.\n  Give a whole"):
        make()
