"""Features that GPUs make in shared memory without doubles, their lanes run on the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tokfrag import FragmentGrid
from tokfrag.fragments.features import fragment_features
from tokfrag.fragments.shapes import feature_table

torch = pytest.importorskip("torch")

NAMES = ("mean", "std", "min", "max", "diff_energy", "lag_corr")
LAGS = (1, 2, 3, 5, 8, 13, 21, 34, 55)  # nine: two launches


def made(backend: Any, x: Any, grid: FragmentGrid, axis: int = -1, lags: Any = LAGS) -> Any:
    axis %= len(grid.shape)
    out = torch.empty(x.shape[0], grid.n, x.shape[1], len(NAMES) - 1 + len(lags), dtype=x.dtype)
    backend.features(x, feature_table(grid, NAMES, lags, axis), out)
    return out


@pytest.mark.parametrize("magnitude", [1e-40, 1e-30, 1e-12, 1.0, 1e12, 1e30, 9e37])
@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_any_magnitude(backend: Any, magnitude: float, offset: float) -> None:
    """No square of a deviation overflows or vanishes on the way."""
    generator = np.random.default_rng(0)
    numbers = (offset + generator.uniform(-0.5, 0.5, (2, 2, 600))) * magnitude
    x = torch.from_numpy(numbers.astype(np.float32))
    for size in (64, 300):
        grid = FragmentGrid((600,), size, 50)
        expected = fragment_features(x.double(), grid, NAMES, lags=LAGS).float()
        got = made(backend, x, grid)
        # Correlations are of numbers below 1; the others of the data's size.
        tolerance = np.spacing(np.float32(magnitude)) * 8 + 2e-45
        torch.testing.assert_close(got[..., :4], expected[..., :4], rtol=2e-6, atol=tolerance)
        torch.testing.assert_close(got[..., 4], expected[..., 4], rtol=1e-5, atol=2e-45)
        if magnitude > 1e-38:  # below, deviations themselves have few digits
            torch.testing.assert_close(got[..., 5:], expected[..., 5:], rtol=0, atol=2e-6)


def test_slow_series_keep_their_differences(backend: Any) -> None:
    """Differences are those of the data, not of deviations that were rounded."""
    steps = np.arange(2000)
    x = torch.from_numpy((1000 + np.sin(steps / 300)).astype(np.float32))[None, None]
    grid = FragmentGrid((2000,), 500, 250)
    expected = fragment_features(x.double(), grid, NAMES, lags=LAGS).float()
    torch.testing.assert_close(made(backend, x, grid), expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("size", [1400, 1700, 5000, 12000])
def test_by_a_warp_by_a_block_and_from_memory(backend: Any, size: int) -> None:
    generator = np.random.default_rng(1)
    x = torch.from_numpy(generator.standard_normal((1, 2, 13000)).astype(np.float32))
    grid = FragmentGrid((13000,), size, size // 2)
    expected = fragment_features(x.double(), grid, NAMES, lags=LAGS).float()
    torch.testing.assert_close(made(backend, x, grid), expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_time_along_any_axis_and_windows_beyond_it(backend: Any, axis: int, dtype: Any) -> None:
    generator = np.random.default_rng(2)
    x = torch.from_numpy(generator.standard_normal((2, 2, 9, 10, 11))).to(dtype)
    grid = FragmentGrid((9, 10, 11), (4, 5, 6), 3, pad_mode="reflect")
    lags = (1, 2, 3)
    expected = fragment_features(x.double(), grid, NAMES, lags=lags, axis=axis)
    tolerance = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
    got = made(backend, x, grid, axis, lags)
    torch.testing.assert_close(got.double(), expected, rtol=tolerance, atol=tolerance)


def test_windows_of_one_value_and_of_none_but_numbers(backend: Any) -> None:
    """Constant windows are exact; what is no number stays in its own window."""
    grid = FragmentGrid((400,), 100, 100)
    x = torch.randn(1, 1, 400)
    x[..., :100] = 0.1
    x[..., 150] = float("nan")
    x[..., 250] = float("inf")
    lags = (1, 2, 3)
    expected = fragment_features(x, grid, NAMES, lags=lags)
    got = made(backend, x, grid, lags=lags)
    assert torch.equal(got[0, 0], expected[0, 0])
    assert float(got[0, 0, 0, 0]) == float(x[0, 0, 0])
    torch.testing.assert_close(got[0, 1], expected[0, 1], equal_nan=True)
    torch.testing.assert_close(got[0, 3], expected[0, 3], rtol=2e-6, atol=2e-6)
    torch.testing.assert_close(got[0, 2], expected[0, 2], equal_nan=True)
