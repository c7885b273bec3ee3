"""Counting in place of training: a counted model into a run folder, with the same journal and files."""

import time

import numpy as np
import torch

from elman.measures.perplexity import evaluate
from elman.ngrams import CountedModel, CountedOptions
from elman.text.vocabulary import Vocabulary
from elman.training import checkpoint
from elman.training.folder import RunFolder
from elman.training.journal import Journal
from elman.training.loop import Outcome
from elman.training.progress import Progress, Silent


def count(
    train_ids: np.ndarray,
    valid_ids: np.ndarray,
    vocabulary: Vocabulary,
    options: CountedOptions,
    folder: RunFolder,
    *,
    progress: Progress | None = None,
) -> tuple[CountedModel, Outcome]:
    """Estimates a model from ``train_ids``, evaluates it on ``valid_ids``, and writes best.safetensors.

    Counting is one pass and is not resumed: called again, it starts again. The outcome's seconds are those of
    the estimation. Raises what :meth:`elman.ngrams.CountedModel.estimate` raises, and
    :class:`~elman.errors.RunError` where nothing can be written.
    """
    progress = progress or Silent()
    began = time.monotonic()
    model = CountedModel.estimate(train_ids, len(vocabulary), vocabulary.end_id, options, progress.say)
    seconds = time.monotonic() - began
    valid = evaluate(model, valid_ids, vocabulary.start_id)
    with Journal(folder.journal, 0) as journal:
        tokens = {"tokens_per_epoch": len(train_ids), "parameters": model.parameters, "epochs": 1}
        journal.write("start", {**tokens, "seconds": 0.0})
        measured = {"nats_per_token": valid.nats_per_token, "perplexity": valid.perplexity}
        journal.write("evaluation", {"epoch": 1, **measured, "best": True, "seconds": round(seconds, 2)})
        journal.write("end", {"reason": "epochs", "seconds": round(seconds, 2)})
        journal.sync()
    checkpoint.write_weights(
        folder,
        {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in model.to_arrays().items()},
        {"nats_per_token": repr(valid.nats_per_token)},
    )
    progress.evaluated(1, valid, best=True)
    return model, Outcome("epochs", 1, len(train_ids), seconds, valid.nats_per_token, 1)
