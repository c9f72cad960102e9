"""Token in, token out: ids stay, what follows is encoded, and a splice is the whole's encoding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from live_cases import BITS, KINDS, PATTERNS, made
from tokfrag import Tokenizer

texts = st.lists(st.sampled_from(BITS), max_size=25).map("".join)
BYTES = [bytes([byte]) for byte in range(256)]


@pytest.fixture
def tok() -> Tokenizer:
    return Tokenizer(
        [*BYTES, b"ab", b" c", b"abc"], pattern="gpt2", special_tokens={"<end>": 300, "<end>x": 301}
    )


@given(kind=st.sampled_from(sorted(PATTERNS)), before=texts, after=texts)
@settings(max_examples=150)
def test_ids_stay_and_the_text_goes_on(kind: str, before: str, after: str) -> None:
    tok = made(kind)
    ids = tok.encode(before, allowed_special="all")
    whole = tok.continue_from(ids, after)
    assert whole[: len(ids)].tolist() == ids.tolist()
    assert whole[len(ids) :].tolist() == tok.encode(after).tolist()
    assert tok.decode(whole) == before + after


def test_a_retokenized_seam_is_not_touched(tok: Tokenizer) -> None:
    assert tok.encode("abc").tolist() == [258]
    assert tok.continue_from([97], "bc").tolist() == [97, 98, 99]
    assert tok.continue_from([256, 300], "abc<end>").tolist()[:3] == [256, 300, 258]
    assert tok.continue_from([256], "<end>", allowed_special="all").tolist() == [256, 300]
    assert tok.continue_from([0xE4], "a").tolist() == [0xE4, 97]


def test_no_blank_comes_before_what_goes_on() -> None:
    tok = made("space")
    ids = tok.encode("The cat")
    assert tok.decode(ids) == " The cat"
    assert tok.decode(tok.continue_from(ids, "s sat")) == " The cats sat"
    assert tok.decode(tok.continue_from(ids, "<a>s")) == " The cat<a>s"


@given(kind=st.sampled_from(sorted(PATTERNS)), text=texts)
@settings(max_examples=150)
def test_what_an_encode_gives_is_canonical(kind: str, text: str) -> None:
    tok = made(kind)
    assert tok.is_canonical(tok.encode(text))
    ids = tok.encode(text, allowed_special="all")
    assert tok.is_canonical(ids)
    assert tok.first_difference(ids, text, allowed_special="all") == len(ids)
    spelled = np.array(list(text.encode()), np.uint32)
    bytes_ids = np.array([tok.token_to_id(bytes([byte])) for byte in spelled.tolist()], np.uint32)
    plain = tok.encode(text)
    assert tok.is_canonical(bytes_ids) == (bytes_ids.tolist() == plain.tolist())


def test_sampled_ids_are_told_from_encoded_ones(tok: Tokenizer) -> None:
    assert tok.is_canonical([258, 300, 256])
    assert not tok.is_canonical([256, 99])
    assert not tok.is_canonical([258, 300, 97, 98])
    # Text that spells a special token without being one.
    assert tok.is_canonical(tok.encode("ab<end>"))
    assert tok.is_canonical([])
    assert tok.first_difference([258, 256, 99], "abcabc") == 1
    assert tok.first_difference([258], "abc and more") == 1
    assert tok.first_difference([], "abc") == 0


@given(kind=st.sampled_from(KINDS), same=texts, first=texts, second=texts)
@settings(max_examples=400)
def test_of_encoded_ids_a_splice_is_the_whole_encoding(
    kind: str, same: str, first: str, second: str
) -> None:
    tok = made(kind)
    for allowed in ("all", ()):
        ids = tok.encode(same + first, allowed_special=allowed)
        text = same + second
        wanted = tok.encode(text, allowed_special=allowed).tolist()
        assert tok.splice(ids, text, allowed_special=allowed).tolist() == wanted


def test_a_splice_keeps_sampled_turns(tok: Tokenizer) -> None:
    sampled = [97, 98, 99, 300]
    assert tok.splice(sampled, "abc<end> c", allowed_special="all").tolist() == [*sampled, 257]
    # The longer special token stands in the text: the seam moves back to before it.
    assert tok.splice(sampled, "abc<end>x", allowed_special="all").tolist() == [97, 98, 99, 301]
    # Up to the last safe cut before the two texts part.
    turn = np.array([97, 98, 32, 99])
    assert tok.splice(turn, "ab ca").tolist() == [97, 98, 257, 97]
    assert tok.splice([258, 33], "abc?").tolist() == tok.encode("abc?").tolist()
    assert tok.splice([], "abc").tolist() == [258]
    assert tok.splice([258], "").tolist() == []


@pytest.mark.parametrize("name", ["continue_from", "is_canonical", "first_difference", "splice"])
def test_ids_that_no_token_has(tok: Tokenizer, name: str) -> None:
    text = () if name == "is_canonical" else ("a",)
    for ids in ([97, 999], [97, -1], [97, 2**32 + 97]):
        with pytest.raises(IndexError, match="at position 1"):
            getattr(tok, name)(ids, *text)
    with pytest.raises(TypeError):
        getattr(tok, name)([0.5], *text)
    if text:
        for wrong in (b"a", None):
            with pytest.raises(TypeError, match="text"):
                getattr(tok, name)([97], wrong)
        with pytest.raises(ValueError, match="<none>"):
            getattr(tok, name)([97], "a", allowed_special=["<none>"])
