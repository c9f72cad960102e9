"""Added tokens: found as Hugging Face finds them, by ten thousands, and more of them added."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import tokenizers
from hypothesis import example, given, settings, strategies as st
from tokenizers import normalizers, pre_tokenizers

from huggingface_cases import byte_level, load
from tokfrag import Tokenizer
from tokfrag._core.added_tokens import Finder
from tokfrag.tokens.specification import AddedToken

BYTES = [bytes([byte]) for byte in range(256)]
PLAIN = dict.fromkeys(("special", "normalized", "single_word", "lstrip", "rstrip"), False)
CONTENTS = ["<a>", "<ab>", "ab", "b  ", "  ", "\n", "naïve", "é<", "你"]
bits = st.sampled_from([*CONTENTS, *"ab<> né你1\n", "e\u0301", "x"])
flags = st.fixed_dictionaries(dict.fromkeys(PLAIN, st.booleans()))


@given(
    text=st.lists(bits, max_size=12).map("".join),
    chosen=st.dictionaries(st.sampled_from(CONTENTS), flags, max_size=4),
    normalizer=st.sampled_from([None, "NFC", "NFKC"]),
    space=st.booleans(),
)
@example(
    text="b    ",  # the first token of two blanks takes all four
    chosen={
        "  ": {
            "special": False,
            "normalized": False,
            "single_word": False,
            "lstrip": True,
            "rstrip": True,
        }
    },
    normalizer=None,
    space=False,
)
@example(
    text="b    ",  # but one that takes none from its left stands twice
    chosen={"  ": {**PLAIN, "rstrip": True}},
    normalizer=None,
    space=False,
)
@example(
    text="a  x b   \n ab",  # within what another takes, and blanks that go on behind it
    chosen={"  ": {**PLAIN, "rstrip": True}, "b  ": {**PLAIN, "rstrip": True}, "\n": PLAIN},
    normalizer="NFC",
    space=True,
)
@settings(max_examples=300)
def test_found_as_the_library_finds_them(
    text: str, chosen: dict[str, dict[str, bool]], normalizer: str | None, space: bool
) -> None:
    hf = byte_level()
    hf.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=space)
    if normalizer is not None:
        hf.normalizer = getattr(normalizers, normalizer)()
    hf.add_tokens(
        [tokenizers.AddedToken(content, **options) for content, options in chosen.items()]
    )
    ours = load(hf)
    wanted = hf.encode(text).ids
    assert ours.encode(text, allowed_special="all").tolist() == wanted
    assert ours.encode_batch([text, "x"], allowed_special="all")[0].tolist() == wanted
    assert ours.count(text, allowed_special="all") == len(wanted)


@given(
    text=st.text("ab<>", max_size=30),
    contents=st.lists(st.text("ab<>", min_size=1, max_size=4), min_size=1, max_size=5, unique=True),
    data=st.data(),
)
def test_the_finder_takes_the_leftmost_then_the_longest(
    text: str, contents: list[str], data: st.DataObject
) -> None:
    wanted = [data.draw(st.booleans()) for _ in contents]
    found = []
    at = 0
    while at < len(text):
        here = [
            c for c, want in zip(contents, wanted, strict=True) if want and text.startswith(c, at)
        ]
        if here:
            longest = max(here, key=len)
            found.append([at, at + len(longest), contents.index(longest)])
        at += len(max(here, key=len)) if here else 1
    finder = Finder([content.encode() for content in contents])
    assert finder.all(text.encode(), bytes(wanted)).tolist() == found
    assert finder.first(text, bytes(wanted)) == (found[0][2] if found else -1)


def test_ten_thousands_of_them_load_and_call_as_one_does() -> None:
    hf = byte_level()
    hf.normalizer = normalizers.NFC()
    content = json.loads(hf.to_str())
    first = len(content["model"]["vocab"])
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    content["added_tokens"] += [
        {"id": first + i, "content": f"<token {i}>", "special": i % 2 == 0, **plain}
        for i in range(28_682)
    ]
    ours = load(tokenizers.Tokenizer.from_str(json.dumps(content)))
    assert ours.encode("a<token 28681>").tolist()[-1] == first + 28_681
    assert first + 28_680 not in ours.encode("a<token 28680>")
    assert ours.encode("a<token 28680>", allowed_special={"<token 28680>"})[-1] == first + 28_680
    assert ours.as_huggingface().convert_ids_to_tokens(first + 5) == "<token 5>"


def test_a_text_is_looked_at_once_and_not_once_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short call asks nothing of each added token: 3,000 cost what none costs."""
    hf = byte_level()
    hf.normalizer = normalizers.NFC()
    hf.add_tokens([tokenizers.AddedToken(f"<{i}>", normalized=False) for i in range(3000)])
    ours = load(hf)
    looked = []
    monkeypatch.setattr(AddedToken, "plain", property(lambda token: looked.append(token)))
    for allowed in ((), "all", {"<end>"}):
        ours.encode("hello world", allowed_special=allowed)
    ours("hello world")
    assert looked == []


@pytest.mark.parametrize("content", ["đem", "naïve", "café", "č č", "cat", "你好"])
def test_accents_decode_to_themselves(content: str) -> None:
    hf = byte_level()
    hf.add_tokens([content])
    ours = load(hf)
    ids = ours.encode(f"a {content} b")
    assert ids.tolist() == hf.encode(f"a {content} b").ids
    assert ours.decode(ids) == f"a {content} b"
    assert ours.as_huggingface().convert_tokens_to_ids(content) == hf.token_to_id(content)


def test_a_spelling_of_other_bytes_is_refused() -> None:
    hf = byte_level()
    hf.add_tokens(["č"])
    with pytest.raises(ValueError, match="'č' is an added token, and the byte-level spelling of"):
        load(hf)


def test_without_a_decoder_tokens_are_parted_by_blanks() -> None:
    hf = byte_level()
    hf.decoder = None
    ours = load(hf)
    ids = hf.encode("the cat naïve").ids
    assert ours.decode(ids) == hf.decode(ids)
    stream = ours.stream_decoder()
    assert "".join(map(stream.push, ids)) + stream.finish() == hf.decode(ids)
    assert pickle.loads(pickle.dumps(ours)).decode(ids) == hf.decode(ids)


def test_adding_gives_a_new_tokenizer() -> None:
    tok = Tokenizer([*BYTES, b"ab"], pattern="gpt2", special_tokens={"<end>": 257})
    more = tok.add_tokens(["<tool>", "ab", "<end>"]).add_tokens("<pad>", special=True)
    assert (len(tok), len(more)) == (258, 260)
    assert more.encode("ab<tool>x<pad>").tolist()[:2] == [256, 258]
    assert more.special_tokens == {"<end>": 257, "<pad>": 259}
    assert more.encode("<pad>", allowed_special="all").tolist() == [259]
    assert more.decode([256, 258, 259]) == "ab<tool><pad>"
    wide = tok.add_tokens(AddedToken("<mask>", -1, special=False, lstrip=True))
    assert wide.encode("a  <mask>").tolist() == [97, 258]
    assert tok.add_tokens([]).encode("ab").tolist() == [256]
    for faulty, error in ((3, TypeError), ("", ValueError), (AddedToken("x", 0), ValueError)):
        with pytest.raises(error):
            tok.add_tokens([faulty])  # type: ignore[list-item]


def test_counting_and_cutting_with_special_tokens() -> None:
    tok = Tokenizer(BYTES, pattern="gpt2", special_tokens={"<|im_start|>": 256, "<|im_end|>": 257})
    text = "<|im_start|>hi<|im_end|>"
    assert tok.count(text) == len(text)
    assert tok.count(text, allowed_special="all") == 4
    assert tok.count([text, "a"], allowed_special={"<|im_end|>"}).tolist() == [15, 1]
    assert tok.truncate(text, 3, allowed_special="all") == "<|im_start|>hi"
    assert tok.truncate(text, 1, allowed_special="all") == "<|im_start|>"
    assert tok.truncate(text, 1) == "<"


def test_decoding_passes_over_what_it_is_told_to() -> None:
    tok = Tokenizer(BYTES, pattern="gpt2", special_tokens={"<end>": 300})
    with pytest.raises(IndexError, match="no token has id 299, at position 1"):
        tok.decode([97, 299, 98])
    assert tok.decode([97, 299, 98, 10**6], unknown="skip") == "ab"
    assert tok.decode([97, 300, 98], skip_special_tokens=True) == "ab"
    assert tok.decode_batch([[97, 300], [299]], unknown="skip") == ["a<end>", ""]
    assert tok.decode(np.array([], np.int64), unknown="skip") == ""
    with pytest.raises(ValueError, match="unknown: got 'drop', takes 'error' or 'skip'"):
        tok.decode([97], unknown="drop")
    stream = tok.stream_decoder(skip_special_tokens=True)
    assert [stream.push(id) for id in (97, 300, 98)] == ["a", "", "b"]


def test_a_model_of_no_known_kind_is_refused() -> None:
    tok = Tokenizer(BYTES, pattern="gpt2")
    with pytest.raises(TypeError, match="model: got a str, takes BpeModel, WordPieceModel"):
        Tokenizer.from_specification(replace(tok.specification, model="x"))  # type: ignore[arg-type]
