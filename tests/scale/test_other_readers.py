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
# By the name of the layout: the module, its reader, and what it calls the tokens of a row.
READERS = {
    "litdata": ("litdata", "StreamingDataset", None),
    "mds": ("streaming", "LocalDataset", "tokens"),
    "megatron": ("megatron.core.datasets.indexed_dataset", "IndexedDataset", None),
}


def test_what_others_read_are_our_tokens(tmp_path: Path) -> None:
    missing = []
    for layout, (module, name, key) in READERS.items():
        try:
            reader: Any = getattr(import_module(module), name)
        except ImportError as error:  # of what it needs itself, too
            missing.append(f"{module}: {error}")
            continue
        lines = (json.dumps({"text": text}) + "\n" for text in TEXTS)
        (tmp_path / "a.jsonl").write_text("".join(lines))
        out = tokenizer().encode_files(tmp_path / "a.jsonl", tmp_path / layout, layout=layout)
        dataset = reader(str(out))
        assert len(dataset) == len(TEXTS), layout
        for number, text in enumerate(TEXTS):
            row = dataset[number] if key is None else dataset[number][key]
            assert np.array_equal(row, tokenizer().encode(text)), layout
    if len(missing) == len(READERS):
        pytest.skip("; ".join(missing))
