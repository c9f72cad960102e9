"""What other threads, and other makers of files, change: refused or harmless, never believed."""

from __future__ import annotations

import pickle
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tokfrag import FragmentGrid, TokenBatch, Tokenizer, fragment_features, segment_merge, unmerge
from tokfrag._core import tokens as native_tokens
from tokfrag._core.spans import TokenExtents, in_characters


@pytest.fixture(scope="module")
def tok() -> Tokenizer:
    return Tokenizer.train(["hello world " * 50, "abababab" * 100], vocab_size=300)


@contextmanager
def meanwhile(change: Callable[[int], None]) -> Iterator[None]:
    """Another thread calls ``change(0)``, ``change(1)``, ..."""
    stop = threading.Event()

    def work() -> None:
        turn = 0
        while not stop.is_set():
            change(turn)
            turn += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_texts_of_a_list_that_changes(tok: Tokenizer) -> None:
    texts = [f"{'b' * 30_000}{i}" for i in range(40)]

    def change(turn: int) -> None:
        texts[turn % 40] = f"{'b' * 30_000}{turn % 40}"

    with meanwhile(change):
        for _ in range(15):
            batch = tok.encode_batch(texts, threads=1)
            decoded = [tok.decode(row) for row in batch]
            assert decoded == [f"{'b' * 30_000}{i}" for i in range(40)]
            assert tok.count(texts).tolist() == batch.lengths.tolist()


def test_a_list_that_shrinks_under_dropout(tok: Tokenizer) -> None:
    texts = ["hello world"] * 50

    def change(turn: int) -> None:
        texts[:] = ["hello world"] * (turn % 50)

    with meanwhile(change):
        for _ in range(50):
            batch = tok.encode_batch(texts, dropout=0.5)
            assert {tok.decode(row) for row in batch} <= {"hello world"}


def test_ids_that_change_while_they_are_decoded(tok: Tokenizer) -> None:
    longest = max(range(len(tok)), key=lambda i: len(tok.id_to_token(i)))
    ids = np.full(300_000, 65, np.uint32)

    def change(turn: int) -> None:
        ids[:] = longest if turn % 2 else 65

    told = set()
    with meanwhile(change):
        for _ in range(60):
            try:
                tok.decode_bytes(ids)
            except ValueError as error:
                told.add(str(error))
    assert told <= {"ids: another thread has changed them meanwhile"}
    ids[:] = 65
    assert tok.decode_bytes(ids) == tok.id_to_token(65) * 300_000


def test_index_that_changes_while_it_is_used() -> None:
    x, index = np.ones((50_000, 2), np.float32), np.zeros(50_000, np.int64)
    told = set()
    with meanwhile(lambda turn: index.fill(1 << 40 if turn % 2 else 1)):
        for _ in range(100):
            try:
                y, _ = segment_merge(x, index, 2, threads=1)
                unmerge(y, index, threads=1)
            except IndexError as error:
                told.add(str(error).partition(" at position")[0])
    assert told <= {"index: got 1099511627776"}
    index[:] = 0
    index[5000] = 7
    with pytest.raises(IndexError, match=r"index: got 7 at position 5000, takes values in \[0, 2"):
        segment_merge(x, index, 2)


def test_offsets_of_a_batch_that_were_changed_after_it_was_made() -> None:
    for place, value in ((1, 1 << 40), (1, -5), (2, 2)):
        batch = TokenBatch(np.arange(4, dtype=np.uint32), np.array([0, 2, 4]))
        batch.offsets[place] = value
        if value == 2:
            batch.offsets[1] = 3
        with pytest.raises(ValueError, match="offsets: take ascending places in ids"):
            batch.to_padded(length=3)


def test_ids_and_spans_of_another_text(tok: Tokenizer) -> None:
    with pytest.raises(ValueError, match="spans: take places in the text"):
        in_characters("é", np.array([[0, 3]]))
    with pytest.raises(ValueError, match="ids: one is unknown"):
        TokenExtents(native(tok)).spans(np.array([4_000_000], np.uint32), None, True, 1)


def test_rows_that_change_while_their_spans_are_made(tok: Tokenizer) -> None:
    extents = TokenExtents(native(tok))
    ids = np.full(200_000, 97, np.uint32)
    rows = np.arange(0, 200_001, 100)
    kept = rows.copy()

    def change(turn: int) -> None:
        rows[1000] = kept[1000] if turn % 2 else 1 << 40

    with meanwhile(change):
        for _ in range(30):
            # Either way: what must not happen is a write outside the spans.
            with suppress(ValueError):
                assert extents.spans(ids, rows, True, 2).shape == (200_000, 2)


# What is read from outside.


def native(tok: Tokenizer) -> native_tokens.Model:
    return tok.text_pipeline.model.native


def parts_of(tok: Tokenizer) -> tuple[Callable[..., Any], list[Any], dict[str, Any]]:
    """How a pickle makes the model again: from bytes, offsets and ids, and its settings."""
    make, (arrays, settings) = tok.text_pipeline.model.__reduce__()
    return lambda state, settings: make(tuple(state), settings), list(arrays), dict(settings)


@pytest.mark.parametrize(("place", "value"), [(5, 1 << 40), (5, -1), (0, 3), (-1, 5), (5, 0)])
def test_offsets_of_a_pickle(tok: Tokenizer, place: int, value: int) -> None:
    make, state, settings = parts_of(tok)
    state[1] = state[1].copy()
    state[1][place] = value
    with pytest.raises(ValueError, match=r"offsets|empty"):
        make(state, settings)
    state[1] = state[1][:7]
    with pytest.raises(ValueError, match="offsets"):
        make(state, settings)


def test_merges_of_a_pickle(tok: Tokenizer) -> None:
    make, state, settings = parts_of(tok)
    settings["merges"] = np.array([[1 << 20, 5], [3, 4]], np.uint32)
    with pytest.raises(ValueError, match="merges: merge 0 names token 1048576 of 277"):
        make(state, settings)
    settings["merges"] = np.zeros((4, 3), np.uint32)
    with pytest.raises(ValueError, match="merges: takes two tokens a row"):
        make(state, settings)


def test_flipped_bits_of_a_pickle_raise_or_change_nothing_but_values(tok: Tokenizer) -> None:
    """Native code crashes at none: of 1500 such pickles, 117 ended the process."""
    data = pickle.dumps(tok)
    make, state, settings = parts_of(tok)
    rng = np.random.default_rng(0)
    for part in (1, 2):  # offsets, ids: the arrays that native code is indexed by
        for _ in range(300):
            raw = bytearray(state[part].tobytes())
            raw[rng.integers(len(raw))] ^= 1 << rng.integers(8)
            flipped = list(state)
            flipped[part] = np.frombuffer(raw, state[part].dtype)
            try:
                made = make(flipped, settings)
            except ValueError:
                continue
            assert made.decode(made.encode("hello world")) == b"hello world"
    assert pickle.loads(data).encode("hello").tolist() == tok.encode("hello").tolist()


def test_a_crafted_archive(tok: Tokenizer) -> None:
    """Its checksum fits, its tables do not: a folder from elsewhere may hold one."""
    archive = bytearray(native(tok).archive())
    rng = np.random.default_rng(1)
    offsets = np.asarray(native(tok).vocabulary()[1], np.int64)
    begin = bytes(archive).find(offsets.tobytes())
    assert begin > 0
    refused = 0
    for turn in range(400):
        changed = bytearray(archive)
        if turn == 0:
            struct.pack_into("<q", changed, begin + 8 * 6, 1 << 40)
        else:
            at = int(rng.integers(0, len(changed) // 8 - 2)) * 8
            struct.pack_into("<Q", changed, at, int(rng.integers(0, 1 << 63)))
        struct.pack_into("<Q", changed, len(changed) - 8, native_tokens.checksum(changed[:-8]))
        try:
            model = native_tokens.Model.from_archive(bytes(changed), True, "cl100k", [])
        except ValueError:
            refused += 1
            continue
        model.encode("hello world, abababab \N{SNOWMAN}")
        for token in range(0, 300, 7):
            model.token_bytes(token)
    assert refused > 20


def test_buffers_that_are_not_contiguous_are_refused(tok: Tokenizer) -> None:
    view = memoryview(native(tok).archive())[::-1]
    with pytest.raises(BufferError):
        native_tokens.checksum(view)
    with pytest.raises(BufferError):
        native_tokens.Model.from_archive(view, True, "cl100k", [])


def test_flags_of_other_special_tokens(tok: Tokenizer) -> None:
    with pytest.raises(ValueError, match="allowed: takes a byte for each special token"):
        native(tok).encode("hello", b"\1\1\1")


# Arrays at odd addresses.


def unaligned(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    raw = np.empty(array.nbytes + 1, np.uint8)
    raw[1:] = np.frombuffer(array.tobytes(), np.uint8)
    moved = raw[1:].view(array.dtype).reshape(array.shape)
    assert not moved.flags.aligned
    return moved


def test_unaligned_arrays(tok: Tokenizer, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows, index = rng.standard_normal((50, 3)), rng.integers(0, 4, 50)
    weight = rng.random(50)
    wanted = segment_merge(rows, index, 4, weight=weight)
    found = segment_merge(unaligned(rows), unaligned(index), 4, weight=unaligned(weight))
    assert [part.tolist() for part in found] == [part.tolist() for part in wanted]
    image, grid = rng.standard_normal((1, 2, 40)).astype(np.float32), FragmentGrid((40,), 8, 4)
    assert fragment_features(unaligned(image), grid).tolist() == (
        fragment_features(image, grid).tolist()
    )
    ids = tok.encode("hello world")
    assert tok.decode(unaligned(ids)) == "hello world"
    batch = TokenBatch(unaligned(ids), unaligned(np.array([0, len(ids)])))
    assert batch.to_padded()[0].tolist() == [ids.tolist()]


# Numbers too large for the machine's.


def test_huge_numbers_get_the_usual_exceptions(tok: Tokenizer) -> None:
    with pytest.raises(IndexError, match="18446744073709551616"):
        tok.id_to_token(2**64)
    with pytest.raises(IndexError, match="9223372036854775905"):
        tok.decode(np.array([2**63 + 97], np.uint64))
    with pytest.raises(IndexError, match="36893488147419103232"):
        tok.decode([65, 2**65])
    assert tok.truncate("hello world", 2**63) == "hello world"
    for threads in (2**40, 0):
        with pytest.raises(ValueError, match=f"threads: .*{threads}"):
            tok.encode_batch(["a"], threads=threads)


@pytest.mark.parametrize(
    "settings", ["[" * 100_000, "{}", '{"maker": null}', "[]", '{"maker": 5, "merges": 7}', "1"]
)
def test_a_crafted_cache_is_none(tok: Tokenizer, tmp_path: Path, settings: str) -> None:
    from tokfrag.tokens import vocabulary_cache

    cache = vocabulary_cache.VocabularyCache(tmp_path / "cache", b"content")
    text = settings.encode()
    head = vocabulary_cache._HEAD.pack(
        vocabulary_cache._MAGIC, len(text), native_tokens.checksum(text)
    )
    cache.path.write_bytes(head + text)
    assert cache.read() is None
