"""The cache of a vocabulary: the same tokenizer again, and never believed when it should not be."""

from __future__ import annotations

import base64
import hashlib
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from support import run_python
from token_cases import FAMILIES, FILES, TEXTS, tokenizer
from tokfrag import Tokenizer
from tokfrag._core import tokens as _native
from tokfrag.tokens.models.byte_pair import BytePair
from tokfrag.tokens.shards.fingerprint import fingerprint

WORDS = [b"ab", b"abc", b"bc", b" a", "é".encode(), "你好".encode(), b"0123456789abcdefgh"]
TEXT = "abc ab bc é 你好 0123456789abcdefgh <|x|>"


def write_vocabulary(path: Path, words: list[bytes] = WORDS) -> Path:
    tokens = [bytes([byte]) for byte in range(256)] + words
    lines = (base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(tokens))
    path.write_bytes(b"".join(lines))
    return path


def write_tokenizer_json(path: Path) -> Path:
    tok = Tokenizer.train(["low lower lowest é 你好"] * 9, 300, special_tokens=["<|x|>"])
    tok.save(path)
    return path


def load_ranks(path: Path, cache: bool | Path) -> Tokenizer:
    return Tokenizer.from_tiktoken(path, pattern="gpt2", special_tokens={"<|x|>": 400}, cache=cache)


def load_json(path: Path, cache: bool | Path) -> Tokenizer:
    return Tokenizer.from_file(path, cache=cache)


Loader = Callable[[Path, "bool | Path"], Tokenizer]
KINDS = pytest.mark.parametrize(
    ("write", "load"),
    [(write_vocabulary, load_ranks), (write_tokenizer_json, load_json)],
    ids=["tiktoken", "huggingface"],
)


def native_of(tok: Tokenizer) -> _native.Model:
    model = tok.text_pipeline.model
    assert isinstance(model, BytePair)
    return model.native


def same(one: Tokenizer, other: Tokenizer) -> None:
    for text in (TEXT, TEXT.encode() + b"\xff", ""):
        for allowed in ((), "all"):
            np.testing.assert_array_equal(
                one.encode(text, allowed_special=allowed),
                other.encode(text, allowed_special=allowed),
            )
    assert fingerprint(one.text_pipeline) == fingerprint(other.text_pipeline)
    assert one.special_tokens == other.special_tokens
    ids = native_of(one).vocabulary()[2]
    assert one.decode_bytes(ids) == other.decode_bytes(ids)


@KINDS
def test_from_the_cache_is_the_same(tmp_path: Path, write: Callable, load: Loader) -> None:
    path = write(tmp_path / "vocabulary")
    cache = tmp_path / "there" / "cache"
    plain = load(path, False)
    assert not cache.exists()
    same(load(path, cache), plain)  # writes it
    written = cache.read_bytes()
    same(load(path, cache), plain)  # reads it
    assert cache.read_bytes() == written
    assert [file.name for file in cache.parent.iterdir()] == ["cache"]
    # It was read: nothing of the content is looked at any more but its hash.
    same(load(path, cache), plain)


@KINDS
def test_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable, load: Loader
) -> None:
    path = write(tmp_path / "vocabulary")
    folder = tmp_path / "folder"
    monkeypatch.setenv("TOKFRAG_CACHE_DIR", str(folder))
    load(path, True)
    assert [file.suffix for file in folder.iterdir()] == [".tokfrag"]
    monkeypatch.setenv("TOKFRAG_CACHE_DIR", "")
    load(path, True)
    assert not (tmp_path / "vocabulary.tokfrag").exists()
    monkeypatch.delenv("TOKFRAG_CACHE_DIR")
    load(path, True)
    assert (tmp_path / "vocabulary.tokfrag").exists()


@KINDS
def test_damage_is_seen_and_mended(tmp_path: Path, write: Callable, load: Loader) -> None:
    path = write(tmp_path / "vocabulary")
    cache = tmp_path / "cache"
    plain = load(path, cache)
    whole = cache.read_bytes()
    pick = random.Random(5)
    places = [*range(0, 200, 7), *(pick.randrange(len(whole)) for _ in range(40)), len(whole) - 1]
    damaged = [whole[:cut] for cut in (0, 7, 24, 100, len(whole) // 2, len(whole) - 1)]
    damaged += [whole + b"x", bytes(len(whole))]
    for place in places:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << pick.randrange(8)
        damaged.append(bytes(flipped))
    for content in damaged:
        cache.write_bytes(content)
        same(load(path, cache), plain)
        assert cache.read_bytes() == whole


@KINDS
def test_of_another_content_is_not_believed(tmp_path: Path, write: Callable, load: Loader) -> None:
    path = write(tmp_path / "vocabulary")
    cache = tmp_path / "cache"
    load(path, cache)
    if write is write_vocabulary:
        write_vocabulary(path, WORDS[:3])
    else:
        path.write_bytes(path.read_bytes().replace(b"<|x|>", b"<|y|>"))
    same(load(path, cache), load(path, False))
    # One vocabulary's cache under another's name.
    other = write_vocabulary(tmp_path / "other", WORDS[2:])
    load_ranks(other, cache)
    same(load(path, cache), load(path, False))


def test_of_another_version_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_vocabulary(tmp_path / "vocabulary")
    cache = tmp_path / "cache"
    load_ranks(path, cache)
    first = cache.read_bytes()
    monkeypatch.setattr("tokfrag._core.tokens.ARCHIVE_VERSION", 10**6)
    load_ranks(path, cache)
    second = cache.read_bytes()
    assert second != first
    monkeypatch.undo()
    load_ranks(path, cache)
    assert cache.read_bytes() == first


def test_arguments_are_checked_from_the_cache_too(tmp_path: Path) -> None:
    path = write_vocabulary(tmp_path / "vocabulary")
    cache = tmp_path / "cache"
    for _ in range(2):
        tok = Tokenizer.from_tiktoken(path, pattern=r"\w+|\W", cache=cache)
        assert tok.encode("abc ab").tolist() == [257, 32, 256]
        with pytest.raises(ValueError, match="stands for two different tokens"):
            Tokenizer.from_tiktoken(
                path, pattern="gpt2", special_tokens={"<|x|>": 256}, cache=cache
            )
        with pytest.raises(ValueError, match="pattern"):
            Tokenizer.from_tiktoken(path, pattern="(", cache=cache)


def test_a_faulty_source_is_refused_though_cached(tmp_path: Path) -> None:
    path = write_vocabulary(tmp_path / "vocabulary")
    cache = tmp_path / "cache"
    load_ranks(path, cache)
    before = cache.read_bytes()
    path.write_bytes(path.read_bytes() + b"!!!! 300\n")
    with pytest.raises(ValueError, match="line 264"):
        load_ranks(path, cache)
    assert cache.read_bytes() == before


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    path = write_vocabulary(tmp_path / "vocabulary")
    (tmp_path / "file").write_text("no folder")
    with pytest.warns(RuntimeWarning, match="cache: .* cannot be written"):
        tok = load_ranks(path, tmp_path / "file" / "cache")
    same(tok, load_ranks(path, False))


def test_wordpiece_has_none(tmp_path: Path) -> None:
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("[UNK]\na\n##b\n")
    path = tmp_path / "tokenizer.json"
    Tokenizer.from_wordpiece(vocab).save(path)
    tok = Tokenizer.from_file(path, cache=tmp_path / "cache")
    assert tok.encode("ab").tolist() == [1, 2]
    assert not (tmp_path / "cache").exists()


def test_processes_that_load_at_once(tmp_path: Path) -> None:
    """Each reads a whole cache or none, and one whole cache is left."""
    path = write_vocabulary(tmp_path / "vocabulary")
    result = run_python(
        f"""
        import os, pathlib, random, sys
        from tokfrag import Tokenizer
        path, cache = {str(path)!r}, pathlib.Path({str(tmp_path / "cache")!r})
        children = []
        for number in range(6):
            child = os.fork()
            if child == 0:
                good = True
                for turn in range(25):
                    if (turn + number) % 5 == 0:
                        cache.unlink(missing_ok=True)
                    tok = Tokenizer.from_tiktoken(path, pattern="gpt2", cache=cache)
                    good &= tok.encode("abc ab").tolist() == [257, 32, 256]
                os._exit(0 if good else 1)
            children.append(child)
        sys.exit(any(os.waitpid(child, 0)[1] for child in children))
        """
    )
    assert result.returncode == 0, result.stderr
    left = {file.name for file in tmp_path.iterdir()}
    assert left <= {"vocabulary", "cache"}


@pytest.mark.parametrize("family", FILES)
def test_corpora_from_the_cache(data: Path, tmp_path: Path, family: str) -> None:
    path = tmp_path / FILES[family]
    shutil.copy(data / "vocab" / FILES[family], path)
    cache = tmp_path / "cache"
    text = (data / "multilingual.txt").read_text("utf-8")[:200_000]
    expected = tokenizer(data, family).encode(text)
    for _ in range(2):
        tok = Tokenizer.from_tiktoken(path, pattern=family, cache=cache)
        np.testing.assert_array_equal(tok.encode(text), expected)
        np.testing.assert_array_equal(tok.encode_batch([text] * 3, threads=2)[2], expected)
        assert tok.decode(expected) == text
        assert tok.count(text) == len(expected)


@settings(max_examples=30)
@given(text=TEXTS, data=st.data())
def test_any_archive_encodes_the_same(text: str, data: st.DataObject) -> None:
    words = data.draw(st.lists(st.sampled_from([*WORDS, b"aa", b"\xe4\xbd", b"  "]), unique=True))
    tokens = [bytes([byte]) for byte in range(256)] + words
    family = data.draw(st.sampled_from([*FAMILIES, None]))
    tok = Tokenizer(tokens, pattern=family)
    archive = native_of(tok).archive()
    again = BytePair.from_archive(archive, pattern=family)
    assert again.encode(text).tolist() == tok.encode(text).tolist()
    assert again.native.archive() == archive


def test_a_new_layout_has_a_new_version() -> None:
    """When this fails, kArchiveVersion (archive.hpp) has to go up with the hash below."""
    tokens = [bytes([byte]) for byte in range(256)] + WORDS
    archive = native_of(Tokenizer(tokens, pattern="gpt2")).archive()
    digest = hashlib.sha256(archive).hexdigest()[:16]
    assert (_native.ARCHIVE_VERSION, digest) == (2, "cb70a163f2faf6e1")
