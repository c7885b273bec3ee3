"""Text from a language model, token by token, each at the cost of one step."""

from collections.abc import Collection, Iterator, Sequence

import torch

from elman import states
from elman.decoding.sample import choose_token, require_sampling
from elman.errors import OptionError
from elman.protocols import LanguageModel


def generate(
    model: LanguageModel,
    prompt: Sequence[int],
    tokens: int,
    *,
    start_id: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    greedy: bool = False,
    seed: int | None = None,
    stop: Collection[int] = (),
) -> Iterator[int]:
    """Draws up to ``tokens`` ids that follow ``prompt``, giving each as soon as it is drawn.

    The model reads ``start_id``, the prompt, and then its own choices;
    :func:`~elman.decoding.sample.choose_token` says what ``temperature``, ``top_k``, ``top_p`` and
    ``greedy`` do. The same ``seed`` gives the same ids; None draws from torch's own generator. An id of
    ``stop`` ends the text and is not given. A torch model should be in ``eval()`` mode.

    Raises :class:`OptionError`, before anything is read, for a value out of range.

    >>> from elman.models import RecurrentLanguageModel, RecurrentOptions
    >>> model = RecurrentLanguageModel(30, RecurrentOptions(hidden_size=8))
    >>> ids = list(generate(model, [4, 5], tokens=3, start_id=0, seed=1))
    >>> len(ids), ids == list(generate(model, [4, 5], tokens=3, start_id=0, seed=1))
    (3, True)
    """
    streams = generate_many(
        model, prompt, tokens, count=1, start_id=start_id, temperature=temperature, top_k=top_k, top_p=top_p,
        greedy=greedy, seed=seed, stop=stop,
    )  # fmt: skip
    return (ids[0] for ids in streams if ids[0] is not None)


def generate_many(
    model: LanguageModel,
    prompt: Sequence[int],
    tokens: int,
    *,
    count: int,
    start_id: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    greedy: bool = False,
    seed: int | None = None,
    stop: Collection[int] = (),
) -> Iterator[list[int | None]]:
    """Like :func:`generate`, for ``count`` texts side by side that share one reading of the prompt.

    Gives a list of ``count`` ids per step, None for a text that has met a ``stop`` id; ends when all have.
    Text k draws with the seed ``seed + k``, whatever ``count`` is: the first of many is the text that
    :func:`generate` gives.
    """
    require_sampling(temperature, top_k, top_p, greedy)
    if tokens < 0 or count < 1:
        raise OptionError(
            f"{count} texts of {tokens} tokens were to be generated.",
            f"tokens is {tokens}, count is {count}; they must be at least 0 and 1.",
            "Ask for 0 tokens or more, and for at least one text.",
        )
    if seed is not None and not 0 <= seed <= seed + count - 1 < 2**63:
        raise OptionError(
            f"{count} texts were to be drawn from the seed {seed} on.",
            "A seed is a whole number from 0 to 2^63 − 1.",
            "Give another, such as 1.",
        )
    generators = None if seed is None else [torch.Generator().manual_seed(seed + k) for k in range(count)]
    return _steps(
        model,
        [start_id, *prompt],
        tokens,
        count,
        (temperature, top_k, top_p, greedy),
        generators,
        frozenset(stop),
    )


@torch.no_grad()
def _steps(
    model: LanguageModel,
    heard: Sequence[int],
    tokens: int,
    count: int,
    sampling: tuple[float, int | None, float | None, bool],
    generators: list[torch.Generator] | None,
    stop: frozenset[int],
) -> Iterator[list[int | None]]:
    state = model.start(1)
    device = next((leaf.device for _, leaf in states.leaves(state)), torch.device("cpu"))
    if tokens == 0:
        return
    for token in heard:
        log_probabilities, state = model.step(torch.tensor([token], device=device), state)
    rows = torch.zeros(count, dtype=torch.int64, device=device)
    state, log_probabilities = states.select(state, rows), log_probabilities.index_select(0, rows)
    running = [True] * count
    for left in range(tokens - 1, -1, -1):
        chosen = choose_token(log_probabilities, *sampling, generators)
        ids = chosen.tolist()
        running = [on and token not in stop for on, token in zip(running, ids, strict=True)]
        if not any(running):
            return
        yield [token if on else None for on, token in zip(running, ids, strict=True)]
        if left > 0:
            log_probabilities, state = model.step(chosen, state)
