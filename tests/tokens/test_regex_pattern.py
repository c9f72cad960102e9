"""Cuts by expressions of one's own: many pieces a search, and on threads, as one by one."""

from __future__ import annotations

import time
from threading import Event

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tokfrag import Tokenizer
from tokfrag.tokens import regex_pattern
from tokfrag.tokens.models import byte_pair
from tokfrag.tokens.regex_pattern import RegexPattern
from tokfrag.tokens.sharing import even_parts, in_threads

FAST = [
    r"\w+|\s+|[^\w\s]+",
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i)ab|[^A]+?|a",
    r"(?<=a)b+|a|b{2}|[^a]",
    r"[\w&&[a-c]]+|(?s:.)",
    r"(?s:.){1,7}",
    r"^a+|\b\w|(?s:.)",
]
PLAIN = [r"(\w)\1*|\s+|[^\w\s]+", r"\Ga|(?s:.)", "(?x) a+ | [^a]  # the rest"]
texts = st.text("ab A.\n1é'", max_size=90) | st.text(max_size=30)


@settings(max_examples=200)
@given(texts, st.sampled_from(FAST), st.sampled_from([1, 2, 5]), st.sampled_from([1, 3, 16]))
def test_as_piece_by_piece(text: str, pattern: str, threads: int, long: int) -> None:
    cuts = RegexPattern(pattern)
    assert cuts._in_rows is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regex_pattern, "_LONG", long)
        patch.setattr(regex_pattern, "_FEW", long)
        utf8, ends = cuts.ends(text, threads)
    text = utf8.decode("utf-8", "surrogateescape")
    np.testing.assert_array_equal(ends, regex_pattern._byte_ends(text, cuts._plain_ends(text)))


@pytest.mark.parametrize("pattern", PLAIN)
def test_expressions_that_would_mean_something_else(pattern: str) -> None:
    cuts = RegexPattern(pattern)
    assert cuts._in_rows is None
    assert cuts.ends("aab b.", 2)[1][-1] == 6


@pytest.mark.parametrize("threads", [1, 3])
def test_refusals(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regex_pattern, "_LONG", 4)
    with pytest.raises(ValueError, match="does not match the text from character 8 on: '!aaa'"):
        RegexPattern("a+").ends("aaaaaaaa!aaa", threads)
    with pytest.raises(ValueError, match="does not match the text from character 1 on"):
        RegexPattern("(?<=b)|b").ends("b" * 12, threads)
    monkeypatch.setattr(regex_pattern, "_seconds", lambda text: 0.05)
    begin = time.process_time()
    with pytest.raises(ValueError, match="takes too long on a text of 40 characters"):
        RegexPattern("(?:a|aa)+$").ends("a" * 39 + "!", threads)
    assert time.process_time() - begin < 5


def test_batches_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_pair, "_ROWS_A_THREAD", 16)
    tokenizer = Tokenizer([bytes([byte]) for byte in range(256)] + [b"ab"], pattern=r"\w+|\W")
    rows = ["ab ba, " * (size % 9) for size in range(50)]
    for threads in (1, 2, 7):
        batch = tokenizer.encode_batch(rows, threads=threads)
        assert batch.tolist() == [tokenizer.encode(row).tolist() for row in rows]
    refusing = Tokenizer([bytes([byte]) for byte in range(256)], pattern="a+")
    with pytest.raises(ValueError, match="from character 3 on"):
        refusing.encode_batch(["a" * 9, "aaab", *["aa"] * 9, "ab" * 9], threads=3)


def test_jobs_in_threads() -> None:
    def wait(stop: Event) -> int:
        assert stop.wait(20)
        return 1

    def fail(stop: Event) -> int:
        raise KeyError(1)

    def end(stop: Event) -> int:
        raise KeyboardInterrupt

    assert in_threads([lambda stop: 1, lambda stop: 2]) == [1, 2]
    with pytest.raises(KeyError):
        in_threads([fail, lambda stop: 1])
    with pytest.raises(KeyboardInterrupt):
        in_threads([wait, end])
    for sizes, parts in (([3, 0, 1, 7, 7], 3), ([1], 4), ([0, 0], 2), (list(range(40)), 7)):
        found = even_parts(sizes, parts)
        assert [size for part in found for size in sizes[part]] == sizes
        assert len(found) <= parts
