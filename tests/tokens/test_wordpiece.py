"""WordPiece: native against the twin and against Hugging Face's BertWordPieceTokenizer."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tokfrag import Tokenizer
from tokfrag._core import wordpiece as native
from tokfrag.reference import wordpiece as reference
from tokfrag.tokens.batch import TokenBatch
from tokfrag.tokens.formats.bert_vocab import read_bert, read_vocab
from tokfrag.tokens.specification import (
    Pipeline,
    Specification,
    WordPieceModel,
    special_added,
)

LETTERS = "abcdeé你"
VOCAB_TEXT = """
    [UNK] [SEP] [CLS] [PAD] [MASK] ab abc abcde ##cd ##d ##de ##dea ##e ##ab a c e ##c ##b ! [ ] #
    ## 你 ##你 s ##s mask un ##\u0301 i ##i\u0307 ß \u1112 ##\u1161
"""
SPECIALS = ("[UNK]", "[SEP]", "[CLS]", "[PAD]", "[MASK]")
VOCAB = {token: id for id, token in enumerate(VOCAB_TEXT.split())}
# Characters that the steps treat in different ways, and some of each.
TEXTS = st.text(
    st.sampled_from(LETTERS + "AİΣßΩ \t\n\r\x00\x01\x7f\x85\xa0\xad#!']。「·_\u0301\u0323\u0327")
    | st.sampled_from(
        "\u302e\u302f\u1b44\u0344\u0340\u0958\u0b48\u2126\u212b\ufa0e\uf900\U0001d15e"
    )
    | st.sampled_from(
        "\U0001d165\U0001d16d\U0002f800\ufffd\u200d\u2028\u3000\ufb01\uac00\ud55c\u1fed"
    )
    | st.characters(exclude_categories=["Cs"]),
    max_size=30,
)
MIXED = st.lists(
    TEXTS | st.sampled_from(["[MASK]", "[SEP]", "[MASK", "abcde", " "]), max_size=5
).map("".join)
SCALARS = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
SWITCHES = st.fixed_dictionaries(
    {
        "lowercase": st.booleans(),
        "strip_accents": st.sampled_from([None, True, False]),
        "clean_text": st.booleans(),
        "handle_chinese_chars": st.booleans(),
    }
)


def hugging_face(vocab: Any, **switches: Any) -> Any:
    tokenizers = pytest.importorskip("tokenizers")
    return tokenizers.BertWordPieceTokenizer(vocab, **{"lowercase": True, **switches})


def bert(
    vocab: dict[str, int] = VOCAB,
    *,
    lowercase: bool = True,
    strip_accents: bool | None = None,
    clean_text: bool = True,
    handle_chinese_chars: bool = True,
    unknown: str = "[UNK]",
    longest_word: int = 100,
    specials: tuple[str, ...] = SPECIALS,
) -> Tokenizer:
    """BERT's tokenizer with a vocabulary."""
    model = WordPieceModel(
        tuple(vocab.items()),
        unknown_token=unknown,
        max_word_length=longest_word,
        clean_text=clean_text,
        split_chinese=handle_chinese_chars,
        lowercase=lowercase,
        strip_accents=lowercase if strip_accents is None else strip_accents,
    )
    added = special_added({token: vocab[token] for token in specials if token in vocab})
    return Tokenizer.from_specification(Specification(model, Pipeline(added)))


@cache
def tokenizer_of(switches: tuple[tuple[str, Any], ...]) -> Tokenizer:
    return bert(**dict(switches))


def from_file(path: Path | str, *, lowercase: bool = True) -> Tokenizer:
    return Tokenizer.from_specification(read_bert(path, lowercase=lowercase))


@settings(max_examples=200)
@given(MIXED, SWITCHES, st.booleans())
def test_twin(text: str, switches: dict[str, Any], specials: bool) -> None:
    ours = (
        tokenizer_of(tuple(switches.items()))
        .encode(text, allowed_special="all" if specials else ())
        .tolist()
    )
    assert ours == reference.encode(
        text,
        VOCAB,
        specials=["[UNK]", "[SEP]", "[CLS]", "[PAD]", "[MASK]"] if specials else [],
        lowercase=switches["lowercase"],
        strip=switches["strip_accents"],
        clean=switches["clean_text"],
        chinese=switches["handle_chinese_chars"],
    )


@settings(max_examples=200)
@given(MIXED, SWITCHES)
def test_hugging_face(text: str, switches: dict[str, Any]) -> None:
    tokenizer = tokenizer_of(tuple(switches.items()))
    encoding = hugging_face(VOCAB, **switches).encode(text, add_special_tokens=False)
    ids, offsets = tokenizer.encode_with_offsets(text, allowed_special="all")
    assert ids.tolist() == encoding.ids
    assert [tuple(span) for span in offsets.tolist()] == encoding.offsets
    assert tokenizer.encode(text, allowed_special="all").tolist() == encoding.ids


words = st.text("abcd#", max_size=12)


@settings(max_examples=200)
@given(st.lists(words, unique=True, max_size=30), st.lists(words, max_size=10))
def test_longest_match(tokens: list[str], parts: list[str]) -> None:
    vocab = {token: id for id, token in enumerate(["?", *tokens])}
    tokenizer = bert(vocab, unknown="?", specials=())
    text = " ".join(part.replace("#", "") for part in parts)
    expected = [id for word in text.split() for id in reference.match(word, vocab, unknown="?")]
    assert tokenizer.encode(text).tolist() == expected


@pytest.mark.parametrize("lowercase", [True, False])
def test_every_character_as_hugging_face(data: Path, lowercase: bool) -> None:
    path = str(data / "vocab" / "bert-base-uncased-vocab.txt")
    ours = from_file(path, lowercase=lowercase)
    theirs = hugging_face(path, lowercase=lowercase)
    texts = [
        " ".join(f"a{char}b {char}" for char in map(chr, SCALARS[at : at + 64]))
        for at in range(0, len(SCALARS), 64)
    ]
    batch = ours.encode_batch(texts)
    ids, offsets = batch.ids, batch.offsets
    expected = [encoding.ids for encoding in theirs.encode_batch(texts, add_special_tokens=False)]
    assert np.array_equal(np.diff(offsets), [len(row) for row in expected])
    assert ids.tolist() == [id for row in expected for id in row]


@pytest.mark.parametrize("switch", ["strip_accents", "lowercase", "clean_text"])
def test_every_character_normalised_as_hugging_face(switch: str) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    off = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False}
    normalizer = tokenizers.normalizers.BertNormalizer(**{**off, "lowercase": False, switch: True})
    ours = {"strip": switch == "strip_accents", "clean": switch == "clean_text"}
    for at in range(0, len(SCALARS), 256):
        text = " ".join(f"x{chr(code)}y" for code in SCALARS[at : at + 256])
        expected = normalizer.normalize_str(text)
        assert expected == reference.normalize(
            text, lowercase=switch == "lowercase", chinese=False, **ours
        )


@pytest.mark.parametrize("name", ["english", "code", "chinese", "multilingual", "emoji"])
def test_corpora_as_hugging_face(data: Path, name: str) -> None:
    path = str(data / "vocab" / "bert-base-uncased-vocab.txt")
    rows = (data / f"{name}.txt").read_text(encoding="utf-8")[:1_500_000].split("\n")
    rows += ["\n".join(rows[:500])]
    found = from_file(path)(rows, threads=2).input_ids
    for row, encoding in enumerate(hugging_face(path).encode_batch(rows)):
        assert found[row] == encoding.ids, rows[row]


def test_threads_and_cuts_change_nothing(data: Path) -> None:
    tokenizer = from_file(data / "vocab" / "bert-base-uncased-vocab.txt")
    text = (data / "multilingual.txt").read_text(encoding="utf-8")[:1_000_000]
    rows = text.split("\n")
    whole = tokenizer.encode(text)
    for threads in (1, 2, 5):
        batch = tokenizer.encode_batch([text, "", *rows], threads=threads)
        assert np.array_equal(batch[0], whole)
        assert np.array_equal(batch.ids[len(whole) :], whole)


def test_long_words() -> None:
    tokenizer = bert()
    assert tokenizer.encode("a" + "b" * 99).tolist() == [5] + [VOCAB["##b"]] * 98
    assert tokenizer.encode("a" + "b" * 100).tolist() == [0]
    assert bert(longest_word=3).encode("abc abcd").tolist() == [6, 0]
    assert bert(longest_word=0).encode("a !").tolist() == [0, 0]
    endless = bert(longest_word=10**9)
    assert len(endless.encode("a" + "b" * 10**6)) == 10**6
    assert endless.encode("a" + "b" * 10**6 + "z").tolist() == [0]


def test_batch_edges() -> None:
    tokenizer = bert()
    empty = tokenizer.encode_batch([])
    assert (empty.ids.dtype, empty.offsets.tolist()) == (np.uint32, [0])
    assert tokenizer.encode_batch(["", "ab", ""]) == TokenBatch(
        np.array([5], np.uint32), np.array([0, 0, 1, 1])
    )
    assert tokenizer.encode(b"ab\xff!").tolist() == [5, VOCAB["!"]]
    special = tokenizer.encode("a[SEP]", allowed_special="all")
    assert tokenizer.encode("a[SEP]").tolist() != special.tolist()
    assert tokenizer.encode_with_offsets("é你 ab", unit="byte")[1].tolist() == [
        [0, 2],
        [2, 5],
        [6, 8],
    ]


@settings(max_examples=200)
@given(st.lists(st.sampled_from(sorted(VOCAB.values())), max_size=12), st.booleans())
def test_decode_as_hugging_face(ids: list[int], skip: bool) -> None:
    ours = bert().decode(ids, skip_special_tokens=skip)
    assert ours == hugging_face(VOCAB).decode(ids, skip_special_tokens=skip)


def test_pickle() -> None:
    again = pickle.loads(pickle.dumps(bert(lowercase=False, specials=("[SEP]",))))
    assert again.encode("AB ab[SEP]", allowed_special="all").tolist() == [0, 5, 1]
    assert again.special_tokens == {"[SEP]": 1}


def test_vocab_file(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes("[UNK]\r\nab \n##c\u3000\n".encode())
    assert read_vocab(path) == {"[UNK]": 0, "ab": 1, "##c": 2}
    for data, line in ((b"[UNK]\na\nb\na\n", 4), (b"[UNK]\n\xff\n", 2)):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=f"line {line}"):
            read_vocab(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"no \[UNK\] in it"):
        from_file(path)


def test_arguments() -> None:
    tokenizer = bert()
    with pytest.raises(ValueError, match="item 1 holds a lone surrogate"):
        tokenizer.encode_batch(["é", "\ud800"])
    with pytest.raises(TypeError, match="item 1"):
        tokenizer.encode_batch(["a", 5])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="texts"):
        tokenizer.encode_batch("a")
    with pytest.raises(ValueError, match="unit"):
        tokenizer.encode_with_offsets("a", unit="word")
    with pytest.raises(IndexError, match="no token has id 99"):
        tokenizer.decode([99])
    with pytest.raises(IndexError, match="no token has id -1"):
        tokenizer.id_to_token(-1)
    with pytest.raises(ValueError, match="unknown"):
        bert({"a": 0})
    with pytest.raises(ValueError, match="have one id"):
        bert({"[UNK]": 0, "a": 0})
    with pytest.raises(TypeError, match="vocab"):
        bert({"[UNK]": 0, b"a": 1})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="no byte-pair tokenizer"):
        tokenizer.extend(["ab"], 300)
    with pytest.raises(ValueError, match="fresh from training"):
        tokenizer.compression_curve()


@pytest.mark.parametrize(
    "text",
    [
        "' ' * 10**7",
        "'a' * 10**7",
        "'\\u0301' * 10**6",
        "'a' + '\\u302e\\u1b44' * 10**5",
        "'你' * 10**6",
        "'[' * 10**6",
        "'\\0' * 10**6",
        "'ab\\u0301' * 10**5",
    ],
)
def test_adversarial_texts_are_linear(text: str, tmp_path: Path) -> None:
    code = f"""
        from pathlib import Path
        from tokfrag import Tokenizer
        path = Path({str(tmp_path)!r}) / "vocab.txt"
        path.write_text("[UNK]\\n[SEP]\\na\\n##a\\n")
        tokenizer = Tokenizer.from_wordpiece(path)
        tokenizer.encode({text}, allowed_special="all")
        tokenizer.encode_with_offsets({text}, allowed_special="all")
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)


def test_fork_and_threads(tmp_path: Path) -> None:
    code = """
        import os
        from concurrent.futures import ThreadPoolExecutor
        import sys
        from tokfrag import Tokenizer
        tokenizer = Tokenizer.from_wordpiece(sys.argv[1])
        rows = ["ab a!"] * 10_000
        expected = [1, 2, 1, 0] * 10_000
        with ThreadPoolExecutor(64) as pool:
            for batch in pool.map(lambda _: tokenizer.encode_batch(rows, threads=2), range(64)):
                assert batch.ids.tolist() == expected
            child = os.fork()
            if child == 0:
                os._exit(tokenizer.encode_batch(rows, threads=2).ids.tolist() != expected)
            assert os.waitpid(child, 0)[1] == 0
    """
    environment = {**os.environ, "PYTHONWARNINGS": "ignore::DeprecationWarning"}
    path = tmp_path / "vocab.txt"
    path.write_text("[UNK]\na\n##b\n")
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(path)],
        check=True,
        timeout=60,
        env=environment,
    )


@pytest.mark.parametrize(
    ("units", "lists", "message"),
    [
        (np.zeros(5), [0], "units: takes one for each code point"),
        (np.full(0x110000, 6 << 29 | 1), [0], "units: one names a list that is not there"),
        (np.full(0x110000, 6 << 29 | 2), [0, 2, 97, 98], "units: one names a list"),
        (np.zeros(0x110000), [0, 3, 97, 98], "lists: one is cut short"),
        (np.full(0x110000, 6 << 29 | 1), [0, 1, 6 << 29 | 1], "lists: one holds another"),
    ],
)
def test_tables_that_lead_outside_are_refused(
    units: np.ndarray, lists: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        native.WordPiece([b"a"], b"##", units.astype(np.uint32), np.array(lists, np.uint32), 0, 100)
    whole = np.full(0x110000, 6 << 29 | 1, np.uint32)
    model = native.WordPiece([b"?", b"aa"], b"##", whole, np.array([0, 2, 97, 97]), 0, 100)
    assert model.encode("x").tolist() == [1]
