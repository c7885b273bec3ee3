"""Long short-term memory with a large memory and a small output."""

from typing import NamedTuple

import torch
from torch.nn.functional import linear

from elman.axes import BG, BH
from elman.cells.cell import require_at_least
from elman.cells.packed import ForgetGated


class ProjectedState(NamedTuple):
    """The output ``r`` (P features), which is read back, and the memory ``c`` (H features)."""

    r: BH
    c: BH


class ProjectedLSTM(ForgetGated):
    """Projected LSTM: what is put out and read back is a smaller map of the memory [sak2014].

    ::

        i = σ(W_xi x + W_ri r + b_i)
        f = σ(W_xf x + W_rf r + b_f)
        g = tanh(W_xg x + W_rg r + b_g)
        o = σ(W_xo x + W_ro r + b_o)
        c = f ⊙ c + i ⊙ g
        r = W_p (o ⊙ tanh(c))

    Shapes: x (… X), c (… H), r (… P); ``weight_x`` (4H X), ``weight_h`` (4H P) and ``bias`` (4H), blocks of
    rows in the order of ``GATES``, and ``weight_p`` (P H). H is ``hidden_size`` and P, ``projection_size``,
    is the ``output_size``; by default a quarter of H, rounded up. All start as U(±1/√H); ``forget_bias`` is
    then added to b_f.

    Where we differ from [sak2014]: no peepholes and no second projection that is put out but not read back;
    with that it is ``torch.nn.LSTM(proj_size=P)``.

    Raises :class:`ShapeError` for sizes under 1.

    >>> import torch
    >>> cell = ProjectedLSTM(input_size=2, hidden_size=8, projection_size=3)
    >>> outputs, state = cell.scan(torch.ones(5, 4, 2))
    >>> tuple(outputs.shape), tuple(state.c.shape), bool((outputs[-1] == state.r).all())
    ((5, 4, 3), (4, 8), True)
    """

    GATES = "i f g o"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        projection_size: int | None = None,
        forget_bias: float = 0.0,
    ) -> None:
        super().__init__(input_size, hidden_size, forget_bias)
        self.output_size = -(-hidden_size // 4) if projection_size is None else projection_size
        require_at_least(1, "projection_size", self.output_size, "ProjectedLSTM")
        self.weight_h = self._uniform(4 * hidden_size, self.output_size)
        self.weight_p = self._uniform(self.output_size, hidden_size)

    def advance(self, x: BG, state: ProjectedState) -> tuple[BH, ProjectedState]:
        i, f, g, o = (x + linear(state.r, self.weight_h)).chunk(4, dim=-1)
        c = torch.sigmoid(f) * state.c + torch.sigmoid(i) * self.candidate(torch.tanh(g))
        r = linear(torch.sigmoid(o) * torch.tanh(c), self.weight_p)
        return r, ProjectedState(r, c)

    def initial_state(self, batch: int) -> ProjectedState:
        return ProjectedState(self.bias.new_zeros(batch, self.output_size), self.zeros(batch))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, projection_size={self.output_size}"
