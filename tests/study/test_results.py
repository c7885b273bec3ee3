"""The results file: rows are added and never lost, and the page is what the file says."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path

import pytest

from elman import recipe as recipes
from elman.errors import RecipeError
from elman.recipe import Claim
from elman.study import results
from elman.study.results import Result, add, headline, latest, mean, read, render, verdict

ROOT = Path(__file__).parents[2]
ROW = Result(
    name="zaremba2014-ptb-small",
    scale="paper",
    measure="perplexity",
    valid=120.25,
    test=115.1234,
    published=114.5,
    seeds=1,
    minutes=27.5,
    tokens_per_second=7321,
    device="A | B, 2 threads",
    commit="abc1234",
    date="2026-11-20",
    verdict="reproduced",
)
OTHER = replace(
    ROW,
    name="karpathy2015-shakespeare",
    measure="nats_per_character",
    valid=1.4567,
    test=None,
    published=None,
)


def test_rows_are_read_as_they_were_added(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.toml"
    assert read(path) == []
    add(path, ROW)
    add(path, OTHER)
    several = replace(ROW, seeds=3, test_sd=0.25)
    add(path, several)
    assert read(path) == [ROW, OTHER, several]
    assert path.with_suffix(".md").read_text() == render([ROW, OTHER, several])


def test_two_that_finish_at_once_both_stand_in_it(tmp_path: Path) -> None:
    path = tmp_path / "results.toml"
    rows = [replace(ROW, seeds=seeds) for seeds in range(1, 9)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda row: add(path, row), rows))
    assert sorted(row.seeds for row in read(path)) == list(range(1, 9))


def test_what_stood_in_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "results.toml"
    path.write_text("# a remark by hand\n\n" + results.to_toml(ROW))
    before = path.read_text()
    add(path, OTHER)
    assert path.read_text().startswith(before)
    assert path.read_text().count("[[result]]") == 2


def test_a_row_has_the_keys_of_the_design_in_their_order() -> None:
    assert sorted(results.KEYS) == sorted(field.name for field in fields(Result))
    keys = [line.split(" = ")[0] for line in results.to_toml(replace(ROW, test_sd=0.5)).splitlines()]
    assert keys == [
        *(
            "[[result]]",
            "name",
            "scale",
            "measure",
            "valid",
            "test",
            "test_sd",
            "published",
            "seeds",
            "minutes",
        ),
        *("tokens_per_second", "device", "commit", "date", "verdict"),
    ]


def test_a_file_edited_by_hand_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "results.toml"
    path.write_text(results.to_toml(ROW).replace("seeds = 1", 'seeds = "one"\nsed = 1'))
    before = path.read_text()
    with pytest.raises(RecipeError) as caught:
        add(path, ROW)
    assert (
        caught.value.came.splitlines()
        == [
            'result 1.seeds must be a whole number; it is "one".',
            "  result 1.sed is not a key of [result 1]; nearest: result 1.seeds.",
            "  result 1.seeds is missing; it is a whole number.",
        ][:2]
    )
    assert path.read_text() == before
    path.write_text("[[result]\n")
    with pytest.raises(RecipeError, match="It is not TOML"):
        read(path)


def test_the_page_has_the_latest_first_and_the_earlier_below() -> None:
    old = replace(ROW, test=120.0, verdict="missed by 5.50", date="2026-01-01")
    page = render([old, OTHER, ROW])
    current, earlier = page.split("## Earlier runs")
    assert "| 115.12 | 114.50 | reproduced | 1 | 27.5 | 7,321 | A / B, 2 threads |" in current
    assert "| 1.457 | – | – |" in current
    assert current.index("karpathy2015") < current.index("zaremba2014")
    assert "missed by 5.50" not in current
    assert "| 120.00 | 114.50 | missed by 5.50 |" in earlier
    assert list(latest([old, OTHER, ROW]).values()) == [OTHER, ROW]


def test_several_seeds_show_their_spread() -> None:
    assert "115.12 ± 0.50" in render([replace(ROW, seeds=3, test_sd=0.5)])


@pytest.mark.parametrize(
    ("claimed", "ours", "said"),
    [
        ((None, 141.2), (148.0, 141.25), "reproduced"),
        ((None, 141.2), (148.0, 141.35), "missed by 0.15"),
        ((120.7, 114.5), (130.0, 100.0), "reproduced"),  # the test text decides, and lower is better
        ((1.5, None), (1.75, 1.0), "missed by 0.25"),  # only the validation text was published on
        ((1.5, None), (1.6, None), "reproduced"),
        ((None, None), (1.4, None), "measured"),
        ((None, 3.0), (1.4, None), "measured"),  # nothing to compare
    ],
)
def test_verdicts(
    claimed: tuple[float | None, float | None], ours: tuple[float | None, float | None], said: str
) -> None:
    claim = Claim("paper", "corpus", valid=claimed[0], test=claimed[1], tolerance=0.125)
    assert verdict(claim, *ours) == said


def test_the_number_a_claim_is_about() -> None:
    both, valid, none = Claim("p", "c", valid=2.0, test=3.0), Claim("p", "c", valid=2.0), Claim("p", "c")
    assert [headline(claim, 5.0, 7.0) for claim in (both, valid, none)] == [7.0, 5.0, 7.0]
    assert [headline(claim, 5.0, None) for claim in (both, valid, none)] == [None, 5.0, 5.0]
    assert mean([1.0, None, 2.0]) == 1.5
    assert mean([None]) is None


def test_outside_of_a_checkout_results_are_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert results.default_path() == ROOT / "docs/results.toml"
    monkeypatch.setattr(results.elman, "__file__", str(tmp_path / "site-packages/elman/__init__.py"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert results.default_path() == tmp_path / "data/elman/results.toml"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert results.default_path() == tmp_path / ".local/share/elman/results.toml"


def test_the_projects_page_is_rendered_from_its_results() -> None:
    rows = read(ROOT / "docs/results.toml")
    assert rows
    assert (ROOT / "docs/results.md").read_text(encoding="utf-8") == render(rows)


def test_every_result_of_the_project_is_of_a_recipe_and_agrees_with_its_claim() -> None:
    for row in read(ROOT / "docs/results.toml"):
        claim = recipes.show(row.name).claim
        assert claim is not None
        assert row.measure == claim.measure
        assert row.published == headline(claim, claim.valid, claim.test)
        assert row.verdict == ("measured" if row.scale == "laptop" else verdict(claim, row.valid, row.test))
