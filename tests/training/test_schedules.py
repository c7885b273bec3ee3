import pytest

from elman.training.options import TrainingOptions
from elman.training.schedules import learning_rate


def test_zarembas_small_network_as_the_authors_code_runs_it() -> None:
    """`if epoch > max_epoch then lr = lr / decay` after each epoch, max_epoch = 4: five are at rate 1."""
    options = TrainingOptions(schedule="hold-then-divide", hold_epochs=5, divide_by=2)
    rate, expected = 1.0, []
    for epoch in range(1, 14):
        expected.append(rate)
        if epoch > 4:
            rate /= 2
    told = [learning_rate(options, epoch=e, step=7, total_steps=99, divisions=3) for e in range(1, 14)]
    assert told == expected
    assert told[-1] == 2**-8


def test_char_rnn_decays_by_three_per_cent_after_ten_epochs() -> None:
    options = TrainingOptions(
        learning_rate=2e-3, schedule="hold-then-divide", hold_epochs=10, divide_by=1 / 0.97
    )
    told = [learning_rate(options, epoch=e, step=0, total_steps=9, divisions=0) for e in (10, 11, 50)]
    assert told == pytest.approx([2e-3, 2e-3 * 0.97, 2e-3 * 0.97**40])


def test_a_cosine_falls_from_the_rate_to_zero_through_its_half() -> None:
    options = TrainingOptions(learning_rate=0.8, schedule="cosine")
    told = [learning_rate(options, epoch=1, step=s, total_steps=90, divisions=0) for s in (0, 30, 45, 60, 90)]
    assert told == pytest.approx([0.8, 0.6, 0.4, 0.2, 0.0])


def test_a_plateau_counts_divisions_and_a_constant_nothing() -> None:
    plateau = TrainingOptions(learning_rate=20, schedule="divide-on-plateau", divide_by=4)
    constant = TrainingOptions(learning_rate=20)
    for options, expected in ((plateau, [20, 5, 1.25]), (constant, [20, 20, 20])):
        told = [learning_rate(options, epoch=9, step=5, total_steps=6, divisions=d) for d in range(3)]
        assert told == expected
