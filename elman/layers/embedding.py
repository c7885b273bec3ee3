"""Token ids → features: a learned vector for each, or the one-hot vector itself."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from elman.cells.cell import require_at_least
from elman.layers.dropout import drop, require_rate


class Embedding(nn.Module):
    """A learned vector for every token: row ``id`` of ``weight`` (V E).

    Shapes: ids (int64, any axes) → (… E). In training, ``dropout`` (0 … 1) falls on the vectors, afresh at
    every step. ``weight`` starts as U(±0.1).

    >>> embedding = Embedding(vocabulary_size=5, embedding_size=3)
    >>> tuple(embedding(torch.tensor([[0, 4]])).shape)
    (1, 2, 3)
    """

    def __init__(self, vocabulary_size: int, embedding_size: int, dropout: float = 0.0) -> None:
        super().__init__()
        require_at_least(1, "vocabulary_size", vocabulary_size, "Embedding")
        require_at_least(1, "embedding_size", embedding_size, "Embedding")
        require_rate(dropout, "Embedding", "dropout")
        self.vocabulary_size = vocabulary_size
        self.output_size = embedding_size
        self.dropout = dropout
        self.weight = nn.Parameter(torch.empty(vocabulary_size, embedding_size).uniform_(-0.1, 0.1))

    def forward(self, ids: Tensor) -> Tensor:
        return drop(functional.embedding(ids, self.weight), self.dropout, self.training)

    def extra_repr(self) -> str:
        return f"{self.vocabulary_size}, {self.output_size}, dropout={self.dropout}"


class OneHot(nn.Module):
    """The one-hot vector of every token: 1 at its id, 0 elsewhere. Has no parameters.

    Shapes: ids (int64, any axes) → (… V), in the dtype and on the device that the module was moved to.

    >>> OneHot(vocabulary_size=3)(torch.tensor([2, 0]))
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """

    _one: Tensor

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        require_at_least(1, "vocabulary_size", vocabulary_size, "OneHot")
        self.vocabulary_size = vocabulary_size
        self.output_size = vocabulary_size
        self.register_buffer("_one", torch.ones(()), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        vectors = self._one.new_zeros(*ids.shape, self.vocabulary_size)
        return vectors.scatter_(-1, ids.unsqueeze(-1), 1)

    def extra_repr(self) -> str:
        return str(self.vocabulary_size)
