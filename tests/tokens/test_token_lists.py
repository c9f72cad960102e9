"""A tokenizer made from its tokens alone: as tiktoken makes it, and with pairs that merge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tiktoken
from hypothesis import given, strategies as st

from tiktoken_cases import PATTERNS
from tokfrag import Tokenizer

BYTES = [bytes([byte]) for byte in range(256)]
WORDS = [b"ab", b"abc", b" a", b"bc", "é".encode()]


@given(text=st.text("abc é1\n", max_size=20), order=st.permutations(WORDS))
def test_a_list_and_a_dict_are_those_of_tiktoken(text: str, order: list[bytes]) -> None:
    ranks = {token: 3 * rank for rank, token in enumerate([*BYTES, *order])}
    theirs = tiktoken.Encoding(
        "x", pat_str=PATTERNS["gpt2"], mergeable_ranks=ranks, special_tokens={"<end>": 9999}
    )
    by_id = Tokenizer(ranks, pattern="gpt2", special_tokens={"<end>": 9999})
    assert by_id.encode(text).tolist() == theirs.encode_ordinary(text)
    assert by_id.vocab_size == theirs.n_vocab
    listed = Tokenizer(list(ranks), pattern="gpt2")
    assert np.array_equal(3 * listed.encode(text), by_id.encode(text))
    # The order of a dict means nothing, the ids do.
    turned = Tokenizer(dict(reversed(ranks.items())), pattern="gpt2")
    assert turned.encode(text).tolist() == by_id.encode(text).tolist()


def test_only_the_pairs_that_are_given_merge() -> None:
    tok = Tokenizer([*BYTES, b"ab", b"bc", b"abc"], pattern=None, merges=[(b"b", b"c")])
    assert tok.encode("abc").tolist() == [97, 257]
    tok = Tokenizer(
        [*BYTES, b"ab", b"bc", b"abc"], pattern=None, merges=[(b"a", b"b"), (b"ab", b"c")]
    )
    assert tok.encode("abc").tolist() == [258]


@pytest.mark.parametrize(
    ("tokens", "options", "error", "message"),
    [
        ([*BYTES, b"a"], {}, ValueError, "twice|same|two"),
        ([*BYTES, b""], {}, ValueError, "empty"),
        (BYTES[:9], {}, ValueError, "byte"),
        ([*BYTES, "ab"], {}, TypeError, "tokens: got 'ab': 256, takes bytes: int"),
        ("ab", {}, TypeError, "takes bytes: int"),
        ({b"a": 1.5}, {}, TypeError, "tokens: got b'a': 1.5"),
        ({b"a": -1}, {}, ValueError, "tokens: b'a' has id -1, takes 0 to"),
        (BYTES, {"merges": [(b"a", b"b")]}, ValueError, "merges: pair 0, .*: b'ab' is no token"),
        (BYTES, {"special_tokens": {"<a>": 300, "<b>": 300}}, ValueError, "two have the same id"),
        (BYTES, {"special_tokens": {"<a>": 1 << 24}}, ValueError, "outside 0 to 16777215"),
        (BYTES, {"special_tokens": {b"<a>": 300}}, TypeError, "special_tokens: expected str: int"),
        (BYTES, {"pattern": "("}, ValueError, "neither a known name"),
        (BYTES, {"pattern": 5}, TypeError, "pattern: expected str or None"),
    ],
)
def test_faulty_arguments(
    tokens: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Tokenizer(tokens, **{"pattern": "gpt2", **options})
