"""Encoding: ids are tiktoken's, on real corpora and made-up texts, however they are asked for."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from token_cases import BYTES, FAMILIES, FILES, SPECIAL, TEXTS, peer, ranks_of, tokenizer
from tokfrag import TokenBatch, Tokenizer
from tokfrag.reference import bpe

CORPORA = ("english", "code", "chinese", "chinese_pure", "multilingual", "emoji")


def peer_ids(data: Path, family: str, text: str) -> list[int]:
    return peer(data, family).encode_ordinary(text)


@pytest.mark.parametrize("family", FILES)
@pytest.mark.parametrize("corpus", CORPORA)
def test_corpora_equal_tiktoken(data: Path, family: str, corpus: str) -> None:
    text = (data / f"{corpus}.txt").read_text("utf-8")[:400_000]
    tok = tokenizer(data, family)
    ids = tok.encode(text)
    expected = peer(data, family).encode_to_numpy(text, disallowed_special=())
    assert ids.dtype == np.uint32
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_array_equal(tok.encode(text), ids)
    assert tok.count(text) == len(ids)
    assert tok.decode(ids) == text


@pytest.mark.parametrize("family", FILES)
def test_all_scalar_values_equal_tiktoken(data: Path, family: str) -> None:
    scalars = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    for text in (" ".join(scalars[::7]), "a".join(scalars[::11]), "".join(scalars[::5])):
        assert tokenizer(data, family).encode(text).tolist() == peer_ids(data, family, text)


@pytest.mark.parametrize("family", FILES)
@given(text=TEXTS)
def test_texts_equal_tiktoken(data: Path, family: str, text: str) -> None:
    assert tokenizer(data, family).encode(text).tolist() == peer_ids(data, family, text)


@pytest.mark.parametrize("family", FILES)
@settings(max_examples=20)
@given(text=BYTES)
def test_bytes_equal_twin_and_come_back(data: Path, family: str, text: bytes) -> None:
    tok = tokenizer(data, family)
    ids = tok.encode(text)
    assert ids.tolist() == bpe.encode(text, ranks_of(data / "vocab" / FILES[family]), family)
    assert tok.decode_bytes(ids) == text


@pytest.mark.parametrize("family", FILES)
def test_vocabulary_entries_equal_tiktoken(data: Path, family: str) -> None:
    """Every token as text, doubled, reversed and cut short: seeds, misses and long words."""
    tokens = [t.decode("utf-8", "ignore") for t in ranks_of(data / "vocab" / FILES[family])]
    for made in (lambda t: t, lambda t: t + t, lambda t: t[::-1], lambda t: t[:-1] + "\n"):
        text = "".join(map(made, tokens[::3]))
        assert tokenizer(data, family).encode(text).tolist() == peer_ids(data, family, text)


@pytest.mark.parametrize("unit", ["a", "A", " ", "\n", "\t", "^", "'", "7", "\0", "é", "你", "👍"])
@pytest.mark.parametrize("family", FILES)
def test_runs_equal_tiktoken(data: Path, family: str, unit: str) -> None:
    tok = tokenizer(data, family)
    for count in (1, 2, 15, 16, 17, 31, 33, 99, 100, 101, 1000, 10_000):
        for tail in ("", "x", " x", "\n"):
            text = unit * count + tail
            assert tok.encode(text).tolist() == peer_ids(data, family, text)


@st.composite
def vocabularies(draw: st.DrawFn) -> list[bytes]:
    """Tokens that need not be reachable by merging, over a small alphabet with UTF-8 fragments."""
    bits = st.sampled_from([b"a", b"b", b" ", b"\xe4", b"\xbd", b"\xa0", "你".encode(), b"\n"])
    made = draw(st.lists(st.lists(bits, min_size=2, max_size=8).map(b"".join), max_size=40))
    singles = [bytes([byte]) for byte in range(256)]
    return singles + [token for token in dict.fromkeys(made) if len(token) > 1]


@given(tokens=vocabularies(), data=st.data())
def test_any_vocabulary_equals_twin(tokens: list[bytes], data: st.DataObject) -> None:
    """Also where a token cannot be reached by merging, and where long pieces are split."""
    bits = st.sampled_from([*tokens[256:], b"a", b"b", b" ", "你".encode(), b"\xe4", b"\xbd"])
    text = data.draw(st.lists(bits, max_size=40).map(b"".join))
    family = data.draw(st.sampled_from([*FAMILIES, None]))
    tok = Tokenizer(tokens, pattern=family)
    ranks = {token: rank for rank, token in enumerate(tokens)}
    for _ in range(2):  # the second time from the cache
        assert tok.encode(text).tolist() == bpe.encode(text, ranks, family)
    assert tok.count(text) == len(tok.encode(text))


@given(tokens=vocabularies(), data=st.data())
def test_listed_merges_equal_twin(tokens: list[bytes], data: st.DataObject) -> None:
    index = {token: i for i, token in enumerate(tokens)}
    joins = [
        (left, right)
        for token in tokens[256:]
        for cut in range(1, len(token))
        for left, right in [(token[:cut], token[cut:])]
        if left in index and right in index
    ]
    pairs = data.draw(st.permutations(joins)) if joins else []
    pairs = pairs[: data.draw(st.integers(0, len(pairs)))]
    merges = {pair: rank for rank, pair in enumerate(pairs)}
    tok = Tokenizer(
        {token: 7 * i + 3 for i, token in enumerate(tokens)},
        pattern=None,
        merges=pairs,
    )
    bits = st.sampled_from([*tokens[256:], b"a", b"b", b" "])
    text = data.draw(st.lists(bits, max_size=40).map(b"".join))
    expected = [7 * index[part] + 3 for part in bpe.merge_listed(text, merges)]
    for _ in range(2):
        assert tok.encode(text).tolist() == expected
    assert pickle.loads(pickle.dumps(tok)).encode(text).tolist() == expected
    assert tok.decode_bytes(expected) == text


# Runs of one kind of character: blocks of ASCII, and every length in UTF-8, anywhere in a block.
RUNS = st.lists(
    st.tuples(st.sampled_from("a z\x7fé\x80߿ࠀ的\uffff😀"), st.integers(1, 70)), max_size=8
).map(lambda runs: "".join(char * count for char, count in runs))


@given(text=RUNS)
def test_strings_of_any_width_are_read_as_their_bytes(data: Path, text: str) -> None:
    tok = tokenizer(data, "cl100k")
    fresh = "".join(list(text))  # without a copy in UTF-8
    np.testing.assert_array_equal(tok.encode(fresh), tok.encode(text.encode()))
    assert tok.decode(tok.encode(fresh)) == text


def test_lone_surrogates_as_tiktoken(data: Path) -> None:
    for text in ("a\ud800b", "\udc00", "\ud83d\udc4d", "x\ud83d \udc4d中"):
        assert tokenizer(data, "cl100k").encode(text).tolist() == peer_ids(data, "cl100k", text)


def test_gpt2_files_equal_r50k(data: Path) -> None:
    tok = Tokenizer.from_gpt2(data / "vocab" / "gpt2_vocab.bpe", data / "vocab/gpt2_encoder.json")
    end = max(ranks_of(data / "vocab" / FILES["gpt2"]).values()) + 1
    assert tok.special_tokens == {"<|endoftext|>": end}
    assert tok.vocab_size == end + 1
    for corpus in CORPORA:
        text = (data / f"{corpus}.txt").read_text("utf-8")[:100_000]
        np.testing.assert_array_equal(tok.encode(text), tokenizer(data, "gpt2").encode(text))


def test_qwen2_splits_digits(data: Path) -> None:
    tok = Tokenizer.from_tiktoken(data / "vocab" / FILES["cl100k"], pattern="qwen2")
    expected = [tok.token_to_id(piece) for piece in ("a", "1", "2", "3")]
    assert tok.encode("a123").tolist() == expected


@pytest.mark.parametrize("family", FILES)
@given(texts=st.lists(TEXTS | BYTES, max_size=12), threads=st.sampled_from([1, 2, 5]))
def test_batch_is_one_by_one(data: Path, family: str, texts: list, threads: int) -> None:
    tok = tokenizer(data, family)
    batch = tok.encode_batch(texts, threads=threads)
    rows = [tok.encode(text) for text in texts]
    assert len(batch) == len(texts)
    for row, ids in zip(batch, rows, strict=True):
        np.testing.assert_array_equal(row, ids)
    assert tok.count(texts, threads=threads).tolist() == [len(row) for row in rows]


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("corpus", ["english", "chinese_pure", "multilingual"])
def test_large_batch_on_any_threads(data: Path, corpus: str, threads: int) -> None:
    text = (data / f"{corpus}.txt").read_text("utf-8")[:600_000]
    texts = [text[i : i + 997] for i in range(0, len(text), 997)] + ["", text]
    tok = tokenizer(data, "cl100k")
    batch = tok.encode_batch(texts, threads=threads)
    assert batch == tok.encode_batch(texts, threads=1)
    np.testing.assert_array_equal(batch[-1], tok.encode(text))
    assert tok.decode_batch(batch) == texts


@pytest.mark.parametrize("allowed", ["all", {"<|end|>"}, {"<|end|>", "<|endofprompt|>"}, set()])
def test_allowed_special_as_tiktoken(data: Path, allowed) -> None:
    tok, enc = tokenizer(data, "cl100k"), peer(data, "cl100k")
    for text in (
        "a<|endoftext|>b<|end|><|end|> c",
        "<|end|>",
        "<|end<|end|>|><|endofprompt|",
        "<|endofprompt|>中文<|endoftext|>",
        "",
    ):
        expected = enc.encode(text, allowed_special=allowed, disallowed_special=())
        assert tok.encode(text, allowed_special=allowed).tolist() == expected
        assert tok.encode(text.encode(), allowed_special=allowed).tolist() == expected
        assert tok.encode_batch([text], allowed_special=allowed)[0].tolist() == expected
        assert tok.decode(tok.encode(text, allowed_special=allowed)) == text


def test_disallowed_special(data: Path) -> None:
    tok = tokenizer(data, "cl100k")
    text = "a<|end|>b<|endoftext|>"
    with pytest.raises(ValueError, match=r"'<\|end\|>'"):
        tok.encode(text, disallowed_special="all")
    with pytest.raises(ValueError, match=r"'<\|endoftext\|>'"):
        tok.encode(text, allowed_special={"<|end|>"}, disallowed_special="all")
    with pytest.raises(ValueError, match=r"'<\|endoftext\|>'"):
        tok.encode(text, disallowed_special=["<|endoftext|>"])
    assert tok.encode(text, allowed_special="all", disallowed_special="all").tolist()[1] == 300002
    with pytest.raises(ValueError, match="allowed_special: 'nope'"):
        tok.encode(text, allowed_special={"nope"})
    with pytest.raises(ValueError, match="expected 'all'"):
        tok.encode(text, allowed_special="<|end|>")


@given(
    special=st.lists(st.text("ab<", min_size=1, max_size=4), unique=True, max_size=6),
    text=st.text("ab<", max_size=30),
)
def test_special_tokens_leftmost_longest(special: list[str], text: str) -> None:
    tok = Tokenizer(
        [bytes([b]) for b in range(256)],
        pattern="gpt2",
        special_tokens={name: 256 + i for i, name in enumerate(special)},
    )
    expected: list[int] = []
    at = 0
    while at < len(text):
        names = [name for name in special if text.startswith(name, at)]
        name = max(names, key=len, default=None)
        expected.append(ord(text[at]) if name is None else 256 + special.index(name))
        at += 1 if name is None else len(name)
    assert tok.encode(text, allowed_special="all").tolist() == expected
    by_regex = Tokenizer(
        [bytes([b]) for b in range(256)],
        pattern=r"(?s:.)",
        special_tokens={name: 256 + i for i, name in enumerate(special)},
    )
    assert by_regex.encode(text, allowed_special="all").tolist() == expected


@pytest.mark.parametrize("family", FILES)
@given(text=TEXTS | BYTES)
def test_offsets_tile_the_text(data: Path, family: str, text: str | bytes) -> None:
    tok = tokenizer(data, family)
    utf8 = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    ids, offsets = tok.encode_with_offsets(utf8, unit="byte")
    assert ids.tolist() == tok.encode(utf8).tolist()
    for id, (begin, end) in zip(ids, offsets.tolist(), strict=True):
        assert tok.id_to_token(int(id)) == utf8[begin:end]
    if isinstance(text, str):
        text = utf8.decode()
        _, places = tok.encode_with_offsets(text)
        starts = [i for i, byte in enumerate(utf8) if byte & 0xC0 != 0x80]
        for (begin, end), (first, last) in zip(offsets.tolist(), places.tolist(), strict=True):
            assert first == sum(start <= begin for start in starts) - 1
            assert last == sum(start < end for start in starts)


def test_offsets_of_special_tokens(data: Path) -> None:
    tok = tokenizer(data, "cl100k")
    ids, offsets = tok.encode_with_offsets("中<|end|>b", allowed_special="all")
    assert ids.tolist()[-2:] == [300002, 65]
    assert offsets.tolist()[-2:] == [[1, 8], [8, 9]]
    with pytest.raises(ValueError, match="unit"):
        tok.encode_with_offsets("a", unit="word")


@pytest.mark.parametrize("family", FILES)
@given(text=TEXTS | BYTES, limit=st.integers(0, 30))
def test_truncate(data: Path, family: str, text: str | bytes, limit: int) -> None:
    tok = tokenizer(data, family)
    part = tok.truncate(text, limit)
    assert type(part) is type(text)
    assert tok.count(part) <= limit
    if tok.count(text) <= limit:
        assert part == text
    elif isinstance(text, bytes):
        assert text.startswith(part)
    else:
        assert text.encode("utf-8", "replace").decode().startswith(part) or max(text) >= "\ud800"


def test_truncate_long_text(data: Path) -> None:
    tok = tokenizer(data, "cl100k")
    text = (data / "chinese.txt").read_text("utf-8")
    part = tok.truncate(text, 1000)
    assert text.startswith(part)
    assert 990 <= tok.count(part) <= 1000
    with pytest.raises(ValueError, match="max_tokens"):
        tok.truncate(text, -1)


@pytest.mark.parametrize("family", FILES)
@pytest.mark.parametrize("corpus", ["english", "chinese_pure", "multilingual", "chinese"])
def test_a_long_text_is_cut_for_threads(data: Path, family: str, corpus: str) -> None:
    """From 512 KiB on one text is shared out; its ids are those of its pieces, one by one."""
    from tokfrag._core import tokens as native

    text = (data / f"{corpus}.txt").read_bytes()[:1_500_000]
    tok = tokenizer(data, family)
    expected = tok.text_pipeline.model.native.encode_pieces(text, native.scan(family, text))
    np.testing.assert_array_equal(tok.encode(text), expected)
    assert tok.count(text) == len(expected)
    dense = "".join(text.decode("utf-8", "ignore").split()).encode()
    expected = tok.text_pipeline.model.native.encode_pieces(dense, native.scan(family, dense))
    np.testing.assert_array_equal(tok.encode(dense), expected)


def test_out(data: Path) -> None:
    tok = tokenizer(data, "cl100k")
    out = np.zeros(10, np.uint32)
    ids = tok.encode("one two three", out=out)
    assert ids.base is out
    assert ids.tolist() == tok.encode("one two three").tolist()
    with pytest.raises(ValueError, match="out: has room for 1 ids, the text has 3"):
        tok.encode("one two three", out=np.zeros(1, np.uint32))
    with pytest.raises(ValueError, match=r"out: expected .* got \(10,\) int64"):
        tok.encode("one", out=np.zeros(10, np.int64))


def test_vocabulary_access_and_pickle(data: Path) -> None:
    tok = tokenizer(data, "cl100k")
    assert tok.vocab_size == 300004
    assert tok.special_tokens == SPECIAL
    assert tok.token_to_id("<|end|>") == tok.token_to_id(b"<|end|>") == 300002
    the = ranks_of(data / "vocab" / FILES["cl100k"])[b" the"]
    assert tok.token_to_id(" the") == the
    assert tok.token_to_id(b"\xff\xfe\xfd nothing") is None
    assert tok.id_to_token(the) == b" the"
    for unknown in (-1, 200000, 1 << 40):
        with pytest.raises(IndexError, match=str(unknown)):
            tok.id_to_token(unknown)
    copy = pickle.loads(pickle.dumps(tok))
    assert repr(copy) == repr(tok)
    assert copy.encode("a<|end|>", allowed_special="all").tolist() == [64, 300002]


def test_regex_pattern(data: Path) -> None:
    path = data / "vocab" / FILES["cl100k"]
    native = tokenizer(data, "cl100k")
    other = Tokenizer.from_tiktoken(
        path, pattern=r"\s*\S+|\s+$|\s+", special_tokens={"<|end|>": 300002}
    )
    text = " ein 中文 Wört\u0301er 👍 x  \n"
    assert other.decode(other.encode(text)) == text
    assert other.decode_bytes(other.encode(b"a\xff b")) == b"a\xff b"
    assert other.encode_batch([text, ""])[0].tolist() == other.encode(text).tolist()
    assert other.count([text, ""]).tolist() == [other.count(text), 0]
    assert other.encode("a<|end|>", allowed_special="all").tolist()[-1] == 300002
    # A known expression, whatever its name, runs natively.
    from tokfrag.tokens.patterns import REGEX

    same = Tokenizer.from_tiktoken(path, pattern=REGEX["cl100k"])
    assert same.encode(text).tolist() == native.encode(text).tolist()
    with pytest.raises(ValueError, match="does not match the text from character 2"):
        Tokenizer.from_tiktoken(path, pattern="[a-z]+").encode("ab12")
    with pytest.raises(ValueError, match="matches the empty string"):
        Tokenizer.from_tiktoken(path, pattern="a*")
    with pytest.raises(ValueError, match="neither a known name"):
        Tokenizer.from_tiktoken(path, pattern="(")


def test_no_pattern_is_one_piece() -> None:
    tokens = [bytes([byte]) for byte in range(256)] + [b"a b"[:2], b"a b"]
    tok = Tokenizer(tokens, pattern=None)
    assert tok.encode("a b").tolist() == [257]
    assert tok.encode("").tolist() == []


_LINES = [b"%s %d" % (__import__("base64").b64encode(bytes([b])), b) for b in range(256)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [*lines, b"!!!! 300"], "line 257: '!!!!' is not base64"),
        (lambda lines: [*lines, b"YWI 300"], "line 257: 'YWI' is not base64"),
        (lambda lines: [*lines, b"YWJ= 300"], "line 257: 'YWJ=' is not base64"),
        (lambda lines: [*lines, b"YWI="], "line 257: no space"),
        (lambda lines: [*lines, b"YWI= "], "line 257: no rank"),
        (lambda lines: [*lines, b" 300"], "line 257: the token is empty"),
        (lambda lines: [*lines, b"==== 300"], "line 257: '====' is not base64"),
        (lambda lines: [*lines, b"YWI= x"], "line 257: rank 'x' is not a number"),
        (lambda lines: [*lines, b"YWI= -3"], "line 257: rank '-3' is not a number"),
        (lambda lines: [*lines, b"YWI= 4294967296"], "line 257: rank 4294967296 is above"),
        (lambda lines: [*lines, b"YWI= 18446744073709551616"], "line 257: rank .* is above"),
        (lambda lines: [*lines, b"YWI= 255"], "line 257: rank 255 is there already, in line 256"),
        (lambda lines: [*lines, lines[5].split()[0] + b" 300"], "line 257: .*there twice"),
        (lambda lines: [*lines[:9], b"", *lines[9:]], "line 10: is empty"),
        (lambda lines: lines[:255], "no token for the single byte 255"),
        (lambda lines: [], "the file is empty"),
    ],
)
def test_faulty_files_name_the_line(tmp_path: Path, change, message: str) -> None:
    path = tmp_path / "x.tiktoken"
    path.write_bytes(b"\n".join(change(_LINES)) + b"\n")
    with pytest.raises(ValueError, match=message):
        Tokenizer.from_tiktoken(path, pattern="gpt2")
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        Tokenizer.from_tiktoken(path, pattern="gpt2")


def test_files_that_are_right(tmp_path: Path) -> None:
    path = tmp_path / "x.tiktoken"
    path.write_bytes(b"\r\n".join(reversed(_LINES)) + b"\r\nYWI= 900")  # CR LF, any order, a gap
    tok = Tokenizer.from_tiktoken(path, pattern="gpt2")
    assert tok.encode("abc").tolist() == [900, 99]
    with pytest.raises(IndexError):
        tok.decode([500])
    path.write_bytes(gzip.compress(b"\n".join(_LINES))[:-20])
    with pytest.raises(ValueError, match="not a whole gzip file"):
        Tokenizer.from_tiktoken(path, pattern="gpt2")
    with pytest.raises(FileNotFoundError):
        Tokenizer.from_tiktoken(tmp_path / "none", pattern="gpt2")


def test_bad_arguments(data: Path) -> None:
    tok = tokenizer(data, "cl100k")
    with pytest.raises(TypeError, match="text: expected str or bytes, got int"):
        tok.encode(3)
    with pytest.raises(TypeError, match="texts: item 1 is a NoneType"):
        tok.encode_batch(["a", None])
    with pytest.raises(TypeError, match="got one str"):
        tok.encode_batch("abc")
    with pytest.raises(ValueError, match="threads: got 0, takes 1 to"):
        tok.encode_batch(["a"], threads=0)
    with pytest.raises(TypeError, match="tokens"):
        Tokenizer()  # type: ignore[call-arg]
    path = data / "vocab" / FILES["cl100k"]
    for special, error, message in (
        ({"x": 5}, ValueError, "id 5 stands for two"),
        ({"x": 200001, "y": 200001}, ValueError, "same id"),
        ({"x": -1}, ValueError, "outside"),
        ({"x": 1 << 32}, ValueError, "outside"),
        ({"x": "1"}, TypeError, "expected str: int"),
        ({"": 300000}, ValueError, "empty"),
    ):
        with pytest.raises(error, match=message):
            Tokenizer.from_tiktoken(path, pattern="cl100k", special_tokens=special)


def test_token_batch() -> None:
    batch = TokenBatch(np.array([1, 2, 3, 4], np.uint32), np.array([0, 3, 3, 4]))
    assert [row.tolist() for row in batch] == [[1, 2, 3], [], [4]]
    assert batch[-1].tolist() == [4]
    ids, mask = batch.to_padded(pad_id=9)
    assert ids.tolist() == [[1, 2, 3], [9, 9, 9], [4, 9, 9]]
    assert mask.tolist() == [[True] * 3, [False] * 3, [True, False, False]]
    ids, mask = batch.to_padded(4, -1, "left", np.int32)
    assert ids.dtype == np.int32
    assert ids.tolist() == [[-1, 1, 2, 3], [-1] * 4, [-1, -1, -1, 4]]
    assert mask.sum() == 4
    assert batch.to_padded(2)[0].tolist() == [[1, 2], [0, 0], [4, 0]]
    assert TokenBatch(np.empty(0, np.uint32), np.zeros(1, np.int64)).to_padded()[0].shape == (0, 0)
    for bad in (3, -4):
        with pytest.raises(IndexError, match=str(bad)):
            batch[bad]
    with pytest.raises(ValueError, match="offsets: expected to rise"):
        TokenBatch(np.zeros(2, np.uint32), np.array([0, 3]))
    with pytest.raises(ValueError, match="side"):
        batch.to_padded(side="up")
    with pytest.raises(ValueError, match="dtype"):
        batch.to_padded(dtype=np.float32)
    torch = pytest.importorskip("torch")
    ids, mask = batch.to_torch(pad_id=0)
    assert ids.dtype == torch.int64
    assert ids[mask].tolist() == [1, 2, 3, 4]
    assert [row.tolist() for row in batch.to_nested().unbind()] == [[1, 2, 3], [], [4]]


def test_the_function_behind_encode() -> None:
    """It keeps its model, takes one to three arguments, and says what is wrong with them."""
    tok = Tokenizer(
        [bytes([byte]) for byte in range(256)], pattern="gpt2", special_tokens={"<e>": 256}
    )
    encode = tok.text_pipeline.model.encode
    del tok
    assert encode("a<e>").tolist() == [97, 60, 101, 62]
    assert encode("a<e>", b"").tolist() == [97, 256]
    for wrong in [(), ("a", None, 1, 2), (1,), ("a", None, "b")]:
        with pytest.raises(TypeError):
            encode(*wrong)
    with pytest.raises(ValueError, match="allowed"):
        encode("a", b"xx")
