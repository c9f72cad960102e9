"""Lines of the docs for tables of others. Collected where datasets is installed."""

from __future__ import annotations

from typing import Any

import datasets
import pyarrow as pa
import pytest
from scale_cases import tokenizer

TEXTS = ["Word one", "", "再见 ab", "or word"] * 5


def encoded(table: Any) -> Any:
    return table.append_column("ids", tokenizer().encode_batch(table["text"], threads=1).to_arrow())


def wanted() -> list[list[int]]:
    return [ids.tolist() for ids in tokenizer().encode_batch(TEXTS)]


def test_datasets() -> None:
    dataset = datasets.Dataset.from_dict({"text": TEXTS})
    mapped = dataset.with_format("arrow").map(encoded, batched=True, batch_size=3)
    assert mapped.with_format(None)["ids"][:] == wanted()


def test_polars() -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"text": TEXTS})
    ids = pl.from_arrow(tokenizer().encode_batch(frame["text"]).to_arrow())
    assert frame.with_columns(ids=ids)["ids"].to_list() == wanted()


def test_record_batches_as_spark_gives_them() -> None:
    def encoded_batches(batches: Any) -> Any:
        for batch in batches:
            ids = tokenizer().encode_batch(batch["text"], threads=1).to_arrow()
            ids = ids.cast(pa.list_(pa.int64()))
            yield pa.record_batch({"text": batch["text"], "ids": ids})

    batches = pa.table({"text": TEXTS}).to_batches(max_chunksize=6)
    table = pa.Table.from_batches(encoded_batches(iter(batches)))
    assert table["ids"].to_pylist() == wanted()
