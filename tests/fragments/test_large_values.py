"""Numbers near the largest of their type: what the docstrings say becomes of sums, and ties."""

from __future__ import annotations

import numpy as np
import pytest

from tokfrag import FragmentGrid, merge, segment_merge
from tokfrag.reference import merging as twin

GRID = FragmentGrid((6,), 4, 2)  # two windows, two positions under both


def fragments_of(value: float, dtype: str) -> np.ndarray:
    return np.full((1, 2, 1, 4), value, dtype)


def test_a_sum_above_the_largest_double_is_infinite() -> None:
    """In the twin as well, which sums without rounding."""
    fragments = fragments_of(1.5e308, "float64")
    wanted = [1.5e308] * 2 + [np.inf] * 2 + [1.5e308] * 2
    assert merge(fragments, GRID, reduce="sum")[0, 0].tolist() == wanted
    assert twin.merge(fragments, GRID, reduce="sum")[0, 0].tolist() == wanted
    assert twin.merge(-fragments, GRID, reduce="sum")[0, 0].tolist() == [-v for v in wanted]


def test_means_of_large_values() -> None:
    """float32 is summed in float64 and comes back; a float64 sum may be too large."""
    fragments = fragments_of(3e38, "float32")
    assert (merge(fragments, GRID) == np.float32(3e38)).all()
    means = merge(fragments_of(1e308, "float64"), GRID, window="triangular")
    assert np.isfinite(means).all()
    means = merge(fragments_of(1e308, "float64"), GRID)[0, 0]
    assert (means[[0, 1, 4, 5]] == 1e308).all()
    assert not np.isfinite(means[2:4]).any()


@pytest.mark.parametrize(("dtype", "large"), [("float32", 3e38), ("float64", 1e308)])
def test_segments_of_large_values(dtype: str, large: float) -> None:
    x = np.array([large, large, large, 1, 2], dtype)
    y, _ = segment_merge(x, np.array([0, 0, 0, 1, 1]), 2)
    assert y.tolist() == [np.inf, 1.5]


def test_ties_of_integers_are_off_by_one_at_most() -> None:
    rng = np.random.default_rng(0)
    grid = FragmentGrid((40,), 8, 3)
    fragments = rng.integers(0, 255, (1, grid.n, 3, 8)).astype(np.uint8)
    for window in ("triangular", "hann", "gaussian"):
        found = merge(fragments, grid, window=window).astype(int)
        wanted = twin.merge(fragments, grid, window=window).astype(int)
        assert abs(found - wanted).max() <= 1
