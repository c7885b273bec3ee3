"""The PyTorch project's example ``word_language_model``, as little of it as its training takes.

The same model and loop: embedding, dropout, ``nn.LSTM``, dropout, linear decoder, ``log_softmax`` over all
words of all steps, ``NLLLoss``, clipping by norm, plain gradient steps. Text: the Penn Treebank.
"""

import gzip
import os
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

EMBEDDING, HIDDEN, LAYERS = 200, 200, 2
BATCH, STEPS, RATE, CLIP, DROPOUT = 20, 35, 20.0, 0.25, 0.2


class Model(nn.Module):
    def __init__(self, words: int) -> None:
        super().__init__()
        self.drop = nn.Dropout(DROPOUT)
        self.encoder = nn.Embedding(words, EMBEDDING)
        self.rnn = nn.LSTM(EMBEDDING, HIDDEN, LAYERS, dropout=DROPOUT)
        self.decoder = nn.Linear(HIDDEN, words)
        for parameter in (self.encoder.weight, self.decoder.weight):
            nn.init.uniform_(parameter, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, ids: Tensor, hidden: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        output, hidden = self.rnn(self.drop(self.encoder(ids)), hidden)
        decoded = self.decoder(self.drop(output))
        return functional.log_softmax(decoded.view(-1, decoded.shape[-1]), dim=1), hidden

    def start(self) -> tuple[Tensor, Tensor]:
        return torch.zeros(LAYERS, BATCH, HIDDEN), torch.zeros(LAYERS, BATCH, HIDDEN)


def train(model: Model, ids: np.ndarray, steps: int, bfloat16: bool) -> list[float]:
    """Seconds of each of ``steps`` steps; with ``bfloat16`` the model and the loss are under autocast."""
    text = (
        torch.from_numpy(ids[: len(ids) // BATCH * BATCH].astype(np.int64)).view(BATCH, -1).t().contiguous()
    )
    criterion, hidden, total = nn.NLLLoss(), model.start(), 0.0
    model.train()
    seconds = []
    for i in range(0, steps * STEPS, STEPS):
        before = time.perf_counter()
        data, targets = text[i : i + STEPS], text[i + 1 : i + 1 + STEPS].reshape(-1)
        model.zero_grad()
        hidden = (hidden[0].detach(), hidden[1].detach())
        with torch.autocast("cpu", torch.bfloat16) if bfloat16 else nullcontext():
            output, hidden = model(data, hidden)
            loss = criterion(output, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.data.add_(parameter.grad, alpha=-RATE)
        total += loss.item()
        seconds.append(time.perf_counter() - before)
    return seconds


def penn_treebank() -> np.ndarray | None:
    """The words of its training text as ids, in the order of their first appearance; None where it is not."""
    folder = Path(os.environ.get("ELMAN_DATA", "")) / "ptb"
    path = folder / "ptb.train.txt.gz"
    if path.exists():
        lines = gzip.decompress(path.read_bytes()).decode("utf-8").splitlines()
    elif path.with_suffix("").exists():
        lines = path.with_suffix("").read_text(encoding="utf-8").splitlines()
    else:
        return None
    known: dict[str, int] = {}
    words = (word for line in lines for word in [*line.split(), "<eos>"])
    return np.array([known.setdefault(word, len(known)) for word in words])
