"""The CUDA path without a GPU: the binding, the plans and every thread's work, run on the host.

The fixture ``emulated_cuda`` compiles the binding with tests/emulation in place of the .cu files;
what is left for tests/test_cuda.py is the device itself.
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
from tokfrag.fragments.features import FEATURES, column_codes, fragment_features
from tokfrag.fragments.segments import segment_merge, unmerge

torch = pytest.importorskip("torch")

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
TOLERANCE = {torch.float16: 2e-3, torch.bfloat16: 2e-2}
several = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def backend(emulated_cuda: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """tokfrag's CUDA backend, taking CPU tensors to the emulated kernels."""
    from tokfrag.fragments import _cuda_backend

    @contextmanager
    def launch(x: Any) -> Iterator[tuple[int, int]]:
        yield 0, 0

    plans = (_cuda_backend._grid_plan, _cuda_backend._window_plan, _cuda_backend._window_tables)
    for plan in plans:
        plan.cache_clear()
    monkeypatch.setitem(sys.modules, "tokfrag._cuda", emulated_cuda)
    monkeypatch.setattr(_cuda_backend, "kernels", lambda device: emulated_cuda)
    monkeypatch.setattr(_cuda_backend, "_launch", launch)
    yield _cuda_backend
    for plan in plans:
        plan.cache_clear()


@st.composite
def grids(draw: Any) -> FragmentGrid:
    rank = draw(st.integers(1, 4))
    longest = (40, 12, 6, 4)[rank - 1]
    unit = draw(st.sampled_from((1, 4)))
    dilation = draw(st.sampled_from((1, 1, 2)))
    edge = draw(st.sampled_from(("pad", "shift")))
    lengths, sizes, strides = [], [], []
    for axis in range(rank):
        step = unit if axis == rank - 1 else 1
        length = step * draw(st.integers(1, max(longest // step, 1)))
        limit = length if edge == "pad" else (length - 1) // dilation + 1
        lengths.append(length)
        sizes.append(min(step * draw(st.integers(1, max(limit // step, 1))), limit))
        strides.append(step * draw(st.integers(1, 6)))
    pad_mode = draw(st.sampled_from(("constant", "reflect", "replicate", "circular")))
    options: dict[str, Any] = {"edge": edge, "pad_mode": pad_mode, "dilation": dilation}
    return FragmentGrid(lengths, sizes, strides, pad_value=draw(st.integers(0, 1)), **options)


def numbers(shape: tuple[int, ...], dtype: Any) -> Any:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 100, shape)).to(dtype)


@several
@given(grids(), st.booleans(), st.sampled_from((torch.bool, torch.complex128, *FLOATS)))
def test_extract(backend: Any, grid: FragmentGrid, channels_last: bool, dtype: Any) -> None:
    x = numbers((2, *grid.shape, 3) if channels_last else (2, 3, *grid.shape), dtype)
    expected = extract(x, grid, channels_last=channels_last)
    out = torch.empty_like(expected)
    backend.run_extract(x, grid, channels_last, out)
    assert torch.equal(out, expected)


@several
@given(
    grids(),
    st.booleans(),
    st.sampled_from((torch.uint8, torch.int32, *FLOATS)),
    st.sampled_from(("mean", "sum", "max")),
    st.sampled_from(("uniform", "gaussian", "vectors", "whole", "per fragment")),
)
def test_merge(
    backend: Any, grid: FragmentGrid, channels_last: bool, dtype: Any, reduce: Any, kind: str
) -> None:
    shape = (2, grid.n, *grid.size, 4) if channels_last else (2, grid.n, 4, *grid.size)
    fragments = numbers(shape, dtype)
    rng = np.random.default_rng(1)
    window: Any = {
        "vectors": [rng.random(size) + 0.1 for size in grid.size],
        "whole": rng.random(grid.size) + 0.1,
        "per fragment": rng.random((grid.n, *grid.size)) + 0.1,
    }.get(kind, kind)
    if reduce == "max":
        window = "uniform"
    expected = merge(
        fragments,
        grid,
        window=window,
        reduce=reduce,
        channels_last=channels_last,
        fill_value=7,
    )
    out = torch.empty_like(expected)
    backend.run_merge(fragments, grid, window, reduce, channels_last, 7, out)
    tolerance = TOLERANCE.get(dtype, 0)
    torch.testing.assert_close(out, expected, rtol=tolerance, atol=tolerance)


@several
@given(grids(), st.sampled_from((torch.bool, torch.int32, torch.float16, torch.float32)))
def test_features(backend: Any, grid: FragmentGrid, dtype: Any) -> None:
    axis = len(grid.shape) - 1
    x = numbers((2, 3, *grid.shape), dtype)
    lags = tuple(range(1, min(grid.size[axis], 12)))
    names = FEATURES if lags else FEATURES[:-1]
    expected = fragment_features(x, grid, names, lags=lags, axis=axis)
    out = torch.empty_like(expected)
    codes = column_codes(names, lags)
    backend.run_features(x, grid, codes, lags, axis, float(grid.pad_value), out)
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
    backend.run_reduce(x, index, weight, y, sums, True)
    assert torch.equal(y, expected)
    assert torch.equal(sums, expected_sums)
    back = torch.empty((*lead, columns), dtype=dtype)
    backend.run_gather(y, index, None, back)
    assert torch.equal(back, unmerge(y, index))
    backend.run_gather(y, index, weight, back)
    if weight is not None:
        scaled = unmerge(y, index).to(precise) * weight[..., None]
        assert torch.equal(back, scaled.to(dtype))


def test_bad_weights_and_indices_are_refused(backend: Any) -> None:
    grid = FragmentGrid((8,), 4, 4)
    fragments = torch.ones(1, 2, 1, 4)
    window = np.array([[1.0, 0, 1, 1], [1, 1, 1, 1]])
    with pytest.raises(ValueError, match="window: the weights of some positions"):
        backend.run_merge(fragments, grid, window, "mean", False, 0, torch.empty(1, 1, 8))
    y = torch.ones(5, 2)
    with pytest.raises(IndexError, match=r"index: got values from 0 to 5, takes \[0, 5\)"):
        backend.run_gather(y, torch.tensor([0, 5]), None, torch.empty(2, 2))
