"""A folder laid out as ``TOKFRAG_DATA``, made from what every Python has: nothing is downloaded.

The corpora are the standard library's sources and manual, and sentences of made-up words from the
letters of every script that ``unicodedata`` knows. The vocabularies are trained on them, GPT-2's
and BERT's by ``tokenizers``, and written in the formats of the real ones, so that every test that
runs on the real folder runs on this one.
"""

from __future__ import annotations

import functools
import gzip
import inspect
import json
import os
import random
import re
import sysconfig
import unicodedata
from collections.abc import Iterator
from pathlib import Path

LETTERS = {"Lu", "Ll", "Lt", "Lm", "Lo"}
UNSPACED = {"CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "YI"}
GPT2_END = "<|endoftext|>"
BERT_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# Far fewer tokens than the real ones have, so that training takes a second.
SIZES = {"cl100k": 12_000, "o200k": 16_000, "llama3": 10_000, "gpt2": 8_000, "bert": 8_000}


def make(folder: Path) -> None:
    write_corpora(folder)
    (folder / "vocab").mkdir()
    write_ranks(folder)
    write_gpt2(folder)
    write_bert(folder)


def write_corpora(folder: Path) -> None:
    code, english = library()
    pick = random.Random(5)
    chinese = "".join(sentences("CJK", pick, 60_000))
    code_lines = code[:1_500_000].splitlines(keepends=True)
    chinese_lines = chinese.splitlines(keepends=True)
    mixed = [line for pair in zip(chinese_lines, code_lines, strict=False) for line in pair]
    corpora = {
        "code": code,
        "english": english,
        "tinyshakespeare": english[-1_000_000:],
        "chinese_pure": chinese,
        "chinese": "".join(mixed),
        "multilingual": multilingual(pick),
        "emoji": emoji(pick),
        "nfc_cases": nfc_cases(),
    }
    for name, text in corpora.items():
        suffix = "tsv" if name == "nfc_cases" else "txt"
        (folder / f"{name}.{suffix}").write_text(text, encoding="utf-8", newline="\n")


def library() -> tuple[str, str]:
    """Sources of the standard library, and its English: the manual of `pydoc`, docstrings."""
    import pydoc_data.topics

    root = Path(sysconfig.get_paths()["stdlib"])
    sources: list[str] = []
    for path in sorted(root.rglob("*.py")):
        if not {"site-packages", "dist-packages", "test", "tests"} & set(path.parts):
            sources.append(path.read_text(encoding="utf-8", errors="ignore"))
    code = "\n".join(sources)
    manual = list(pydoc_data.topics.topics.values())
    described = [inspect.cleandoc(text) for text in re.findall(r'"""(.{40,}?)"""', code, re.DOTALL)]
    return code[:6_000_000], "\n\n".join([*manual, *described])[:5_000_000]


@functools.cache
def scripts() -> dict[str, list[str]]:
    """Letters by the first word of their names: LATIN, CYRILLIC, DEVANAGARI, CJK, ..."""
    found: dict[str, list[str]] = {}
    for char in map(chr, range(0x110000)):
        if unicodedata.category(char) in LETTERS | {"Mn", "Mc", "Nd"}:
            name = unicodedata.name(char, "UNNAMED")
            found.setdefault(name.partition(" ")[0], []).append(char)
    return {name: chars for name, chars in found.items() if len(chars) >= 20}


def sentences(script: str, pick: random.Random, count: int) -> Iterator[str]:
    """Sentences of a lexicon drawn once, its words as unequally frequent as in a language."""
    letters = scripts()[script]
    letters = pick.sample(letters, min(len(letters), 3000))
    unspaced = script in UNSPACED
    longest = 3 if unspaced else 9
    words = ["".join(pick.choices(letters, k=pick.randint(1, longest))) for _ in range(4000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    for drawn in zip(*[iter(pick.choices(words, weights, k=count * 9))] * 9, strict=True):
        yield ("" if unspaced else " ").join(drawn) + ("。\n" if unspaced else ".\n")


def multilingual(pick: random.Random) -> str:
    """Sentences of every script, three at a time in turn."""
    turns = 1 + 66_000 // (3 * len(scripts()))
    streams = [sentences(script, pick, 3 * turns) for script in scripts()]
    return "".join(next(stream) for _ in range(turns) for stream in streams for _ in range(3))


def emoji(pick: random.Random) -> str:
    faces = [chr(code) for code in (*range(0x1F300, 0x1F650), *range(0x1F680, 0x1F6C6))]
    tones = [chr(code) for code in range(0x1F3FB, 0x1F400)]
    flags = [chr(code) for code in range(0x1F1E6, 0x1F200)]
    made = [
        pick.choice(faces)
        + pick.choice(["", "", pick.choice(tones), "\ufe0f", "\u200d" + pick.choice(faces)])
        + pick.choice(["", "", " ", "\n", "".join(pick.choices(flags, k=2))])
        for _ in range(11_000)
    ]
    return "".join(made)


def nfc_cases() -> str:
    """A line a character that decomposes: its parts in hexadecimal, a tab, itself."""
    lines = []
    for code in range(0x110000):
        parts = unicodedata.decomposition(chr(code))
        if parts and not parts.startswith("<"):
            lines.append(f"{parts}\t{code:X}\t# {chr(code)} => {chr(code)}")
    return "\n".join(lines) + "\n"


def training_texts(folder: Path) -> list[str]:
    """Half a million characters of each kind, in documents of a thousand."""
    names = ("english", "code", "chinese", "multilingual", "emoji")
    texts = [(folder / f"{name}.txt").read_text(encoding="utf-8")[:500_000] for name in names]
    return [text[at : at + 1000] for text in texts for at in range(0, len(text), 1000)]


def write_ranks(folder: Path) -> None:
    from token_cases import FILES
    from tokfrag import Tokenizer

    texts = training_texts(folder)
    for family in ("cl100k", "o200k", "llama3"):
        tok = Tokenizer.train(texts, SIZES[family], pattern=family)
        plain = folder / "vocab" / "plain.tiktoken"
        tok.save_tiktoken(plain)
        (folder / "vocab" / FILES[family]).write_bytes(gzip.compress(plain.read_bytes(), 1))
        plain.unlink()


def write_gpt2(folder: Path) -> None:
    """One training by ``tokenizers``, in each of the formats that GPT-2's vocabulary comes in."""
    import tokenizers

    from token_cases import FILES
    from tokfrag import Tokenizer

    vocab = folder / "vocab"
    level = tokenizers.pre_tokenizers.ByteLevel
    hf = tokenizers.Tokenizer(tokenizers.models.BPE())
    hf.pre_tokenizer = level(add_prefix_space=False)
    hf.decoder = tokenizers.decoders.ByteLevel()
    hf.train_from_iterator(
        training_texts(folder),
        tokenizers.trainers.BpeTrainer(
            vocab_size=SIZES["gpt2"], initial_alphabet=level.alphabet(), show_progress=False
        ),
    )
    hf.add_special_tokens([GPT2_END])
    content = hf.to_str()
    (vocab / "gpt2_tokenizer.json.gz").write_bytes(gzip.compress(content.encode(), 1))
    model = json.loads(content)["model"]
    pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    (vocab / "gpt2_vocab.bpe").write_text("\n".join(["#version: 0.2", *pairs, ""]), "utf-8")
    ids = {**model["vocab"], GPT2_END: len(model["vocab"])}
    (vocab / "gpt2_encoder.json").write_text(json.dumps(ids), "utf-8")
    ours = Tokenizer.from_gpt2(vocab / "gpt2_vocab.bpe", vocab / "gpt2_encoder.json")
    ours.save_tiktoken(vocab / FILES["gpt2"])


def write_bert(folder: Path) -> None:
    import tokenizers

    bert = tokenizers.BertWordPieceTokenizer()
    bert.train_from_iterator(
        training_texts(folder),
        vocab_size=SIZES["bert"],
        limit_alphabet=4000,
        special_tokens=list(BERT_SPECIAL),
        show_progress=False,
    )
    bert.save_model(str(folder / "vocab"), "made")
    os.replace(
        folder / "vocab" / "made-vocab.txt", folder / "vocab" / "bert-base-uncased-vocab.txt"
    )
