"""Tokenizers laid out as popular families lay theirs out, with vocabularies made on the spot."""

from __future__ import annotations

import json
import random
import unicodedata
from collections.abc import Callable
from functools import cache

import tokenizers
from tokenizers import (
    AddedToken,
    Regex,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from tokfrag.reference.charsmap import pack_charsmap

CORPUS = [
    "the cat sat on the mat, the cat saw the rat. 'Tis I've don't we'll THEY'RE 12345 67 890",
    "def foo(x):\n    return x+1\n\n\tif x:  # comment\r\n\r\n  ",
    "你好世界 今天天气很好 日本語のテキスト カタカナ 한국어 텍스트",
    "naïve café résumé Ångström Zürich İstanbul straße",
    "🙂🚀👩‍👩‍👧 Hello, World!! <html> </s>",
    "मानक हिन्दी पाठ العربية עברית ไทย",
] * 3
TEXTS = [
    *("", " ", "  ", "hello", " hello", "Hello World", "the cat sat on the mat", "a\x00b"),
    *("don't I'VE we'LL", "12345678 9 1,000.50", "a  b   c    d", "\n\n\n x", "x\r\ny\r\n"),
    *(
        "\t\tif x:\n        y",
        "你好世界 今天",
        "日本語のテキスト、カタカナ",
        "naïve café",
        "e\u0301 vs é",
    ),
    *("ﬁ ½ ①", "🙂🚀👩‍👩‍👧", "🇩🇪", "हिन्दी पाठ", "العربية", "  leading and trailing  "),
    *("a\u00a0b\u2003c\u3000d", "\ufeffBOM", "a\u200bb\u200dc", "end.\n", "!!!???...", "x=1;y==2"),
    *("foo_bar-baz", "<s>hi</s>", "I ❤ U", "straße ẞ İ ı", "\x1c\x85\u2028\u2029z", "AAAAAAaaaa"),
    *("٣٤٥ ⅷ ²³", "a" * 50, "ª º ʰ ǅ", "\u0301\u0301a", "क्षि", "…—–“”", "covid19 COVID19 [D]x"),
    *("<|end|> a <|end|>  b", "▁a ▁ b", "한국어 텍스트", "ΑΣ ΣΑΣ", "``quoted''", "``a''  b\t\tc"),
]

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = CONTRACTIONS + (
    r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
ONE_NEWLINE = LLAMA3.replace(r"\s*[\r\n]+", r"\s*[\r\n]")
QWEN35 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}").replace(r"?\p{L}+", r"?[\p{L}\p{M}]+")
# As it is, and with marks among punctuation, which has no native scanner.
QWEN35, QWEN35_MARKS = QWEN35.replace(r"[^\s\p{L}\p{N}]", r"[^\s\p{L}\p{M}\p{N}]"), QWEN35
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}|{TAIL}"
)
NOT_HAN = (
    r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]",
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]",
)
KIMI = (
    rf"[\p{{Han}}]+|[^\r\n\p{{L}}\p{{N}}]?{NOT_HAN[0]}*{NOT_HAN[1]}+{CONTRACTIONS}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{NOT_HAN[0]}+{NOT_HAN[1]}*{CONTRACTIONS}?|\p{{N}}{{1,3}}|{TAIL}"
)
# As it is, and with tails that no native scanner has.
KIMI, KIMI_TAILS = KIMI.replace("[\\r\\n/]*", "[\\r\\n]*"), KIMI
DEEPSEEK3 = (
    r"\p{N}{1,3}",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
)
DEEPSEEK_CODER = (
    "[\r\n]",
    "\\s?[A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba]+",
    "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
    "\\s+$",
    "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
)
BLOOM = " ?[^(\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+"


@cache
def _assigned() -> list[str]:
    """Characters that have been there for long: engines differ in their versions of Unicode."""
    every = map(chr, (*range(0x20, 0x3000), *range(0xF900, 0x1F900)))
    return [char for char in every if unicodedata.category(char) not in ("Cn", "Co", "Cs")]


def random_texts(count: int) -> list[str]:
    """Texts of all scripts, the same each time."""
    rng = random.Random(5)
    pool = "".join(CORPUS[:6]) + "the cat sat  \t\n\u3000\u2581Ａﬁ①½ß\u0301\u0323\u200dΣσς``''"
    texts = []
    for _ in range(count):
        chars = [
            rng.choice(_assigned() if rng.random() < 0.1 else pool)
            for _ in range(rng.randint(1, 30))
        ]
        texts.append("".join(chars))
    return texts


def split(regex: str, behavior: str = "isolated", invert: bool = False) -> pre_tokenizers.Split:
    return pre_tokenizers.Split(Regex(regex), behavior, invert)


def by_bytes(use_regex: bool = True, prefix: bool = False) -> pre_tokenizers.ByteLevel:
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=use_regex)


def byte_level(
    *steps: pre_tokenizers.PreTokenizer,
    norm: normalizers.Normalizer | None = None,
    trims: bool = False,
) -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = steps[0] if len(steps) == 1 else pre_tokenizers.Sequence(list(steps))
    if norm is not None:
        made.normalizer = norm
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.ByteLevel(trim_offsets=trims)
    made.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=420,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            special_tokens=["<|endoftext|>"],
            show_progress=False,
        ),
    )
    return made


def clip() -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(
        models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>", fuse_unk=False)
    )
    made.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    pattern = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    made.pre_tokenizer = pre_tokenizers.Sequence([split(pattern, "removed", True), by_bytes(False)])
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=700,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            end_of_word_suffix="</w>",
            special_tokens=["<|startoftext|>", "<|endoftext|>"],
            show_progress=False,
        ),
    )
    made.post_processor = processors.RobertaProcessing(
        ("<|endoftext|>", 1), ("<|startoftext|>", 0), trim_offsets=False, add_prefix_space=False
    )
    return made


def openai_gpt(*, lowercase: bool = True) -> tokenizers.Tokenizer:
    """OpenAI-GPT's, and Herbert's."""
    made = tokenizers.Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<unk>"))
    made.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.BPEDecoder("</w>")
    made.train_from_iterator(
        CORPUS[:3],
        trainers.BpeTrainer(
            vocab_size=300,
            end_of_word_suffix="</w>",
            special_tokens=["<unk>"],
            show_progress=False,
        ),
    )
    return made


@cache
def _characters() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Byte pairs over characters, blanks being metaspaces."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.train_from_iterator(CORPUS[:4], trainers.BpeTrainer(vocab_size=260, show_progress=False))
    content = made.get_vocab()
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokens += sorted(content, key=content.__getitem__)
    if "▁" not in content:
        tokens.append("▁")
    merges = [tuple(pair) for pair in json.loads(made.to_str())["model"]["merges"]]
    return {token: id for id, token in enumerate(tokens)}, merges


def characters(
    norm: normalizers.Normalizer | None,
    pre: pre_tokenizers.PreTokenizer | None,
    *,
    strip: bool = True,
    fallback: bool = True,
    fuse: bool = True,
) -> tokenizers.Tokenizer:
    vocab, merges = _characters()
    made = tokenizers.Tokenizer(
        models.BPE(
            vocab=dict(vocab),
            merges=list(merges),
            unk_token="<unk>",
            fuse_unk=fuse,
            byte_fallback=fallback,
        )
    )
    if norm is not None:
        made.normalizer = norm
    if pre is not None:
        made.pre_tokenizer = pre
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            *([decoders.Strip(" ", 1, 0)] if strip else []),
        ]
    )
    made.add_special_tokens(
        [AddedToken(name, normalized=False, special=True) for name in ("<unk>", "<s>", "</s>")]
    )
    made.add_special_tokens([AddedToken("<|end|>", rstrip=True, normalized=False)])
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)]
    )
    return made


@cache
def _pieces() -> list[tuple[str, float]]:
    made = tokenizers.Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
    )
    made.train_from_iterator(CORPUS, trainer)
    return [(token, score) for token, score in json.loads(made.to_str())["model"]["vocab"]]


@cache
def charsmap() -> normalizers.Precompiled:
    rules = {"Ａ": "A", "ﬁ": "fi", "①": "1", "½": "1/2", "\u3000": " ", "\t": " ", "\n": " "}
    rules |= {"e\u0301": "é", "\u200b": "", "…": "..."}
    packed = {old.encode(): new.encode() for old, new in rules.items()}
    return normalizers.Precompiled(pack_charsmap(packed))


def unigram(
    norm: normalizers.Normalizer | None, *pre: pre_tokenizers.PreTokenizer
) -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.Unigram(list(_pieces()), 0, False))
    if norm is not None:
        made.normalizer = norm
    made.pre_tokenizer = pre[0] if len(pre) == 1 else pre_tokenizers.Sequence(list(pre))
    made.decoder = decoders.Metaspace("▁", "always")
    made.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    return made


@cache
def _words() -> dict[str, int]:
    made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(
        CORPUS,
        trainers.WordPieceTrainer(
            vocab_size=300,
            special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
            show_progress=False,
        ),
    )
    vocab: dict[str, int] = made.get_vocab()
    return vocab


def wordpiece(
    norm: normalizers.Normalizer | None = None,
    pre: pre_tokenizers.PreTokenizer | None = None,
    added: tuple[AddedToken | str, ...] = (),
) -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.WordPiece(_words(), unk_token="[UNK]"))
    made.normalizer = norm or normalizers.BertNormalizer()
    made.pre_tokenizer = pre or pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    made.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    made.add_tokens(list(added))
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made


def word_level() -> tokenizers.Tokenizer:
    vocab = {"[UNK]": 0, "a": 1, "the": 2, "cat": 3, ",": 4}
    made = tokenizers.Tokenizer(models.WordLevel(vocab, "[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


def esm() -> tokenizers.Tokenizer:
    """Letters as tokens, through byte pairs that never merge."""
    letters = ["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO.-", "|"]
    made = tokenizers.Tokenizer(
        models.BPE({letter: id for id, letter in enumerate(letters)}, [], unk_token="<unk>")
    )
    made.post_processor = processors.TemplateProcessing(
        single="<cls> $A <eos>", special_tokens=[("<cls>", 0), ("<eos>", 2)]
    )
    return made


def _neox() -> tokenizers.Tokenizer:
    made = byte_level(by_bytes(), norm=normalizers.NFC(), trims=True)
    made.add_tokens([AddedToken(" " * k, normalized=True) for k in range(24, 1, -1)])
    return made


MARK = normalizers.Replace(" ", "▁")
ALWAYS = pre_tokenizers.Metaspace("▁", "always")
ALBERT = (normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase())
FAMILIES: dict[str, Callable[[], tokenizers.Tokenizer]] = {
    "GPT-2": lambda: byte_level(by_bytes()),
    "GPT-NeoX": _neox,
    "Llama-3": lambda: byte_level(split(LLAMA3), by_bytes(False)),
    "Qwen3.5": lambda: byte_level(split(QWEN35), by_bytes(False), norm=normalizers.NFC()),
    "DeepSeek-V3": lambda: byte_level(
        *map(split, DEEPSEEK3), by_bytes(False), norm=normalizers.Sequence([])
    ),
    "DeepSeek-LLM": lambda: byte_level(
        *map(split, DEEPSEEK_CODER), pre_tokenizers.Digits(True), by_bytes(False)
    ),
    "Phi-4": lambda: byte_level(split(ONE_NEWLINE, "removed", True), by_bytes(False)),
    "Falcon": lambda: byte_level(
        pre_tokenizers.Punctuation("contiguous"),
        by_bytes(),
        pre_tokenizers.Digits(False),
        split("[0-9][0-9][0-9]"),
    ),
    "StarCoder2": lambda: byte_level(pre_tokenizers.Digits(True), by_bytes(), trims=True),
    "Tekken": lambda: byte_level(split(TEKKEN), by_bytes(False)),
    "BLOOM": lambda: byte_level(split(BLOOM), by_bytes(False)),
    "Kimi": lambda: byte_level(split(KIMI), by_bytes(False)),
    "Kimi, other tails": lambda: byte_level(split(KIMI_TAILS), by_bytes(False)),
    "Qwen3.5, marks apart": lambda: byte_level(split(QWEN35_MARKS), by_bytes(False)),
    "prefix after digits": lambda: byte_level(
        pre_tokenizers.Digits(False), by_bytes(prefix=True), trims=True
    ),
    "white space lost": lambda: byte_level(pre_tokenizers.Whitespace(), by_bytes(False)),
    "lowered bytes": lambda: byte_level(by_bytes(), norm=normalizers.Lowercase()),
    "CLIP": clip,
    "OpenAI-GPT": openai_gpt,
    "Herbert": lambda: openai_gpt(lowercase=False),
    "Llama-2": lambda: characters(normalizers.Sequence([normalizers.Prepend("▁"), MARK]), None),
    "Gemma": lambda: characters(normalizers.Sequence([MARK]), None, strip=False),
    "Gemma 3": lambda: characters(
        MARK, pre_tokenizers.Split(" ", "merged_with_previous"), strip=False
    ),
    "SigLIP2": lambda: characters(
        normalizers.Sequence([normalizers.Lowercase(), MARK]),
        pre_tokenizers.Split(" ", "merged_with_previous"),
        strip=False,
    ),
    "Llama-2 of transformers 5": lambda: characters(
        None, pre_tokenizers.Metaspace("▁", "first", False)
    ),
    "NLLB": lambda: characters(charsmap(), ALWAYS, fallback=False),
    "Reformer": lambda: characters(charsmap(), ALWAYS, fallback=False, fuse=False),
    "T5": lambda: unigram(
        normalizers.Sequence([charsmap(), normalizers.Replace(Regex(" {2,}"), " ")]), ALWAYS
    ),
    "XLM-R": lambda: unigram(charsmap(), pre_tokenizers.WhitespaceSplit(), ALWAYS),
    "ALBERT": lambda: unigram(
        normalizers.Sequence(
            [
                normalizers.Replace("``", '"'),
                normalizers.Replace("''", '"'),
                *ALBERT,
                charsmap(),
                normalizers.Replace(Regex(" {2,}"), " "),
            ]
        ),
        pre_tokenizers.WhitespaceSplit(),
        ALWAYS,
    ),
    "DeBERTa-v3": lambda: unigram(
        normalizers.Sequence(
            [
                normalizers.Strip(),
                charsmap(),
                normalizers.Replace(Regex(r"\s{2,}|[\n\r\t]"), " "),
            ]
        ),
        ALWAYS,
    ),
    "DeBERTa-v2, punctuation apart": lambda: unigram(
        charsmap(), pre_tokenizers.Punctuation(), ALWAYS
    ),
    "MarkupLM, first": lambda: unigram(None, pre_tokenizers.Metaspace("▁", "first")),
    "BERT": wordpiece,
    "BERT and words more": lambda: wordpiece(added=("covid19", "[D]", "Ñandú")),
    "all-mpnet": lambda: wordpiece(
        added=(AddedToken("<mask>", lstrip=True, special=True, normalized=False),)
    ),
    "WordPiece by parts": lambda: wordpiece(
        normalizers.Sequence(
            [normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents()]
        ),
        pre_tokenizers.Whitespace(),
    ),
    "WordPiece at commas": lambda: wordpiece(
        normalizers.NFKC(), pre_tokenizers.CharDelimiterSplit(",")
    ),
    "WordLevel": word_level,
    "ESM": esm,
}
