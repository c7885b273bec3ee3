"""The softmax over the vocabulary, whose loss never holds more than a chunk of the logits."""

from typing import Any

import torch
from torch import Tensor, nn

from elman import axes
from elman.axes import NH, N
from elman.cells.cell import require_at_least
from elman.errors import OptionError, ShapeError
from elman.fused.linear import Gradients, linear

CHUNK_BYTES = 32 << 20  # of logits, in float32: rows of a chunk = CHUNK_BYTES / (4 V)


class Softmax(nn.Module):
    """A distribution over the V tokens, log-linear in the hidden features; its loss works in chunks of rows.

    ::

        log p(v | h) = (W h + b)_v − log Σ_u exp (W h + b)_u
        loss = −Σ_n weight_n · log p(target_n | h_n)           in nats

    Shapes: hidden (N H); ``weight`` (V H), U(±0.1); ``bias`` (V), zero at first. ``chunk`` is the number of
    rows whose logits (chunk × V) live at one time; None: about 32 MB of them. With a ``weight`` given the
    layer is *tied*: it reads that parameter, the embedding's, and owns (and saves) only its bias
    [press2017].

    The gradient is formed in the same pass as the loss, chunk by chunk: logits are computed once and kept
    nowhere. So ``loss`` can be differentiated once, not twice. Under autocast the products run in its
    16-bit type, the softmax and the loss in float32.

    Raises :class:`ShapeError` where sizes do not fit.

    >>> softmax = Softmax(hidden_size=3, vocabulary_size=5)
    >>> hidden, targets = torch.randn(4, 3), torch.tensor([0, 3, 4, 1])
    >>> nats = softmax.loss(hidden, targets)
    >>> bool(torch.isclose(nats, -softmax.log_probability_of(hidden, targets).sum()))
    True
    """

    weight: nn.Parameter

    def __init__(
        self,
        hidden_size: int,
        vocabulary_size: int,
        weight: nn.Parameter | None = None,
        chunk: int | None = None,
    ) -> None:
        super().__init__()
        require_at_least(1, "hidden_size", hidden_size, "Softmax")
        require_at_least(1, "vocabulary_size", vocabulary_size, "Softmax")
        if weight is not None and tuple(weight.shape) != (vocabulary_size, hidden_size):
            raise ShapeError(
                f"Softmax(hidden_size={hidden_size}, vocabulary_size={vocabulary_size}) was to be tied.",
                f"weight is {axes.say(weight, 'V H')}; it must be {vocabulary_size}×{hidden_size}.",
                "Where the embedding has another size, put a linear map between the hidden layer and this.",
            )
        if chunk is not None and chunk < 1:
            raise OptionError(
                f"Softmax(chunk={chunk}) was asked for.",
                f"chunk is {chunk}.",
                "It is a number of rows, from 1; None chooses it by memory.",
            )
        self.hidden_size = hidden_size
        self.vocabulary_size = vocabulary_size
        self.chunk = chunk or max(1, CHUNK_BYTES // (4 * vocabulary_size))
        self.tied = weight is not None
        if weight is None:
            self.weight = nn.Parameter(torch.empty(vocabulary_size, hidden_size).uniform_(-0.1, 0.1))
        else:
            # It belongs to the embedding. Set past nn.Module, which would count it and save it a second time.
            object.__setattr__(self, "weight", weight)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def loss(self, hidden: NH, targets: N, weights: Tensor | None = None) -> Tensor:
        """−Σ log p(target | hidden) in nats, a scalar; each term times ``weights`` (N, constants)."""
        self._require(hidden, targets, weights)
        if torch.compiler.is_compiling():  # a compiler is shown the formula, and chooses itself what to keep
            nats = -self._formula(hidden, targets)
            return (nats if weights is None else nats * weights).sum()
        if not torch.is_grad_enabled():
            nats = -self.log_probability_of(hidden, targets)
            return (nats if weights is None else nats * weights).sum()
        return _Loss.apply(hidden, self.weight, self.bias, targets, weights, self.chunk)

    def log_probability_of(self, hidden: NH, targets: N) -> Tensor:
        """log p(target | hidden) in nats (N), chunk by chunk, without a gradient."""
        self._require(hidden, targets, None)
        with torch.no_grad():
            if torch.compiler.is_compiling():
                return self._formula(hidden, targets)
            work = _Work(hidden, self.weight, self.bias, self.chunk)
            parts = [
                -work.nats(work.probabilities(rows), rows, targets[rows, None]) for rows in work.chunks()
            ]
        return torch.cat(parts) if parts else hidden.new_zeros(0)

    def log_probabilities(self, hidden: NH) -> Tensor:
        """log p(v | hidden) in nats, for every token v: N V, all at once, differentiable."""
        self._require(hidden, None, None)
        logits = nn.functional.linear(hidden, self.weight, self.bias)
        return torch.log_softmax(logits.to(_softmax_dtype(logits.dtype)), dim=-1)

    def _formula(self, hidden: NH, targets: N) -> Tensor:
        return self.log_probabilities(hidden).gather(1, targets.unsqueeze(1)).squeeze(1)

    def extra_repr(self) -> str:
        return f"{self.hidden_size}, {self.vocabulary_size}, tied={self.tied}, chunk={self.chunk}"

    def _require(self, hidden: Tensor, targets: Tensor | None, weights: Tensor | None) -> None:
        asked = f"Softmax(hidden_size={self.hidden_size}, vocabulary_size={self.vocabulary_size}) was asked."
        do = "Flatten the steps and the batch to N rows: hidden.flatten(0, 1), targets.flatten()."
        axes.require(hidden, "hidden", "N H", {"H": self.hidden_size}, asked=asked, do=do)
        for name, rows in (("targets", targets), ("weights", weights)):
            if rows is not None:
                axes.require(rows, name, "N", {"N": hidden.shape[0]}, asked=asked, do=do)


class _Work:
    """The probabilities of one chunk of rows after another, in one piece of memory, and their products."""

    def __init__(self, hidden: Tensor, weight: Tensor, bias: Tensor, chunk: int) -> None:
        device = hidden.device.type
        autocast = torch.is_autocast_enabled(device)
        self.dtype = torch.get_autocast_dtype(device) if autocast else hidden.dtype
        self.softmax_dtype = _softmax_dtype(self.dtype)
        self.executor = None
        if autocast or hidden.dtype == weight.dtype:
            half = self.dtype == torch.bfloat16
            self.executor = linear(weight, weight.shape[1], weight.shape[0], half)
        if self.executor is not None:  # which rounds what it multiplies by itself
            self.dtype = self.softmax_dtype
        self.hidden, self.weight, self.bias = (t.detach().to(self.dtype) for t in (hidden, weight, bias))
        self.rows = hidden.shape[0]
        self.chunk = min(chunk, max(self.rows, 1))
        self.logits = self.hidden.new_empty(self.chunk, weight.shape[0])
        self.wide = self.logits
        if self.softmax_dtype != self.dtype:
            self.wide = torch.empty_like(self.logits, dtype=self.softmax_dtype)

    def chunks(self) -> list[slice]:
        return [slice(k, min(k + self.chunk, self.rows)) for k in range(0, self.rows, self.chunk)]

    def probabilities(self, rows: slice) -> Tensor:
        """p of every token after these rows, valid until the next call; the caller may write there."""
        logits, p = self.logits[: rows.stop - rows.start], self.wide[: rows.stop - rows.start]
        if self.executor is not None:
            self.executor.forward(self.hidden[rows], self.weight, self.bias, logits)
        else:
            torch.addmm(self.bias, self.hidden[rows], self.weight.t(), out=logits)
        if p is not logits and p.dtype != logits.dtype:
            p.copy_(logits)
        return torch.softmax(p, dim=1, out=p)

    def nats(self, p: Tensor, rows: slice, at: Tensor) -> Tensor:
        """−log p of the tokens ``at`` (rows 1); from the logits anew where p is too small for a logarithm."""
        of_target = p.gather(1, at).squeeze(1)
        nats = -of_target.log()
        lost = of_target < torch.finfo(p.dtype).tiny / torch.finfo(p.dtype).eps
        if bool(lost.any()):
            logits = nn.functional.linear(self.hidden[rows][lost], self.weight, self.bias).to(p.dtype)
            nats[lost] = -torch.log_softmax(logits, dim=1).gather(1, at[lost]).squeeze(1)
        return nats

    def gradients(self, d: Tensor, hidden: Tensor, for_hidden: bool, for_weight: bool) -> Gradients:
        """Of hidden rows and of the weight, from that of their logits."""
        if self.executor is not None:
            return self.executor.backward(d, hidden, self.weight, for_hidden, for_weight)
        d = d.to(self.dtype)
        return Gradients(d @ self.weight if for_hidden else None, d.t() @ hidden if for_weight else None)


class _Loss(torch.autograd.Function):
    """The loss, with its gradient formed while the logits of a chunk are there."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        weights: Tensor | None,
        chunk: int,
    ) -> Tensor:
        work = _Work(hidden, weight, bias, chunk)
        for_hidden, for_weight, for_bias = ctx.needs_input_grad[:3]
        total = work.wide.new_zeros(())
        grad_hidden = torch.empty_like(work.hidden) if for_hidden else None
        grad_weight = None
        grad_bias = torch.zeros_like(bias) if for_bias else None
        for rows in work.chunks():
            p = work.probabilities(rows)
            at = targets[rows].unsqueeze(1)
            nats = work.nats(p, rows, at)
            share = None if weights is None else weights[rows].to(nats.dtype)
            total += nats.sum() if share is None else (nats * share).sum()
            if not (for_hidden or for_weight or for_bias):
                continue
            # ∂/∂logits = p − onehot(target). A row's weight enters through the small factors, not here.
            d = p.scatter_add_(1, at, nats.new_full(at.shape, -1.0))
            hidden_rows = work.hidden[rows]
            if share is not None:
                hidden_rows = hidden_rows * share.to(work.dtype).unsqueeze(1)
            found = work.gradients(d, hidden_rows, for_hidden, for_weight)
            if grad_hidden is not None and found.x is not None:
                grad_hidden[rows] = found.x if share is None else found.x * share.unsqueeze(1)
            if found.weight is not None:
                part = found.weight.to(weight.dtype)
                grad_weight = part if grad_weight is None else grad_weight.add_(part)
            if grad_bias is not None:
                grad_bias += d.sum(0) if share is None else d.t() @ share
        if for_weight and grad_weight is None:
            grad_weight = torch.zeros_like(weight)
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        ctx.hidden_dtype = hidden.dtype
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # create_graph: going on would take this gradient for a constant
            raise OptionError(
                "The loss of a Softmax was to be differentiated twice (create_graph=True).",
                "Its gradient is formed together with the loss, from logits that are not kept.",
                "Differentiate log_probabilities(hidden), which holds all of them.",
            )
        hidden, weight, bias = (None if part is None else part * grad for part in ctx.saved_tensors)
        return None if hidden is None else hidden.to(ctx.hidden_dtype), weight, bias, None, None, None


def _softmax_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
