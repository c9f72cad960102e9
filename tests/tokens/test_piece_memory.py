"""Pieces of more than 63 bytes are remembered, texts that come again keep their UTF-8: ids stay."""

from __future__ import annotations

import random
import sys

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tokfrag import Tokenizer
from tokfrag.reference import bpe

BYTES = [bytes([byte]) for byte in range(256)]
TOKENS = [*BYTES, b"ab", b"abab", b"ba", b"cc", b"==", b"====", b"ab" * 40]
RANKS = {token: rank for rank, token in enumerate(TOKENS)}


def expected(piece: bytes) -> list[int]:
    if piece in RANKS:
        return [RANKS[piece]]
    return [RANKS[part] for part in bpe.merge(piece, RANKS)]


@given(
    pieces=st.lists(
        st.builds(
            lambda unit, size: (unit * size)[:size],
            st.lists(st.sampled_from(list(b"abc=")), min_size=1, max_size=6).map(bytes),
            st.sampled_from([62, 63, 64, 65, 79, 80, 81, 96, 200]),
        ),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=60)
def test_pieces_met_again_and_again(pieces: list[bytes]) -> None:
    """One tokenizer meets each of them four times, the others in between."""
    tok = Tokenizer(TOKENS, pattern=None)
    for _ in range(4):
        for piece in pieces:
            assert tok.encode(piece).tolist() == expected(piece)


@pytest.mark.parametrize("size", [64, 65, 80, 2047, 2048, 2049])
def test_pieces_that_differ_in_one_byte(size: int) -> None:
    tok = Tokenizer(TOKENS, pattern=None)
    fresh = Tokenizer(TOKENS, pattern=None)
    piece = (b"abcc" * size)[:size]
    places = [0, 15, 16, size // 2, size - 17, size - 2, size - 1]
    alike = [piece, *(piece[:at] + b"=" + piece[at + 1 :] for at in places)]
    # What is met for the first time is not remembered.
    first = [fresh.encode(other).tolist() for other in alike]
    assert first[0][:2] == expected(b"abcc")
    assert [tok.decode(ids).encode() for ids in first] == alike
    for _ in range(3):
        assert [tok.encode(other).tolist() for other in alike] == first


def test_more_than_the_memory_holds() -> None:
    """Some 5 MB of pieces that differ, each three times in a row: it begins anew."""
    tok = Tokenizer(TOKENS, pattern=None)
    pick = random.Random(5)
    kept = {}
    for number in range(2_700):
        piece = f"{number:08d}".encode() + pick.randbytes(8).hex().encode() + b"=" * 1_700
        first = tok.encode(piece)
        assert np.array_equal(tok.encode(piece), first)
        assert np.array_equal(tok.encode(piece), first)
        if number % 500 == 0:
            kept[piece] = first
    for piece, first in kept.items():
        assert np.array_equal(tok.encode(piece), first)
        assert np.array_equal(Tokenizer(TOKENS, pattern=None).encode(piece), first)


def test_words_of_four_ids_and_more() -> None:
    """Four fit an entry of the cache, five do not; each is met as first and as second of a line."""
    tok = Tokenizer(BYTES, pattern="cl100k")
    pick = random.Random(3)
    words = ["".join(pick.choices("abcdefgh", k=pick.randint(1, 15))) for _ in range(3_000)]
    for _ in range(3):
        pick.shuffle(words)
        text = " ".join(words)
        assert tok.encode(text).tolist() == list(text.encode())


def test_words_that_begin_with_zeros() -> None:
    """The half of a key that is all zero hashes to one line; what is there is still told apart."""
    tok = Tokenizer(BYTES, pattern="cl100k")
    text = " ".join("\0" * 8 + "!" * size + "?" * (7 - size) for size in range(1, 8)) * 3
    for _ in range(3):
        assert tok.encode(text).tolist() == list(text.encode())


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="str has no cached UTF-8 there")
@pytest.mark.parametrize("end", ["", "é", "\u4e00", "\U0001f600", "\ud800", "\udc00x"])
def test_a_text_met_twice(end: str) -> None:
    """Its UTF-8 is asked of Python then: also where it has none, and right after another text."""
    tok = Tokenizer(TOKENS, pattern="cl100k")
    text = "abab \u044f\n" * 2_000 + end
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    first = tok.encode(text)
    assert tok.decode(first) == whole
    for _ in range(3):
        assert np.array_equal(tok.encode(text), first)
    for other in ("abab \u0436\n" * 2_000, text, "ab", text, text):
        assert tok.decode(tok.encode(other)) == (whole if other is text else other)
