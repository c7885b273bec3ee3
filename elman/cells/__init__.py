"""Every recurrent cell by its name: the table that recipes, commands and the laws of ``tests/laws`` read.

>>> CELLS["lstm"](input_size=2, hidden_size=3)
LSTM(input_size=2, hidden_size=3)
"""

from elman.cells.ablated import (
    LSTMWithForgetBias,
    LSTMWithoutForgetGate,
    LSTMWithoutInputGate,
    LSTMWithoutOutputGate,
)
from elman.cells.cell import Cell
from elman.cells.coupled import CappedLSTM, CoupledLSTM
from elman.cells.elman import Elman
from elman.cells.gru import GRU, GRUResetBefore
from elman.cells.indrnn import IndRNN
from elman.cells.janet import JANET
from elman.cells.layer_norm import LayerNormLSTM
from elman.cells.ligru import LiGRU
from elman.cells.lstm import LSTM
from elman.cells.mgu import MGU
from elman.cells.minimal import MinGRU, MinLSTM
from elman.cells.mogrifier import MogrifierLSTM
from elman.cells.mut import MUT1, MUT2, MUT3
from elman.cells.nas import NAS
from elman.cells.packed import ForgetGated
from elman.cells.peephole import FullPeepholeLSTM, PeepholeLSTM
from elman.cells.projected import ProjectedLSTM
from elman.cells.rhn import RHN
from elman.cells.simplified_gru import SimplifiedGRU
from elman.cells.slstm import SLSTM

__all__ = [
    "CELLS",
    "GRU",
    "JANET",
    "LSTM",
    "MGU",
    "MUT1",
    "MUT2",
    "MUT3",
    "NAS",
    "RHN",
    "SLSTM",
    "CappedLSTM",
    "Cell",
    "CoupledLSTM",
    "Elman",
    "ForgetGated",
    "FullPeepholeLSTM",
    "GRUResetBefore",
    "IndRNN",
    "LSTMWithForgetBias",
    "LSTMWithoutForgetGate",
    "LSTMWithoutInputGate",
    "LSTMWithoutOutputGate",
    "LayerNormLSTM",
    "LiGRU",
    "MinGRU",
    "MinLSTM",
    "MogrifierLSTM",
    "PeepholeLSTM",
    "ProjectedLSTM",
    "SimplifiedGRU",
]

CELLS: dict[str, type[Cell]] = {
    "elman": Elman,
    "lstm": LSTM,
    "lstm-f": LSTMWithoutForgetGate,
    "lstm-i": LSTMWithoutInputGate,
    "lstm-o": LSTMWithoutOutputGate,
    "lstm-b": LSTMWithForgetBias,
    "coupled": CoupledLSTM,
    "capped": CappedLSTM,
    "peephole": PeepholeLSTM,
    "peephole-full": FullPeepholeLSTM,
    "lstmp": ProjectedLSTM,
    "layer-norm": LayerNormLSTM,
    "mogrifier": MogrifierLSTM,
    "slstm": SLSTM,
    "gru": GRU,
    "gru-reset-before": GRUResetBefore,
    "gru-simplified": SimplifiedGRU,
    "mut1": MUT1,
    "mut2": MUT2,
    "mut3": MUT3,
    "mgu": MGU,
    "janet": JANET,
    "ligru": LiGRU,
    "indrnn": IndRNN,
    "mingru": MinGRU,
    "minlstm": MinLSTM,
    "rhn": RHN,
    "nas": NAS,
}
