"""WordPiece training: a defined order, and Hugging Face's tokens where it has no choice."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings, strategies as st

from tokfrag.reference import bpe_training as reference
from tokfrag.tokens.models.wordpiece import WordPieceTokenizer
from tokfrag.tokens.training.wordpiece import train_wordpiece

WORDS = st.lists(st.text("abc", min_size=1, max_size=8), min_size=1, max_size=30)


@settings(max_examples=100)
@given(WORDS, st.integers(0, 20), st.integers(0, 3))
def test_twin(words: list[str], merges: int, min_frequency: int) -> None:
    alphabet = sorted(set("".join(words)))
    later = sorted({char for word in words for char in word[1:]})
    first = ["[UNK]", *alphabet, *("##" + char for char in later)]
    ids = {name: id for id, name in enumerate(first)}
    corpus = [
        ([ids[word[0]], *(ids["##" + char] for char in word[1:])], words.count(word))
        for word in sorted(set(words))
    ]
    # Spelled so that the two kinds of symbol stay apart.
    spellings = [b"", *(char.upper().encode() for char in alphabet), *(c.encode() for c in later)]
    size = len(first) + merges
    expected, _, _ = reference.train(corpus, spellings, size, min_frequency=min_frequency)
    vocab = train_wordpiece(
        [" ".join(words)], size, min_frequency=min_frequency, special_tokens=["[UNK]"]
    )
    spelled = [token.decode() for token in expected[len(first) :]]
    named = [text.lower() if text[0].isupper() else "##" + text for text in spelled]
    assert list(vocab) == first + named
    assert list(vocab.values()) == list(range(len(vocab)))


def test_order_of_texts_does_not_matter() -> None:
    texts = [f"word{i % 7} some{i % 3}thing else {i}" for i in range(200)]
    shuffled = list(texts)
    Random(1).shuffle(shuffled)
    assert train_wordpiece(texts, 120) == train_wordpiece(shuffled, 120)


def test_tokens_of_hugging_face() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    # Every count differs, so that there are no ties to break.
    texts = ["Café"] * 50 + ["cab"] * 31 + ["do 你!"] * 17 + ["eff"] * 9 + ["once"]
    theirs = tokenizers.BertWordPieceTokenizer()
    theirs.train_from_iterator(texts, vocab_size=1000, min_frequency=2, show_progress=False)
    ours = train_wordpiece(texts, 1000, min_frequency=2)
    assert set(ours) == set(theirs.get_vocab())
    assert WordPieceTokenizer(ours).encode("cafe cab").tolist() == [ours["cafe"], ours["cab"]]


def test_rare_characters_are_passed_over() -> None:
    vocab = train_wordpiece(["aab xab"], 100, limit_alphabet=2, special_tokens=[])
    assert list(vocab) == ["a", "b", "##a", "##b", "##ab"]


def test_arguments() -> None:
    with pytest.raises(TypeError, match="texts"):
        train_wordpiece("text")
    with pytest.raises(TypeError, match="item 1"):
        train_wordpiece(["a", b"b"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="prefix"):
        train_wordpiece(["a"], prefix="")
    with pytest.raises(ValueError, match="vocab_size"):
        train_wordpiece(["a"], -1)
