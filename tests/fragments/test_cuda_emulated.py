"""The CUDA path without a GPU: the binding, the plans and every thread's work, run on the host.

The fixture ``emulated_cuda`` compiles the binding with tests/emulation in place of the .cu files;
what is left for tests/fragments/test_cuda.py is the device itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tokfrag import FragmentGrid, extract, merge
from tokfrag.fragments.features import fragment_features
from tokfrag.fragments.segments import segment_merge, unmerge
from tokfrag.fragments.shapes import cut_of, feature_table, merging_of

torch = pytest.importorskip("torch")

from cuda_cases import (  # noqa: E402
    FLOATS,
    TOLERANCE,
    MergeCase,
    feature_names,
    grids,
    image,
    merge_cases,
    numbers,
)

LONGEST = (40, 12, 6, 4)
several = settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def backend(emulated_cuda: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """tokfrag's CUDA backend, taking CPU tensors to the emulated kernels."""
    from tokfrag.fragments.engines import cuda

    @contextmanager
    def launch(x: Any) -> Iterator[tuple[int, int]]:
        yield 0, 0

    plans = (cuda._grid_plan, cuda._window_plan, cuda._window_tables)
    for plan in plans:
        plan.cache_clear()
    monkeypatch.setitem(sys.modules, "tokfrag._cuda", emulated_cuda)
    monkeypatch.setattr(cuda, "kernels", lambda device: emulated_cuda)
    monkeypatch.setattr(cuda, "_launch", launch)
    yield cuda
    for plan in plans:
        plan.cache_clear()


@several
@given(grids(LONGEST), st.booleans(), st.sampled_from((torch.bool, torch.complex128, *FLOATS)))
def test_extract(backend: Any, grid: FragmentGrid, channels_last: bool, dtype: Any) -> None:
    x = image(grid, channels_last, dtype)
    expected = extract(x, grid, channels_last=channels_last)
    out = torch.empty_like(expected)
    backend.extract(x, cut_of(grid, channels_last, dtype), out)
    assert torch.equal(out, expected)


@several
@given(merge_cases(LONGEST, (torch.uint8, torch.int32, *FLOATS)))
def test_merge(backend: Any, case: MergeCase) -> None:
    fragments, grid, window, reduce, channels_last = case
    options: dict[str, Any] = {"window": window, "reduce": reduce, "channels_last": channels_last}
    expected = merge(fragments, grid, fill_value=7, **options)
    out = torch.empty_like(expected)
    backend.merge(fragments, merging_of(grid, window, reduce, channels_last, 7, out.dtype), out)
    tolerance = TOLERANCE.get(fragments.dtype, 0)
    torch.testing.assert_close(out, expected, rtol=tolerance, atol=tolerance)


@several
@given(grids(LONGEST), st.sampled_from((torch.bool, torch.int32, torch.float16, torch.float32)))
def test_features(backend: Any, grid: FragmentGrid, dtype: Any) -> None:
    axis = len(grid.shape) - 1
    x = image(grid, False, dtype)
    names, lags = feature_names(grid, axis)
    expected = fragment_features(x, grid, names, lags=lags, axis=axis)
    out = torch.empty_like(expected)
    backend.features(x, feature_table(grid, names, lags, axis), out)
    tolerance = TOLERANCE.get(dtype, 1e-5)
    torch.testing.assert_close(out, expected, rtol=tolerance, atol=tolerance, equal_nan=True)


@several
@given(
    st.integers(0, 2),
    st.integers(0, 100),
    st.integers(1, 9),
    st.sampled_from((0, 1, 3, 8)),
    st.sampled_from(FLOATS),
    st.booleans(),
    st.booleans(),
)
def test_segments(
    backend: Any,
    batch: int,
    rows: int,
    n: int,
    columns: int,
    dtype: Any,
    weighted: bool,
    spread: bool,
) -> None:
    lead = (batch, rows) if batch else (rows,)
    x = numbers((*lead, columns), dtype)
    if spread:
        x = torch.stack([x, x], -1)[..., 0]
    index = torch.from_numpy(np.random.default_rng(2).integers(0, n, lead))
    precise = torch.float64 if dtype == torch.float64 else torch.float32
    weight = numbers(lead, precise) if weighted else None
    expected, expected_sums = segment_merge(x, index, n, weight=weight)
    y, sums = torch.empty_like(expected), torch.empty_like(expected_sums)
    backend.reduce(x, index, weight, y, sums, True)
    assert torch.equal(y, expected)
    assert torch.equal(sums, expected_sums)
    back = torch.empty((*lead, columns), dtype=dtype)
    backend.gather(y, index, None, back)
    assert torch.equal(back, unmerge(y, index))
    backend.gather(y, index, weight, back)
    if weight is not None:
        scaled = unmerge(y, index).to(precise) * weight[..., None]
        assert torch.equal(back, scaled.to(dtype))


def test_bad_weights_and_indices_are_refused(backend: Any) -> None:
    grid = FragmentGrid((8,), 4, 4)
    fragments = torch.ones(1, 2, 1, 4)
    window = np.array([[1.0, 0, 1, 1], [1, 1, 1, 1]])
    with pytest.raises(ValueError, match="window: the weights of some positions"):
        backend.merge(
            fragments,
            merging_of(grid, window, "mean", False, 0, fragments.dtype),
            torch.empty(1, 1, 8),
        )
    y = torch.ones(5, 2)
    with pytest.raises(IndexError, match=r"index: got values from 0 to 5, takes \[0, 5\)"):
        backend.gather(y, torch.tensor([0, 5]), None, torch.empty(2, 2))
