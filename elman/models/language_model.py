"""The recurrent language model: embedding, a stack of cells, softmax."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from elman import states
from elman.axes import BV, TB, B
from elman.cells import CELLS, MUT1, MUT2, RHN, Cell, Elman, ForgetGated, MogrifierLSTM, ProjectedLSTM, own
from elman.cells.elman import NONLINEARITIES
from elman.cells.noise import Noise, Noisy
from elman.errors import OptionError, ShapeError, TokenError
from elman.fused.recompute import STORES
from elman.layers import Embedding, OneHot, Softmax, Stack
from elman.layers.dropout import drop

#: Noise inside the cells, and all noise there is.
OF_CELLS = ("dropout_state", "dropout_candidate", "dropout_weights", "zoneout_h", "zoneout_c")
RATES = ("dropout_input", "dropout_between", "dropout_output", *OF_CELLS)
FORGET_GATED = [name for name, kind in CELLS.items() if issubclass(kind, ForgetGated)]


@dataclass(frozen=True)
class RecurrentOptions:
    """The ``[model]`` table of a recipe, ``kind = "recurrent"``. Sizes in features, dropout as shares.

    ``embedding_size`` None: as ``hidden_size``. ``one_hot``: cells read the one-hot vector itself.
    ``tied``: the softmax reads the embedding's weight, through a linear map where the sizes differ.
    ``initial_scale``: every tensor, biases and embedding included, starts as U(±scale) [zaremba2014]; None:
    each layer's own start. ``forget_bias`` is added to b_f of every cell with a forget gate after that, and
    what else a cell asks for, such as gains of 1, is set. ``depth`` is the RHN's, ``rounds`` the Mogrifier's
    and ``projection_size`` the projected LSTM's; None: the cell's own default. ``cell`` may name a class in a
    file of one's own, ``"undertow.py:Undertow"``.

    Dropout on input, between layers and on the output is drawn afresh at every step [zaremba2014], or with
    ``dropout_variational`` once for all steps of a minibatch [gal2016]. Each layer's own noise is that of
    :class:`elman.cells.noise.Noise`: on what its products read of the state (``dropout_state``), on its
    candidate, on its recurrent weights (``dropout_weights``), and zoneout of its output (``zoneout_h``) and
    memory (``zoneout_c``). ``dropout_per_gate``: one mask for each gate on the state and, if variational,
    on each layer's input.

    ``store``: "all" keeps what gradients read; "recompute" keeps little of it and takes the time of another
    forward pass (:attr:`elman.cells.Cell.store`).

    >>> RecurrentOptions(layers=0, one_hot=True, tied=True).problems()
    ['model.layers must be 1 or more; it is 0.', 'model.tied needs an embedding; model.one_hot has none.']
    """

    cell: str = "lstm"
    nonlinearity: str = "tanh"
    layers: int = 1
    hidden_size: int = 200
    embedding_size: int | None = None
    one_hot: bool = False
    tied: bool = False
    dropout_input: float = 0.0
    dropout_between: float = 0.0
    dropout_output: float = 0.0
    dropout_variational: bool = False
    dropout_state: float = 0.0
    dropout_per_gate: bool = False
    dropout_candidate: float = 0.0
    dropout_weights: float = 0.0
    zoneout_h: float = 0.0
    zoneout_c: float = 0.0
    initial_scale: float | None = None
    forget_bias: float = 0.0
    depth: int | None = None
    rounds: int | None = None
    projection_size: int | None = None
    store: str = "all"

    def problems(self) -> list[str]:
        """What is wrong, one sentence for each mistake; empty when nothing is."""
        found = []
        if self.cell not in CELLS and not own.is_own(self.cell):
            found.append(
                f"model.cell must be one of {', '.join(CELLS)}, or FILE.py:NAME for one of your own; "
                f'it is "{self.cell}".'
            )
        if self.nonlinearity not in NONLINEARITIES:
            found.append(
                f'model.nonlinearity must be one of {", ".join(NONLINEARITIES)}; it is "{self.nonlinearity}".'
            )
        elif self.nonlinearity != "tanh" and self.cell != "elman":
            found.append(f'model.nonlinearity is for model.cell = "elman"; the cell is "{self.cell}".')
        if self.store not in STORES:
            found.append(f'model.store must be one of {", ".join(STORES)}; it is "{self.store}".')
        for name in ("layers", "hidden_size", "embedding_size"):
            size = getattr(self, name)
            if size is not None and size < 1:
                found.append(f"model.{name} must be 1 or more; it is {size}.")
        for name in RATES:
            rate = getattr(self, name)
            if not 0 <= rate < 1:
                found.append(f"model.{name} must be from 0 to below 1; it is {rate}.")
        if self.dropout_between > 0 and self.layers == 1:
            found.append("model.dropout_between falls between layers; model.layers is 1.")
        if self.one_hot:
            for name in ("embedding_size", "tied", "dropout_input"):
                if getattr(self, name):
                    found.append(f"model.{name} needs an embedding; model.one_hot has none.")
        if self.initial_scale is not None and not self.initial_scale > 0:
            found.append(f"model.initial_scale must be above 0; it is {self.initial_scale}.")
        if self.forget_bias != 0 and self.cell not in FORGET_GATED:
            found.append(
                f'model.forget_bias is for model.cell = {", ".join(FORGET_GATED)}; the cell is "{self.cell}".'
            )
        for name, cell in (("depth", "rhn"), ("rounds", "mogrifier"), ("projection_size", "lstmp")):
            number = getattr(self, name)
            if number is not None and self.cell != cell:
                found.append(f'model.{name} is for model.cell = "{cell}"; the cell is "{self.cell}".')
            elif number is not None and number < 1:
                found.append(f"model.{name} must be 1 or more; it is {number}.")
        if self.dropout_per_gate and not (self.dropout_state or self.dropout_variational):
            found.append("model.dropout_per_gate needs model.dropout_state or model.dropout_variational.")
        return found or self._problems_of_noise()

    def _problems_of_noise(self) -> list[str]:
        """What the cell has no place for, found in its equations on a small one."""
        if self.cell not in CELLS or not any(getattr(self, name) for name in OF_CELLS):
            return []  # a cell of one's own is asked when it is there
        cell = _cell(replace(self, hidden_size=2, projection_size=None), 2)
        reasons = _noise(self, cell, 0).problems(cell)
        options = {"zoneout.c": "zoneout_c"} | {
            name: f"dropout_{name}" for name in ("state", "candidate", "weights")
        }
        return [
            f'model.{options.get(name, "zoneout_h")} cannot be had with model.cell = "{self.cell}": {why}.'
            for name, why in reasons.items()
        ]


class RecurrentLanguageModel(nn.Module):
    """P(next token | all before) by a recurrent network [mikolov2010]; a ``protocols.LanguageModel``.

    ::

        x_t = drop(embedding[w_t])                       dropout_input      (or the one-hot vector of w_t)
        h_t, s_t = stack(x_t, s_{t−1})                   dropout_between its layers
        log p(w_{t+1}) = softmax(map · drop(h_t))        dropout_output; a map only where tied, H ≠ E

    Shapes: ids are T B (int64), states the stack's. Dropout falls where [zaremba2014] puts it, afresh at
    every step or once for all, and where the noise of cells does; only in training mode: ``.eval()`` turns
    it off, and makes zoneout its mean. ``start_id`` is what a stream has read before its first token: the
    first input of whoever feeds a text to the model from ``start``. ``cell`` is a class of one's own in
    place of ``options.cell``: called with X and H, it makes a layer's cell.

    Raises :class:`OptionError` listing every problem of the options, :class:`TokenError` for an id beyond
    the vocabulary.

    >>> model = RecurrentLanguageModel(50, RecurrentOptions(cell="gru", hidden_size=8, tied=True))
    >>> text = torch.arange(12).view(6, 2)
    >>> nats, state = model.loss(text[:-1], text[1:], model.start(batch=2))
    >>> model.parameter_count == 50 * 8 + 50 + 3 * 8 * (8 + 8 + 1) + 8
    True
    """

    def __init__(
        self,
        vocabulary_size: int,
        options: RecurrentOptions,
        start_id: int = 0,
        cell: Callable[[int, int], Cell] | None = None,
    ) -> None:
        super().__init__()
        if cell is not None and options.cell in CELLS:  # then no option of that cell is to be believed
            options = replace(options, cell=f"own.py:{getattr(cell, '__name__', 'cell')}")
        problems = options.problems()
        if cell is None and own.is_own(options.cell):
            problems.append(f'model.cell is "{options.cell}", and no class was given.')
        if vocabulary_size < 1 or not 0 <= start_id < vocabulary_size:
            problems.append(f"start_id must be from 0 to below {vocabulary_size} (V); it is {start_id}.")
        if problems:
            raise OptionError(
                f"A recurrent language model over {vocabulary_size} tokens was asked for.",
                " ".join(problems),
                "Change these options.",
            )
        self.vocabulary_size = vocabulary_size
        self.options = options
        self.start_id = start_id
        hidden = options.hidden_size
        embedding_size = options.embedding_size or hidden
        afresh = 0.0 if options.dropout_variational else 1.0
        self.embedding = (
            OneHot(vocabulary_size)
            if options.one_hot
            else Embedding(vocabulary_size, embedding_size, afresh * options.dropout_input)
        )
        cells: list[Cell] = []
        for k in range(options.layers):
            below = cells[-1].output_size if cells else self.embedding.output_size
            made = _cell(options, below) if cell is None else cell(below, hidden)
            made.store = options.store
            noise = _noise(options, made, k)
            cells.append(Noisy(made, noise) if noise else made)
        self.stack = Stack(cells, afresh * options.dropout_between)
        self._dropout_output = afresh * options.dropout_output
        shared: Any = self.embedding.weight if options.tied else None
        self.map = None
        output_size = cells[-1].output_size
        if shared is not None and embedding_size != output_size:
            self.map = nn.Linear(output_size, embedding_size, bias=False)
        self.softmax = Softmax(output_size if shared is None else embedding_size, vocabulary_size, shared)
        if options.initial_scale is not None:
            for parameter in self.parameters():
                nn.init.uniform_(parameter, -options.initial_scale, options.initial_scale)
            for layer in cells:
                layer.adjust_start()

    @property
    def parameter_count(self) -> int:
        """The number of trained values; a tied weight counts once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def start(self, batch: int) -> Any:
        return self.stack.initial_state(batch)

    def step(self, tokens: B, state: Any) -> tuple[BV, Any]:
        require_ids(tokens, "tokens", "B", self.vocabulary_size)
        output, state = self.stack.step(self.embedding(tokens), state)
        return self.softmax.log_probabilities(self._read_out(output)), state

    def log_probabilities(self, inputs: TB, targets: TB, state: Any) -> tuple[TB, Any]:
        """log P(targets[t] | inputs[..t]) in nats, T B, and the new state. Chunked, without a gradient."""
        with torch.no_grad():
            hidden, rows, state = self._read(inputs, targets, state)
            return self.softmax.log_probability_of(hidden, rows).view(inputs.shape), state

    def loss(self, inputs: TB, targets: TB, state: Any) -> tuple[Tensor, Any]:
        """−Σ log P(targets[t] | inputs[..t]) over all T·B in nats, differentiable; and the new state."""
        hidden, rows, state = self._read(inputs, targets, state)
        return self.softmax.loss(hidden, rows), state

    def _read(self, inputs: TB, targets: TB, state: Any) -> tuple[Tensor, Tensor, Any]:
        require_pairs(inputs, targets, self.vocabulary_size)
        output, state = self.stack.scan(self.embedding(inputs), state)
        return self._read_out(output).flatten(0, 1), targets.flatten(), state

    def _read_out(self, output: Tensor) -> Tensor:
        output = drop(output, self._dropout_output, self.training)
        return output if self.map is None else self.map(output)


def require_pairs(inputs: TB, targets: TB, vocabulary_size: int) -> None:
    """Raises :class:`ShapeError` or :class:`TokenError` unless there is a target for every input, T B."""
    require_ids(inputs, "inputs", "T B", vocabulary_size)
    require_ids(targets, "targets", "T B", vocabulary_size)
    if inputs.shape != targets.shape:
        raise ShapeError(
            "A language model was asked for the probability of targets after inputs.",
            f"inputs are {tuple(inputs.shape)}, targets {tuple(targets.shape)} (T B).",
            "Give one target for every input: the token that follows it.",
        )


def require_ids(ids: Tensor, name: str, letters: str, vocabulary_size: int) -> None:
    """Raises :class:`ShapeError` or :class:`TokenError` unless these are ids of the vocabulary."""
    asked = f"A recurrent language model over {vocabulary_size} tokens was given {name}."
    if ids.dim() != len(letters.split()) or ids.dtype != torch.int64:
        raise ShapeError(
            asked,
            f"{name} are {tuple(ids.shape)} of {ids.dtype}; they must be {letters} of torch.int64.",
            "Sequences of ids are T B (time first); a single step is B.",
        )
    # On a GPU this would wait for all work before it; there the lookup itself stops at a wrong id, as it
    # does in a compiled graph, which has no ids to look at while it is made.
    if ids.device.type == "cpu" and ids.numel() > 0 and not torch.compiler.is_compiling():
        low, high = int(ids.min()), int(ids.max())
        if low < 0 or high >= vocabulary_size:
            raise TokenError(
                asked,
                f"The ids go from {low} to {high}; they must be from 0 to {vocabulary_size - 1}.",
                "Encode the text with the vocabulary that the model was trained with.",
            )


def _noise(options: RecurrentOptions, cell: Cell, layer: int) -> Noise:
    """The noise of a layer: the cell's own and, where masks hold for all steps, what falls around it."""
    leaves = [name.rpartition(".")[2] for name, _ in states.leaves(cell.initial_state(1))]
    zoneout = {**dict.fromkeys(leaves[:1], options.zoneout_h), "c": options.zoneout_c}
    around = {"input": 0.0, "output": 0.0}
    if options.dropout_variational:
        around["input"] = options.dropout_between if layer else options.dropout_input
        around["output"] = options.dropout_output if layer == options.layers - 1 else 0.0
    return Noise(
        **around,
        state=options.dropout_state,
        candidate=options.dropout_candidate,
        weights=options.dropout_weights,
        zoneout={leaf: rate for leaf, rate in zoneout.items() if rate},
        per_gate=options.dropout_per_gate,
    )


def _cell(options: RecurrentOptions, input_size: int) -> Cell:
    kind, hidden = CELLS[options.cell], options.hidden_size
    if issubclass(kind, Elman):
        return kind(input_size, hidden, options.nonlinearity)
    if issubclass(kind, MUT1 | MUT2):
        return kind(input_size, hidden, projected=input_size != hidden)
    if issubclass(kind, RHN) and options.depth is not None:
        return kind(input_size, hidden, options.depth)
    more: dict[str, Any] = {"forget_bias": options.forget_bias} if options.forget_bias else {}
    if issubclass(kind, MogrifierLSTM) and options.rounds is not None:
        more["rounds"] = options.rounds
    if issubclass(kind, ProjectedLSTM):
        more["projection_size"] = options.projection_size
    return kind(input_size, hidden, **more)
