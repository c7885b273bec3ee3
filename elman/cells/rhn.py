"""The recurrent highway network."""

import torch
from torch.nn.functional import linear

from elman.axes import BG, BH, TBG, TBX
from elman.cells.cell import Cell, HiddenState, require_at_least


class RHN(Cell):
    """Recurrent highway network: each step is several layers, which mostly carry the state on [zilly2016].

    ::

        s_0 = h                                          the state after the step before
        g_k = tanh([k = 1] W_xg x + R_gk s_{k−1} + b_gk)
        t_k = σ([k = 1] W_xt x + R_tk s_{k−1} + b_tk)    the transform gate
        s_k = t_k ⊙ g_k + (1 − t_k) ⊙ s_{k−1}            k = 1 … depth; the carry gate is 1 − t
        h = s_depth

    Shapes: x (… X), h (… H); ``weight_x`` (2H X), read by the first layer only; ``weight_h`` (depth·2H H)
    and ``bias`` (depth·2H), layer by layer, each in the order of ``GATES``. All start as U(±1/√H);
    ``transform_bias`` is then added to every b_t, −2 as in the authors' Penn Treebank recipe, so that layers
    start by carrying. That recipe has depth 10. The paper's h is our g and its s our h.

    Raises :class:`ShapeError` for sizes or a depth under 1.

    >>> import torch
    >>> outputs, state = RHN(input_size=2, hidden_size=3, depth=4).scan(torch.ones(5, 4, 2))
    >>> bool((outputs[-1] == state.h).all())
    True
    """

    GATES = "g t"

    def __init__(
        self, input_size: int, hidden_size: int, depth: int = 3, transform_bias: float = -2.0
    ) -> None:
        super().__init__(input_size, hidden_size)
        require_at_least(1, "depth", depth, "RHN")
        self.depth = depth
        self.transform_bias = transform_bias
        self.weight_x = self._uniform(2 * hidden_size, input_size)
        self.weight_h = self._uniform(depth * 2 * hidden_size, hidden_size)
        self.bias = self._uniform(depth * 2 * hidden_size)
        self.adjust_start()

    def adjust_start(self) -> None:
        with torch.no_grad():
            self.bias.view(self.depth, 2, self.hidden_size)[:, 1] += self.transform_bias

    def project(self, x: TBX) -> TBG:
        return linear(x, self.weight_x, self.bias[: 2 * self.hidden_size])

    def advance(self, x: BG, state: HiddenState) -> tuple[BH, HiddenState]:
        h = state.h
        weights, biases = self.weight_h.chunk(self.depth), self.bias.chunk(self.depth)
        for k in range(self.depth):
            g, t = (linear(h, weights[k]) + (x if k == 0 else biases[k])).chunk(2, dim=-1)
            t = torch.sigmoid(t)
            h = t * self.candidate(torch.tanh(g)) + (1 - t) * h
        return h, HiddenState(h)

    def initial_state(self, batch: int) -> HiddenState:
        return HiddenState(self.zeros(batch))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, depth={self.depth}"
