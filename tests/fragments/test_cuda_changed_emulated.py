"""More of the CUDA path without a GPU: orders, the adjoint of merge, fragments of another type.

As test_cuda_emulated.py: the kernels' threads run on the host.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st

from tokfrag import FragmentGrid, extract, merge
from tokfrag.fragments.changing import change_of
from tokfrag.fragments.engines import host, stacked
from tokfrag.fragments.shapes import is_ordered_apart, merging_of
from tokfrag.fragments.windows import Weights

torch = pytest.importorskip("torch")

from cuda_cases import FLOATS, TOLERANCE, MergeCase, grids, image, merge_cases, numbers  # noqa: E402

LONGEST = (40, 12, 6, 4)
INTEGERS = (torch.uint8, torch.int16, torch.int32, torch.int64)
several = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@several
@given(grids(LONGEST), st.booleans(), st.sampled_from((*INTEGERS, *FLOATS)), st.booleans())
def test_minima(
    backend: Any, grid: FragmentGrid, channels_last: bool, dtype: Any, spoiled: bool
) -> None:
    shape = (2, grid.n, *grid.size, 4) if channels_last else (2, grid.n, 4, *grid.size)
    fragments = numbers(shape, dtype)
    if spoiled and dtype in FLOATS and fragments.numel():
        fragments.view(-1)[fragments.numel() // 2] = float("nan")
    for reduce in ("min", "max"):
        expected = merge(fragments, grid, reduce=reduce, channels_last=channels_last, fill_value=7)  # type: ignore[arg-type]
        out = torch.empty_like(expected)
        merging = merging_of(grid, "uniform", reduce, channels_last, 7, dtype, planned=False)  # type: ignore[arg-type]
        backend.merge(fragments, merging, out)
        torch.testing.assert_close(out, expected, rtol=0, atol=0, equal_nan=True)


@several
@given(
    grids(LONGEST),
    st.booleans(),
    st.sampled_from((*INTEGERS, *FLOATS)),
    st.integers(1, 30),
    st.booleans(),
)
def test_orders(
    backend: Any,
    grid: FragmentGrid,
    channels_last: bool,
    dtype: Any,
    labels: int,
    spoiled: bool,
) -> None:
    """Medians of all but int64, votes of integers; few labels, so that there are ties."""
    shape = (2, grid.n, *grid.size, 4) if channels_last else (2, grid.n, 4, *grid.size)
    fragments = (numbers(shape, torch.int64) % labels - labels // 3).to(dtype)
    if spoiled and dtype in FLOATS and fragments.numel():
        fragments.view(-1)[fragments.numel() // 2] = float("nan")
    rules = [] if dtype == torch.int64 else ["median"]
    rules += [] if dtype in FLOATS else ["vote"]
    assume(not is_ordered_apart(grid, "median", torch.float32))
    for rule in rules:
        merging = merging_of(grid, "uniform", rule, channels_last, 7, dtype, planned=False)  # type: ignore[arg-type]
        moved = fragments.movedim(-1, 2) if channels_last else fragments
        ones = Weights((None,) * len(grid.size), None)
        expected = stacked.merge(moved, grid, ones, rule, 7, None)
        expected = expected.movedim(1, -1) if channels_last else expected
        out = torch.empty_like(expected, memory_format=torch.contiguous_format)
        backend.merge(fragments, merging, out)
        tolerance = TOLERANCE.get(dtype, 0)
        torch.testing.assert_close(out, expected, rtol=tolerance, atol=0, equal_nan=True)


def test_orders_of_many_windows(backend: Any) -> None:
    """More numbers than a thread holds in registers, up to as many as it takes at all."""
    for windows in (8, 9, 31, 64):
        grid = FragmentGrid((192,), windows, 1, edge="drop")
        fragments = torch.from_numpy(
            np.random.default_rng(0).integers(0, 9, (1, grid.n, 4, windows))
        )
        for dtype, rule in (
            (torch.int64, "vote"),
            (torch.uint8, "vote"),
            (torch.float32, "median"),
        ):
            x = fragments.to(dtype)
            merging = merging_of(grid, "uniform", rule, False, 0, dtype, planned=False)  # type: ignore[arg-type]
            expected = merge(x, grid, reduce=rule)  # type: ignore[arg-type]
            out = torch.empty_like(expected)
            backend.merge(x, merging, out)
            assert torch.equal(out, expected)


@several
@given(merge_cases(LONGEST, FLOATS))
def test_adjoint(backend: Any, case: MergeCase) -> None:
    """The CPU's numbers; for all but halves, which are weighed in float32 here, its bits."""
    _, grid, window, reduce, channels_last = case
    assume(reduce != "max")
    dtype = case.fragments.dtype
    x = image(grid, channels_last, dtype) / 7
    merging = merging_of(grid, window, reduce, channels_last, 0, dtype)  # type: ignore[arg-type]
    shape = (2, grid.n, *grid.size, 3) if channels_last else (2, grid.n, 3, *grid.size)
    expected, out = torch.empty(shape, dtype=dtype), torch.empty(shape, dtype=dtype)
    host.adjoint(x, merging, expected, 0)
    backend.adjoint(x, merging, out)
    rounded = {torch.float32: 2e-7, torch.float64: 1e-15}
    tolerance = TOLERANCE.get(dtype) or rounded[dtype]
    torch.testing.assert_close(out, expected, rtol=tolerance, atol=1e-30)


def test_adjoint_has_the_bits_of_the_cpu(backend: Any) -> None:
    for shape, size, stride, dtype in (
        ((64, 48), (16, 16), (8, 8), torch.float32),
        ((20, 24, 28), (8, 8, 8), (4, 4, 4), torch.float32),
        ((1000,), (100,), (10,), torch.float64),
        ((41, 37), (7, 5), (3, 2), torch.float32),
    ):
        grid = FragmentGrid(shape, size, stride)
        x = torch.randn(2, 3, *shape, dtype=dtype)
        for window in ("uniform", "gaussian"):
            merging = merging_of(grid, window, "mean", False, 0, dtype)  # type: ignore[arg-type]
            expected = torch.empty(2, grid.n, 3, *size, dtype=dtype)
            out = torch.empty_like(expected)
            host.adjoint(x, merging, expected, 0)
            backend.adjoint(x, merging, out)
            assert torch.equal(out, expected)


@several
@given(
    grids(LONGEST),
    st.booleans(),
    st.sampled_from((torch.uint8, torch.int16, torch.float16, torch.bfloat16, torch.float32)),
    st.sampled_from((torch.float16, torch.bfloat16, torch.float32)),
    st.sampled_from((None, 0.25, (0.1, 2.0, -3.0))),
    st.sampled_from((None, -1.5, (7.0, 0.5, 0.1))),
)
def test_changed_fragments(
    backend: Any,
    grid: FragmentGrid,
    channels_last: bool,
    dtype: Any,
    made: Any,
    scale: Any,
    shift: Any,
) -> None:
    x = image(grid, channels_last, dtype)
    change = change_of(x, scale, shift, made, channels_last)
    assume(change is not None)
    assert change is not None
    expected = extract(x, grid, channels_last=channels_last, scale=scale, shift=shift, dtype=made)
    out = torch.empty_like(expected)
    given = ([] if n is None else n.tolist() for n in (change.scale, change.shift))
    backend.extract_changed(x, grid, channels_last, *given, out)
    assert torch.equal(out, expected)


def test_too_many_channels_are_refused(backend: Any) -> None:
    grid = FragmentGrid((8,), 4, 4)
    x = torch.ones(1, 65, 8)
    with pytest.raises(ValueError, match="of few channels"):
        backend.extract_changed(x, grid, False, [1.0] * 65, [], torch.empty(1, 2, 65, 4))
