"""BPE-dropout at encode: the twin's ids for any number of threads; what 0 and 1 mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from token_cases import FAMILIES, TEXTS, tokenizer
from tokfrag import Tokenizer
from tokfrag.reference import bpe

WORDS = [b"ab", b"abab", b"aa", b" a", b" ab", b"ba", "é".encode(), "你好".encode(), b"  ", b"bab"]
TOKENS = [bytes([byte]) for byte in range(256)] + WORDS
RANKS = {token: rank for rank, token in enumerate(TOKENS)}
words = st.text("ab 你好é\n1'", max_size=40)
seeds = st.integers(0, 2**64 - 1)
rates = st.sampled_from([0.1, 0.5, 0.9, 1.0])


@given(texts=st.lists(words | TEXTS, max_size=20), rate=rates, seed=seeds, data=st.data())
def test_equals_twin(texts: list[str], rate: float, seed: int, data: st.DataObject) -> None:
    family = data.draw(st.sampled_from([*FAMILIES, None]))
    tok = Tokenizer(TOKENS, pattern=family)
    batch = tok.encode_batch(texts, dropout=rate, seed=seed)
    assert batch == tok.encode_batch(texts, dropout=rate, seed=seed, threads=1)
    for index, text in enumerate(texts):
        wanted = bpe.encode_with_dropout(
            text.encode(), RANKS, family, dropout=rate, seed=seed, stream=index << 40
        )
        assert batch[index].tolist() == wanted
        if index == 0:
            assert tok.encode(text, dropout=rate, seed=seed).tolist() == wanted


@given(text=words, rate=rates, seed=seeds, data=st.data())
def test_listed_merges_equal_twin(text: str, rate: float, seed: int, data: st.DataObject) -> None:
    joins = [
        (token[:cut], token[cut:])
        for token in WORDS
        for cut in range(1, len(token))
        if token[:cut] in RANKS and token[cut:] in RANKS
    ]
    pairs: Sequence[tuple[bytes, bytes]] = data.draw(st.permutations(joins))
    tok = Tokenizer(
        TOKENS,
        pattern="gpt2",
        merges=pairs,
    )
    merges = {pair: rank for rank, pair in enumerate(pairs)}
    assert tok.encode(text, dropout=rate, seed=seed).tolist() == bpe.encode_with_dropout(
        text.encode(), RANKS, "gpt2", dropout=rate, seed=seed, merges=merges
    )


def test_nothing_dropped_and_all_dropped(data: Path) -> None:
    tok = tokenizer(data, "cl100k")
    text = (data / "multilingual.txt").read_text("utf-8")[:30_000]
    np.testing.assert_array_equal(tok.encode(text, dropout=0.0, seed=5), tok.encode(text))
    assert tok.encode_batch([text], dropout=0) == tok.encode_batch([text])
    bytes_alone = [tok.token_to_id(bytes([byte])) for byte in text.encode()]
    assert tok.encode(text, dropout=1.0, seed=5).tolist() == bytes_alone


def test_seeded_rare_and_whole(data: Path) -> None:
    tok = tokenizer(data, "cl100k")
    texts = (data / "english.txt").read_text("utf-8")[:200_000].split("\n\n")
    batch = tok.encode_batch(texts, dropout=0.1, seed=1)
    for threads in (1, 2, 3, 7):
        assert tok.encode_batch(texts, dropout=0.1, seed=1, threads=threads) == batch
    assert batch != tok.encode_batch(texts, dropout=0.1, seed=2)
    assert [tok.decode(row) for row in batch] == texts
    lengths = [
        len(tok.encode_batch(texts, dropout=rate, seed=3).ids) for rate in (0.0, 0.1, 0.3, 0.6, 1.0)
    ]
    assert lengths == sorted(set(lengths))
    # The same text at another place, or a word at another place of a text, is drawn anew.
    rows = tok.encode_batch(["internationalization"] * 50, dropout=0.3, seed=0)
    assert len({row.tobytes() for row in rows}) > 5


def test_special_tokens_stay_whole() -> None:
    for pattern in ("gpt2", r"\w+|\W"):
        tok = Tokenizer(TOKENS, pattern=pattern, special_tokens={"<|x|>": 400})
        text = "ab<|x|>ab 你好<|x|>"
        ids = tok.encode(text, allowed_special="all", dropout=1.0)
        assert ids.tolist().count(400) == 2
        assert tok.decode(ids) == text
        assert 400 not in tok.encode(text, dropout=0.5)
        with pytest.raises(ValueError, match="holds the special token"):
            tok.encode(text, disallowed_special="all", dropout=0.5)
        half = tok.encode(text, allowed_special="all", dropout=0.5, seed=3)
        assert tok.encode_batch([text], allowed_special="all", dropout=0.5, seed=3)[0].tolist() == (
            half.tolist()
        )


@given(text=words, rate=rates, seed=seeds)
def test_an_expression_equals_the_family(text: str, rate: float, seed: int) -> None:
    """The same cuts made by the engine for expressions give the same draws."""
    native = Tokenizer(TOKENS, pattern="gpt2", special_tokens={"b你": 400})
    regex = Tokenizer(
        TOKENS,
        pattern=r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|(?:\s)",
        special_tokens={"b你": 400},
    )
    assert not regex.text_pipeline.model.finds_added
    for allowed in ((), "all"):
        assert native.encode_batch(
            [text, text], allowed_special=allowed, dropout=rate, seed=seed
        ) == regex.encode_batch([text, text], allowed_special=allowed, dropout=rate, seed=seed)


@settings(max_examples=30)
@given(texts=st.lists(words, max_size=5), seed=seeds)
def test_prepared_tokenizers(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], seed: int
) -> None:
    """Added tokens and normalisation around the model: as many draws, wherever the text stands."""
    import tokenizers

    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
    theirs.decoder = tokenizers.decoders.ByteLevel()
    theirs.train_from_iterator(
        ["ab abab aab bab"] * 3,
        tokenizers.trainers.BpeTrainer(
            vocab_size=270,
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    theirs.add_tokens(["1a"])
    tok = Tokenizer.adopt(theirs)
    batch = tok.encode_batch(texts, dropout=0.5, seed=seed)
    assert batch == tok.encode_batch(texts, dropout=0.5, seed=seed, threads=1)
    alone = tok.encode_batch(texts[:1], dropout=0.5, seed=seed)
    for text in texts[:1]:
        np.testing.assert_array_equal(alone[0], batch[0])
        np.testing.assert_array_equal(alone[0], tok.encode(text, dropout=0.5, seed=seed))
    assert tok.encode_batch(texts, dropout=0.0) == tok.encode_batch(texts)


@pytest.mark.parametrize("dropout", [-0.1, 1.5, float("nan")])
def test_faulty_arguments(dropout: float) -> None:
    tok = Tokenizer(TOKENS, pattern="gpt2")
    with pytest.raises(ValueError, match="dropout: got"):
        tok.encode("ab", dropout=dropout)
    with pytest.raises(ValueError, match="dropout: got"):
        tok.encode_batch(["ab"], dropout=dropout)
    with pytest.raises(TypeError, match="dropout: got"):
        tok.encode("ab", dropout="0.5")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="seed: got"):
        tok.encode("ab", dropout=0.5, seed=-1)


def test_wordpiece_has_none(tmp_path: Path) -> None:
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("[UNK]\na\n##b\n")
    tok = Tokenizer.from_wordpiece(vocab)
    with pytest.raises(ValueError, match="WordPiece merges nothing"):
        tok.encode("ab", dropout=0.5)
    assert tok.encode_batch(["ab"], dropout=0.0)[0].tolist() == [1, 2]


def test_a_long_piece_is_quick(data: Path) -> None:
    tok = Tokenizer(TOKENS, pattern=None)
    text = "ab" * 200_000
    ids = tok.encode(text, dropout=0.5, seed=9)
    assert tok.decode(ids) == text
    assert 100_000 < len(ids) < 400_000
