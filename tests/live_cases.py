"""Small tokenizers of every kind, and texts that are hard to cut, for the tests of live tokens."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache

from tokfrag import Tokenizer
from tokfrag.reference.charsmap import pack_charsmap
from tokfrag.tokens.models.sentencepiece_bpe import SentencePieceBpeValues
from tokfrag.tokens.models.text_steps import (
    METASPACE,
    Lowercase,
    Metaspace,
    Precompiled,
    Prepend,
    Replace,
    ReplacePattern,
    Strip,
    StripAccents,
    TextStep,
)
from tokfrag.tokens.models.unicode_step import UnicodeForm
from tokfrag.tokens.models.unigram import UnigramValues
from tokfrag.tokens.specification import AddedToken, Pipeline, Specification, WordPieceModel

SAMPLE = (
    "The cat's on the mat; we'll SEE whether they've 12345 cats.\n\n\tdef f(x):\n    return x\n"
    "你好，世界。こんにちは Привет, мир! naïve café e\u0301 \u1e9b\u0323 \r\n 🙂🏽  <a> <a>b\n"
)
# Bits of text at which patterns, Unicode forms and added tokens turn.
BITS = [
    *("a", "b", "cat", "The", "I", "ab", "xB", "1", "12", "1234", "'s", "'S", "'", "'ll", "don't"),
    *(" ", "  ", "\n", "\n\n", "\r\n", "\t", " \n", "\u3000", "\x85", "\x00", "\u2028"),
    *(".", ", ", "!", "/", "://", "_", "(x)", "{", ";", "#", "=", "=\u0338"),
    *("你", "你好", "。", "、", "の", "こん", "カ", "Привет", "мир", "é", "e\u0301", "\u0301", "ſ"),
    *(
        "ﬁ",
        "½",
        "ü",
        "«",
        "²",
        "٣",
        "Ǆ",
        "ǅ",
        "ß",
        "가",
        "\u1100\u1161",
        "🙂",
        "🙂🏽",
        "\u200d",
        "\ufeff",
    ),
    *(".\n", ".\ne\u0301", ".\nThe", "The's", "cat's", "b.\n\nI", "a  b"),
    *("<|end|>", "<|end", "|>", "<a>", "<", "a>", "<a b>", "word", "<strip>", "<b\n", "end. x"),
]
SPECIAL = ("<|end|>", "<|end|><a>")
PATTERNS = {
    "gpt2": "gpt2",
    "cl100k": "cl100k",
    "o200k": "o200k",
    "llama3": "llama3",
    "qwen2": "qwen2",
    "tekken": "tekken",
    "qwen35": "qwen35",
    "starcoder": "starcoder",
    "kimi": "kimi",
    "deepseek3": "deepseek3",
    "falcon": "falcon",
    "none": None,
    "regex": r"\s+|\w+|[^\w\s]+",
}
ADDED = (
    AddedToken("<a>", 1000, special=False),
    AddedToken("<a b>", 1001, special=False),
    AddedToken("word", 1002, special=False, single_word=True),
    AddedToken("<strip>", 1003, special=False, lstrip=True, rstrip=True),
    AddedToken("end. x", 1004, special=False),
    AddedToken("<b\n", 1005, special=False, rstrip=True),
    AddedToken("<|end|>", 1006),
    AddedToken("I", 1007, special=True, lstrip=True),
)
# Found in a normalised text only: what stands there is not what the text has.
UNSEEN = (
    AddedToken(".\né", 1008, special=False, normalized=True),
    AddedToken("é", 1009, special=False, normalized=True, lstrip=True),
)
# Models whose blanks are metaspaces, by what they do to a text first.
_MARK = Replace(" ", METASPACE)
_NMT_NFKC = Precompiled(
    pack_charsmap(
        {
            old.encode(): new.encode()
            for old, new in {"\n": " ", "\t": " ", "\u3000": " ", "e\u0301": "é", "ﬁ": "fi"}.items()
        }
    )
)
_BLANKS = ReplacePattern(" {2,}", " ")
_SPACES = ReplacePattern(r"\s{2,}|[\n\r\t]", " ")
_LOWER = (UnicodeForm("NFKD"), StripAccents(), Lowercase())
METASPACES: dict[str, tuple[tuple[TextStep, ...], bool]] = {
    "bpe legacy": ((Prepend(METASPACE), _MARK), False),
    "bpe first": ((Metaspace("first"),), False),
    "bpe never": ((_MARK,), False),
    "bpe words": ((Metaspace(),), True),
    "bpe added": ((Prepend(METASPACE), _MARK), False),
    "unigram t5": ((_NMT_NFKC, _BLANKS, Metaspace()), True),
    "unigram words": ((_NMT_NFKC, Metaspace("always", True)), True),
    "unigram albert": ((Replace("``", '"'), *_LOWER, _NMT_NFKC, _BLANKS, Metaspace()), True),
    "unigram deberta": ((Strip(), _NMT_NFKC, _SPACES, Metaspace()), True),
    "unigram added": ((_NMT_NFKC, Metaspace()), True),
    "unigram whole": ((Metaspace(),), False),
    "unigram pattern": ((ReplacePattern("[aeiou] ", "_"), Metaspace()), True),
}
KINDS = (
    *METASPACES,
    *PATTERNS,
    "wordpiece",
    "nfc",
    "nfkc",
    "space",
    "added",
    "added_nfc",
    "unseen",
    "added_words",
)


@cache
def made(kind: str) -> Tokenizer:
    """A tokenizer of a kind."""
    if kind in PATTERNS:
        return Tokenizer.train(
            [SAMPLE, *BITS] * 3, 500, pattern=PATTERNS[kind], special_tokens=SPECIAL
        )
    if kind in METASPACES:
        return _metaspaced(kind)
    if kind == "wordpiece":
        return _around(_words(), Pipeline())
    if kind == "added_words":
        return _around(_words(), Pipeline(added_tokens=ADDED))
    plain = made("gpt2").specification
    normalized = tuple(replace(token, normalized=token.id % 2 == 0) for token in ADDED)
    unspaced = tuple(token for token in normalized if token.plain and " " not in token.content)
    values = {
        "nfc": Pipeline(normalizers=("NFC",)),
        "nfkc": Pipeline(normalizers=("NFKC",), added_tokens=unspaced),
        "space": Pipeline(prefix_space=True, added_tokens=ADDED),
        "added": Pipeline(added_tokens=normalized),
        "unseen": Pipeline(normalizers=("NFC",), added_tokens=UNSEEN),
        "added_nfc": Pipeline(normalizers=("NFC",), added_tokens=ADDED),
    }
    return _around(plain, values[kind])


def _metaspaced(kind: str) -> Tokenizer:
    """A small model of SentencePiece's kind; a loop finds its merges and scores in the texts."""
    text = "".join([SAMPLE, *BITS]).replace(" ", METASPACE)
    chars = sorted(set(text) - set("🙂ﬁ") | {METASPACE})
    pieces = Counter(
        text[i : i + size]
        for size in (2, 3)
        for i in range(len(text) - size)
        if METASPACE not in text[i + 1 : i + size]
    )
    pairs = [piece for piece, _ in pieces.most_common(150) if not set(piece) - set(chars)]
    pairs = [piece for piece in pairs if len(piece) == 2 or piece[:2] in pairs]
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    steps, split = METASPACES[kind]
    names = tuple(zip(("<unk>", *bytes_, *chars, *pairs), range(999), strict=False))
    model: SentencePieceBpeValues | UnigramValues
    if kind.startswith("bpe"):
        model = SentencePieceBpeValues(
            names,
            merges=tuple((piece[:-1], piece[-1]) for piece in pairs),
            unknown=0,
            byte_fallback=kind != "bpe first",
            fuse_unknown=True,
            text=steps,
            split=split,
        )
    else:
        scores = (0.0, *(-30.0 for _ in bytes_), *(-6.0 for _ in chars), *(-7.5 for _ in pairs))
        model = UnigramValues(names, scores, 0, text=steps, split=split)
    added = ADDED if kind.endswith("added") else (AddedToken("<|end|>", 1006),)
    return Tokenizer.from_specification(Specification(model, Pipeline(added_tokens=added)))


def _around(inner: Specification, values: Pipeline) -> Tokenizer:
    return Tokenizer.from_specification(Specification(inner.model, values))


def _words() -> Specification:
    tokens = ["[UNK]", "the", "cat", "##at", "don", *"abcdefghijklmnopqrstuvwxyz0123456789'.,!<>|"]
    tokens += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"]
    tokens += ["你", "好", "мир", "привет"]
    return Specification(
        WordPieceModel(tuple(zip(tokens, range(len(tokens)), strict=True))), Pipeline()
    )
