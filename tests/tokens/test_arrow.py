"""Columns of strings by their buffers: the ids of the same texts as a list."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag import TokenBatch, Tokenizer, WordCounts

pa = pytest.importorskip("pyarrow")

TOKENS = [bytes([byte]) for byte in range(256)] + [b"ab", b" a", "你".encode()]
TOK = Tokenizer(TOKENS, pattern="cl100k", special_tokens={"<end>": 300})
TEXTS = st.lists(st.text(alphabet="ab 你\n'.é🙂", max_size=30), max_size=20)
KINDS = ["string", "large_string", "string_view", "binary", "large_binary", "binary_view"]


def column(texts: list[str], kind: str) -> Any:
    values = [text.encode() for text in texts] if "binary" in kind else texts
    return pa.array(values, getattr(pa, kind)())


@pytest.mark.parametrize("kind", KINDS)
@given(texts=TEXTS, begin=st.integers(0, 20), parts=st.integers(1, 4))
def test_any_column_has_the_ids_of_its_texts(
    kind: str, texts: list[str], begin: int, parts: int
) -> None:
    whole = column(texts, kind)
    assert TOK.encode_batch(whole) == TOK.encode_batch(texts)
    assert TOK.encode_batch(whole[begin:]) == TOK.encode_batch(texts[begin:])
    cuts = np.linspace(0, len(texts), parts + 1).astype(int).tolist()
    pieces = [whole[a:b] for a, b in pairwise(cuts)]
    chunked = pa.chunked_array(pieces, whole.type)
    assert TOK.encode_batch(chunked, threads=2) == TOK.encode_batch(texts)
    assert TOK.encode_batch(whole, dropout=0.5, seed=3) == TOK.encode_batch(
        texts, dropout=0.5, seed=3
    )


def words() -> Tokenizer:
    names = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", *"ab你", "##a", "##b"]
    from tokfrag.tokens.specification import Pipeline, Specification, WordPieceModel

    vocabulary = tuple((name, number) for number, name in enumerate(names))
    return Tokenizer.from_specification(Specification(WordPieceModel(vocabulary), Pipeline()))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Tokenizer(TOKENS, pattern=None),
        lambda: Tokenizer(TOKENS, pattern=r"\w+|\s+|[^\w\s]+"),
        lambda: TOK.add_tokens(["<tool>"]),
        lambda: Tokenizer.train(["ab ab 你 ab"] * 5, vocab_size=260),
        words,
    ],
)
def test_every_kind_of_model(make: Callable[[], Tokenizer]) -> None:
    tok = make()
    texts = ["ab ab<tool>", "", "你 a<end>b", "b" * 40]
    assert tok.encode_batch(pa.array(texts)) == tok.encode_batch(texts)
    assert tok.encode_batch(pa.array(texts, pa.string_view())) == tok.encode_batch(texts)


def test_a_long_text_is_shared_out_between_threads() -> None:
    text = "ab 你 a, " * 200_000
    assert TOK.encode_batch(pa.array([text, "a"]), threads=2) == TOK.encode_batch([text, "a"])


@pytest.mark.parametrize(
    ("given_column", "error", "message"),
    [
        (["a", None, "b"], ValueError, "texts: item 1 is null"),
        ([1, 2], TypeError, "an Arrow column of type 'l'"),
        ([["a"]], TypeError, r"an Arrow column of type '\+l'"),
    ],
)
def test_what_is_no_text_is_refused(
    given_column: list[Any], error: type[Exception], message: str
) -> None:
    array = pa.array(given_column)
    with pytest.raises(error, match=message):
        TOK.encode_batch(array)
    with pytest.raises(error, match=message):
        TOK.encode_batch(pa.chunked_array([array]))


def test_places_of_nulls_count_from_the_beginning() -> None:
    chunks = pa.chunked_array([["a"] * 5, ["b", None]])
    with pytest.raises(ValueError, match="texts: item 6 is null"):
        TOK.encode_batch(chunks)
    assert TOK.encode_batch(pa.array(["x", None, "ab"])[2:]) == TOK.encode_batch(["ab"])
    with pytest.raises(TypeError, match="cast it to its strings"):
        TOK.encode_batch(pa.array(["a"]).dictionary_encode())
    with pytest.raises(TypeError, match=r"type '\+s'"):
        TOK.encode_batch(pa.table({"text": ["a"]}))


@pytest.mark.parametrize("offsets", [[0, 3, 1], [2, 1, 3]])
def test_malformed_offsets_are_refused(offsets: list[int]) -> None:
    places = pa.py_buffer(np.array(offsets, np.int32))
    array = pa.Array.from_buffers(pa.string(), 2, [None, places, pa.py_buffer(b"abc")])
    with pytest.raises(ValueError, match="malformed Arrow array"):
        TOK.encode_batch(array)


@pytest.mark.parametrize("view", [(-1, 0, 0), (20, 1, 0), (20, -1, 0), (20, 0, -1), (20, 0, 13)])
def test_malformed_views_are_refused(view: tuple[int, int, int]) -> None:
    length, buffer, offset = view
    fields = pa.py_buffer(np.array([length, 0, buffer, offset], np.int32))
    held = pa.py_buffer(b"x" * 32)
    array = pa.Array.from_buffers(pa.string_view(), 1, [None, fields, held])
    with pytest.raises(ValueError, match="malformed Arrow array"):
        TOK.encode_batch(array)


def test_a_stream_that_fails_is_an_error() -> None:
    def broken() -> Any:
        yield pa.record_batch({"text": ["a"]})
        raise RuntimeError("gone")

    reader = pa.RecordBatchReader.from_batches(pa.schema([("text", pa.string())]), broken())
    with pytest.raises(TypeError, match=r"type '\+s'"):
        TOK.encode_batch(reader)


def test_memory_that_is_written_to_meanwhile() -> None:
    """Whatever the ids are then: nothing is read outside the texts, and nothing falls over."""
    data = bytearray(b"ab a, " * 50_000)
    offsets = np.arange(0, len(data) + 1, 6, dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    array = pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)
    stop = threading.Event()

    def write() -> None:
        view = memoryview(data)
        while not stop.is_set():
            view[:] = bytes(len(data))
            view[:] = b"\xe4\xbd\xa0 \xff'" * 50_000

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            assert len(TOK.encode_batch(array, threads=2)) == len(array)
    finally:
        stop.set()
        writer.join()


def test_other_frames_columns() -> None:
    texts = ["ab", "", "你 ab"]
    for name in ("polars", "pandas"):
        try:
            frames = __import__(name)
        except ModuleNotFoundError:
            continue
        assert TOK.encode_batch(frames.Series(texts)) == TOK.encode_batch(texts)
    assert TOK.encode_batch(pa.array(texts)) == TOK.encode_batch(texts)


def test_a_batch_as_arrow_holds_the_memory_of_the_batch() -> None:
    batch = TOK.encode_batch(["ab", "", "你 ab"])
    array = batch.to_arrow()
    array.validate(full=True)
    assert array.type == pa.large_list(pa.uint32())
    assert array.to_pylist() == [ids.tolist() for ids in batch]
    assert array.values.buffers()[1].address == batch.ids.ctypes.data
    assert array.buffers()[1].address == batch.offsets.ctypes.data
    wanted = array.to_pylist()
    del batch
    gc.collect()
    assert array.to_pylist() == wanted
    empty = TokenBatch(np.empty(0, np.uint32), np.zeros(1, np.int64)).to_arrow()
    assert len(empty) == 0


def test_a_table_is_mapped_without_python_strings() -> None:
    """What a Spark mapInArrow, a Ray map_batches and a datasets.map in Arrow format call."""

    def encoded(table: Any) -> Any:
        return table.append_column("ids", TOK.encode_batch(table["text"], threads=1).to_arrow())

    table = encoded(pa.table({"text": ["ab", "你"]}))
    assert table["ids"].to_pylist() == [[256], [258]]


def test_words_of_a_column() -> None:
    texts = ["to be", "", "or not to be"]
    for pattern in ("gpt2", r"\w+", None):
        ours, theirs = WordCounts(pattern), WordCounts(pattern)
        ours.add(pa.chunked_array([texts[:1], texts[1:]]))
        theirs.add(texts)
        assert ours.items() == theirs.items()
