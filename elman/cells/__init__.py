"""Every recurrent cell by its name: the table that recipes, commands and the laws of ``tests/laws`` read.

>>> sorted(CELLS)
['elman', 'gru', 'gru-reset-before', 'lstm']
"""

from elman.cells.cell import Cell
from elman.cells.elman import Elman
from elman.cells.gru import GRU, GRUResetBefore
from elman.cells.lstm import LSTM

__all__ = ["CELLS", "GRU", "LSTM", "Cell", "Elman", "GRUResetBefore"]

CELLS: dict[str, type[Cell]] = {
    "elman": Elman,
    "lstm": LSTM,
    "gru": GRU,
    "gru-reset-before": GRUResetBefore,
}
