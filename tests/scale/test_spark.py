"""The line of the docs for Spark. Collected where pyspark is installed; skipped without Java."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from scale_cases import tokenizer

pytestmark = [
    pytest.mark.skipif(
        shutil.which("java") is None and "JAVA_HOME" not in os.environ, reason="Spark wants Java"
    ),
    pytest.mark.filterwarnings("ignore"),  # of Spark's own start
]


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        builder = SparkSession.builder.master("local[2]")
        for name in ("spark.driver.host", "spark.driver.bindAddress"):
            builder = builder.config(name, "127.0.0.1")
        session = builder.config("spark.ui.enabled", "false").getOrCreate()
        session.sparkContext.setLogLevel("OFF")
        yield session
        session.stop()


def test_map_in_arrow(spark: Any) -> None:
    tok = tokenizer()
    texts = ["Word one", "", "再见 ab", "or word"] * 5

    def encoded_batches(batches: Any) -> Any:
        for batch in batches:
            ids = tok.encode_batch(batch["text"], threads=1).to_arrow()
            yield pa.record_batch({"text": batch["text"], "ids": ids.cast(pa.list_(pa.int64()))})

    frame = spark.createDataFrame([(text,) for text in texts], "text string")
    rows = frame.mapInArrow(encoded_batches, "text string, ids array<bigint>").collect()
    found = sorted((row["text"], list(row["ids"])) for row in rows)
    assert found == sorted((text, tok.encode(text).tolist()) for text in texts)
