import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import OptionError
from elman.training.streams import Streams


@given(tokens=st.integers(1, 90), batch=st.integers(1, 6), steps=st.integers(1, 12))
def test_each_token_is_predicted_once_from_the_one_before_it(tokens: int, batch: int, steps: int) -> None:
    if tokens < batch:
        return
    ids = np.arange(100, 100 + tokens, dtype=np.int32)
    streams = Streams(ids, batch, steps, start_id=99)
    pieces = list(streams.pieces())
    kept = batch * (tokens // batch)
    assert streams.tokens == kept
    assert len(pieces) == len(streams)
    rows = [np.concatenate([piece.targets[:, b] for piece in pieces]) for b in range(batch)]
    assert np.concatenate(rows).tolist() == ids[:kept].tolist()
    assert all(bool((piece.inputs == piece.targets - 1).all()) for piece in pieces)
    assert [piece.fresh for piece in pieces] == [True] + [False] * (len(pieces) - 1)
    assert {len(piece.inputs) for piece in pieces[:-1]} <= {steps}
    assert 1 <= len(pieces[-1].inputs) <= steps


def test_an_epoch_is_taken_up_in_its_middle_from_a_file(tmp_path: object) -> None:
    ids = np.memmap(f"{tmp_path}/ids", np.uint16, "w+", shape=23)
    ids[:] = np.random.default_rng(1).integers(0, 60_000, 23)
    streams = Streams(ids, batch=3, steps=2, start_id=5)
    whole, rest = list(streams.pieces()), list(streams.pieces(first=2))
    assert len(rest) == len(whole) - 2 == 2
    for one, other in zip(whole[2:], rest, strict=True):
        assert one.inputs.tolist() == other.inputs.tolist()
        assert one.targets.tolist() == other.targets.tolist()
    assert whole[0].inputs[0].tolist() == [5, int(ids[6]), int(ids[13])]


def test_a_text_shorter_than_its_streams_is_refused() -> None:
    with pytest.raises(OptionError) as caught:
        Streams(np.arange(7), batch=20, steps=5, start_id=0)
    assert str(caught.value).splitlines() == [
        "Training on 20 streams of text side by side was asked for (train.batch).",
        "  The training text has 7 tokens: less than one per stream.",
        "  Lower train.batch, or train on a longer text.",
    ]
