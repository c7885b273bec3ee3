"""Which file of a folder is which split, and where a single file is cut."""

from pathlib import Path

import pytest

from elman.corpora.splits import by_shares, in_folder
from elman.errors import CorpusError


@pytest.mark.parametrize(
    "names",
    [
        ("train.txt", "valid.txt", "test.txt"),
        ("train", "dev", "test"),
        ("ptb.train.txt.gz", "ptb.valid.txt", "ptb.test.txt.xz"),
        ("sonnet_train.txt", "sonnet-val.txt", "sonnet.test.tokens"),
        ("Train.TXT", "Validation.txt", "TEST.txt"),
        ("stsa.binary.train", "stsa.binary.dev", "stsa.binary.test"),
    ],
)
def test_names_of_splits(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in (*names, "README.md", "latest.txt", "training_notes.md", "train.txt~"):
        (tmp_path / name).write_text(name)
    (tmp_path / "testing").mkdir()
    sources = in_folder(tmp_path)
    found = {split: source.path.name for split, source in sources.items()}  # type: ignore[attr-defined]
    assert found == dict(zip(("train", "valid", "test"), names, strict=True))


def test_a_folder_may_lack_a_test_file(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("x")
    (tmp_path / "dev.txt").write_text("x")
    assert list(in_folder(tmp_path)) == ["train", "valid"]


def test_a_folder_without_a_training_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "test.txt").write_text("x")
    with pytest.raises(CorpusError) as caught:
        in_folder(tmp_path)
    assert str(caught.value).split("\n  ") == [
        f"The folder {tmp_path} was to be read as a corpus.",
        "No file in it is named for training; it has a.txt, test.txt.",
        "Name its files train.txt, valid.txt and test.txt (also .gz or .xz).",
    ]


def test_two_files_for_one_split(tmp_path: Path) -> None:
    for name in ("train.txt", "train.txt.gz"):
        (tmp_path / name).write_text("x")
    with pytest.raises(CorpusError, match=r"2 files could be its train part: train\.txt, train\.txt\.gz"):
        in_folder(tmp_path)


@pytest.mark.parametrize(
    ("shares", "lengths"),
    [
        ((0.9, 0.05, 0.05), {"train": 1003, "valid": 56, "test": 56}),
        ((0.95, 0.05, 0.0), {"train": 1059, "valid": 56}),
        ((0.7, 0.2, 0.1), {"train": 780, "valid": 223, "test": 112}),
        ((0.8, 0.0, 0.2), {"train": 892, "test": 223}),
        ((1.0, 0.0, 0.0), {"train": 1115}),
    ],
)
def test_a_file_is_cut_by_position(
    tmp_path: Path, shares: tuple[float, float, float], lengths: dict[str, int]
) -> None:
    path = tmp_path / "t"
    text = "".join(chr(200 + number) for number in range(1_115))
    path.write_text(text)
    parts = {split: "".join(source.pieces()) for split, source in by_shares(path, shares).items()}
    assert {split: len(part) for split, part in parts.items()} == lengths
    assert "".join(parts.values()) == text
