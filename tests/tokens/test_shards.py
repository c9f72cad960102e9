"""Token shards read back: slices, documents, batches, checksums, workers."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag import Tokenizer
from tokfrag.tokens.shards.reading import TokenShards, TokenWindows
from tokfrag.tokens.shards.writing import encode_files

BYTES = Tokenizer([bytes([byte]) for byte in range(256)], pattern="gpt2")
DOCUMENTS = ["alpha beta", "", "c", "delta, epsilon and zeta"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four documents in four shards; a NUL ends each."""
    folder = tmp_path_factory.mktemp("shards")
    for number, text in enumerate(DOCUMENTS):
        (folder / f"{number}.txt").write_text(text)
    paths = [folder / f"{number}.txt" for number in range(len(DOCUMENTS))]
    return encode_files(BYTES, paths, folder / "ids", end_of_text=0, shard_bytes=1)


@pytest.fixture(scope="module")
def whole() -> list[int]:
    return [byte for text in DOCUMENTS for byte in [*text.encode(), 0]]


def test_shards_read_as_one_array(folder: Path, whole: list[int]) -> None:
    shards = TokenShards(folder)
    assert len(json.loads((folder / "index.json").read_text())["shards"]) == 3
    assert (len(shards), shards.dtype) == (len(whole), np.uint16)
    assert shards[:].tolist() == whole
    assert [shards[place] for place in range(-len(whole), len(whole))] == whole * 2


@given(
    begin=st.none() | st.integers(-50, 50),
    end=st.none() | st.integers(-50, 50),
    step=st.none() | st.integers(-4, 4).filter(bool),
)
def test_slices_are_those_of_a_list(
    folder: Path, whole: list[int], begin: int | None, end: int | None, step: int | None
) -> None:
    assert TokenShards(folder)[begin:end:step].tolist() == whole[begin:end:step]


@pytest.mark.parametrize("place", [39, -40, 10**9])
def test_a_place_outside_is_an_index_error(folder: Path, place: int) -> None:
    with pytest.raises(IndexError):
        TokenShards(folder)[place]


def test_documents_keep_their_bounds(folder: Path) -> None:
    shards = TokenShards(folder)
    found = [bytes(shards.document(n).astype(np.uint8)) for n in range(len(DOCUMENTS))]
    assert found == [text.encode() + b"\0" for text in DOCUMENTS]
    assert bytes(shards.document(-1).astype(np.uint8)) == found[-1]
    with pytest.raises(IndexError):
        shards.document(len(DOCUMENTS))


def test_a_changed_file_is_found(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    TokenShards(copy).verify()
    data = bytearray((copy / "00002.bin").read_bytes())
    data[0] ^= 1
    (copy / "00002.bin").write_bytes(data)
    with pytest.raises(ValueError, match="shard 00002 is not what was written"):
        TokenShards(copy).verify()
    (copy / "00002.bin").write_bytes(data[:-1])
    with pytest.raises(ValueError, match=r"00002\.bin: \d+ bytes, the index says"):
        TokenShards(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "is no tokfrag-shards index"),
        ({"dtype": "float32"}, "dtype: got 'float32'"),
        ({"shards": 3}, "shards: got 3, takes an array"),
        ({"shards": [{"name": "../x"}]}, "is no plain file name"),
    ],
)
def test_a_wrong_index_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    index = {"format": "tokfrag-shards", "version": 1, "dtype": "uint16", "vocab_size": 256}
    index |= {"tokenizer": "", "end_of_text": None, "field": "text", "shards": []}
    (tmp_path / "index.json").write_text(json.dumps(index | change))
    with pytest.raises(ValueError, match=message):
        TokenShards(tmp_path)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    np.arange(1000, dtype=np.uint16).tofile(tmp_path / "train.bin")
    return tmp_path / "train.bin"


def test_batches_are_deterministic_and_cover_an_epoch_once(bare: Path) -> None:
    shards = TokenShards(bare)
    batches = [(np.asarray(x), np.asarray(y)) for x, y in shards.batches(4, 10, seed=3)]
    again = [np.asarray(x) for x, _ in shards.batches(4, 10, seed=3)]
    assert all(np.array_equal(x, z) for (x, _), z in zip(batches, again, strict=True))
    assert all(x.shape == (4, 10) and x.dtype == np.int64 for x, _ in batches)
    assert all((x + 1 == y).all() for x, y in batches)
    seen = np.concatenate([x.ravel() for x, _ in batches])
    assert len(np.unique(seen)) == len(seen) == 960


def test_seeds_and_epochs_differ(bare: Path) -> None:
    shards = TokenShards(bare)
    first = np.asarray(next(shards.batches(4, 10, seed=3))[0])
    assert not np.array_equal(first, np.asarray(next(shards.batches(4, 10, seed=4))[0]))
    both = [np.asarray(x) for x, _ in shards.batches(4, 10, seed=3, epochs=2)]
    assert not np.array_equal(both[0], both[len(both) // 2])


def test_ranks_share_an_epoch_without_overlap(bare: Path) -> None:
    shards = TokenShards(bare)
    parts = [
        [np.asarray(x) for x, _ in shards.batches(2, 10, rank=rank, world_size=3)]
        for rank in range(3)
    ]
    assert len({len(part) for part in parts}) == 1
    seen = np.concatenate([x.ravel() for part in parts for x in part])
    assert len(np.unique(seen)) == len(seen)


def test_the_smallest_batch_there_is(tmp_path: Path) -> None:
    np.arange(13, dtype=np.uint16).tofile(tmp_path / "a.bin")
    [(x, _)] = TokenShards(tmp_path / "a.bin").batches(3, 4)
    assert sorted(np.asarray(x)[:, 0].tolist()) == [0, 4, 8]
    with pytest.raises(ValueError, match="the first takes 17 tokens, there are 13"):
        TokenShards(tmp_path / "a.bin").batches(4, 4)


@pytest.mark.parametrize(
    "wrong", [{"batch": 0}, {"length": 0}, {"seed": -1}, {"rank": 1}, {"world_size": 0}]
)
def test_wrong_numbers_are_refused(bare: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TokenShards(bare).batches(**{"batch": 2, "length": 2, **wrong})


def test_a_bare_file_must_hold_whole_ids(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"abc")
    with pytest.raises(ValueError, match="3 bytes are no whole number of uint16"):
        TokenShards(tmp_path / "a.bin")
    (tmp_path / "a.bin").write_bytes(b"")
    empty = TokenShards(tmp_path / "a.bin")
    assert (len(empty), empty[:].tolist()) == (0, [])
    with pytest.raises(ValueError, match="does not say where documents end"):
        _ = empty.document_ends


def test_pickles_by_path(folder: Path) -> None:
    data = pickle.dumps(TokenShards(folder))
    assert len(data) < 500
    assert np.array_equal(pickle.loads(data)[:], TokenShards(folder)[:])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_loader_with_workers_reads_the_same(bare: Path, method: str) -> None:
    torch = pytest.importorskip("torch")
    windows: TokenWindows = TokenShards(bare).windows(10)
    loader = torch.utils.data.DataLoader(
        windows, batch_size=9, num_workers=2, multiprocessing_context=method
    )
    x = torch.cat([x for x, _ in loader])
    y = torch.cat([y for _, y in loader])
    assert x.dtype == y.dtype == torch.int64
    assert torch.equal(x.ravel(), torch.arange(990))
    assert torch.equal(x + 1, y)


@given(taken=st.integers(0, 70), seed=st.integers(0, 3))
def test_batches_go_on_where_they_were(taken: int, seed: int, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("bare") / "train.bin"
    np.arange(1000, dtype=np.uint16).tofile(path)
    shards = TokenShards(path)
    batches = shards.batches(4, 10, seed=seed, epochs=3)
    for _ in range(taken):
        next(batches)
    state = json.loads(json.dumps(shards.state_dict()))
    wanted = [np.asarray(x).tolist() for x, _ in batches]
    again = TokenShards(path)
    again.load_state_dict(state)
    assert [np.asarray(x).tolist() for x, _ in again.batches(4, 10, seed=seed, epochs=3)] == wanted
    # Two ranks of half the batch take the same windows at each step.
    halves = []
    for rank in range(2):
        again.load_state_dict(state)
        ranks = again.batches(2, 10, seed=seed, epochs=3, rank=rank, world_size=2)
        halves.append([np.asarray(x).tolist() for x, _ in ranks])
    joined = [a + b for a, b in zip(*halves, strict=True)]
    assert joined == wanted
    # And from there the state goes on.
    assert taken == 0 or again.state_dict()["step"] >= 1


def test_every_document_of_several_shards(tmp_path: Path) -> None:
    tok = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2")
    files = []
    for number in range(5):
        files.append(tmp_path / f"{number}.jsonl")
        rows = [json.dumps({"text": "ab" * (row % 4) + str(number)}) for row in range(number)]
        files[-1].write_text("".join(f"{row}\n" for row in rows))
    shards = TokenShards(tok.encode_files(files, tmp_path / "out", shard_bytes=20))
    ends = shards.document_ends
    begins = [0, *ends.tolist()]
    made = [shards.document(number).tolist() for number in range(len(ends))]
    assert made == [shards[a:b].tolist() for a, b in zip(begins, ends, strict=False)]
    assert shards.document(-1).tolist() == made[-1]
    with pytest.raises(IndexError):
        shards.document(len(ends))


def test_a_state_of_something_else_is_refused(bare: Path, tmp_path: Path) -> None:
    shards = TokenShards(bare)
    next(shards.batches(4, 10, seed=3))
    state = shards.state_dict()
    np.arange(999, dtype=np.uint16).tofile(tmp_path / "other.bin")
    with pytest.raises(ValueError, match="state: of 1000 tokens, these are 999"):
        TokenShards(tmp_path / "other.bin").load_state_dict(state)
    with pytest.raises(ValueError, match="state: has no 'version'"):
        shards.load_state_dict({})
    for arguments, message in (
        ((4, 11, 3), "state: length 10, these batches have 11"),
        ((4, 10, 4), "state: seed 3, these batches have 4"),
        ((5, 10, 3), "state: windows a step 4, these batches have 5"),
    ):
        shards.load_state_dict(state)
        with pytest.raises(ValueError, match=message):
            shards.batches(*arguments)


def test_epochs_below_none_at_all_are_refused(tmp_path: Path) -> None:
    np.arange(10, dtype=np.uint16).tofile(tmp_path / "train.bin")
    with pytest.raises(ValueError, match="epochs: got -1, takes 0 or more, or None"):
        TokenShards(tmp_path / "train.bin").batches(1, 1, epochs=-1)
