"""merge where one window is like the next, and where many planes share the weights of a tile."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag import FragmentGrid, extract, merge, reference
from tokfrag.fragments.windows import window_weights

GRIDS = [
    FragmentGrid((700,), 32, 8),
    FragmentGrid((333,), 24, 9, edge="shift"),
    FragmentGrid((40, 90), (16, 16), (8, 8)),
    FragmentGrid((20, 70), (5, 17), (3, 8)),
    FragmentGrid((9, 12, 40), (4, 5, 16), (2, 3, 10)),
]


def added(fragments: Any, grid: FragmentGrid, window: Any, reduce: str) -> Any:
    """Fragment after fragment, in float64: what a user would write."""
    weights = window_weights(grid, window).dense(grid.size)
    weights = np.broadcast_to(weights, (grid.n, *grid.size))
    padded = tuple(int(np.add(o, w).max()) for o, w in zip(grid.origins.T, grid.size, strict=True))
    total = np.zeros((*fragments.shape[:1], fragments.shape[2], *padded))
    norm = np.zeros(padded)
    for i, origin in enumerate(grid.origins.tolist()):
        place = tuple(slice(o, o + w) for o, w in zip(origin, grid.size, strict=True))
        total[(..., *place)] += weights[i] * fragments[:, i]
        norm[place] += weights[i]
    inside = tuple(slice(length) for length in grid.shape)
    return (total / norm if reduce == "mean" else total)[(..., *inside)]


def weights_of(grid: FragmentGrid, kind: str, rng: np.random.Generator) -> Any:
    if kind == "vectors":
        return [rng.random(size) + 0.1 for size in grid.size]
    if kind == "whole":
        return rng.random(grid.size) + 0.1
    if kind == "each":
        return rng.random((grid.n, *grid.size)) + 0.1
    return rng.random((grid.n, *(1,) * len(grid.size))) + 0.1


@given(
    st.sampled_from(GRIDS),
    st.sampled_from(["vectors", "whole", "each", "lone"]),
    st.sampled_from(["mean", "sum"]),
    st.sampled_from(["f2", "f4", "f8", "u1", "i2"]),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 99),
)
def test_loop(
    grid: FragmentGrid, kind: str, reduce: Any, dtype: str, batch: int, channels: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    fragments = rng.integers(0, 100, (batch, grid.n, channels, *grid.size)).astype(dtype)
    window = weights_of(grid, kind, rng)
    expected = added(fragments.astype("f8"), grid, window, reduce)
    got = merge(fragments, grid, window=window, reduce=reduce, threads=1)
    if dtype[0] == "f":
        close = {"f2": 2e-3, "f4": 2e-7, "f8": 1e-13}[dtype]
        np.testing.assert_allclose(got, expected, rtol=close)
    else:
        expected = np.clip(expected, *(getattr(np.iinfo(dtype), name) for name in ("min", "max")))
        assert np.abs(got - expected).max() <= 0.5 + 1e-9
    # Planes share what they have in common: their bits do not depend on their neighbours, nor on
    # where a thread begins.
    alone = merge(fragments[-1:, :, -1:], grid, window=window, reduce=reduce, threads=1)
    assert alone.tobytes() == got[-1:, -1:].tobytes()
    assert (
        merge(fragments, grid, window=window, reduce=reduce, threads=2).tobytes() == got.tobytes()
    )


@given(st.sampled_from(GRIDS), st.sampled_from(["max", "min"]), st.integers(0, 99))
def test_extremes(grid: FragmentGrid, reduce: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for dtype in "?", "u1", "i1", "i2", "i4", "i8", "f2", "f4", "f8":
        fragments = rng.integers(-9, 9, (1, grid.n, 2, *grid.size)).astype(dtype)
        if dtype[0] == "f":
            special = rng.random(fragments.shape)
            fragments[special < 0.02] = np.nan
            fragments[special > 0.9] = np.inf
        where = np.arange(grid.n)  # all, by all values of a position at once
        expected = merge(fragments, grid, reduce=reduce, where=where)
        np.testing.assert_array_equal(merge(fragments, grid, reduce=reduce), expected)


@pytest.mark.parametrize("reduce", ["mean", "sum"])
def test_bytes_are_exact(reduce: Any) -> None:
    """Bytes are summed in float32, which holds their sums, and whose quotients round as they do."""
    rng = np.random.default_rng(0)
    for grid in FragmentGrid((90,), 64, 8), FragmentGrid((30, 40), (9, 32), (1, 9)):
        fragments = rng.integers(0, 256, (2, grid.n, 1, *grid.size), np.uint8)
        if reduce == "sum":
            fragments //= 16
        expected = reference.merge(fragments, grid, reduce=reduce)
        np.testing.assert_array_equal(merge(fragments, grid, reduce=reduce), expected)


@pytest.mark.parametrize("reduce", ["max", "min"])
def test_extremes_of_tensors(reduce: Any) -> None:
    torch = pytest.importorskip("torch")
    grid = GRIDS[2]
    x = torch.randn(1, 2, *grid.shape)
    fragments = extract(x, grid).requires_grad_()
    merged = merge(fragments, grid, reduce=reduce)
    torch.testing.assert_close(merged, x)
    torch.testing.assert_close(merge(fragments.detach(), grid, reduce=reduce), x)
    (gradient,) = torch.autograd.grad(merged.sum(), fragments)
    assert float(gradient.sum()) == pytest.approx(x.numel())


@pytest.mark.parametrize("kind", ["whole", "each", "lone"])
def test_sums_of_zero_are_refused(kind: str) -> None:
    grid = FragmentGrid((120,), 16, 8)
    window = weights_of(grid, kind, np.random.default_rng(0))
    if kind == "whole":
        window[:8], window[8:] = 1.0, -1.0
    else:
        window[5:7] = 0
    with pytest.raises(ValueError, match="sum to zero"):
        merge(np.ones((3, grid.n, 1, 16), "f4"), grid, window=window)
