"""WordPiece encoding, bert-base-uncased, all scripts, one thread; ids are compared first.

TOKFRAG_DATA=... pytest bench/bench_wordpiece.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from peers import data_folder, describe
from tokfrag import Tokenizer

CORPORA = ["english", "code", "multilingual", "chinese"]
BYTES = 1_000_000


@pytest.fixture(scope="module", params=CORPORA)
def rows(request: pytest.FixtureRequest) -> list[str]:
    text = (data_folder() / f"{request.param}.txt").read_bytes()[:BYTES].decode("utf-8", "ignore")
    return [row for row in text.split("\n") if row]


def ours(path: str, rows: list[str]) -> tuple[Callable[[], Any], Callable[[Any], list[list[int]]]]:
    tokenizer = Tokenizer.from_wordpiece(path)
    first, last = (tokenizer.special_tokens[name] for name in ("[CLS]", "[SEP]"))

    def lists(batch: Any) -> list[list[int]]:
        return [[first, *row.tolist(), last] for row in batch]

    return lambda: tokenizer.encode_batch(rows, allowed_special="all", threads=1), lists


def hugging_face(
    path: str, rows: list[str]
) -> tuple[Callable[[], Any], Callable[[Any], list[list[int]]]]:
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.BertWordPieceTokenizer(path, lowercase=True)
    return lambda: tokenizer.encode_batch(rows), lambda result: [row.ids for row in result]


def flash(path: str, rows: list[str]) -> tuple[Callable[[], Any], Callable[[Any], list[list[int]]]]:
    flash_tokenizer = pytest.importorskip("flash_tokenizer")
    tokenizer = flash_tokenizer.BertTokenizerFlash(path, do_lower_case=True, model_max_length=512)

    def encode() -> list[Any]:
        return [tokenizer.tokenizer.encode(row, "longest", 1_000_000) for row in rows]

    return encode, lambda result: [list(row) for row in result]


def nano(path: str, rows: list[str]) -> tuple[Callable[[], Any], Callable[[Any], list[list[int]]]]:
    nanotoken = pytest.importorskip("nanotoken")
    tokenizer = nanotoken.Tokenizer(path)
    return (
        lambda: tokenizer.encode_batch(rows, parallel=False, add_special_tokens=True),
        lambda result: [list(row) for row in result],
    )


PEERS = {
    "tokfrag": ours,
    "tokenizers": hugging_face,
    "flash-tokenizer": flash,
    "nanotoken": nano,
}


@pytest.mark.benchmark(group="wordpiece")
@pytest.mark.parametrize("peer", PEERS)
def test_encode(benchmark: Any, rows: list[str], peer: str) -> None:
    path = str(data_folder() / "vocab" / "bert-base-uncased-vocab.txt")
    call, lists = PEERS[peer](path, rows)
    expected_call, expected_lists = hugging_face(path, rows)
    expected = expected_lists(expected_call())
    found = lists(call())
    wrong = sum(a != b for a, b in zip(found, expected, strict=True))
    if peer == "tokfrag":
        assert wrong == 0
    describe(
        benchmark,
        peer,
        bytes=sum(len(row.encode()) for row in rows),
        rows=len(rows),
        wrong_rows=wrong,
    )
    benchmark.pedantic(call, rounds=5, warmup_rounds=1)
