"""Ids to text: from an array, against the exact peers."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from bench_encode import corpus_text, expected_ids, unpacked
from peers import describe, need


def decoder(peer: str, path: Path) -> Any:
    """A function from a uint32 array to bytes."""
    need(peer)
    if peer == "tokfrag":
        from tokfrag import Tokenizer

        return Tokenizer.from_tiktoken(path, pattern="cl100k").decode_bytes
    if peer == "gigatoken":
        import gigatoken

        return gigatoken.Tokenizer.from_tiktoken(path).decode
    import tiktoken

    from tokfrag.tokens.patterns import REGEX

    pairs = (line.split() for line in path.read_bytes().splitlines())
    return tiktoken.Encoding(
        "cl100k",
        pat_str=REGEX["cl100k"],
        mergeable_ranks={base64.b64decode(token): int(rank) for token, rank in pairs},
        special_tokens={},
    ).decode_bytes


@pytest.mark.parametrize("peer", ["tokfrag", "gigatoken", "tiktoken"])
@pytest.mark.parametrize("corpus", ["english", "chinese_pure"])
def bench_decode(benchmark: Any, tmp_path: Path, corpus: str, peer: str) -> None:
    benchmark.group = f"decode cl100k {corpus}, from an array"
    path = unpacked("cl100k", tmp_path)
    ids = expected_ids("cl100k", corpus, path)
    decode = decoder(peer, path)
    assert bytes(decode(ids)) == corpus_text(corpus).encode()
    describe(benchmark, peer, bytes=len(corpus_text(corpus).encode()), tokens=len(ids))
    benchmark.pedantic(decode, args=(ids,), rounds=5)
