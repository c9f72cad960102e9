"""``as_tiktoken``: the methods of ``tiktoken.Encoding``, with the same results."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiktoken
from hypothesis import given, strategies as st

from tiktoken_cases import PATTERNS, encoding
from tokfrag import Tokenizer
from tokfrag.tokens.byte_alphabet import to_text
from tokfrag.tokens.formats.tiktoken_names import ENCODINGS, GPT2
from tokfrag.tokens.patterns import native_name

THEIRS = encoding("cl100k")
OURS = Tokenizer.adopt(THEIRS).as_tiktoken("cl100k")
TEXTS = ["the <|endoftext|> and the rest", "", "12 你好 <|end|>", "naïve 🙂"]

texts = st.text(max_size=20) | st.lists(
    st.sampled_from(["the", " ", "<|endoftext|>", "<|end|>", "<|end", "12", "é"]), max_size=8
).map("".join)
allowed = st.sampled_from(["all", set(), {"<|end|>"}, {"<|endoftext|>"}, {"<|no|>"}])
disallowed = st.sampled_from(["all", (), {"<|end|>"}, {"<|no|>"}])


def outcome(call: Any, *arguments: Any, **options: Any) -> Any:
    """What a call gives, or the type of exception it raises."""
    try:
        return call(*arguments, **options)
    except Exception as error:
        return type(error)


@given(text=texts, allowed=allowed, disallowed=disallowed)
def test_encode(text: str, allowed: Any, disallowed: Any) -> None:
    options = {"allowed_special": allowed, "disallowed_special": disallowed}
    wanted = outcome(THEIRS.encode, text, **options)
    assert outcome(OURS.encode, text, **options) == wanted
    found = outcome(OURS.encode_to_numpy, text, **options)
    assert found is wanted if isinstance(wanted, type) else found.tolist() == wanted
    batch = outcome(OURS.encode_batch, [text, "the"], **options)
    assert batch == outcome(THEIRS.encode_batch, [text, "the"], **options)


def test_special_text_is_an_error_by_default() -> None:
    with pytest.raises(ValueError, match=r"<\|endoftext\|>"):
        OURS.encode(TEXTS[0])
    assert OURS.encode(TEXTS[0], disallowed_special=()) == THEIRS.encode_ordinary(TEXTS[0])


def test_batches_and_arrays() -> None:
    assert OURS.encode_ordinary_batch(TEXTS) == THEIRS.encode_ordinary_batch(TEXTS)
    array = OURS.encode_to_numpy("the")
    assert array.dtype == np.uint32
    assert type(OURS.encode("the")[0]) is int


@given(ids=st.lists(st.integers(0, 261) | st.sampled_from([300, 301, 299, 10**6]), max_size=12))
def test_decode(ids: list[int]) -> None:
    for name in ("decode", "decode_bytes", "decode_tokens_bytes", "decode_with_offsets"):
        wanted = outcome(getattr(THEIRS, name), ids)
        assert outcome(getattr(OURS, name), ids) == wanted


def test_decode_several() -> None:
    batch = [[1, 2, 300], [], [228, 189, 160]]
    assert OURS.decode_batch(batch) == THEIRS.decode_batch(batch)
    assert OURS.decode_bytes_batch(batch) == THEIRS.decode_bytes_batch(batch)
    assert OURS.decode([228, 189], "ignore") == THEIRS.decode([228, 189], "ignore")


@pytest.mark.parametrize("token", ["the", b"the", "<|end|>", "zz", b"\xff", b"\xff\xff"])
def test_single_tokens(token: str | bytes) -> None:
    wanted = outcome(THEIRS.encode_single_token, token)
    assert outcome(OURS.encode_single_token, token) == wanted
    if isinstance(wanted, int):
        assert OURS.decode_single_token_bytes(wanted) == THEIRS.decode_single_token_bytes(wanted)
    assert outcome(OURS.decode_single_token_bytes, 299) is KeyError


def test_what_it_holds() -> None:
    for name in ("n_vocab", "max_token_value", "eot_token", "special_tokens_set", "name"):
        assert getattr(OURS, name) == getattr(THEIRS, name)
    assert OURS.token_byte_values() == sorted(THEIRS.token_byte_values())
    assert [OURS.is_special_token(id) for id in (0, 300)] == [False, True]
    plain = Tokenizer([bytes([byte]) for byte in range(256)], pattern="gpt2")
    assert outcome(lambda: plain.as_tiktoken().eot_token) is KeyError


def test_it_pickles() -> None:
    again = pickle.loads(pickle.dumps(OURS))
    assert again.encode_ordinary_batch(TEXTS) == OURS.encode_ordinary_batch(TEXTS)


def test_what_converters_read() -> None:
    for name in ("_pat_str", "_mergeable_ranks", "_special_tokens"):
        assert getattr(OURS, name) == getattr(THEIRS, name)
    assert OURS._encode_bytes(b" the\xff") == THEIRS._encode_bytes(b" the\xff")
    again = Tokenizer.adopt(THEIRS)
    assert (again.as_tiktoken().name, again.as_tiktoken("x").name) == ("cl100k", "x")
    assert Tokenizer([bytes([byte]) for byte in range(256)], pattern=None).as_tiktoken().name == (
        "tokfrag"
    )


@pytest.mark.parametrize("pattern", ["gpt2", "cl100k", "own"])
@given(
    parts=st.lists(
        st.sampled_from([b" the", b"he", b" ", b"  ", b"\n", b"\t", b"12", b"!", "é你".encode()])
        | st.binary(max_size=2),
        max_size=8,
    ),
    damage=st.sampled_from([b"", b"\xff", b"\xe4\xbd", b"\x80\x80", b"\xf0\x9f\x99 the"]),
)
def test_bytes_that_stop_being_text(pattern: str, parts: list[bytes], damage: bytes) -> None:
    theirs = encoding(pattern)
    ours = Tokenizer.adopt(theirs).as_tiktoken()
    text = b"".join(parts) + damage
    assert ours._encode_bytes(text) == theirs._encode_bytes(text)
    assert ours.decode_bytes(ours._encode_bytes(text)) == text


def test_half_a_character_may_end_a_token() -> None:
    """As in cl100k, where ``b" \\xec\\x8b\\xa4\\xed"`` is one."""
    half = " 실".encode() + b"\xed"
    tokens = [bytes([byte]) for byte in range(256)] + [half[:2], half[:3], half[:4], half]
    theirs = tiktoken.Encoding(
        "half",
        pat_str=PATTERNS["cl100k"],
        mergeable_ranks={token: rank for rank, token in enumerate(tokens)},
        special_tokens={},
    )
    ours = Tokenizer.adopt(theirs).as_tiktoken()
    assert ours._encode_bytes(half) == theirs._encode_bytes(half) == [259]


def cached(folder: Path, data: Path, name: str) -> None:
    """Put a vocabulary where tiktoken keeps it."""
    blob = f"https://openaipublic.blob.core.windows.net/encodings/{name}.tiktoken"
    content = (data / "vocab" / f"{name}.tiktoken").read_bytes()
    (folder / hashlib.sha1(blob.encode()).hexdigest()).write_bytes(content)


def test_named_vocabularies_come_from_the_cache_folder(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = data / "vocab" / "r50k_base.tiktoken"
    if hashlib.sha256(file.read_bytes()).hexdigest() != ENCODINGS["r50k_base"].sha256:
        pytest.skip("takes tiktoken's own vocabularies, since both libraries look at their hashes")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    for name in ("r50k_base", "p50k_base", "p50k_edit"):
        cached(tmp_path, data, name.replace("edit", "base"))
        ours, theirs = Tokenizer.get_encoding(name), tiktoken.get_encoding(name)
        assert ours.special_tokens == theirs._special_tokens
        assert (ours.as_tiktoken().name, ours.vocab_size) == (name, theirs.n_vocab)
        for text in TEXTS:
            assert ours.encode(text, allowed_special="all").tolist() == theirs.encode(
                text, allowed_special="all"
            )


def test_gpt2_by_name_is_two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a smaller GPT-2, made here, whose hashes are given out for the true ones."""
    load = pytest.importorskip("tiktoken.load")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"gpt2: vocab\.bpe is not in"):
        Tokenizer.get_encoding("gpt2")
    # In tiktoken's order of bytes: those that are their own spelling first.
    order = [byte for byte in range(256) if to_text(bytes([byte])) == chr(byte)]
    order += [byte for byte in range(256) if byte not in order]
    names = [to_text(bytes([byte])) for byte in order] + ["th", "the", "Ġthe", "<|endoftext|>"]
    contents = {
        "vocab.bpe": b"#version: 0.2\nt h\nth e\n" + "Ġ the\n".encode(),
        "encoder.json": json.dumps({name: id for id, name in enumerate(names)}).encode(),
    }
    for name, content in contents.items():
        blob = f"https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/{name}"
        (tmp_path / hashlib.sha1(blob.encode()).hexdigest()).write_bytes(content)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="has SHA-256"):
        Tokenizer.get_encoding("gpt2")
    for name, content in contents.items():
        monkeypatch.setitem(GPT2, name, hashlib.sha256(content).hexdigest())
    ours = Tokenizer.get_encoding("gpt2")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    ranks = load.data_gym_to_mergeable_bpe_ranks(
        str(tmp_path / "vocab.bpe"), str(tmp_path / "encoder.json")
    )
    end = {"<|endoftext|>": len(names) - 1}
    theirs = tiktoken.Encoding(
        "gpt2", pat_str=ours.as_tiktoken()._pat_str, mergeable_ranks=ranks, special_tokens=end
    )
    assert (ours.as_tiktoken().name, ours.special_tokens) == ("gpt2", end)
    for text in TEXTS:
        assert ours.encode(text, allowed_special="all").tolist() == theirs.encode(
            text, allowed_special="all"
        )


def test_the_table_of_names_is_theirs() -> None:
    """Special tokens, patterns and hashes, without any file."""
    public = pytest.importorskip("tiktoken_ext.openai_public")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            public, "load_tiktoken_bpe", lambda blob, expected_hash: (blob, expected_hash)
        )
        patch.setattr(public, "data_gym_to_mergeable_bpe_ranks", lambda **files: files)
        files = public.ENCODING_CONSTRUCTORS["gpt2"]()["mergeable_ranks"]
        assert [files["vocab_bpe_hash"], files["encoder_json_hash"]] == list(GPT2.values())
        for name, named in ENCODINGS.items():
            theirs = public.ENCODING_CONSTRUCTORS[name]()
            special = theirs["special_tokens"]
            # Two of theirs have one id: the one with a meaning is kept.
            if name == "o200k_harmony":
                assert special.pop("<|reserved_200018|>") == special["<|endofprompt|>"]
            assert named.special_tokens == special
            assert native_name(theirs["pat_str"]) in (named.pattern, "r50k", "gpt2")
            blob, sha256 = theirs["mergeable_ranks"]
            assert (blob.endswith(named.blob), sha256) == (True, named.sha256)


def test_a_name_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"cl100k_base\.tiktoken is not in"):
        Tokenizer.get_encoding("cl100k_base")
    with pytest.raises(ValueError, match="name: got 'cl999k', takes gpt2, r50k_base"):
        Tokenizer.get_encoding("cl999k")
    blob = "https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken"
    (tmp_path / hashlib.sha1(blob.encode()).hexdigest()).write_bytes(b"YQ== 0\n")
    with pytest.raises(ValueError, match="has SHA-256"):
        Tokenizer.get_encoding("cl100k_base")
