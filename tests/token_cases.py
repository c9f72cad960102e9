"""Vocabularies and texts that the token tests share."""

from __future__ import annotations

import base64
import functools
import gzip
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

FILES = {
    "gpt2": "r50k_base.tiktoken",
    "cl100k": "cl100k_base.tiktoken.gz",
    "o200k": "o200k_base.tiktoken.gz",
    "llama3": "llama3_tokenizer.model.gz",
}
FAMILIES = ("gpt2", "cl100k", "o200k", "llama3", "qwen2")
# Those whose vocabularies are not among the data too.
SCANNERS = (*FAMILIES, "tekken", "qwen35", "starcoder", "kimi", "deepseek3", "falcon")
# Those whose pieces of white space are lost: no patterns of a Tokenizer.
WORD_SCANNERS = ("clip", "whitespace", "bert")
SPECIAL = {"<|endoftext|>": 300001, "<|end|>": 300002, "<|endofprompt|>": 300003}


@functools.cache
def ranks_of(path: Path) -> dict[bytes, int]:
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    pairs = (line.split() for line in content.splitlines())
    return {base64.b64decode(token): int(rank) for token, rank in pairs}


@functools.cache
def tokenizer(data: Path, family: str) -> Any:
    from tokfrag import Tokenizer

    return Tokenizer.from_tiktoken(
        data / "vocab" / FILES[family], pattern=family, special_tokens=SPECIAL
    )


@functools.cache
def peer(data: Path, family: str) -> Any:
    """tiktoken with the same vocabulary, pattern and special tokens."""
    import tiktoken

    from tokfrag.tokens.patterns import REGEX

    return tiktoken.Encoding(
        family,
        pat_str=REGEX[family],
        mergeable_ranks=ranks_of(data / "vocab" / FILES[family]),
        special_tokens=SPECIAL,
    )


# Bits of text at which patterns turn: contractions in every case, case changes, digits and marks of
# several scripts, every kind of space and newline, apostrophes of several shapes, joiners.
_TURNS = [
    *("'s", "'S", "'ſ", "'t", "'re", "'RE", "'Ve", "'m", "'ll", "'lL", "'d", "'", "''", "’s"),
    *(" ", "  ", "   ", "\t", "\n", "\r", "\r\n", "\n\n", " \n", "\n ", "\x0b", "\x0c", "\x1c"),
    *("\x85", "\xa0", "\u1680", "\u2003", "\u2028", "\u3000", "\u200b", "\ufeff", "\x00"),
    *("a", "B", "ab", "Ab", "AB", "aB", "foo", "Bar", "I", "é", "É", "ß", "ŉ", "ǅ", "ʰ", "ª", "ⅷ"),
    *("中", "文字", "の", "カ", "한", "ไทย", "שלום", "سلام", "हिन्दी", "ა", "Ა", "𝒜", "𐐀", "𐐨"),
    *("\u0301", "\u0300\u0301", "\u0903", "\u20dd", "\ufe0f", "\u200d"),
    *("1", "12", "123", "1234", "٣", "१२", "²", "½", "Ⅷ", "𝟙", "〇", "一"),
    *("“", "«x", "!é", "(ab", "‼", "ü", "ü12", "½12", "½1234", "۲۳", "12ü", "$", "=1", "・", "゙"),
    *("⺀", "々", "〇1", "中a", "の中", "\u0e34", "\x01\x02", "\x01a", "\t中", "𖿰", "\u200b1"),
    *("!", "!!", "/", "//", "\n/", "...", "(", "—", "€", "+", "\u0378", "👍", "👩‍👧", "🇨🇭"),
    *("https://a.b/c?d=e", "x_y", "don't", "WE'LL", "<|endoftext|>", "<|end|>"),
]

TEXTS = st.lists(st.sampled_from(_TURNS) | st.text(max_size=4), max_size=40).map("".join)
BYTES = st.lists(
    st.binary(max_size=4)
    | st.sampled_from([turn.encode() for turn in _TURNS])
    | st.sampled_from([b"\xe4\xbd", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xff"]),
    max_size=30,
).map(b"".join)
