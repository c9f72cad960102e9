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


@st.composite
def long_words(draw: st.DrawFn) -> bytes:
    """A few letters in any order or over and over, perhaps with one of them out of step."""
    letters = st.sampled_from([b"a", b"b", b"c"])
    if draw(st.booleans()):
        return b"".join(draw(st.lists(letters, min_size=33, max_size=300)))
    unit = b"".join(draw(st.lists(letters, min_size=1, max_size=7)))
    size = draw(st.integers(33, 300))
    at = draw(st.integers(0, size))
    text = (unit * size)[:size]
    return text[:at] + draw(letters) + text[at:]


TOKENS = st.lists(
    st.lists(st.sampled_from(list(b"abc")), min_size=2, max_size=40).map(bytes),
    max_size=40,
    unique=True,
)


@given(text=long_words(), joined=TOKENS)
@settings(max_examples=150)
@example(text=b"b" + b"a" * 299, joined=[b"aa", b"aaaa", b"a" * 8, b"ba"])
@example(text=b"ab" * 100, joined=[b"ba", b"ab", b"abab", b"baba", b"a" * 33])
def test_windows_give_what_plain_merging_gives(text: bytes, joined: list[bytes]) -> None:
    """Whatever the order of ranks, also where what is merged first makes a token of lower rank."""
    ranks = {token: rank for rank, token in enumerate([*BYTES, *joined])}
    expected = [ranks[part] for part in bpe.merge(text, ranks)] if text not in ranks else None
    if expected is not None:
        assert Tokenizer(list(ranks), pattern=None).encode(text).tolist() == expected


@given(text=long_words(), seed=st.integers(0, 10**6), ordered=st.booleans())
@settings(max_examples=100)
def test_windows_where_merges_are_listed(text: bytes, seed: int, ordered: bool) -> None:
    rng = random.Random(seed)
    known = [b"a", b"b", b"c"]
    pairs: list[tuple[bytes, bytes]] = []
    for _ in range(16):
        pair = rng.choice(known), rng.choice(known)
        if pair not in pairs and len(pair[0] + pair[1]) < 32:
            pairs.append(pair)
            known.append(pair[0] + pair[1])
    if not ordered:
        rng.shuffle(pairs)
    tokens = list(dict.fromkeys([*BYTES, *known]))
    merges = {pair: rank for rank, pair in enumerate(pairs)}
    expected = [tokens.index(part) for part in bpe.merge_listed(text, merges)]
    assert Tokenizer(tokens, pattern=None, merges=pairs).encode(text).tolist() == expected


@pytest.mark.parametrize("gap", [7, 3_000, 300_000])
def test_special_tokens_in_a_text_that_threads_share(gap: int) -> None:
    """A long text is cut at its special tokens and between them: close together and far apart."""
    special = {"<|end|>": 300, "<|": 301}
    tok = Tokenizer([*BYTES, b" a", b"ab"], pattern="cl100k", special_tokens=special)
    pick = random.Random(gap)
    words = [" a", "ab", "ba", "\u4e00", "<", "\n"]
    parts: list[str] = []
    for _ in range(2_000_000 // (2 * gap) + 2):
        parts += ["".join(pick.choices(words, k=gap)), pick.choice(["<|end|>", "<|"])]
    text = "".join(parts)
    alone = tok.encode_batch([text], allowed_special="all", threads=1)
    for threads in (2, 3):
        assert tok.encode_batch([text], allowed_special="all", threads=threads) == alone
        only = tok.encode_batch([text], allowed_special={"<|end|>"}, threads=threads)
        assert only == tok.encode_batch([text], allowed_special={"<|end|>"}, threads=1)
    assert int((alone.ids >= 300).sum()) == text.count("<|")


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
