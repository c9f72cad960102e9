"""FragmentMerger: equal to merge, in any order and from any number of writers."""

from __future__ import annotations

import pickle
import threading
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag import FragmentDataset, FragmentGrid, FragmentMerger, extract, merge, reference
from tokfrag.fragments import UncoveredWarning


@st.composite
def grids(draw: st.DrawFn) -> FragmentGrid:
    rank = draw(st.integers(1, 3))
    lengths = st.tuples(*[st.integers(1, (12, 7, 4)[rank - 1])] * rank)
    small = st.tuples(*[st.integers(1, 4)] * rank)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UncoveredWarning)
        shape, size = draw(lengths), draw(small)
        options: dict[str, Any] = {"dilation": draw(st.tuples(*[st.integers(1, 2)] * rank))}
        options["pad_mode"] = draw(st.sampled_from(["constant", "reflect"]))
        try:
            edge = draw(st.sampled_from(["pad", "drop", "shift"]))
            return FragmentGrid(shape, size, draw(small), edge=edge, **options)
        except ValueError:
            return FragmentGrid(shape, size, **options)


def window_of(kind: str, grid: FragmentGrid, rng: np.random.Generator) -> Any:
    if kind == "whole":
        return rng.random(grid.size) + 0.1
    return rng.random((grid.n, *grid.size)) + 0.1 if kind == "each" else kind


@given(
    grids(),
    st.sampled_from(["mean", "sum", "max", "min"]),
    st.sampled_from(["gaussian", "uniform", "whole", "each"]),
    st.sampled_from(["f2", "f4", "f8", "u1", "u2"]),
    st.integers(0, 2**16),
    st.booleans(),
)
def test_any_order_is_merge(
    grid: FragmentGrid, reduce: Any, kind: str, dtype: str, seed: int, some: bool
) -> None:
    rng = np.random.default_rng(seed)
    window = window_of(kind, grid, rng)
    fragments = (10 * rng.standard_normal((2, grid.n, 2, *grid.size))).__abs__().astype(dtype)
    options = {"channels": 2, "dtype": dtype, "reduce": reduce, "batch": 2}
    if reduce in ("mean", "sum"):
        options["window"] = window
    merger = FragmentMerger(grid, **options)
    order = rng.permutation(2 * grid.n)
    kept = order[: len(order) // 2] if some else order
    flat = fragments.reshape(-1, 2, *grid.size)
    done = 0
    while done < len(kept):
        batch = kept[done : done + int(rng.integers(1, 5))]
        merger.add(flat[batch], batch)
        done += len(batch)
    assert merger.missing().tolist() == sorted(set(order.tolist()) - set(kept.tolist()))
    got = pickle.loads(pickle.dumps(merger)).result(fill_value=7)
    plain = FragmentGrid.checked(
        grid.shape, grid.size, grid.stride, grid.edge, "constant", 0, grid.dilation
    )
    weights = "uniform" if reduce in ("max", "min") else window
    for entry in range(2):
        where = sorted(int(k) - entry * grid.n for k in kept if k // grid.n == entry)
        options = {"window": weights, "reduce": reduce, "fill_value": 7, "where": where}
        expected = reference.merge(fragments[entry : entry + 1, where], plain, **options)
        if np.dtype(dtype).kind == "u":
            assert np.abs(got[entry].astype(int) - expected[0].astype(int)).max(initial=0) <= 1
        else:
            ulp = {"f2": 2e-3, "f4": 3e-7, "f8": 1e-13}[dtype]
            np.testing.assert_allclose(got[entry], expected[0], rtol=ulp, atol=ulp)
    assert got.dtype == np.dtype(dtype)


def test_a_shuffled_loader_is_merged() -> None:
    torch = pytest.importorskip("torch")
    x = torch.randn(2, 3, 20, 17)
    grid = FragmentGrid((20, 17), 6, 4)
    dataset = FragmentDataset(x, grid, with_index=True)
    loader = torch.utils.data.DataLoader(dataset, batch_size=5, shuffle=True)
    merger = FragmentMerger(grid, channels=3, dtype=torch.float32, batch=2)
    for fragments, which in loader:
        merger.add(fragments, which)
    assert merger.missing().tolist() == []
    torch.testing.assert_close(merger.result(), x)


def test_the_torch_sums_are_those_of_the_kernels() -> None:
    torch = pytest.importorskip("torch")
    grid = FragmentGrid((9, 7), 4, 3, dilation=(2, 1))
    fragments = extract(torch.randn(1, 2, 9, 7), grid)[0]
    for reduce in ("mean", "sum", "max", "min"):
        host = FragmentMerger(grid, channels=2, dtype=torch.float32, reduce=reduce)
        other = FragmentMerger(grid, channels=2, dtype=torch.float32, reduce=reduce)
        other._sums = torch.from_numpy(other._sums)  # what a device's merger holds
        order = torch.randperm(grid.n)[:-1]
        for merger in (host, other):
            merger.add(fragments[order], order)
        got, expected = other.result(fill_value=-1), host.result(fill_value=-1)
        torch.testing.assert_close(got, expected)


def test_threads_add_at_once() -> None:
    grid = FragmentGrid((400,), 16, 4)
    x = np.random.default_rng(0).standard_normal((1, 1, 400))
    fragments = extract(x, grid)[0]
    merger = FragmentMerger(grid, channels=1, dtype=np.float64)

    def write(first: int) -> None:
        for k in range(first, grid.n, 4):
            merger.add(fragments[k], k)

    writers = [threading.Thread(target=write, args=(k,)) for k in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    np.testing.assert_allclose(merger.result(), x, rtol=1e-12)


@pytest.mark.parametrize("reduce", ["mean", "sum", "max", "min"])
@pytest.mark.parametrize("on_torch", [False, True])
def test_writers_in_several_processes_become_one(reduce: Any, on_torch: bool) -> None:
    torch = pytest.importorskip("torch")
    grid = FragmentGrid((30, 9), (8, 4), (4, 3))
    window: Any = "hann" if reduce in ("mean", "sum") else "uniform"
    fragments = np.random.default_rng(0).standard_normal((2, grid.n, 1, 8, 4))
    fragments[0, 3, 0, 2] = np.nan
    options = {"channels": 1, "dtype": np.float64, "batch": 2, "window": window, "reduce": reduce}
    if on_torch:
        options["dtype"] = torch.float64
    writers = [FragmentMerger(grid, **options) for _ in range(3)]
    if on_torch:
        writers[0]._sums = torch.from_numpy(writers[0]._sums)  # what a device's merger holds
    given = torch.from_numpy(fragments) if on_torch else fragments
    for k in range(2 * grid.n - 1):
        writers[k % 3].add(given.reshape(-1, 1, 8, 4)[k], k)
    first, *others = writers
    for other in others:
        first.update(pickle.loads(pickle.dumps(other)))
    assert first.missing().tolist() == [2 * grid.n - 1]
    with pytest.raises(ValueError, match="other: window 1 is in both"):
        first.update(others[0])
    first.add(given[1, -1], 2 * grid.n - 1)
    want = merge(given, grid, window=window, reduce=reduce)
    np.testing.assert_allclose(np.asarray(first.result()), np.asarray(want), rtol=1e-12)


def test_only_mergers_made_alike_become_one() -> None:
    grid = FragmentGrid((8,), 4)
    merger = FragmentMerger(grid, channels=1, dtype=np.float32)
    for change in (
        {"channels": 2},
        {"window": "hann"},
        {"window": np.ones(4)},
        {"window": np.ones((2, 4))},
        {"dtype": np.float64},
        {"reduce": "sum"},
        {"batch": 2},
    ):
        other = FragmentMerger(grid, **{"channels": 1, "dtype": np.float32, **change})
        with pytest.raises(ValueError, match="made with the same arguments"):
            merger.update(other)
    with pytest.raises(ValueError, match="other: takes another merger"):
        merger.update(merger)
    with pytest.raises(TypeError, match="other: got dict"):
        merger.update({})  # type: ignore[arg-type]


def test_a_window_without_weight_leaves_out_what_is_not_a_number() -> None:
    grid = FragmentGrid((6,), 4, 2)
    window = [np.array([0.0, 1, 1, 0])]
    merger = FragmentMerger(grid, channels=1, dtype=np.float32, window=window, reduce="sum")
    merger.add(np.array([[[np.nan, 1, 2, np.nan]], [[np.inf, 3, 4, 5]]], np.float32), [0, 1])
    assert merger.result()[0, 0].tolist() == [0, 1, 2, 3, 4, 0]


def test_refusals_name_what_is_wrong() -> None:
    grid = FragmentGrid((30,), 3)
    merger = FragmentMerger(grid, channels=1, dtype=np.float32)
    one = np.ones((1, 1, 3), np.float32)
    merger.add(one, [4])
    with pytest.raises(ValueError, match=r"9 of 10 windows were never added: 0, 1, 2, 3, 5"):
        merger.result()
    with pytest.raises(ValueError, match="window 4 was added before"):
        merger.add(np.repeat(one, 2, 0), [5, 4])
    assert 5 in merger.missing()
    with pytest.raises(ValueError, match="window 5 twice"):
        merger.add(np.repeat(one, 2, 0), [5, 5])
    with pytest.raises(ValueError, match="got window 10, takes 0 to 9"):
        merger.add(one, [10])
    with pytest.raises(ValueError, match=r"fragments: got shape \(1, 1, 3\)"):
        merger.add(one, [1, 2])
    with pytest.raises(TypeError, match="got float64, takes float32"):
        merger.add(one.astype(float), [1])
    with pytest.raises(TypeError, match="which: got float64"):
        merger.add(one, [1.0])
    with pytest.raises(ValueError, match="reduce: got 'vote'"):
        FragmentMerger(grid, channels=1, dtype=np.int32, reduce="vote")
    with pytest.raises(TypeError, match="int64"):
        FragmentMerger(grid, channels=1, dtype=np.int64)
    with pytest.raises(ValueError, match="fill_value: got -1"):
        FragmentMerger(grid, channels=1, dtype=np.uint8).result(fill_value=-1)
    empty = merger.result(fill_value=np.nan)[0, 0]
    assert np.flatnonzero(~np.isnan(empty)).tolist() == [12, 13, 14]
