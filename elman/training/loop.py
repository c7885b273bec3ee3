"""The training loop: truncated backpropagation through time over parallel streams of a text.

Read :meth:`_Loop.run` first; it is the whole course of a training, and :meth:`_Loop._step` one step of it.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from elman import states
from elman.batch import Stream
from elman.errors import DivergenceError, OptionError
from elman.measures.perplexity import evaluate
from elman.protocols import LanguageModel, State
from elman.training import checkpoint, clipping, optimizers, schedules
from elman.training.average import Average
from elman.training.folder import RunFolder
from elman.training.interrupts import Interrupts
from elman.training.journal import Journal
from elman.training.options import TrainingOptions
from elman.training.precision import Precision, choose
from elman.training.progress import Progress, Silent
from elman.training.streams import Streams

JOURNAL_LINES_PER_EPOCH = 50
TOKENS_PER_VALIDATION_STREAM = 100_000
"""A validation text of twice as many tokens is read as two streams, and so on, so that it is soon read."""


@runtime_checkable
class TrainableLanguageModel(LanguageModel, Protocol):
    """A language model of torch.nn with a loss: Σ −log P over T·B targets, in nats, differentiable."""

    def loss(self, inputs: Tensor, targets: Tensor, state: State) -> tuple[Tensor, State]: ...


class Outcome(NamedTuple):
    """How a training ended: ``reason`` is "epochs", "early stop" or "max minutes".

    ``best_*`` belong to best.safetensors; ``seconds`` and ``tokens`` count all invocations of the run.
    """

    reason: str
    steps: int
    tokens: int
    seconds: float
    best_nats_per_token: float
    best_epoch: int

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds if self.seconds else 0.0


def train(
    model: nn.Module,
    train_ids: np.ndarray,
    valid_ids: np.ndarray,
    start_id: int,
    options: TrainingOptions,
    folder: RunFolder,
    *,
    max_minutes: float | None = None,
    device: str = "auto",
    precision: str = "float32",
    progress: Progress | None = None,
    checkpoint_seconds: float = 60.0,
) -> Outcome:
    """Trains ``model`` from where ``folder`` stands: a new one from the start, else from its checkpoint.

    An interrupted training that is called again ends, on one thread, with the same bits as one that was
    never interrupted. The weights come from the caller in a new folder (seed torch before building the
    model), the dropout masks from ``options.seed``; torch's global generator is given back as it was.

    train_ids, valid_ids: int, 1-D. ``device``: "cpu", "cuda", "auto". ``precision``: "float32",
    "float64", or "bfloat16" (products in bfloat16, weights in float32). ``max_minutes`` counts from the
    call; then the validation text is read once more, and training can be resumed. The validation text is
    read as one stream, or as one per 100,000 tokens: see :func:`elman.measures.perplexity.evaluate`.

    With ``options.average`` the validation text is read by the average of the weights, and best.safetensors
    holds it; last.safetensors, and ``model`` in the end, hold the weights themselves.

    Saves every ``checkpoint_seconds``, after each evaluation, and on SIGINT (then raises KeyboardInterrupt)
    or SIGTERM (SystemExit).

    Raises :class:`DivergenceError` on a loss or gradient that is not finite (the last checkpoint stays),
    :class:`RunError` where nothing can be written or the checkpoint is of another training,
    :class:`OptionError` for a text too short or options that contradict one another.
    """
    said = options.problems()
    if said or len(valid_ids) == 0 or not isinstance(model, TrainableLanguageModel):
        raise OptionError(
            f"A {type(model).__name__} was to be trained on {len(train_ids)} tokens"
            f" and validated on {len(valid_ids)}.",
            " ".join(said) or "Training needs a model with a loss, and a validation text with tokens in it.",
            "Correct these options of [train], or give a text for validation.",
        )
    streams = Streams(train_ids, options.batch, options.steps, start_id)
    numbers = choose(precision, device)
    model.to(numbers.device, numbers.weights)
    with _own_random_numbers(numbers.device, options.seed), Interrupts() as interrupts:
        loop = _Loop(model, streams, valid_ids, start_id, options, folder, numbers, progress or Silent())
        try:
            return loop.run(interrupts, max_minutes, checkpoint_seconds)
        finally:
            loop.close()


class _Loop:
    """A training in memory: the model, its optimizer, the state its streams are in, and the place in all."""

    def __init__(
        self,
        model: nn.Module,
        streams: Streams,
        valid_ids: np.ndarray,
        start_id: int,
        options: TrainingOptions,
        folder: RunFolder,
        numbers: Precision,
        progress: Progress,
    ) -> None:
        self.model: Any = model
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.streams, self.valid_ids, self.start_id = streams, valid_ids, start_id
        self.options, self.folder, self.numbers, self.progress = options, folder, numbers, progress
        self.total_steps = options.epochs * len(streams)
        self.optimizer = optimizers.build(options, self.parameters)
        self.average = Average(model, options.average)
        setting = (
            f"{streams.tokens} tokens per epoch, batch {options.batch}, steps {options.steps}, "
            f"loss {options.loss}, optimizer {options.optimizer}, seed {options.seed}, {numbers.name}"
            + (f", average {options.average!r}" if options.average else "")
        )
        self.state, self.at = checkpoint.restore(
            folder, self.model, self.optimizer, self.average, options.batch, setting
        )
        self.journal = Journal(folder.journal, self.at.journal_bytes)
        folder.sweep()
        self.began = time.monotonic() - self.at.seconds
        self.gradient_norm: float | None = None
        self.journal_every = max(1, len(streams) // JOURNAL_LINES_PER_EPOCH)
        self.journal_time, self.journal_tokens = time.monotonic(), 0

    def run(self, interrupts: Interrupts, max_minutes: float | None, checkpoint_seconds: float) -> Outcome:
        at, seconds = self.at, None if max_minutes is None else 60 * max_minutes
        if at.journal_bytes == 0:
            self._journal_start()
            self._save()
        called = saved = time.monotonic()
        self.progress.begin(at.step, self.total_steps, self.options.epochs, seconds)
        self.model.train()
        while (reason := self._finished()) is None:
            self._step(self.streams.piece(at.piece))
            if self._evaluation_is_due():
                self._evaluate()
            now = time.monotonic()
            if interrupts.came or at.evaluated_step == at.step or now - saved >= checkpoint_seconds:
                self._save()
                saved = now
            if interrupts.came:
                self.progress.say(f"Interrupted: saved after step {at.step:,}; it can be resumed from there.")
                self._end("interrupted")
                interrupts.obey()
            if seconds is not None and now - called >= seconds and self._finished() is None:
                reason = "max minutes"
                break
        if reason == "max minutes":
            self._save()
            if at.evaluated_step != at.step:
                self._evaluate()  # not in the checkpoint: a resumed training must not know of it
        return self._end(reason)

    def _step(self, piece: Stream) -> None:
        options, at = self.options, self.at
        inputs, targets = piece.inputs.to(self.numbers.device), piece.targets.to(self.numbers.device)
        state = self.model.start(options.batch) if piece.fresh else states.detach(self.state)
        rate = schedules.learning_rate(
            options, epoch=at.epoch, step=at.step, total_steps=self.total_steps, divisions=at.divisions
        )
        optimizers.set_learning_rate(self.optimizer, rate)
        self.optimizer.zero_grad(set_to_none=True)
        with self.numbers.products():
            nats, self.state = self.model.loss(inputs, targets, state)
        predictions = targets.numel() if options.loss == "mean-over-time" else options.batch
        (nats / predictions).backward()
        nats, norm = torch.stack((nats.detach(), clipping.gradient_norm(self.parameters))).tolist()
        if not (math.isfinite(nats) and math.isfinite(norm)):
            what, value = ("gradient norm", norm) if math.isfinite(nats) else ("loss", nats)
            raise self._divergence(at.step + 1, what, value)
        clipping.clip(self.parameters, norm, options.clip_norm, options.clip_value)
        self.optimizer.step()
        self.average.update(at.step + 1)
        self.gradient_norm = norm
        self._count(nats, targets.numel(), rate)

    def _count(self, nats: float, tokens: int, rate: float) -> None:
        """Moves the place behind the piece just read, and tells of it."""
        at = self.at
        at.step, at.piece, at.tokens = at.step + 1, at.piece + 1, at.tokens + tokens
        at.nats_since, at.tokens_since = at.nats_since + nats, at.tokens_since + tokens
        self.journal_tokens += tokens
        self.progress.advance(at.step, at.epoch, nats / tokens, tokens)
        if at.piece % self.journal_every == 0 or at.piece == len(self.streams):
            now = time.monotonic()
            progress = {
                "step": at.step,
                "epoch": at.epoch,
                "tokens": at.tokens,
                "nats_per_token": at.nats_since / at.tokens_since,
                "gradient_norm": self.gradient_norm,
                "learning_rate": rate,
                "tokens_per_second": round(self.journal_tokens / max(now - self.journal_time, 1e-9), 1),
            }
            self._journal("progress", progress)
            at.nats_since, at.tokens_since = 0.0, 0
            self.journal_time, self.journal_tokens = now, 0
        if at.piece == len(self.streams):
            at.epoch, at.piece = at.epoch + 1, 0

    def _evaluation_is_due(self) -> bool:
        every = self.options.evaluate_every
        over = self.at.step >= self.total_steps
        return over or (self.at.piece == 0 if every is None else self.at.step % every == 0)

    def _evaluate(self) -> None:
        """Reads the validation text by the average of the weights; keeps it if it is the best so far."""
        at, epoch = self.at, self.at.epoch - (self.at.piece == 0)
        streams = max(1, len(self.valid_ids) // TOKENS_PER_VALIDATION_STREAM)
        with self.average.in_use():
            valid = evaluate(self.model, self.valid_ids, self.start_id, streams=streams)
        if not math.isfinite(valid.nats):
            raise self._divergence(at.step, "loss on the validation text", valid.nats)
        best = at.best_nats_per_token is None or valid.nats_per_token < at.best_nats_per_token
        at.evaluated_step = at.step
        at.evaluations_since_best = 0 if best else at.evaluations_since_best + 1
        if best:
            at.best_nats_per_token, at.best_epoch, at.best_step = valid.nats_per_token, epoch, at.step
            with self.average.in_use():
                checkpoint.save_best(self.folder, self.model, at)
        elif (
            self.options.schedule == "divide-on-plateau"
            and at.evaluations_since_best % self.options.patience == 0
        ):
            at.divisions += 1
        result = {
            "step": at.step,
            "epoch": epoch,
            "nats_per_token": valid.nats_per_token,
            "perplexity": valid.perplexity,
            "tokens": valid.tokens,
            "best": best,
        }
        self._journal("evaluation", result)
        self.progress.evaluated(epoch, valid, best)

    def _finished(self) -> str | None:
        patience = self.options.stop_after
        if patience is not None and self.at.evaluations_since_best >= patience:
            return "early stop"
        return "epochs" if self.at.step >= self.total_steps else None

    def _save(self) -> None:
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.parameters):
            raise self._divergence(self.at.step, "largest weight", math.inf)
        self.at.seconds = time.monotonic() - self.began
        self.at.journal_bytes = self.journal.sync()
        checkpoint.save(self.folder, self.model, self.optimizer, self.average, self.state, self.at)

    def _end(self, reason: str) -> Outcome:
        at = self.at
        self._journal("end", {"reason": reason, "step": at.step})
        self.journal.sync()
        seconds = time.monotonic() - self.began
        best = math.nan if at.best_nats_per_token is None else at.best_nats_per_token
        return Outcome(reason, at.step, at.tokens, seconds, best, at.best_epoch or 0)

    def close(self) -> None:
        self.progress.end()
        self.journal.close()

    def _divergence(self, step: int, what: str, value: float) -> DivergenceError:
        at, before, rate = self.at, self.gradient_norm, self.optimizer.param_groups[0]["lr"]
        norm = "no step was taken before" if before is None else f"the gradient norm before was {before:.4g}"
        clipped = self.options.clip_norm is not None or self.options.clip_value is not None
        clip = "train.clip_norm" if clipped else "set train.clip_norm (5 is usual)"
        saved = checkpoint.step_of(self.folder)
        return DivergenceError(
            f"Training was at step {step:,} (epoch {at.epoch}), at learning rate {rate:g}.",
            f"The {what} is {value}; {norm}.",
            f"Lower train.learning_rate or {clip}; the weights after step {saved:,} are kept.",
        )

    def _journal_start(self) -> None:
        sizes = {
            "parameters": sum(parameter.numel() for parameter in self.parameters),
            "tokens_per_epoch": self.streams.tokens,
            "steps_per_epoch": len(self.streams),
            "epochs": self.options.epochs,
        }
        self._journal("start", sizes)

    def _journal(self, event: str, fields: dict[str, Any]) -> None:
        self.journal.write(event, {**fields, "seconds": round(time.monotonic() - self.began, 2)})


@contextmanager
def _own_random_numbers(device: torch.device, seed: int) -> Iterator[None]:
    """Draws inside come from ``seed``; the generators outside are given back as they were."""
    with torch.random.fork_rng([torch.cuda.current_device()] if device.type == "cuda" else []):
        torch.manual_seed(seed + 1)  # not the numbers that drew the weights, which begin at seed
        yield
