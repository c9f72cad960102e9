"""Files to shards and shards to batches, beside what people write by hand."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peers import data_folder, describe, need
from tokfrag import Tokenizer
from tokfrag.tokens.patterns import REGEX
from tokfrag.tokens.shards.reading import TokenShards

CORPORA = ("english", "code", "chinese")
LENGTH, BATCH = 1024, 16


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 2 MB of three corpora, as one document."""
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    parts = [(data_folder() / f"{name}.txt").read_bytes()[:2_000_000] for name in CORPORA]
    path.write_bytes(b"\n".join(part.decode("utf-8", "ignore").encode() for part in parts))
    return path


@pytest.fixture(scope="module")
def gpt2() -> Tokenizer:
    return Tokenizer.from_gpt2(
        data_folder() / "vocab" / "gpt2_vocab.bpe", data_folder() / "vocab" / "gpt2_encoder.json"
    )


def by_tiktoken(tok: Tokenizer, corpus: Path, out: Path) -> Any:
    """What nanoGPT's preparation does: all of the text, a list of ids, an array, a file."""
    tiktoken = need("tiktoken")
    encoding = tiktoken.Encoding(
        "gpt2",
        pat_str=REGEX["gpt2"],
        mergeable_ranks={tok.id_to_token(id): id for id in range(50256)},
        special_tokens={"<|endoftext|>": 50256},
    )

    def prepare() -> None:
        ids = encoding.encode_ordinary(corpus.read_text(encoding="utf-8"))
        np.array(ids, np.uint16).tofile(out)

    return prepare


def by_tokfrag(tok: Tokenizer, corpus: Path, out: Path) -> Any:
    def prepare() -> None:
        tok.encode_files(corpus, out, layout="bin")

    return prepare


@pytest.mark.benchmark(group="shards: a text file to a .bin of GPT-2 ids")
@pytest.mark.parametrize("peer", ["tokfrag", "tiktoken"])
def test_preparation(
    benchmark: Any, gpt2: Tokenizer, corpus: Path, tmp_path: Path, peer: str
) -> None:
    prepare = {"tokfrag": by_tokfrag, "tiktoken": by_tiktoken}[peer](gpt2, corpus, tmp_path / "a")
    prepare()
    wanted = gpt2.encode(corpus.read_bytes())
    assert np.array_equal(np.fromfile(tmp_path / "a", np.uint16), wanted)
    describe(benchmark, peer, bytes=corpus.stat().st_size, tokens=len(wanted))
    benchmark.pedantic(prepare, rounds=3)


def batches_by_hand(path: Path) -> Any:
    """nanoGPT's get_batch: random places, one slice and one copy for each row, twice."""
    torch = need("torch")
    random = np.random.default_rng(0)

    def batch() -> Any:
        data = np.memmap(path, np.uint16, "r")
        places = random.integers(0, len(data) - LENGTH - 1, BATCH)
        rows = [torch.from_numpy(data[at : at + LENGTH].astype(np.int64)) for at in places]
        after = [torch.from_numpy(data[at + 1 : at + LENGTH + 1].astype(np.int64)) for at in places]
        return torch.stack(rows), torch.stack(after)

    return batch


def batches_by_tokfrag(path: Path) -> Any:
    need("torch")
    batches = TokenShards(path).batches(BATCH, LENGTH, seed=0, epochs=None)
    return lambda: next(batches)


@pytest.mark.benchmark(group=f"shards: a batch of {BATCH} x {LENGTH} ids and the next ids")
@pytest.mark.parametrize("peer", ["tokfrag", "by hand"])
def test_batches(benchmark: Any, tmp_path: Path, peer: str) -> None:
    ids = np.random.default_rng(0).integers(0, 50000, 4_000_000).astype(np.uint16)
    ids.tofile(tmp_path / "train.bin")
    make = batches_by_tokfrag if peer == "tokfrag" else batches_by_hand
    batch = make(tmp_path / "train.bin")
    x, y = batch()
    assert x.shape == y.shape == (BATCH, LENGTH)
    assert (x[:, 1:] == y[:, :-1]).all()
    describe(benchmark, "torch" if peer == "by hand" else peer, bytes=2 * BATCH * LENGTH)
    benchmark(batch)


# Tables: Parquet in and shards out, beside encoding alone; and a column beside a list of strings.


@pytest.fixture(scope="module")
def rows(corpus: Path) -> list[str]:
    text = corpus.read_text(encoding="utf-8")
    return [text[at : at + 2000] for at in range(0, len(text), 2000)]


def by_parquet(tok: Tokenizer, rows: list[str], folder: Path) -> Any:
    """A table of the rows, packed by zstd, to a folder of shards, anew each time."""
    arrow, parquet = need("pyarrow"), need("pyarrow.parquet")
    parquet.write_table(arrow.table({"text": rows}), folder / "a.parquet", compression="zstd")
    turns = count()

    def prepare() -> None:
        tok.encode_files(folder / "a.parquet", folder / str(next(turns)), threads=1)

    return prepare


def by_list(tok: Tokenizer, rows: list[str], folder: Path) -> Any:
    """Encoding alone: nothing is read or written."""
    return lambda: tok.encode_batch(rows, threads=1)


@pytest.mark.benchmark(group="shards: Parquet in, shards out, one thread")
@pytest.mark.parametrize("peer", ["tokfrag", "encode_batch alone"])
def test_tables(
    benchmark: Any, gpt2: Tokenizer, rows: list[str], tmp_path: Path, peer: str
) -> None:
    prepare = (by_parquet if peer == "tokfrag" else by_list)(gpt2, rows, tmp_path)
    prepare()
    if peer == "tokfrag":
        assert np.array_equal(TokenShards(tmp_path / "0")[:], gpt2.encode_batch(rows).ids)
    describe(benchmark, "tokfrag", bytes=sum(len(row.encode()) for row in rows))
    benchmark.pedantic(prepare, rounds=3)


@pytest.mark.benchmark(group="shards: a column of strings to ids, one thread")
@pytest.mark.parametrize("peer", ["tokfrag", "a list made of it"])
def test_columns(benchmark: Any, gpt2: Tokenizer, rows: list[str], peer: str) -> None:
    column = need("pyarrow").array(rows)
    assert gpt2.encode_batch(column) == gpt2.encode_batch(rows)
    describe(benchmark, "tokfrag", bytes=column.nbytes)
    if peer == "tokfrag":
        benchmark(lambda: gpt2.encode_batch(column, threads=1))
    else:
        benchmark(lambda: gpt2.encode_batch(column.to_pylist(), threads=1))
