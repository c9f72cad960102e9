"""Word and character tokens, and the text normalisations."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, strategies as st

from tokfrag.tokens.simple import ENGLISH_STOP_WORDS, SimpleTokenizer, normalize_text


@given(st.text(max_size=40))
def test_characters_come_back(text: str) -> None:
    tokenizer = SimpleTokenizer.train([text], 1000, unit="char", unknown="[UNK]")
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.lists(st.text(max_size=30), max_size=5), st.integers(1, 10))
def test_words_by_frequency(texts: list[str], size: int) -> None:
    tokenizer = SimpleTokenizer.train(texts, size)
    counts = [sum(tokenizer.tokens(t).count(token) for t in texts) for token in tokenizer.vocab[1:]]
    assert counts == sorted(counts, reverse=True)
    assert tokenizer.vocab_size <= size
    for text in texts:
        expected = [
            tokenizer.vocab.index(token) if token in tokenizer.vocab else 0
            for token in tokenizer.tokens(text)
        ]
        assert tokenizer.encode(text).tolist() == expected


def test_normalisation() -> None:
    assert normalize_text("The cat, THE dog") == "The cat, THE dog"
    assert normalize_text("The cat, THE dog", stop_words={"the"}) == "cat, dog"
    assert normalize_text("Theory", stop_words=ENGLISH_STOP_WORDS) == "Theory"
    tokenizer = SimpleTokenizer(["?", "cat"], lowercase=True, stop_words={"the"})
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.encode("the CAT the mat").tolist() == [1, 0]


def test_arguments() -> None:
    with pytest.raises(ValueError, match="unit"):
        SimpleTokenizer(["a"], unit="byte")
    with pytest.raises(ValueError, match="vocab"):
        SimpleTokenizer([])
    with pytest.raises(ValueError, match="twice"):
        SimpleTokenizer(["a", "a"])
    with pytest.raises(IndexError, match="got 5"):
        SimpleTokenizer(["a"]).decode([5])
    with pytest.raises(TypeError, match="text"):
        SimpleTokenizer(["a"]).encode(b"a")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="vocab_size"):
        SimpleTokenizer.train(["a"], 0)
