"""Decoding: bytes come back exactly, from any integer array, and unknown ids are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from token_cases import FILES, TEXTS, ranks_of, tokenizer
from tokfrag import TokenBatch, Tokenizer
from tokfrag.reference import bpe


@given(ids=st.lists(st.integers(0, 11_999), max_size=60))
def test_equals_twin(data: Path, ids: list[int]) -> None:
    tok = tokenizer(data, "cl100k")
    tokens = {rank: token for token, rank in ranks_of(data / "vocab" / FILES["cl100k"]).items()}
    expected = bpe.decode(ids, tokens)
    for dtype in (np.uint32, np.int32, np.int64, np.uint64):
        assert tok.decode_bytes(np.array(ids, dtype)) == expected
    assert tok.decode_bytes(ids) == expected
    assert tok.decode_bytes(np.array([*ids, 0, 0], np.int32)[: len(ids)][::-1][::-1]) == expected
    assert tok.decode(ids) == expected.decode("utf-8", "replace")


def test_tensors_and_policies(data: Path) -> None:
    torch = pytest.importorskip("torch")
    tok = tokenizer(data, "cl100k")
    ids = tok.encode("中文 text 👍")
    assert tok.decode(torch.from_numpy(ids.astype(np.int64))) == "中文 text 👍"
    half = tok.encode("👍")[:1]
    assert tok.decode(half) == "�"
    assert tok.decode(half, errors="ignore") == ""
    with pytest.raises(UnicodeDecodeError):
        tok.decode(half, errors="strict")


@pytest.mark.parametrize("unknown", [-1, 100_256, 300_000, 1 << 31, 1 << 32, (1 << 63) - 1])
def test_unknown_id_is_named(data: Path, unknown: int) -> None:
    tok = tokenizer(data, "cl100k")
    for position in (0, 700):
        ids = [5] * position + [unknown]
        with pytest.raises(IndexError, match=f"id {unknown}, at position {position}"):
            tok.decode(ids)
        with pytest.raises(IndexError, match=f"position {position}"):
            tok.decode(np.array(ids, np.int64))


def test_bad_ids(data: Path) -> None:
    tok = tokenizer(data, "cl100k")
    assert tok.decode([]) == ""
    with pytest.raises(TypeError, match="ids: expected integers, got float64"):
        tok.decode([1.5])
    with pytest.raises(TypeError, match="ids: expected integers, got bool"):
        tok.decode([True])
    with pytest.raises(ValueError, match="one dimension"):
        tok.decode([[1]])
    with pytest.raises(IndexError, match="position 1"):
        tok.decode([1, 1 << 70])


@pytest.mark.parametrize("family", FILES)
@given(text=TEXTS)
def test_stream_gives_whole_characters(data: Path, family: str, text: str) -> None:
    tok = tokenizer(data, family)
    text = text.encode("utf-8", "replace").decode()
    stream = tok.stream_decoder()
    parts = [stream.push(int(id)) for id in tok.encode(text)]
    assert "".join(parts) + stream.finish() == text
    assert "�" in text or all("�" not in part for part in parts)


def test_stream_of_half_a_character(data: Path) -> None:
    tok = tokenizer(data, "cl100k")
    stream = tok.stream_decoder()
    assert stream.push(int(tok.encode("👍")[0])) == ""
    assert stream.finish() == "�"
    assert stream.push(64) == "a"
    with pytest.raises(IndexError, match="500000"):
        stream.push(500_000)


ROWS = st.lists(st.lists(st.integers(0, 300), max_size=8), max_size=6)


@given(rows=ROWS, skip=st.booleans(), unknown=st.sampled_from(["error", "skip"]))
def test_rows_decoded_together_are_rows_decoded_alone(rows, skip, unknown) -> None:
    tok = Tokenizer(
        [bytes([byte]) for byte in range(256)], pattern="gpt2", special_tokens={"<é>": 256}
    )

    def alone() -> list[str]:
        return [tok.decode(row, skip_special_tokens=skip, unknown=unknown) for row in rows]

    forms = [rows, (np.array(row, np.int32) for row in rows)]
    flat = np.array([id for row in rows for id in row], np.uint32)
    forms.append(TokenBatch(flat, np.cumsum([0, *map(len, rows)])))
    for form in forms:
        try:
            want = alone()
        except IndexError as error:
            with pytest.raises(IndexError, match=str(error)):
                tok.decode_batch(form, skip_special_tokens=skip, unknown=unknown)
            continue
        assert tok.decode_batch(form, skip_special_tokens=skip, unknown=unknown) == want


def test_rows_of_other_kinds_of_integers() -> None:
    tok = Tokenizer([bytes([byte]) for byte in range(256)], pattern="gpt2")
    rows = [np.array([72], np.uint8), np.array([105], np.uint64), [], [33]]
    assert tok.decode_batch(rows) == ["H", "i", "", "!"]
    assert tok.decode_batch([]) == []
    with pytest.raises(IndexError, match="id 300, at position 1"):
        tok.decode_batch([[72], [72, 300]])
    with pytest.raises(IndexError, match="id -1"):
        tok.decode_batch([[-1]])
    with pytest.raises(UnicodeDecodeError):
        tok.decode_batch([[0xC3], [0xA9]], errors="strict")
    with pytest.raises(ValueError, match="unknown: got"):
        tok.decode_batch([[72]], unknown="what")
