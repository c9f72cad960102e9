"""Types of instruments: foreign byte order, uint16 and uint32, memory maps and views into them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tokfrag import FragmentGrid, extract, merge
from tokfrag.fragments import (
    FragmentDataset,
    FragmentMerger,
    aggregate,
    fragment_features,
    map_fragments,
    segment_merge,
    unmerge,
)

GRID = FragmentGrid((16,), 4, 2)


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i2", ">u2", ">f2"])
def test_foreign_byte_order(dtype: str) -> None:
    native = np.dtype(dtype).newbyteorder("=")
    x = np.arange(16).reshape(1, 1, 16).astype(dtype)
    merged = merge(extract(x, GRID), GRID)
    assert merged.dtype == x.dtype
    assert (merged == x).all()
    got, want = fragment_features(x, GRID), fragment_features(x.astype(native), GRID)
    np.testing.assert_array_equal(got, want)
    assert FragmentDataset(x, GRID)[1].dtype == native
    assert FragmentDataset(x, GRID)[6].tolist() == [[12, 13, 14, 15]]
    torch = pytest.importorskip("torch")
    got = map_fragments(torch.nn.Identity(), x, GRID, batch_size=2, reduce="mean")
    np.testing.assert_allclose(got, x.astype(np.float64), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
@pytest.mark.parametrize("reduce", ["mean", "sum", "max"])
@pytest.mark.parametrize("tensors", [False, True])
def test_wide_unsigned_integers(dtype: str, reduce: Any, tensors: bool) -> None:
    most = np.iinfo(dtype).max
    fragments = np.array([[[1, most]], [[2, most]], [[4, 3]]], dtype)[None]
    grid = FragmentGrid((4,), 2, 1, edge="shift")
    want = {
        "mean": [1, (most + 2) / 2, (most + 4) / 2, 3],
        "sum": [1, most, most, 3],
        "max": [1, most, most, 3],
    }[reduce]
    given: Any = fragments
    if tensors:
        given = pytest.importorskip("torch").from_numpy(fragments)
    got = merge(given, grid, reduce=reduce)
    assert got.dtype == given.dtype
    assert np.asarray(got)[0, 0].tolist() == np.rint(np.array(want)).astype(np.int64).tolist()
    out = merge(given, grid, reduce=reduce, out=given[:, :, 0].reshape(-1)[:4].reshape(1, 1, 4) * 0)
    assert (np.asarray(out) == np.asarray(got)).all()


def test_foreign_byte_order_of_all_else() -> None:
    x = np.arange(16.0, dtype=">f4").reshape(1, 1, 16)
    grid = FragmentGrid((16,), 4, 2)
    index = np.array([0, 0, 1], ">i4")
    assert segment_merge(np.ones((3, 2), ">f4"), index, 2)[0].tolist() == [[1, 1], [1, 1]]
    assert unmerge(np.arange(2.0).astype(">f8"), index).tolist() == [0, 0, 1]
    assert aggregate(np.ones((3, 1), ">f4"), np.array([[0, 1], [1, 2]], ">i8"))[:, 0].sum() == 2
    for own, other in (">f4", "<f4"), ("<f4", ">f4"):
        merger = FragmentMerger(grid, channels=1, dtype=own)
        merger.add(extract(x.astype(other), grid)[0], np.arange(grid.n, dtype=">i8"))
        assert merger.result().dtype == np.dtype(own)
        np.testing.assert_array_equal(merger.result(), x)
    out = np.zeros((1, 1, 16), ">u2")
    map_fragments(lambda f: f * 5000.4, x, grid, batch_size=2, window="uniform", out=out)
    assert out[0, 0, [0, 1, 2, 15]].tolist() == [0, 5000, 10001, 65535]
    labels = map_fragments(lambda f: f.astype(">i2"), x.astype(">i2"), grid, batch_size=2)
    np.testing.assert_allclose(labels, x)  # the data's own integers, whatever their byte order
    with pytest.raises(ValueError, match=r"pad_value: got 0\.5, which int16 cannot hold"):
        extract(x.astype(">i2"), FragmentGrid((16,), 5, 4, pad_value=0.5))


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_wide_unsigned_tensors_on_padded_grids(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    array = np.array([[[0, 7, np.iinfo(dtype).max, 3, 5, 6]]], dtype)
    grid = FragmentGrid((6,), 4, 2, padding=(1,), offset=1, pad_value=9)
    fragments = extract(torch.from_numpy(array), grid)
    np.testing.assert_array_equal(fragments.numpy(), extract(array, grid))
    merged = merge(fragments, grid, fill_value=2)
    np.testing.assert_array_equal(merged.numpy(), merge(extract(array, grid), grid, fill_value=2))


def test_features_of_uint16() -> None:
    x = np.full((1, 1, 16), 65535, np.uint16)
    table = fragment_features(x, FragmentGrid((16,), 4), ("mean", "std"))
    assert table[0, :, 0].tolist() == [[65535, 0]] * 4
    got = map_fragments(lambda f: f, x, GRID, batch_size=2)
    np.testing.assert_allclose(got, 65535, rtol=1e-6)
    with pytest.raises(TypeError, match="x: got uint64, takes bool"):
        fragment_features(x.astype(np.uint64), GRID)
    with pytest.raises(TypeError, match="fragments: got uint64, takes uint16"):
        merge(extract(x.astype(np.uint64), GRID), GRID)


@pytest.mark.parametrize(
    "view",
    [
        lambda m: m[None, None],
        lambda m: m[3:, ::-1, ::2][None, None],
        lambda m: np.asarray(m).transpose(2, 0, 1)[None, 1:],
        lambda m: m[None, None, :, 5:, 1],
    ],
)
def test_views_into_a_memory_map_are_pickled_as_their_place(view: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "volume.npy", np.random.default_rng(0).random((10, 20, 30)))
    x = view(np.load(tmp_path / "volume.npy", mmap_mode="r"))
    dataset = FragmentDataset(x, FragmentGrid.of(x, 2))
    data = pickle.dumps(dataset)
    assert len(data) < 1000
    opened = pickle.loads(data)
    assert isinstance(opened.x, np.memmap)
    np.testing.assert_array_equal(opened.x, x)
    assert len(pickle.dumps(opened)) < 1000
    np.testing.assert_array_equal(opened[3], dataset[3])


def test_what_was_written_to_a_private_map_is_pickled(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 1, 16)))
    x = np.load(tmp_path / "x.npy", mmap_mode="c")
    x[..., 3] = 7
    opened = pickle.loads(pickle.dumps(FragmentDataset(x, GRID)))
    assert opened.x[0, 0, 3] == 7
