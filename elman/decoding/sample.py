"""The next token, drawn from log-probabilities: temperature, top-k, nucleus, or the likeliest."""

from collections.abc import Sequence

import torch
from torch import Tensor

from elman import axes
from elman.axes import BV, B
from elman.errors import OptionError


def choose_token(
    log_probabilities: BV,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    greedy: bool = False,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
) -> B:
    """Draws one token per row.

    ::

        q_v ∝ exp(log p_v / temperature)                              in this order:
        keep the top_k likeliest, renormalised                        [fan2018]
        keep the fewest likeliest whose sum reaches top_p             [holtzman2020]
        token ~ q over what is kept;  greedy: the likeliest, the lowest id where several are

    Shapes: B V (nats, need not be normalised) → B (int64). ``temperature``: above 0; below 1 sharpens.
    ``top_k``: 1 … (more than V keeps all). ``top_p``: above 0, up to 1. ``generator``: one for the batch,
    or one for each row, so that a row's draws do not depend on its neighbours; None: torch's own.

    Raises :class:`OptionError` for a value out of range.

    >>> choose_token(torch.log(torch.tensor([[0.2, 0.5, 0.3]])), greedy=True)
    tensor([1])
    """
    require_sampling(temperature, top_k, top_p, greedy)
    axes.require(
        log_probabilities,
        "log_probabilities",
        "B V",
        {},
        asked="A token was to be drawn.",
        do="Give a row each.",
    )
    if greedy:
        return log_probabilities.argmax(dim=-1)
    wide = log_probabilities.double()
    # The maximum is taken off before the division, so that no temperature makes all of a row infinite.
    scores, ids = ((wide - wide.amax(-1, keepdim=True)) / temperature).sort(
        dim=-1, descending=True, stable=True
    )
    if top_k is not None:
        scores, ids = scores[:, :top_k], ids[:, :top_k]
    probabilities = torch.softmax(scores, dim=-1)
    if top_p is not None:
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities.masked_fill(before >= top_p, 0)
    upto = probabilities.cumsum(-1)
    drawn = _uniform(len(upto), generator).to(upto).unsqueeze(-1) * upto[:, -1:]
    at = torch.searchsorted(upto, drawn, right=True).clamp(max=upto.shape[-1] - 1)
    return ids.gather(-1, at).squeeze(-1)


def require_sampling(temperature: float, top_k: int | None, top_p: float | None, greedy: bool) -> None:
    """Raises :class:`OptionError` unless :func:`choose_token` can use these values."""
    wrong = []
    if not 0 < temperature < float("inf"):
        wrong.append(f"temperature is {temperature}; it must be above 0.")
    if top_k is not None and top_k < 1:
        wrong.append(f"top_k is {top_k}; it must be 1 or more.")
    if top_p is not None and not 0 < top_p <= 1:
        wrong.append(f"top_p is {top_p}; it must be above 0, up to 1.")
    if greedy and (temperature != 1 or top_k is not None or top_p is not None):
        wrong.append("greedy takes the likeliest token: temperature, top_k and top_p change nothing.")
    if wrong:
        raise OptionError(
            "A token was to be drawn.",
            " ".join(wrong),
            "For the likeliest token each time use greedy; for the plain distribution leave all out.",
        )


def _uniform(rows: int, generator: torch.Generator | Sequence[torch.Generator] | None) -> Tensor:
    """Numbers from [0, 1), one per row, float64."""
    if generator is None or isinstance(generator, torch.Generator):
        return torch.rand(rows, generator=generator, dtype=torch.float64)
    return torch.cat([torch.rand(1, generator=one, dtype=torch.float64) for one in generator])
