"""Descriptions of tokenizers: equal, and hashed as equal, where they say the same."""

from __future__ import annotations

from tokfrag import Tokenizer


def test_descriptions_with_merges_are_compared_and_hashed():
    pairs = [(b"a", b"b"), (b"ab", b"c")]
    tokens = [bytes([byte]) for byte in range(256)] + [b"ab", b"abc", b"bc"]

    def described(merges):
        return Tokenizer(tokens, pattern="gpt2", merges=merges).specification.model

    one, same, shorter, none = (described(m) for m in (pairs, pairs, pairs[:1], None))
    assert one == same
    assert hash(one) == hash(same)
    assert one != shorter
    assert one != none
    assert none == described(None)
    assert one != "a string"
    assert len({one, same, shorter, none}) == 3
