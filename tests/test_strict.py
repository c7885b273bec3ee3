"""Tables to dataclasses: every type by hand, every problem by its text, and writing as reading's inverse."""

import tomllib
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from elman.strict import nearest, read_table, to_table, write_tables


@dataclass(frozen=True)
class Example:
    path: str
    count: int = 7
    rate: float = 0.5
    tied: bool = False
    sizes: tuple[int, ...] | None = None
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    limit: float | None = 5.0

    def problems(self) -> list[str]:
        return [] if self.count < 100 else [f"example.count must be below 100; it is {self.count}."]


def read(table: dict[str, object]) -> tuple[Example | None, list[str]]:
    problems: list[str] = []
    return read_table(Example, table, "example", problems), problems


def test_every_type_is_read_as_annotated() -> None:
    table = {
        "path": "a",
        "count": 3,
        "rate": 2,
        "tied": True,
        "sizes": [4, 5],
        "shares": [1, 0, 0.0],
        "limit": 9,
    }
    made, problems = read(table)
    assert problems == []
    assert made == Example("a", 3, 2.0, True, (4, 5), (1.0, 0.0, 0.0), 9.0)
    assert type(made.rate) is float


def test_none_unsets_an_optional_key_and_no_other() -> None:
    made, problems = read({"path": "none", "limit": "none", "sizes": "none", "count": "none"})
    assert made is not None
    assert (made.path, made.limit, made.sizes, made.count) == ("none", None, None, 7)
    assert problems == ['example.count must be a whole number; it is "none".']


def test_all_problems_are_gathered_with_those_of_ranges() -> None:
    table = {
        "path": 1,
        "count": True,
        "rate": "fast",
        "sizes": [1.5],
        "shares": [0.5, 0.5],
        "ratte": 1,
        "limit": [3],
    }
    made, problems = read(table)
    assert made is None  # path is required, and has no usable value
    assert problems == [
        "example.path must be a text in quotes; it is 1.",
        "example.count must be a whole number; it is true.",
        'example.rate must be a number; it is "fast".',
        'example.sizes must be a list of whole numbers, or "none"; it is [1.5].',
        "example.shares must be a list of 3 numbers; it is [0.5, 0.5].",
        "example.ratte is not a key of [example]; nearest: example.rate.",
        'example.limit must be a number, or "none"; it is [3].',
    ]
    _, problems = read({"path": "a", "count": 100, "tied": 0})
    assert problems == [
        "example.tied must be true or false; it is 0.",
        "example.count must be below 100; it is 100.",
    ]


def test_a_missing_key_is_named_with_its_type() -> None:
    assert read({}) == (None, ["example.path is missing; it is a text in quotes."])


def test_numbers_must_be_finite() -> None:
    _, problems = read({"path": "a", "rate": float("nan"), "limit": float("inf")})
    assert problems == [
        "example.rate must be a number; it is nan.",
        'example.limit must be a number, or "none"; it is inf.',
    ]


def test_a_table_of_every_key_reads_as_the_same_value() -> None:
    for example in (Example("a"), Example("b", 3, 1e-300, True, (), (1 / 3, 1 / 3, 1 / 3), None)):
        text = write_tables({"example": to_table(example)})
        assert read(tomllib.loads(text)["example"]) == (example, [])
    assert to_table(Example("a", limit=None))["limit"] == "none"
    assert "sizes" not in to_table(Example("a"))


def test_nearest_names_one_key_or_all() -> None:
    assert nearest("epoch", ["epochs", "batch"], "train.") == "; nearest: train.epochs"
    assert nearest("zzz", ["epochs", "batch"]) == "; known: batch, epochs"
    assert nearest("zzz", []) == ""


plain = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)
values = st.one_of(plain, st.lists(plain, max_size=3))
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
tables = st.recursive(
    st.dictionaries(keys, values, max_size=3), lambda inner: st.dictionaries(keys, values | inner, max_size=3)
)


@given(tables)
def test_what_is_written_reads_as_it_was(table: dict[str, object]) -> None:
    assert tomllib.loads(write_tables(table)) == table


def test_a_list_of_tables_is_written_with_dotted_keys() -> None:
    table = {"ablation": [{"name": "a", "model": {"order": 3}}, {"name": "b", "model": {"cutoffs": [1, 2]}}]}
    text = write_tables(table)
    assert text.startswith('[[ablation]]\nname = "a"\nmodel.order = 3\n')
    assert tomllib.loads(text) == table
