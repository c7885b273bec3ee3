"""Shared fixtures. Data that may not be shipped is looked for in ``$ELMAN_DATA``: tests skip without it."""

import os
from pathlib import Path

import pytest
import torch

from elman.fused import library

if folder := os.environ.get("ELMAN_EXECUTORS"):  # others, or none: `make sanitize`, `make test-definition`
    library.FOLDER = Path(folder)


@pytest.fixture(autouse=True)
def _one_thread_and_a_known_seed() -> None:
    """One thread, so that sums are in one order; a fixed seed, so that a failure repeats."""
    torch.set_num_threads(1)
    torch.manual_seed(20_201)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of development data; skips (counted in the closing line) where there is none."""
    folder = os.environ.get("ELMAN_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs the development data: ELMAN_DATA names no folder")
    return Path(folder)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests never read or fill the user's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
