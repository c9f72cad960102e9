"""Medians and votes by sorting in registers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag import FragmentGrid, merge, reference
from tokfrag.fragments.shapes import merging_of

GRIDS = [
    FragmentGrid((150,), 40, 20),
    FragmentGrid((90,), 24, 9, edge="shift"),
    FragmentGrid((30,), 6, 1, dilation=2),
    FragmentGrid((9, 70), (4, 40), (2, 10)),
    FragmentGrid((5, 6, 20), (3, 4, 10), (2, 2, 5)),
    FragmentGrid((12, 5), (6, 5), (3, 5), pad_mode="reflect"),
]
MEDIANS = ["u1", "i1", "i2", "i4", "f2", "f4", "f8", "u2", "u4"]
VOTES = ["u1", "i1", "i2", "i4", "i8", "?", "u2", "u4"]


@given(
    st.sampled_from(GRIDS),
    st.sampled_from([("median", d) for d in MEDIANS] + [("vote", d) for d in VOTES]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**16),
)
def test_twin(
    grid: FragmentGrid, case: tuple[Any, str], channels_last: bool, apart: bool, seed: int
) -> None:
    reduce, dtype = case
    rng = np.random.default_rng(seed)
    inner = (*grid.size, 2) if channels_last else (2, *grid.size)
    fragments = rng.integers(0, 4, (1, grid.n, *inner)).astype(dtype)
    if dtype[0] == "f":
        special = rng.random(fragments.shape)
        fragments[special < 0.02] = np.nan
        fragments[special > 0.98] = np.inf
        fragments[(special > 0.96) & (special < 0.98)] = -np.inf
    if apart:
        fragments = np.asfortranarray(fragments)
    options: dict[str, Any] = {"reduce": reduce, "channels_last": channels_last, "fill_value": 1}
    with np.errstate(invalid="ignore"):
        expected = reference.merge(fragments, grid, **options)
    got = merge(fragments, grid, **options, threads=1)
    assert got.dtype == fragments.dtype
    np.testing.assert_array_equal(got, expected)
    assert merge(fragments, grid, **options, threads=3).tobytes() == got.tobytes()


@pytest.mark.parametrize("reduce", ["median", "vote"])
def test_many_windows_go_another_way(reduce: Any) -> None:
    grid = FragmentGrid((150,), 70, 1)
    fragments = np.random.default_rng(0).integers(0, 9, (1, grid.n, 1, 70)).astype("i2")
    expected = reference.merge(fragments, grid, reduce=reduce)
    np.testing.assert_array_equal(merge(fragments, grid, reduce=reduce), expected)
    merging = merging_of(grid, "uniform", reduce, False, 0, fragments.dtype)
    with pytest.raises(ValueError, match="too many windows"):
        merging.plan.merge(fragments, merging.code, False, merging.fill, None, 1)


def test_tensors_and_their_gradients() -> None:
    torch = pytest.importorskip("torch")
    grid = FragmentGrid((40,), 8, 4)
    fragments = torch.randn(1, grid.n, 2, 8)
    plain = merge(fragments, grid, reduce="median")
    followed = merge(fragments.requires_grad_(), grid, reduce="median")
    assert torch.equal(plain, followed)
    followed.sum().backward()
    assert torch.equal(merge(fragments.grad, grid, reduce="sum"), torch.ones(1, 2, 40))
    narrow = fragments.detach().to(torch.bfloat16)
    expected = merge(narrow.float(), grid, reduce="median").to(torch.bfloat16)
    assert torch.equal(merge(narrow, grid, reduce="median"), expected)
