"""Pieces that are long, made of one byte, or met again: their ids are those of plain merging."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

from tokfrag import Tokenizer
from tokfrag.reference import bpe
from tokfrag.tokens.models.byte_pair import BytePair

BYTES = [bytes([byte]) for byte in range(256)]


@given(
    lengths=st.lists(st.integers(2, 24), max_size=12, unique=True),
    size=st.integers(33, 200),
    around=st.sampled_from([b"", b"b", b"bb"]),
)
@example(lengths=[2, 4, 8, 16], size=199, around=b"")
@example(lengths=[3, 2, 5, 4, 9], size=64, around=b"")
@example(lengths=[2, 6, 4, 3], size=65, around=b"")
def test_a_run_of_one_byte(lengths: list[int], size: int, around: bytes) -> None:
    """In whatever order the tokens merge: also where a longer one comes first."""
    tokens = [*BYTES, *(b"a" * length for length in lengths), b"bb"]
    ranks = {token: rank for rank, token in enumerate(tokens)}
    text = around + b"a" * size
    expected = [ranks[part] for part in bpe.merge(text, ranks)]
    assert Tokenizer(tokens, pattern=None).encode(text).tolist() == expected


@given(seed=st.integers(0, 10**6), size=st.integers(33, 120))
@settings(max_examples=60)
def test_a_run_where_merges_are_listed(seed: int, size: int) -> None:
    rng = random.Random(seed)
    known = [b"a"]
    merges: dict[tuple[bytes, bytes], int] = {}
    for _ in range(8):
        pair = rng.choice(known), rng.choice(known)
        if pair not in merges:
            merges[pair] = len(merges)
            known.append(pair[0] + pair[1])
    tokens = list(dict.fromkeys([*BYTES, *known]))
    tok = Tokenizer(tokens, pattern=None, merges=list(merges))
    expected = [tokens.index(part) for part in bpe.merge_listed(b"a" * size, merges)]
    assert tok.encode(b"a" * size).tolist() == expected


WORDS = st.sampled_from(
    [
        "的",
        "一",
        "中文",
        "。",
        "，",
        "ab",
        "the ",
        " then",
        "é",
        "Ж",
        "👍",
        "\n",
        "12",
        "カナ",
        "ㄱ한",
    ]
)


@given(pieces=st.lists(WORDS, min_size=1, max_size=40), whole=st.booleans())
@settings(max_examples=60)
@example(pieces=["中文"] * 10, whole=True)
@example(pieces=["的", "一"] * 20 + [" then"] + ["的"] * 3, whole=True)
def test_what_is_remembered_is_what_was_encoded(pieces: list[str], whole: bool) -> None:
    """A piece by its parts, then kept whole, then found: with few and many ids, short and long."""
    text = "".join(pieces)
    joined = [word.encode() for word in ("的", "中", "中文", "th", "the", " the", "ab")]
    tokens = [*BYTES, *joined]
    tokens += [b"\xe4\xb8", b"\xe7\x9a", b" t"]
    ranks = {token: rank for rank, token in enumerate(tokens)}
    tok = Tokenizer(tokens, pattern="cl100k")
    expected = bpe.encode(text.encode(), ranks, "cl100k")
    inputs = [text, text.encode()] if whole else [text + " " + text, (text + " " + text).encode()]
    if not whole:
        expected = bpe.encode(inputs[1], ranks, "cl100k")
    for _ in range(4):
        for given_text in inputs:
            assert tok.encode(given_text).tolist() == expected
            assert tok.count(given_text) == len(expected)


@pytest.mark.parametrize("ends", [[4], [2, 1], [-1], [1, 2**62]])
def test_pieces_lie_in_the_text(ends: list[int]) -> None:
    """Natively: what is read goes by these places."""
    model = Tokenizer(BYTES, pattern="gpt2").text_pipeline.model
    assert isinstance(model, BytePair)
    places = np.array(ends, np.int64)
    with pytest.raises(ValueError, match=r"ends: got -?\d+, take ascending places in 3 bytes"):
        model.native.encode_pieces("abc", places)
    with pytest.raises(ValueError, match=r"ends: got -?\d+, take ascending places in 3 bytes"):
        model.native.encode_pieces_with_dropout("abc", places, 0, 0.5, 0)
