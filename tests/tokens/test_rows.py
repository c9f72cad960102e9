"""Many short texts are encoded together: each has the ids that it has alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tokfrag import TokenBatch, Tokenizer
from tokfrag.tokens.patterns import REGEX

TOKENS = [bytes([byte]) for byte in range(256)]
TOKENS += [b"ab", b" a", b"the", b" the", b"\n\n", b".\n", b"'s", b"12"]
TOKENS += ["你".encode(), "好。".encode()]
TOKENIZERS = {name: Tokenizer(TOKENS, pattern=name) for name in REGEX}

# What patterns look at on either side of a place: cases, digits, marks, blanks, ends of lines.
ENDS = st.sampled_from([*"aB你かéßЯ٣ق1'.。🙂_/ \n\t\0", "the", "'s", "123", "!?", "  ", "\r\n"])
ENDS |= st.sampled_from(["\u3000", "\u2028", "e\u0301"])
ROWS = st.lists(st.lists(ENDS, max_size=6).map("".join), max_size=12)


def alone(tok: Tokenizer, rows: list[str]) -> list[list[int]]:
    return [tok.encode(row).tolist() for row in rows]


@pytest.mark.parametrize("name", list(REGEX))
@given(rows=ROWS)
@settings(max_examples=40)
def test_no_row_sees_its_neighbours(name: str, rows: list[str]) -> None:
    tok = TOKENIZERS[name]
    assert tok.encode_batch(rows, threads=1).tolist() == alone(tok, rows)
    assert tok.encode_batch([row.encode() for row in rows], threads=1).tolist() == alone(tok, rows)


def texts_of_all_lengths() -> list[str]:
    random = np.random.default_rng(0)
    words = [
        "the",
        " the",
        "ab",
        " ab's",
        "\n",
        "12345",
        " 你好。",
        "か",
        "🙂",
        "!",
        "  ",
        "x" * 90,
    ]
    lengths = [*range(40), *random.integers(0, 5, 400), 3000, 0, 9000, 1, 40_000, 2]
    return ["".join(random.choice(words, n)) for n in lengths]


@pytest.mark.parametrize("name", ["gpt2", "cl100k", "o200k"])
@pytest.mark.parametrize("threads", [1, 2])
def test_rows_of_all_lengths(name: str, threads: int) -> None:
    tok, texts = TOKENIZERS[name], texts_of_all_lengths()
    assert tok.encode_batch(texts, threads=threads).tolist() == alone(tok, texts)
    mixed = [text.encode() if n % 3 else text for n, text in enumerate(texts)]
    assert tok.encode_batch(mixed, threads=threads).tolist() == alone(tok, texts)


def test_rows_without_a_byte() -> None:
    tok = TOKENIZERS["gpt2"]
    empty = [""] * 1000
    assert tok.encode_batch(empty) == TokenBatch(np.empty(0, np.uint32), np.zeros(1001, np.int64))
    assert tok.encode_batch([*empty, "ab", *empty, "ab"]).lengths.sum() == 2


def test_rows_of_bytes_that_are_no_utf8() -> None:
    random = np.random.default_rng(1)
    rows = [random.integers(0, 256, n, np.uint8).tobytes() for n in random.integers(0, 30, 500)]
    rows += [b"\xe4\xbd", b"\xa0the", b"\xf0\x9f", b"\x99\x82"]  # a character cut by the edge
    for name in ("gpt2", "cl100k"):
        tok = TOKENIZERS[name]
        assert tok.encode_batch(rows).tolist() == [tok.encode(row).tolist() for row in rows]
