"""Shards that others read, by their own readers where those are installed."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scale_cases import tokenizer

pytestmark = pytest.mark.filterwarnings("ignore")  # of those libraries

TEXTS = [f"row {number} " + "ab " * (number % 7) for number in range(50)]


def reader(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:  # of what it needs itself, too
        pytest.skip(f"{name} cannot be imported: {error}")


def written(folder: Path, layout: str) -> Path:
    lines = (json.dumps({"text": text}) + "\n" for text in TEXTS)
    (folder / "a.jsonl").write_text("".join(lines))
    return tokenizer().encode_files(folder / "a.jsonl", folder / "out", layout=layout)


def test_litdata(tmp_path: Path) -> None:
    litdata = reader("litdata")
    dataset = litdata.StreamingDataset(str(written(tmp_path, "litdata")))
    assert len(dataset) == len(TEXTS)
    for number, text in enumerate(TEXTS):
        assert np.array_equal(dataset[number], tokenizer().encode(text))


def test_mds(tmp_path: Path) -> None:
    streaming = reader("streaming")
    out = written(tmp_path, "mds")
    dataset = streaming.LocalDataset(str(out))
    assert len(dataset) == len(TEXTS)
    for number, text in enumerate(TEXTS):
        assert np.array_equal(dataset[number]["tokens"], tokenizer().encode(text))


def test_megatron(tmp_path: Path) -> None:
    indexed = reader("megatron.core.datasets.indexed_dataset")
    dataset = indexed.IndexedDataset(str(written(tmp_path, "megatron")))
    assert len(dataset) == len(TEXTS)
    for number, text in enumerate(TEXTS):
        assert np.array_equal(dataset[number], tokenizer().encode(text))
