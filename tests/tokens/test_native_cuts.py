"""Words by a native scanner and a memory of their ids, beside the steps they stand for."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from test_scanning import same_classes
from tokenizers import Regex, Tokenizer as Theirs, models, pre_tokenizers

from family_cases import FAMILIES
from token_cases import TEXTS
from tokfrag import Tokenizer
from tokfrag._core import tokens as native
from tokfrag._core.wordpiece import WordTable
from tokfrag.tokens.models.by_parts import PartsModel
from tokfrag.tokens.models.native_cuts import native_cuts

CLIP = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
STEPS = {
    "clip": pre_tokenizers.Split(Regex(CLIP), "removed", True),
    "whitespace": pre_tokenizers.Whitespace(),
    "bert": pre_tokenizers.BertPreTokenizer(),
}


@pytest.mark.parametrize("name", list(STEPS))
@given(text=TEXTS)
def test_pieces_without_white_space_are_those_of_the_step(name: str, text: str) -> None:
    utf8 = text.encode("utf-8", "replace")
    text = utf8.decode()
    if not same_classes(text):
        return
    ends = [0, *native.scan(name, utf8).tolist()]
    pieces = [utf8[begin:end].decode() for begin, end in pairwise(ends)]
    spaces = "\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000 \t\n\x0b\x0c\r"
    spaces += "".join(map(chr, range(0x2000, 0x200B)))
    kept = [piece for piece in pieces if piece[0] not in spaces]
    assert kept == [piece for piece, _ in STEPS[name].pre_tokenize_str(text)]


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("CLIP", "clip"),
        ("OpenAI-GPT", "bert"),
        ("Herbert", "bert"),
        ("WordPiece by parts", "whitespace"),
        ("WordLevel", "whitespace"),
    ],
)
def test_families_are_cut_natively(name: str, pattern: str) -> None:
    model = Tokenizer.adopt(FAMILIES[name]()).text_pipeline.model
    assert isinstance(model, PartsModel)
    assert native_cuts(model.description.cuts) == pattern


def test_clip_as_transformers_builds_it_cuts_the_same() -> None:
    """Its ByteLevel has GPT-2's pattern, which leaves the pieces as they are."""
    theirs = FAMILIES["CLIP"]()
    theirs.pre_tokenizer = pre_tokenizers.Sequence(
        [STEPS["clip"], pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    ours = Tokenizer.adopt(theirs)
    assert native_cuts(ours.text_pipeline.model.description.cuts) == "clip"
    for text in ("a photo of 12 cats, isn't it?", "naïve ''s 你好\u3000x"):
        assert ours(text).input_ids == theirs.encode(text).ids


def test_more_words_than_are_remembered() -> None:
    """Words that are many, long, or come again after all were forgotten."""
    words = [f"w{i}" for i in range(70_000)]
    table, asked = WordTable("whitespace"), []

    def encode_word(word: bytes) -> np.ndarray:
        asked.append(word)
        return np.array([len(word), word[-1]], np.uint32)

    long = "x" * 65
    for _ in range(2):
        ids = table.encode(" ".join([*words, long, "w0"]), encode_word)
        every = [*words, long, "w0"]
        assert ids[::2].tolist() == [len(word) for word in every]
        assert ids[1::2].tolist() == [ord(word[-1]) for word in every]
    assert asked.count(long.encode()) == 2
    asked.clear()
    assert table.encode("w0  w0\n", encode_word).tolist() == [2, ord("0")] * 2
    assert not asked


def test_an_error_in_a_word_is_the_callers() -> None:
    def encode_word(word: bytes) -> np.ndarray:
        raise KeyError(word.decode())

    with pytest.raises(KeyError, match="cat"):
        WordTable("whitespace").encode("cat", encode_word)
    with pytest.raises(ValueError, match="pattern: unknown name"):
        WordTable("none")
    with pytest.raises(TypeError, match="text: expected str or bytes"):
        WordTable("bert").encode(5, encode_word)  # type: ignore[arg-type]


def test_what_is_not_utf8_is_read_as_the_steps_read_it() -> None:
    theirs = Theirs(models.WordLevel({"[UNK]": 0, "\ufffd": 1, "a": 2}, "[UNK]"))
    theirs.pre_tokenizer = pre_tokenizers.Whitespace()
    ours = Tokenizer.adopt(theirs)
    for data in (b"a \xff a", b"a\xe4\xbd a", b"\xff\xff"):
        assert ours.encode(data).tolist() == theirs.encode(data.decode("utf-8", "replace")).ids
