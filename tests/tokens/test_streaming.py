"""Decoding as ids come: joined, what decoding all of them at once gives, of every model."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, strategies as st

from tokfrag import Tokenizer
from tokfrag.tokens.models.piece_decoding import ModelDecoding, PieceDecoding
from tokfrag.tokens.models.sentencepiece_bpe import SentencePieceBpeValues
from tokfrag.tokens.models.unigram import UnigramValues
from tokfrag.tokens.specification import AddedToken, Pipeline, Specification, WordPieceModel

BYTES = [bytes([byte]) for byte in range(256)] + ["你".encode()[:2], b" the", "é ".encode()]
WORDS = ("[PAD]", "[UNK]", "the", "cat", "##s", ",", "'", "n't", "é", "##你")


PIECES = ("<unk>", "<s>", "\u2581", "a", "\u2581b", "\u2581\u2581", "é", "你", "c\u2581d")
DECODINGS: dict[str, PieceDecoding | ModelDecoding] = {
    "t5": PieceDecoding(drop_first="\u2581"),
    "llama": PieceDecoding(byte_fallback=True, strip=(" ", 1)),
    "joint": PieceDecoding(replace=(), joint=" "),
    "model": ModelDecoding(
        control=frozenset({1}),
        unknown=0,
        unk_surface=" \u2047 ",
        bytes=tuple((len(PIECES) + byte, byte) for byte in range(256)),
        prefix=True,
        blanks=True,
    ),
}


def pieces(kind: str, decoding: PieceDecoding | ModelDecoding) -> Tokenizer:
    names = (*PIECES, *(f"<0x{byte:02X}>" for byte in range(256)))
    tokens = tuple((name, id) for id, name in enumerate(names))
    model: UnigramValues | SentencePieceBpeValues
    if kind.startswith("unigram"):
        model = UnigramValues(tokens, (-1.0,) * len(tokens), 0, decoding=decoding)
    else:
        model = SentencePieceBpeValues(tokens, merges=(), unknown=0, decoding=decoding)
    pipeline = Pipeline((AddedToken("<s>", 1), AddedToken("[new]", 300, special=False)))
    return Tokenizer.from_specification(Specification(model, pipeline))


@cache
def tokenizer(kind: str) -> Tokenizer:
    if kind.startswith(("unigram", "bpe")):
        return pieces(kind, DECODINGS[kind.split()[1]])
    if kind.startswith("wordpiece"):
        words = tuple((word, id) for id, word in enumerate(WORDS))
        model = WordPieceModel(words, spaced_decoding=kind.endswith("spaced"))
        pipeline = Pipeline((AddedToken("[PAD]", 0), AddedToken("[new]", 12, special=False)))
        return Tokenizer.from_specification(Specification(model, pipeline))
    made = Tokenizer(BYTES, pattern="gpt2", special_tokens={"<end>": 260})
    specification = made.specification
    if kind == "bytes spaced":
        specification = replace(
            specification, model=replace(specification.model, spaced_decoding=True)
        )
    return Tokenizer.from_specification(specification)


KINDS = (
    *("bytes", "bytes spaced", "wordpiece", "wordpiece spaced"),
    *(f"{model} {decoding}" for model in ("unigram", "bpe") for decoding in DECODINGS),
)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), skip=st.booleans(), errors=st.sampled_from(["replace", "ignore"]))
def test_a_stream_is_what_decoding_gives(
    kind: str, data: st.DataObject, skip: bool, errors: str
) -> None:
    tok = tokenizer(kind)
    known = [id for id in range(len(tok)) if tok.text_pipeline.model.token_bytes(id) is not None]
    # Those of letters and blanks as often as those of bytes, of which there are so many.
    ids = st.lists(st.sampled_from(known[:12]) | st.sampled_from(known), max_size=12)
    prompt, answer = data.draw(ids), data.draw(ids)
    whole = tok.decode([*prompt, *answer], errors=errors, skip_special_tokens=skip)
    plain = tok.stream_decoder(errors=errors, skip_special_tokens=skip)
    parts = [plain.push(id) for id in [*prompt, *answer]]
    end = plain.finish()
    assert "".join(parts) + end == whole
    after = tok.stream_decoder(errors=errors, skip_special_tokens=skip, prompt_ids=prompt)
    for _ in range(2):  # finished, it is as new
        assert [after.push(id) for id in answer] == parts[len(prompt) :]
        assert after.finish() == end


def test_a_prompt_of_no_token_is_refused() -> None:
    with pytest.raises(IndexError, match="no token has id 999"):
        tokenizer("bytes").stream_decoder(prompt_ids=[999])
