"""map_fragments over some windows, against merge of the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag import FragmentGrid, extract, map_fragments, merge
from tokfrag.fragments.streams.chosen import ChosenStitcher


@given(
    st.integers(1, 3),
    st.integers(0, 2**32),
    st.sampled_from(["pad", "drop", "shift"]),
    st.sampled_from(["uniform", "gaussian", "whole"]),
    st.sampled_from(["mean", "sum"]),
    st.sampled_from(["float32", "float64"]),
)
def test_equal_to_merge_of_the_same_windows(rank, seed, edge, window, reduce, dtype) -> None:
    rng = np.random.default_rng(seed)
    size = tuple(int(n) for n in rng.integers(1, 6, rank))
    stride = tuple(int(n) for n in rng.integers(1, 7, rank))
    dilation = tuple(int(n) for n in rng.integers(1, 3, rank))
    extent = [d * (w - 1) + 1 for w, d in zip(size, dilation, strict=True)]
    shape = tuple(int(rng.integers(e, e + (60, 20, 12)[rank - 1])) for e in extent)
    grid = FragmentGrid.checked(shape, size, stride, edge, "constant", 0, dilation)
    x = rng.standard_normal((2, 2, *shape)).astype(dtype)
    weights: Any = rng.uniform(0.1, 2, size) if window == "whole" else window
    chosen = np.flatnonzero(rng.random(grid.n) < rng.random())
    if not len(chosen):
        chosen = np.array([grid.n - 1])
    want = merge(extract(x, grid)[:, chosen], grid, window=weights, reduce=reduce, where=chosen)
    got = map_fragments(
        lambda f: f,
        x,
        grid,
        batch_size=int(rng.integers(1, 40)),
        window=weights,
        reduce=reduce,
        where=chosen,
        threads=int(rng.integers(1, 3)),
    )
    assert got.dtype == x.dtype
    close = 1e-12 if dtype == "float64" else 2e-5
    np.testing.assert_allclose(got, want, rtol=close, atol=close)


def test_sums_lie_in_slabs_of_a_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    depths = []
    init = ChosenStitcher.__init__

    def noted(self: ChosenStitcher, *args: Any) -> None:
        init(self, *args)
        depths.append(self.depth)

    monkeypatch.setattr(ChosenStitcher, "__init__", noted)
    grid = FragmentGrid((4000, 300), (8, 300), (4, 300))
    x = np.random.default_rng(0).random((1, 1, 4000, 300), np.float32)
    chosen = [0, 1, 500, 501, 998]
    got = map_fragments(lambda f: f, x, grid, batch_size=50, where=chosen)
    held = np.zeros(4000, np.bool_)
    for i in chosen:
        held[4 * i : 4 * i + 8] = True
    np.testing.assert_allclose(got[0, 0][held], x[0, 0][held], rtol=1e-5)
    assert not got[0, 0][~held].any()
    assert len(depths) == 1
    assert depths[0] < 1000
