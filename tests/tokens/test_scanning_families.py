"""Native scanners beside Hugging Face's own steps: where pieces end, by one step or by several."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import example, given
from test_scanning import same_classes
from tokenizers import pre_tokenizers

from family_cases import FAMILIES
from token_cases import TEXTS
from tokfrag import Tokenizer
from tokfrag._core import tokens as native
from tokfrag.reference.scanning import has_trait
from tokfrag.reference.unicode_traits import HAN
from tokfrag.tokens.patterns import REGEX

NAMES = {
    "StarCoder2": "starcoder",
    "Qwen3.5": "qwen35",
    "DeepSeek-V3": "deepseek3",
    "Phi-4": "llama3",
    "Falcon": "falcon",
    "Tekken": "tekken",
    "Kimi": "kimi",
}
names = pytest.mark.parametrize("name", list(NAMES))


@cache
def steps(name: str) -> pre_tokenizers.PreTokenizer:
    return FAMILIES[name]().pre_tokenizer


@names
@given(text=TEXTS)
@example("!abcé (x)你 12345 中・の〇1 \x01\x02a \x01\n  中 «é \u20dd")
@example("“ü½1234” 12ü12 ½½½12 \u0e34\u0e34 ‼你你 \t\u3000 3")
def test_pieces_are_those_of_the_steps(name: str, text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    if not same_classes(text) or (name == "Kimi" and not _as_old(text)):
        return
    ends, at = [], 0
    for piece, _ in steps(name).pre_tokenize_str(text):
        at += len(piece)  # a sign a byte
        ends.append(at)
    assert native.scan(NAMES[name], text.encode()).tolist() == ends


def _as_old(text: str) -> bool:
    """Whether an engine with an earlier Unicode has the same characters as Han."""
    return not any(has_trait(c, HAN) and ord(c) >= 0x16FE0 for c in text)


@names
def test_big_texts_are_cut_for_threads_where_no_id_changes(name: str) -> None:
    theirs = FAMILIES[name]()
    ours = Tokenizer.adopt(theirs)
    line = "!abcé 你好・世界の 12345 ünï ½12 don't I'VE «q» 中文字\x01x\n\n  漢字　かな カ〇々"
    for text in (line * 4000, "你好世界の々・〇カな" * 20000):
        once = ours.encode_batch([text], threads=1)[0]
        assert once.tolist() == ours.encode_batch([text], threads=2)[0].tolist()
        part = text[:3000]
        assert ours.encode(part).tolist() == theirs.encode(part).ids


@pytest.mark.parametrize("family", ["falcon", "deepseek3", "starcoder"])
@pytest.mark.parametrize("turn", ["½", "9", "你", "ü1", "\x01", " ", "!a", "۲"])
def test_time_is_linear(family: str, turn: str) -> None:
    """A long run is not read again for each of its pieces."""
    text = (turn * 400_000).encode()
    assert native.scan(family, text)[-1] == len(text)


def test_files_that_spell_the_steps_are_the_pattern() -> None:
    for name, pattern in NAMES.items():
        model = Tokenizer.adopt(FAMILIES[name]()).specification.model
        assert model.pattern == pattern


def test_what_no_expression_says_is_not_written_as_one() -> None:
    encoding = Tokenizer.adopt(FAMILIES["Falcon"]()).as_tiktoken()
    with pytest.raises(ValueError, match="no expression says what 'falcon' does"):
        _ = encoding._pat_str
    assert "4e00" in Tokenizer.adopt(FAMILIES["DeepSeek-V3"]()).as_tiktoken()._pat_str


def test_deepseeks_expression_is_the_same_to_tiktoken() -> None:
    tiktoken = pytest.importorskip("tiktoken")
    ranks = {bytes([byte]): byte for byte in range(256)} | {"中の".encode(): 300, b"  ": 301}
    for name in ("deepseek3", "starcoder", "kimi", "tekken", "qwen35"):
        theirs = tiktoken.Encoding(
            name, pat_str=REGEX[name], mergeable_ranks=ranks, special_tokens={}
        )
        ours = Tokenizer(ranks, pattern=name)
        for text in ("!abcé 中・の  12345\x01\x02a \x01\n  中", "I'VE  1\t〇々 ⺀x ŉ\u0301A"):
            assert ours.encode(text).tolist() == theirs.encode_ordinary(text)
