"""merge by all values of a position: votes, medians, minima, and windows chosen with where."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag import FragmentDataset, FragmentGrid, extract, merge, reference
from tokfrag.fragments import UncoveredWarning
from tokfrag.fragments.engines import stacked
from tokfrag.fragments.selection import chosen_windows, reached, touched


@st.composite
def grids(draw: st.DrawFn) -> FragmentGrid:
    rank = draw(st.integers(1, 3))
    lengths = st.tuples(*[st.integers(0, (12, 7, 4)[rank - 1])] * rank)
    small = st.tuples(*[st.integers(1, 4)] * rank)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UncoveredWarning)
        shape, size = draw(lengths), draw(small)
        options: dict[str, Any] = {"dilation": draw(st.tuples(*[st.integers(1, 2)] * rank))}
        options["pad_mode"] = draw(st.sampled_from(["constant", "reflect", "circular"]))
        try:
            edge = draw(st.sampled_from(["pad", "drop", "shift"]))
            return FragmentGrid(shape, size, draw(small), edge=edge, **options)
        except ValueError:
            return FragmentGrid(shape, size, **options)


@given(
    grids(),
    st.sampled_from(["mean", "sum", "max", "min", "vote", "median"]),
    st.sampled_from(["f2", "f4", "f8", "u1", "i2", "u2", "i4"]),
    st.integers(0, 2**16),
    st.booleans(),
    st.sampled_from(["array", "tensor", "watched tensor"]),
    st.sampled_from([1, 1 << 22]),
)
def test_twin(
    grid: FragmentGrid,
    reduce: Any,
    dtype: str,
    seed: int,
    channels_last: bool,
    kind: str,
    part: int,
) -> None:
    rng = np.random.default_rng(seed)
    if reduce == "vote":
        dtype = "i4" if dtype[0] == "f" else dtype
    where = rng.permutation(grid.n)[: int(rng.integers(0, grid.n + 1))]
    shape = (2, len(where), *grid.size, 2) if channels_last else (2, len(where), 2, *grid.size)
    fragments = rng.integers(0, 5, shape).astype(dtype)
    if dtype[0] == "f":
        special = rng.random(shape)
        fragments[special < 0.02] = np.nan
        fragments[special > 0.98] = np.inf
    window = rng.choice(["uniform", "hann"]) if reduce in ("mean", "sum") else "uniform"
    options: dict[str, Any] = {
        "window": str(window),
        "reduce": reduce,
        "channels_last": channels_last,
        "fill_value": 7,
        "where": where.tolist(),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = reference.merge(fragments, grid, **options)
    given_: Any = fragments
    if kind != "array":
        torch = pytest.importorskip("torch")
        given_ = torch.from_numpy(fragments)
    if kind == "watched tensor" and dtype[0] == "f":
        given_ = given_.requires_grad_()  # by operators that have derivatives
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stacked, "_PART_VALUES", part)
        merged: Any = merge(given_, grid, **options)
        got = np.asarray(merged if kind == "array" else merged.detach())
    assert got.dtype == fragments.dtype
    if reduce in ("mean", "sum") and dtype[0] == "f":
        tolerance = {"f2": 1e-3, "f4": 1e-6, "f8": 1e-14}[dtype]
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)
    elif reduce in ("mean", "sum"):
        assert np.abs(got.astype(int) - expected.astype(int)).max(initial=0) <= 1
    else:
        np.testing.assert_array_equal(got, expected)


@given(grids(), st.sampled_from(["mean", "sum", "max"]), st.integers(0, 2**16))
def test_all_windows_chosen_are_all(grid: FragmentGrid, reduce: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    fragments = rng.standard_normal((1, grid.n, 2, *grid.size))
    expected = merge(fragments, grid, reduce=reduce)
    got = merge(fragments, grid, reduce=reduce, where=np.arange(grid.n))
    np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-13)


@given(grids(), st.integers(0, 2**16))
def test_windows_of_a_mask_touch_it(grid: FragmentGrid, seed: int) -> None:
    mask = np.random.default_rng(seed).random(grid.shape) < 0.1
    numbered = FragmentGrid.checked(
        grid.shape, grid.size, grid.stride, grid.edge, "constant", 0, grid.dilation
    )
    cut = extract(mask[None, None], numbered)[0, :, 0].reshape(grid.n, int(np.prod(grid.size)))
    assert touched(grid, mask).tolist() == cut.any(1).tolist()
    chosen = np.random.default_rng(seed).random(grid.n) < 0.5
    marked = np.repeat(chosen[:, None], int(np.prod(grid.size)), 1)
    held = merge(marked.reshape(1, grid.n, 1, *grid.size), numbered, reduce="max")
    assert np.array_equal(reached(grid, chosen), held[0, 0])


def test_labels_are_voted_not_averaged() -> None:
    grid = FragmentGrid((1,), 1, dilation=1)
    over = FragmentGrid((4,), 4, 1)  # every position is in up to four windows
    labels = np.repeat(np.array([1, 4, 4, 4])[:, None], 4, 1).reshape(1, 4, 1, 4)[:, : over.n]
    assert merge(np.array([[[[3]]]]), grid, reduce="vote").item() == 3
    assert merge(labels, over, reduce="vote")[0, 0].tolist() == [1] * 4
    stacked_four = FragmentGrid((7,), 4, 1)
    votes = np.repeat(np.array([1, 4, 4, 4])[:, None], 4, 1).reshape(1, 4, 1, 4)
    assert merge(votes, stacked_four, reduce="vote")[0, 0].tolist() == [1, 1, 4, 4, 4, 4, 4]
    assert merge(votes == 4, stacked_four, reduce="vote")[0, 0].tolist() == [0, 0, 1, 1, 1, 1, 1]


def test_three_of_sixty_four_windows() -> None:
    x = np.random.default_rng(0).random((1, 1, 64, 64), np.float32)
    grid = FragmentGrid((64, 64), 8)
    mask = np.zeros((64, 64), bool)
    mask[:8, :20] = True
    chosen = chosen_windows(grid, mask)
    assert chosen.tolist() == [0, 1, 2]
    merged = merge(extract(x, grid)[:, chosen], grid, where=mask, fill_value=-1)
    assert np.array_equal(merged[..., :8, :24], x[..., :8, :24])
    assert (merged[..., 8:, :] == -1).all()
    dataset = FragmentDataset(x, grid, where=mask, with_index=True)
    fragments, numbers = zip(*(dataset[i] for i in range(len(dataset))), strict=True)
    assert numbers == (0, 1, 2)
    assert np.array_equal(np.stack(fragments), extract(x, grid)[0, :3])
    assert np.array_equal(dataset.slice(1, 3), extract(x, grid)[0, 1:3])


@pytest.mark.parametrize("reduce", ["mean", "sum", "max", "min", "median"])
def test_gradients(reduce: Any) -> None:
    torch = pytest.importorskip("torch")
    grid = FragmentGrid((7, 5), 3, 2)
    where = [0, 5, 2, 3]
    fragments = torch.randn(1, 4, 2, 3, 3, dtype=torch.float64, requires_grad=True)

    def merged(f: Any) -> Any:
        return merge(f, grid, reduce=reduce, where=where)

    assert torch.autograd.gradcheck(merged, fragments)
    _, tangent = torch.func.jvp(merged, (fragments.detach(),), (torch.ones_like(fragments),))
    assert tangent.shape == (1, 2, 7, 5)


def test_refusals() -> None:
    grid = FragmentGrid((8,), 4, 2)
    labels = np.zeros((1, 3, 1, 4), np.int64)
    with pytest.raises(TypeError, match="vote' takes labels"):
        merge(labels.astype(float), grid, reduce="vote")
    with pytest.raises(ValueError, match="reduce='vote' takes no weights"):
        merge(labels, grid, reduce="vote", window="hann")
    with pytest.raises(ValueError, match="'mean', 'sum', 'max', 'min', 'vote', 'median'"):
        merge(labels.astype(float), grid, reduce="mode")
    with pytest.raises(ValueError, match=r"takes \(batch, 2, channels, 4\) with 2 windows chosen"):
        merge(labels.astype(float), grid, where=[0, 1])
    with pytest.raises(ValueError, match="got window 3, takes 0 to 2"):
        merge(labels, grid, where=[0, 1, 3])
    with pytest.raises(ValueError, match="got window 1 twice"):
        merge(labels, grid, where=[0, 1, 1])
    with pytest.raises(ValueError, match=r"mask of shape \(7,\), takes \(8,\)"):
        merge(labels, grid, where=np.ones(7, bool))
    with pytest.raises(TypeError, match="where: got float64"):
        merge(labels, grid, where=[0.5])
    with pytest.raises(ValueError, match="weights of some positions sum to zero"):
        merge(labels[:, :1].astype(float), grid, where=[0], window=[np.array([0.0, 1, 1, 1])])
