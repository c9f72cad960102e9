"""Small merges made again and again: by kept places, with the bits of the first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag import FragmentGrid, extract, merge
from tokfrag.fragments import UncoveredWarning

GRIDS = [
    FragmentGrid((10, 10), 4, 3),
    FragmentGrid((9, 11), (3, 4), (2, 2), edge="shift"),
    FragmentGrid((60,), 24, 9),
    FragmentGrid((40,), 5, 2, dilation=3),
    FragmentGrid((5, 6, 7), 3, 2, pad_mode="reflect"),
    FragmentGrid((12, 4), (6, 4), (3, 4)),
]


@given(
    st.sampled_from(GRIDS),
    st.sampled_from(["uniform", "gaussian", "hann"]),
    st.sampled_from(["mean", "sum"]),
    st.booleans(),
    st.integers(1, 3),
    st.integers(0, 99),
)
def test_again_is_as_the_first_time(
    grid: FragmentGrid, window: Any, reduce: Any, channels_last: bool, batch: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    inner = (*grid.size, 2) if channels_last else (2, *grid.size)
    fragments = rng.standard_normal((batch, grid.n, *inner)).astype("f4")
    options: dict[str, Any] = {"window": window, "reduce": reduce, "channels_last": channels_last}
    own = FragmentGrid(
        grid.shape,
        grid.size,
        grid.stride,
        edge=grid.edge,
        pad_mode=grid.pad_mode,
        dilation=grid.dilation,
    )
    first = merge(fragments, own, **options)
    for _ in range(3):
        assert merge(fragments, own, **options).tobytes() == first.tobytes()
    # Others in between, and numbers that lie elsewhere.
    larger = np.repeat(fragments, 20, 0)
    assert merge(larger, own, **options)[::20].tobytes() == first.tobytes()
    apart = np.asfortranarray(fragments)  # summed in another order, if channels are last
    second = merge(apart, own, **options)
    for _ in range(3):
        assert merge(apart, own, **options).tobytes() == second.tobytes()
    assert merge(fragments, own, **options).tobytes() == first.tobytes()


def test_gaps_are_filled_each_time() -> None:
    with pytest.warns(UncoveredWarning, match="in no fragment"):
        grid = FragmentGrid((11,), 2, 4, edge="drop")
    x = np.arange(11, dtype="f4").reshape(1, 1, 11)
    for _ in range(4):
        back = merge(extract(x, grid), grid, fill_value=-1)
        assert back[0, 0].tolist() == [0, 1, -1, -1, 4, 5, -1, -1, 8, 9, -1]


def test_tensors() -> None:
    torch = pytest.importorskip("torch")
    grid = FragmentGrid((10, 10), 4, 3)
    fragments = torch.randn(1, grid.n, 1, 4, 4)
    first = merge(fragments, grid)
    for _ in range(3):
        assert torch.equal(merge(fragments, grid), first)
    assert np.array_equal(merge(fragments.numpy(), grid), first.numpy())
