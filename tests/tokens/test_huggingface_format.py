"""``tokenizer.json`` in and out: the ids of Hugging Face's library, or a refusal with its place."""

from __future__ import annotations

import gzip
import json
import pickle
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings, strategies as st
from tokenizers import AddedToken, Regex, normalizers, pre_tokenizers, processors

from huggingface_cases import SAMPLE, byte_level, load, trained
from tokfrag import Tokenizer
from tokfrag.tokens.formats.huggingface import parse_huggingface
from tokfrag.tokens.formats.huggingface_patterns import SPELLING

CORPORA = ("english", "code", "chinese", "chinese_pure", "multilingual", "emoji")
FORMS = ("NFC", "NFD", "NFKC", "NFKD")


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    content = json.loads(trained())
    change(content)
    return json.dumps(content).encode()


def split(expression: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(expression), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def variants() -> dict[str, Callable[[tokenizers.Tokenizer], object]]:
    """What a file may ask for beside its vocabulary."""
    found: dict[str, Callable[[tokenizers.Tokenizer], object]] = {
        "plain": lambda hf: None,
        "prefix_space": lambda hf: setattr(hf, "pre_tokenizer", pre_tokenizers.ByteLevel()),
        "no_regex": lambda hf: setattr(
            hf, "pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        ),
        "digits": lambda hf: setattr(
            hf,
            "pre_tokenizer",
            pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Digits(individual_digits=True),
                    pre_tokenizers.ByteLevel(add_prefix_space=False),
                ]
            ),
        ),
        "own_expression": lambda hf: setattr(hf, "pre_tokenizer", split(r" ?\p{L}{2,4}|\p{N}")),
        "added": lambda hf: (
            hf.add_tokens([AddedToken("<a>"), "at", AddedToken("th e")]),
            hf.add_special_tokens(["<end><end>", AddedToken("at t", normalized=False)]),
        ),
        "stripping": lambda hf: hf.add_tokens(
            [
                AddedToken("<a>", lstrip=True, rstrip=True),
                AddedToken("cat", single_word=True),
                AddedToken("e", lstrip=True, single_word=True),
                AddedToken("\u0301x", rstrip=True, normalized=False),
            ]
        ),
    }
    for family, expression in SPELLING.items():
        found[family] = lambda hf, text=expression: setattr(hf, "pre_tokenizer", split(text))
    for form in FORMS:
        found[form] = lambda hf, name=form: (
            setattr(hf, "normalizer", getattr(normalizers, name)()),
            hf.add_tokens([AddedToken("e\u0301", normalized=False), AddedToken("<a>")]),
        )
    return found


@cache
def pair(name: str) -> tuple[tokenizers.Tokenizer, Tokenizer]:
    hf = tokenizers.Tokenizer.from_str(trained())
    variants()[name](hf)
    return hf, load(hf)


PIECES = [*"abcet 12'\n\t", "  ", "<a>", "<end>", "'s", "'LL", "at", "cat", "The cat", "e\u0301"]
PIECES += [
    "é",
    "ﬁ",
    "你好",
    "。",
    "\u0301x",
    "🙂",
    "\u2003",
    "\x85",
    "\x00",
    "Ⅷ",
    "１",
    "\u1e9b\u0323",
]


@pytest.mark.parametrize("name", variants())
@given(text=st.lists(st.sampled_from(PIECES), max_size=30).map("".join) | st.text(max_size=40))
@settings(max_examples=150)
def test_ids_are_those_of_the_library(name: str, text: str) -> None:
    hf, ours = pair(name)
    assert ours.encode(text, allowed_special="all").tolist() == hf.encode(text).ids


@pytest.mark.parametrize("name", variants())
def test_a_sample_and_its_way_back(name: str, tmp_path: Path) -> None:
    hf, ours = pair(name)
    ids = ours.encode(SAMPLE, allowed_special="all")
    assert ids.tolist() == hf.encode(SAMPLE).ids
    assert ours.decode(ids) == hf.decode(ids.tolist(), skip_special_tokens=False)
    assert pickle.loads(pickle.dumps(ours)).encode(SAMPLE).tolist() == ours.encode(SAMPLE).tolist()
    batch = ours.encode_batch([SAMPLE, "", "cat"], allowed_special="all")
    assert [row.tolist() for row in batch] == [hf.encode(t).ids for t in (SAMPLE, "", "cat")]
    # Written, the file gives the same in both libraries.
    ours.save(tmp_path / "tokenizer.json")
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert theirs.encode(SAMPLE).ids == ids.tolist()
    again = Tokenizer.from_file(tmp_path / "tokenizer.json")
    assert again.encode(SAMPLE, allowed_special="all").tolist() == ids.tolist()


@pytest.mark.parametrize("whole_pieces", [False, True])
def test_a_token_that_no_merge_reaches(whole_pieces: bool) -> None:
    hf = byte_level()
    content = json.loads(hf.to_str())
    content["model"]["vocab"]["qzx"] = 380
    content["model"]["ignore_merges"] = whole_pieces
    data = json.dumps(content)
    hf = tokenizers.Tokenizer.from_str(data)
    ours = Tokenizer.from_specification(parse_huggingface(data.encode()))
    assert (hf.encode("qzx").ids == [380]) == whole_pieces
    for text in ("qzx", " qzx", "qzxq", "aqzx qzx"):
        assert ours.encode(text).tolist() == hf.encode(text).ids


def test_gpt2_on_the_corpora(data: Path) -> None:
    path = data / "vocab" / "gpt2_tokenizer.json.gz"
    ours = Tokenizer.from_file(path)
    hf = tokenizers.Tokenizer.from_str(gzip.decompress(path.read_bytes()).decode())
    for name in CORPORA:
        text = (data / f"{name}.txt").read_text(encoding="utf-8")[:100_000]
        assert ours.encode(text, allowed_special="all").tolist() == hf.encode(text).ids
    rows = [line.split("\t")[0] for line in (data / "nfc_cases.tsv").read_text().splitlines()]
    assert [row.tolist() for row in ours.encode_batch(rows)] == [
        encoding.ids for encoding in hf.encode_batch(rows)
    ]


@pytest.mark.parametrize(
    ("file", "pattern"),
    [("llama3_tokenizer.model.gz", "llama3"), ("o200k_base.tiktoken.gz", "o200k")],
)
def test_ranks_written_as_merges(data: Path, tmp_path: Path, file: str, pattern: str) -> None:
    ours = Tokenizer.from_tiktoken(
        data / "vocab" / file, pattern=pattern, special_tokens={"<|end|>": 300_000}
    )
    ours.save(tmp_path / "tokenizer.json")
    hf = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert hf.token_to_id("<|end|>") == 300_000
    for name in CORPORA:
        text = (data / f"{name}.txt").read_text(encoding="utf-8")[:30_000]
        assert hf.encode(text).ids == ours.encode(text).tolist()
    for text in ("a" * 999, " " * 1001 + "x", "\n" * 300, "ab" * 500, "1<|end|>2"):
        assert hf.encode(text).ids == ours.encode(text, allowed_special="all").tolist()


def test_both_spellings_of_merges() -> None:
    def spaced(content: dict[str, Any]) -> None:
        content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]

    first = parse_huggingface(trained().encode()).model
    second = parse_huggingface(changed(spaced)).model
    assert first.tokens == second.tokens
    assert first.merges.tolist() == second.merges.tolist()


def test_save_tiktoken(tmp_path: Path) -> None:
    tiktoken = pytest.importorskip("tiktoken.load") and pytest.importorskip("tiktoken")
    ours = load(byte_level())
    ours.save_tiktoken(tmp_path / "a.tiktoken")
    again = Tokenizer.from_tiktoken(tmp_path / "a.tiktoken", pattern="gpt2")
    theirs = tiktoken.Encoding(
        "a",
        pat_str=SPELLING["gpt2"],
        mergeable_ranks=tiktoken.load.load_tiktoken_bpe(str(tmp_path / "a.tiktoken")),
        special_tokens={},
    )
    for text in (SAMPLE, "aaa", " the then there"):
        wanted = ours.encode(text).tolist()
        assert again.encode(text).tolist() == theirs.encode_ordinary(text) == wanted


@given(seed=st.integers(0, 10**6))
@settings(max_examples=100)
def test_ranks_and_merges_are_the_same_rule(tmp_path_factory: Any, seed: int) -> None:
    """Random vocabularies over a small alphabet, where pairs for one token overlap all the time."""
    rng = random.Random(seed)
    tokens = [bytes([byte]) for byte in range(256)]
    while len(tokens) < 290:
        left, right = (
            rng.choice([b"a", b"b", *tokens[256:]]),
            rng.choice([b"a", b"b", *tokens[256:]]),
        )
        if len(left + right) < 9 and left + right not in tokens:
            tokens.append(left + right)
    ours = Tokenizer(tokens, pattern="gpt2")
    path = tmp_path_factory.mktemp("ranks") / "tokenizer.json"
    ours.save(path)
    hf = tokenizers.Tokenizer.from_file(str(path))
    for _ in range(20):
        text = "".join(rng.choices("ab", k=rng.randrange(40)))
        assert hf.encode(text).ids == ours.encode(text).tolist()


def refuse_save(tokens: list[bytes], **options: Any) -> Tokenizer:
    return Tokenizer([bytes([byte]) for byte in range(256)] + tokens, **options)


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with pytest.raises(ValueError, match=r"'\$\|x' in the pattern may mean something else"):
        refuse_save([], pattern=r"[^x]+$|x").save(path)
    with pytest.raises(ValueError, match="'a' is an added token of id 300 and a token of id 97"):
        refuse_save([], pattern="gpt2", special_tokens={"a": 300}).save(path)
    unused = refuse_save([b"ab", b"xyz"], pattern="gpt2", merges=[(b"a", b"b")])
    with pytest.raises(ValueError, match="not one a token"):
        unused.save_tiktoken(tmp_path / "a.tiktoken")
    assert list(tmp_path.iterdir()) == []


# Refusals: each with the place and the value.


def put(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        *outer, last = path.split(".")
        for key in outer:
            content = content[int(key)] if isinstance(content, list) else content[key]
        if isinstance(content, list):
            content[int(last)] = value
        else:
            content[last] = value

    return change


ADDED = {"id": 368, "content": "<x>", "single_word": False, "lstrip": False, "rstrip": False}
ADDED |= {"normalized": True, "special": False}


DIGITS = {"type": "Digits", "individual_digits": True}
SPLIT = {"type": "Split", "pattern": {"String": "a"}, "behavior": "X", "invert": False}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("model.type", "X"), "model: got type 'X', takes 'BPE', 'WordPiece', 'WordLevel' or"),
        (put("model.type", "Unigram"), "model: has 'dropout', which is unknown here"),
        (put("model.dropout", 0.1), r"model: dropout 0\.1 makes encoding random"),
        (put("model.new_option", 1), "model: has 'new_option', which is unknown here"),
        (put("model.vocab", {}), r"model\.vocab: has no token"),
        (put("model.vocab.a", -1), r"model\.vocab: token 'a' has id -1, takes 0 to"),
        (put("model.vocab.a", 2**32), r"model\.vocab: token 'a' has id 4294967296"),
        (put("model.vocab.a", 1.5), r"model\.vocab: token 'a' has id 1\.5"),
        (put("model.vocab.a", True), r"model\.vocab: token 'a' has id True"),
        (put("model.vocab.a", 3), r"model\.vocab: tokens .* and .* both have id 3"),
        (put("model.vocab.", 999), r"model\.vocab: the token of id 999 is empty"),
        (put("model.vocab.a b", 999), r"model\.vocab: token 'a b' is no byte-level spelling"),
        (put("model.merges.4", ["a", "€"]), r"model\.merges\[4\]: got \['a', '€'\]"),
        (put("model.merges.4", "a b"), r"model\.merges\[4\]: got 'a b'"),
        (put("model.merges.4", [1, 2]), r"model\.merges\[4\]: got \[1, 2\]"),
        (put("model.merges.4", [["a"], "b"]), r"model\.merges\[4\]: got"),
        (put("model.merges.4", None), r"model\.merges\[4\]: got None"),
        (put("model.merges", "a b"), r"model\.merges: got 'a b', takes an array"),
        (
            put("added_tokens.0.id", 7),
            r"added_tokens\[0\]: '<end>' has id 7, but loading gives it 0",
        ),
        (put("added_tokens.0.content", ""), r"added_tokens\[0\]: content is empty"),
        (put("added_tokens", [ADDED, ADDED]), r"added_tokens\[1\]: content '<x>' is there twice"),
        (put("added_tokens", [ADDED | {"id": 369}]), "has id 369, but loading gives it 368"),
        (
            put("added_tokens", [ADDED | {"content": "é", "id": 166}]),
            "'é' is an added token, and the byte-level spelling of",
        ),
        (put("added_tokens", [ADDED | {"content": "\ud800"}]), "has half a surrogate pair"),
        (put("added_tokens", [ADDED | {"special": 1}]), "special: got 1, takes true or false"),
        (put("normalizer", {"type": "X"}), "normalizer: got 'X', takes NFC, NFD"),
        (
            put("normalizer", {"type": "Replace", "pattern": {"Regex": "\\w"}, "content": ""}),
            r"normalizer\.pattern: the expression",
        ),
        (
            put("normalizer", {"type": "Precompiled", "precompiled_charsmap": "!"}),
            r"normalizer\.precompiled_charsmap: is no map",
        ),
        (put("pre_tokenizer", {"type": "UnicodeScripts"}), "pre_tokenizer: got 'UnicodeScripts'"),
        (
            put("pre_tokenizer", {"type": "Sequence", "pretokenizers": [DIGITS, SPLIT]}),
            r"pretokenizers\[1\]\.behavior: got 'X', takes Removed, Isolated",
        ),
        (put("decoder", {"type": "CTC"}), "decoder: got {'type': 'CTC'}, takes Metaspace"),
        (
            put("decoder", {"type": "Strip", "content": " ", "start": 1, "stop": 0}),
            "decoder: strips every token, takes Fuse before it",
        ),
        (put("post_processor", {"type": "X"}), "post_processor: got 'X', takes ByteLevel"),
        (
            put("truncation", {"max_length": 4, "strategy": "OnlyFirst", "stride": 0}),
            "truncation: got",
        ),
        (put("extra", 1), "has 'extra', which is unknown here"),
    ],
)
def test_what_cannot_be_reproduced_is_refused(
    change: Callable[[dict[str, Any]], None], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        parse_huggingface(changed(change))


def test_a_pair_listed_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model\.merges: \[9\] is the same pair as \[2\]"):
        parse_huggingface(
            changed(lambda c: c["model"]["merges"].insert(9, c["model"]["merges"][2]))
        )


def test_a_byte_that_is_no_token_is_dropped() -> None:
    content = changed(
        lambda c: (
            c["model"]["vocab"].pop("Ġ"),
            c["model"].update(merges=[m for m in c["model"]["merges"] if "Ġ" not in m[0]]),
        )
    )
    hf = tokenizers.Tokenizer.from_str(content.decode())
    ours = Tokenizer.from_specification(parse_huggingface(content))
    for text in ("the cat", " x  y", "\u4f60 \u597d\n"):
        assert ours.encode(text).tolist() == hf.encode(text).ids
        assert ours.decode(ours.encode(text)) == hf.decode(hf.encode(text).ids)


@pytest.mark.parametrize(
    "expression",
    [r"\w+|\W", r"\p{N}{1,3}+|\P{N}", r"(?i:ss)|[\s\S]", r"\X", r"a*?"],
)
def test_expressions_of_another_meaning_are_refused(expression: str) -> None:
    hf = byte_level()
    hf.pre_tokenizer = split(expression)
    with pytest.raises(ValueError, match=r"pretokenizers\[0\]\.pattern: the expression"):
        load(hf)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "Expecting value: line 1 column 1"),
        (b"{", "line 1 column 2"),
        (b"\xff{}", "byte 0 is not UTF-8"),
        (b"[" * 10**6, "nested too deep"),
        (b'{"model": {"model": ' * 10**5, "nested too deep"),
        (b"[]", r"got \[\], takes an object"),
        (b'{"model": NaN}', "NaN is not JSON"),
        (b'{"model": {}, "model": {}}', "the name 'model' is there twice"),
        (b"{}", "has no 'model'"),
        (b'{"model": {}}', "model: has no 'vocab'"),
    ],
)
def test_malformed_files_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_huggingface(data)


def test_half_a_file_is_refused(tmp_path: Path) -> None:
    whole = trained().encode()
    for size in range(0, len(whole) - 1, 97):
        with pytest.raises(ValueError, match=r"tokenizer\.json"):
            parse_huggingface(whole[:size])
    packed = gzip.compress(whole)
    (tmp_path / "a.json.gz").write_bytes(packed[:-20])
    with pytest.raises(ValueError, match="not a whole gzip file"):
        Tokenizer.from_file(tmp_path / "a.json.gz")


# The post-processor, as far as it is seen in calls.


def test_templates_go_around_texts() -> None:
    hf = byte_level()
    hf.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(
                single="<end> $A",
                pair="<end> $A <end> $B:1 <end>:1",
                special_tokens=[("<end>", 0)],
            ),
        ]
    )
    ours = load(hf)
    assert ours("The cat").input_ids == hf.encode("The cat").ids
    both = ours("The cat", "a mat", return_token_type_ids=True)
    assert both.input_ids == hf.encode("The cat", "a mat").ids
    assert both.token_type_ids == hf.encode("The cat", "a mat").type_ids


# What a prepared tokenizer does beside encoding.


@pytest.mark.parametrize("name", ["plain", "prefix_space", "added", "stripping"])
@given(text=st.lists(st.sampled_from(PIECES), max_size=15).map("".join), most=st.integers(0, 12))
@settings(max_examples=60)
def test_a_truncated_text_is_a_beginning_that_fits(name: str, text: str, most: int) -> None:
    _, ours = pair(name)
    kept = ours.truncate(text, most)
    assert text.startswith(kept)
    assert ours.count(kept) <= most
    assert kept == text or ours.count(text) > most


@given(text=st.lists(st.sampled_from(PIECES), max_size=15).map("".join))
@settings(max_examples=100)
def test_offsets_cover_the_text(text: str) -> None:
    _, ours = pair("own_expression")
    ids, spans = ours.encode_with_offsets(text, unit="byte")
    assert ids.tolist() == ours.encode(text).tolist()
    parts = [text.encode()[begin:end] for begin, end in spans]
    assert parts == [ours.id_to_token(id) for id in ids]
    _, characters = ours.encode_with_offsets(text)
    for (begin, end), part in zip(characters, parts, strict=True):
        assert part in text[begin:end].encode()
    with pytest.raises(ValueError, match="unit: got 'word'"):
        ours.encode_with_offsets(text, unit="word")


def test_options_of_encode_are_checked() -> None:
    _, ours = pair("added")
    out = np.empty(100, np.uint32)
    assert ours.encode("the <a> cat", out=out).tolist() == ours.encode("the <a> cat").tolist()
    assert ours.count(["a", "the <a> cat"]).tolist() == [1, len(ours.encode("the <a> cat"))]
    for options in ({"allowed_special": "some"}, {"allowed_special": {"<no>"}}):
        with pytest.raises(ValueError, match="allowed_special"):
            ours.encode("a", **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="holds the special token '<end>'"):
        ours.encode("a <end>", disallowed_special="all")
    with pytest.raises(ValueError, match="disallowed_special: '<no>' is not"):
        ours.encode("a", disallowed_special={"<no>"})
    with pytest.raises(TypeError, match="texts: item 1 is a int"):
        ours.encode_batch(["a", 1])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="expected many texts, got one str"):
        ours.encode_batch("a")
