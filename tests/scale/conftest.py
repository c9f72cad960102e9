"""What tests of scale share: a small corpus, and what one process makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import scale_cases

from tokfrag.scale import encode_corpus


@pytest.fixture(scope="session")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return scale_cases.corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def serial(paths: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus by one process."""
    out = tmp_path_factory.mktemp("serial") / "out"
    return encode_corpus(scale_cases.tokenizer(), paths, out, workers=1, **scale_cases.OPTIONS)
