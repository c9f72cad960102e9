"""Merges that add up float32 as pairs of floats, for GPUs with slow doubles; run on the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tokfrag import FragmentGrid, merge
from tokfrag.fragments.shapes import merging_of

torch = pytest.importorskip("torch")

from cuda_cases import MergeCase, merge_cases  # noqa: E402

several = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def paired(backend: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The emulated kernels, on a device that adds doubles slowly."""
    from tokfrag.fragments.engines import cuda_weights

    monkeypatch.setattr(cuda_weights._device, "adds_doubles_slowly", lambda device: True)
    cuda_weights.forget()
    yield backend
    cuda_weights.forget()


def merged(backend: Any, fragments: Any, grid: FragmentGrid, window: Any, reduce: Any) -> Any:
    out = torch.full((fragments.shape[0], fragments.shape[2], *grid.shape), -5.0)
    backend.merge(fragments, merging_of(grid, window, reduce, False, 7, out.dtype), out)
    return out


def in_pairs(grid: FragmentGrid, window: Any, reduce: Any) -> bool:
    from tokfrag.fragments.engines.cuda_weights import weights_on

    merging = merging_of(grid, window, reduce, False, 0, torch.float32)
    return weights_on(merging, torch.device("cpu"), None).pairs


@several
@given(merge_cases((40, 12, 6), (torch.float32,)))
def test_whole_numbers_have_the_bits_of_the_cpu(paired: Any, case: MergeCase) -> None:
    fragments, grid, window, reduce, channels_last = case
    options: dict[str, Any] = {"window": window, "reduce": reduce, "channels_last": channels_last}
    expected = merge(fragments, grid, fill_value=7, **options)
    out = torch.empty_like(expected)
    paired.merge(fragments, merging_of(grid, window, reduce, channels_last, 7, out.dtype), out)
    torch.testing.assert_close(out, expected, rtol=1.2e-7, atol=0)


@pytest.mark.parametrize("window", ["uniform", "gaussian", "hann"])
@pytest.mark.parametrize("reduce", ["mean", "sum"])
@pytest.mark.parametrize("magnitude", [1e-44, 1e-38, 1e-20, 1.0, 1e20, 1e37])
def test_results_are_rounded_once(paired: Any, window: Any, reduce: Any, magnitude: float) -> None:
    """Nearly all are the nearest float, and none is farther than the next, at any magnitude."""
    generator = np.random.default_rng(0)
    for grid in (FragmentGrid((203,), 16, 4), FragmentGrid((40, 36), (8, 12), (4, 4))):
        assert in_pairs(grid, window, reduce)
        numbers = generator.standard_normal((2, grid.n, 3, *grid.size)) * magnitude
        fragments = torch.from_numpy(numbers.astype(np.float32))
        exact = merge(fragments.double(), grid, window=window, reduce=reduce, fill_value=7)
        out = merged(paired, fragments, grid, window, reduce)
        nearest = exact.float()
        # Sums of numbers of both signs: what pairs lose is measured by what was added up.
        sizes = merge(fragments.double().abs(), grid, window=window, reduce=reduce, fill_value=7)
        step = torch.from_numpy(np.spacing(nearest.abs().numpy())).double()
        slack = step / 2 + sizes * 2.0**-44 + 2.0**-149
        assert bool(((out.double() - exact).abs() <= slack).all())
        if magnitude > 1e-37:  # below, results are rounded once more
            assert (out == nearest).double().mean() > 0.999


def test_what_floats_cannot_hold_on_the_way(paired: Any) -> None:
    """A sum beyond float32 whose mean is not, infinities, NaN, and zeros of either sign."""
    grid = FragmentGrid((16,), 8, 4)
    fragments = torch.full((1, grid.n, 1, 8), 3e38)
    out = merged(paired, fragments, grid, "uniform", "mean")
    assert torch.equal(out, torch.full_like(out, 3e38))
    assert bool(torch.isinf(merged(paired, fragments, grid, "uniform", "sum")[..., 4:12]).all())
    fragments = torch.ones(1, grid.n, 1, 8)
    fragments[0, 1, 0, 0] = float("inf")
    fragments[0, 1, 0, 3] = float("nan")
    fragments[0, 0] = -0.0
    fragments[0, 2, 0, 2:] = 1e-42
    for window in ("uniform", "gaussian"):
        out = merged(paired, fragments, grid, window, "sum")
        expected = merge(fragments, grid, window=window, reduce="sum")
        torch.testing.assert_close(out, expected, rtol=1.2e-7, atol=3e-45, equal_nan=True)
        assert torch.equal(torch.signbit(out), torch.signbit(expected))


def test_weights_that_floats_cannot_hold_are_left_to_doubles(paired: Any) -> None:
    grid = FragmentGrid((40,), 4, 2)
    window = [np.array([1e-300, 1e-300, 1.0, 1.0])]
    assert in_pairs(grid, [np.array([0.5, 2.0, 2.0, 0.5])], "mean")
    assert not in_pairs(grid, window, "mean")
    fragments = torch.randn(1, grid.n, 1, 4)
    out = merged(paired, fragments, grid, window, "mean")
    assert torch.equal(out, merge(fragments, grid, window=window))


def test_tables_begin_where_wide_loads_want_them(emulated_cuda: Any) -> None:
    """Also as pairs, which make up the same numbers."""
    grid = emulated_cuda.GridPlan([5], [3], [2], [1], 0, 0)
    plan = emulated_cuda.WindowPlan(grid, 0, [None], None, False)
    inverse, sums = [1.0, 1.0, 0.5, 1.0, 1.0], [1.0, 1.0, 2.0, 1.0, 1.0]
    assert plan.tables.tolist() == [*inverse, 0.0, 0.0, 0.0, *sums]
    assert plan.pairable
    plan = emulated_cuda.WindowPlan(grid, 0, [np.array([0.1, 0.3, 0.1])], None, False)
    pairs = plan.pair_tables.view(np.float32).astype(np.float64).reshape(-1, 2).sum(1)
    np.testing.assert_allclose(pairs, plan.tables, rtol=2.0**-45)
