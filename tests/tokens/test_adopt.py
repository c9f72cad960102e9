"""Adopting what a user already holds: the same ids, or a refusal with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings, strategies as st
from tokenizers import decoders, models, pre_tokenizers

from tiktoken_cases import PATTERNS, encoding
from tokfrag import Tokenizer
from tokfrag.compat import adopt


@pytest.mark.parametrize("pattern", PATTERNS)
@given(text=st.text(max_size=30) | st.text("the 12'S\n<|endoftx>", max_size=40))
@settings(max_examples=200)
def test_an_encoding_of_tiktoken(pattern: str, text: str) -> None:
    theirs = encoding(pattern)
    ours = Tokenizer.adopt(theirs)
    assert ours.encode(text).tolist() == theirs.encode_ordinary(text)
    assert ours.encode(text, allowed_special="all").tolist() == theirs.encode(
        text, allowed_special="all"
    )
    assert ours.vocab_size == theirs.n_vocab
    assert ours.special_tokens == theirs._special_tokens


@pytest.mark.parametrize("pattern", [r"\w+|\W+", r"[^a]+$|a|[^a]", r"(?i:straße)|[\s\S]"])
def test_a_pattern_of_unsure_meaning_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="may mean something else outside tiktoken"):
        adopt(encoding(pattern))


def test_text_that_tiktoken_loses_is_an_error() -> None:
    theirs = encoding(r"\p{L}+")
    assert theirs.encode_ordinary("a 1") == [97]
    with pytest.raises(ValueError, match="does not match the text from character 1 on"):
        adopt(theirs).encode("a 1")


def hugging_face() -> tokenizers.Tokenizer:
    """One whose special token stands behind a gap, as a file could not say."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = tokenizers.Tokenizer(models.BPE({char: id for id, char in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<end>"])
    return made


def test_a_tokenizer_of_hugging_face_and_what_wraps_it() -> None:
    theirs = hugging_face()

    class Fast:
        """What a fast tokenizer of transformers looks like from here."""

        backend_tokenizer = theirs

    implementation = tokenizers.implementations.BaseTokenizer(theirs)
    for held in (theirs, Fast(), implementation):
        ours = Tokenizer.adopt(held)
        for text in ("the <end> cat", "你好"):
            assert ours.encode(text, allowed_special="all").tolist() == theirs.encode(text).ids
            assert ours(text).input_ids == theirs.encode(text).ids


def test_its_settings_come_along() -> None:
    theirs = hugging_face()
    theirs.enable_truncation(4)
    theirs.enable_padding(pad_id=7, length=6, direction="left")
    texts = ["a", "abcdefgh", "<end><end>"]
    wanted = [encoding.ids for encoding in theirs.encode_batch(texts)]
    assert adopt(theirs)(texts).input_ids == wanted
    theirs.encode_special_tokens = True
    wanted = [encoding.ids for encoding in theirs.encode_batch(texts)]
    assert adopt(theirs)(texts).input_ids == wanted


def test_what_cannot_be_reproduced_is_refused() -> None:
    theirs = hugging_face()
    theirs.pre_tokenizer = pre_tokenizers.UnicodeScripts()
    with pytest.raises(ValueError, match="tokenizer: pre_tokenizer: got 'UnicodeScripts', takes"):
        adopt(theirs)


def test_ours_stays_what_it_is_and_others_are_refused(tmp_path: Path) -> None:
    ours = adopt(hugging_face())
    assert adopt(ours) is ours
    for other in ("gpt2", tmp_path, None, object()):
        with pytest.raises(TypeError, match=r"takes a tiktoken\.Encoding"):
            adopt(other)
