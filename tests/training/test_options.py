from dataclasses import replace

import pytest

from elman.training.options import TrainingOptions

ZAREMBA = TrainingOptions(
    epochs=13, steps=20, schedule="hold-then-divide", hold_epochs=5, divide_by=2, clip_norm=5
)


def test_published_settings_have_no_problems() -> None:
    assert ZAREMBA.problems() == []
    char_rnn = TrainingOptions(
        epochs=50, batch=50, steps=50, optimizer="rmsprop", learning_rate=2e-3, alpha=0.95, clip_value=5,
        loss="mean-over-time", schedule="hold-then-divide", hold_epochs=10, divide_by=1 / 0.97,
    )  # fmt: skip
    assert char_rnn.problems() == []
    adam = TrainingOptions(optimizer="adam", beta1=0.0, schedule="divide-on-plateau", divide_by=4, patience=2)
    assert adam.problems() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss": "mean"}, 'train.loss is "mean"; it must be one of sum-over-time, mean-over-time.'),
        ({"optimizer": "adagrad"}, 'train.optimizer is "adagrad"; it must be one of sgd, adam, rmsprop.'),
        ({"batch": 0}, "train.batch is 0; it must be 1 or more."),
        ({"stop_after": 0}, "train.stop_after is 0; it must be 1 or more."),
        ({"learning_rate": 0.0}, "train.learning_rate is 0.0; it must be over 0."),
        ({"learning_rate": float("nan")}, "train.learning_rate is nan; it must be over 0."),
        ({"clip_norm": -5.0}, "train.clip_norm is -5.0; it must be over 0."),
        ({"momentum": 1.0}, "train.momentum is 1.0; it must be at least 0 and under 1."),
        ({"divide_by": 1.0}, "train.divide_by is 1.0; it must be over 1."),
        ({"average": 1.0}, "train.average is 1.0; it must be at least 0 and under 1."),
        ({"average": float("nan")}, "train.average is nan; it must be at least 0 and under 1."),
        ({"weight_decay": -1e-7}, "train.weight_decay is -1e-07; it must be 0 or more."),
        ({"seed": -1}, "train.seed is -1; it must be from 0 to 2^63 − 1."),
        (
            {"hold_epochs": None},
            'train.hold_epochs is missing; the schedule "hold-then-divide" needs it.',
        ),
        ({"alpha": 0.9}, 'train.alpha does nothing with the optimizer "sgd"; leave it out.'),
        ({"beta2": 0.9}, 'train.beta2 does nothing with the optimizer "sgd"; leave it out.'),
        ({"patience": 3}, 'train.patience does nothing with the schedule "hold-then-divide"; leave it out.'),
        ({"clip_value": 5.0}, "train.clip_norm and train.clip_value are both given; choose one."),
    ],
)
def test_each_mistake_is_one_sentence_that_names_its_key(changes: dict[str, object], said: str) -> None:
    assert replace(ZAREMBA, **changes).problems() == [said]


def test_all_mistakes_are_told_at_once() -> None:
    said = replace(ZAREMBA, epochs=0, schedule="cosine", clip_norm=0).problems()
    assert said == [
        "train.epochs is 0; it must be 1 or more.",
        "train.clip_norm is 0; it must be over 0.",
        'train.hold_epochs does nothing with the schedule "cosine"; leave it out.',
        'train.divide_by does nothing with the schedule "cosine"; leave it out.',
    ]
