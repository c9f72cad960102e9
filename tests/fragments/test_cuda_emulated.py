"""The CUDA path without a GPU: the binding, the plans and every thread's work, run on the host.

The fixture ``emulated_cuda`` compiles the binding with tests/emulation in place of the .cu files;
what is left for tests/fragments/test_cuda.py is the device itself.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tokfrag import FragmentGrid, extract, merge
from tokfrag.fragments.engines import host
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
from tokfrag.fragments.operators import segments  # noqa: E402

LONGEST = (40, 12, 6, 4)
several = settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])


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


def test_tables_do_not_grow_with_the_axis(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mean keeps two borders and one period of sums, on the host and on the device."""
    from tokfrag.fragments.engines.cuda_weights import weights_on

    def sizes(length: int, window: Any) -> int:
        grid = FragmentGrid((length,), 100, 10)
        merging = merging_of(grid, window, "mean", False, 0, torch.float32, planned=False)
        assert merging.plan is None
        return weights_on(merging, torch.device("cpu"), None).nbytes

    for window in ("uniform", "gaussian"):
        assert sizes(100_000, window) == sizes(1000, window) < 10_000


@pytest.mark.parametrize("window", ["uniform", "gaussian"])
@pytest.mark.parametrize("edge", ["pad", "shift"])
def test_long_axes_read_short_tables(backend: Any, window: Any, edge: Any) -> None:
    for length, size, stride in ((4003, 64, 16), (4000, 64, 16), (3000, 7, 9)):
        if (edge, stride) == ("shift", 9):
            continue  # leaves positions out, with a warning
        grid = FragmentGrid((length,), size, stride, edge=edge)
        fragments = torch.randn(2, grid.n, 3, size)
        expected = merge(fragments, grid, window=window)
        out = torch.empty_like(expected)
        merging = merging_of(grid, window, "mean", False, 0, out.dtype, planned=False)
        backend.merge(fragments, merging, out)
        assert torch.equal(out, expected)


def test_one_weight_a_fragment_is_kept_as_one(backend: Any) -> None:
    from tokfrag.fragments.engines.cuda_weights import weights_on

    grid = FragmentGrid((40, 40), 8, 4)
    fragments = torch.randn(2, grid.n, 3, 8, 8)
    window = np.random.default_rng(0).random((grid.n, 1, 1)) + 0.1
    expected = merge(fragments, grid, window=window)
    out = torch.empty_like(expected)
    merging = merging_of(grid, window, "mean", False, 0, out.dtype, planned=False)
    assert weights_on(merging, fragments.device, None).nbytes == 8 * grid.n
    backend.merge(fragments, merging, out)
    torch.testing.assert_close(out, expected)


def test_changed_weights_are_seen(backend: Any) -> None:
    grid = FragmentGrid((40,), 8, 4)
    fragments = torch.randn(1, grid.n, 2, 8)
    window = np.random.default_rng(0).random((grid.n, 8)) + 0.1
    out = torch.empty(1, 2, 40)
    for _ in range(2):
        merging = merging_of(grid, window, "mean", False, 0, out.dtype, planned=False)
        backend.merge(fragments, merging, out)
        torch.testing.assert_close(out, merge(fragments, grid, window=window))
        window[3, 2] += 5


def test_weights_that_a_graph_reads_outlive_all_others(
    backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokfrag.fragments.engines import cuda_weights

    monkeypatch.setattr(cuda_weights, "_MOST_BYTES", 4096)
    monkeypatch.setattr(cuda_weights, "_captured", set())

    def weights(length: int) -> Any:
        grid = FragmentGrid((length,), 8, 4)
        merging = merging_of(grid, "hann", "mean", False, 0, torch.float32, planned=False)
        return cuda_weights.weights_on(merging, torch.device("cuda:0"), None)

    class OnHost(cuda_weights.DeviceWeights):
        def __init__(self, merging: Any, device: Any, part: Any) -> None:
            super().__init__(merging, torch.device("cpu"), part)

    monkeypatch.setattr(cuda_weights, "DeviceWeights", OnHost)
    captured = False
    monkeypatch.setattr(cuda_weights._device, "is_captured", lambda: captured)
    first = weights(1000)
    captured = True
    assert weights(1000) is first
    with pytest.raises(RuntimeError, match="takes one that is captured after a first call"):
        weights(77)
    captured = False
    for length in range(100, 180):
        weights(length)
    assert len(cuda_weights._kept) < 20
    assert first not in cuda_weights._kept.values()
    assert cuda_weights._captured == {first}


def test_the_current_device_is_left_as_it_was(emulated_cuda: Any) -> None:
    """All copies of the CUDA runtime share the current device: torch's would change with ours."""
    x = torch.arange(6.0).reshape(1, 1, 6)
    out = torch.empty(1, 1, 1, 6)
    plan = emulated_cuda.GridPlan([6], [6], [6], [1], 0, 0)
    emulated_cuda.check_device(1)
    assert emulated_cuda.current_device() == 0
    options = (x.itemsize, False, bytes(4), out.data_ptr())
    plan.extract_at(x.data_ptr(), x.shape, x.stride(), *options, 1, 0)
    assert torch.equal(out[:, 0], x)
    assert emulated_cuda.current_device() == 0
    with pytest.raises(RuntimeError, match="cudaErrorInvalidDevice"):
        emulated_cuda.check_device(2)
    assert emulated_cuda.current_device() == 0


def test_only_lasting_failures_are_remembered(
    emulated_cuda: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokfrag import _device

    errors = iter(
        (
            "an earlier kernel on this device failed, seen by cudaFuncGetAttributes: "
            "cudaErrorIllegalAddress (an illegal memory access was encountered)",
            "cudaSetDevice: cudaErrorMemoryAllocation (out of memory)",
            "cudaSetDevice: cudaErrorInsufficientDriver (CUDA driver version is insufficient)",
        )
    )

    class Module:
        @staticmethod
        def check_device(device: int) -> None:
            raise RuntimeError(next(errors))

    import tokfrag

    monkeypatch.setattr(_device, "_found", {})
    monkeypatch.setitem(sys.modules, "tokfrag._cuda", Module)
    monkeypatch.setattr(tokfrag, "_cuda", Module, raising=False)
    for failure in ("IllegalAddress", "MemoryAllocation"):
        with pytest.raises(RuntimeError, match=failure):
            _device.kernels(0)
    with pytest.warns(RuntimeWarning, match="cannot run here .*InsufficientDriver"):
        assert _device.kernels(0) is None
    assert _device.kernels(0) is None  # asked no more, and said no more


def test_folded_gradients_of_long_axes(backend: Any) -> None:
    """The backward of extract with a pad mode that copies data, on axes of many windows."""
    for mode in ("reflect", "replicate", "circular"):
        grid = FragmentGrid((3001,), 256, 64, pad_mode=mode)
        fragments = torch.randn(1, grid.n, 1, 256)
        expected = merge(fragments, grid, reduce="sum")
        out = torch.empty_like(expected)
        merging = merging_of(grid, "uniform", "sum", False, 0, out.dtype, planned=False)
        backend.merge(fragments, merging, out)
        assert torch.equal(out, expected)


def test_what_lies_under_no_weight_is_left_out(backend: Any) -> None:
    grid = FragmentGrid((20,), 4, 2)
    fragments = torch.randn(1, grid.n, 1, 4)
    fragments[..., 0] = float("nan")
    window = [np.array([0.0, 1.0, 1.0, 1.0])]
    fragments[:, 0, :, 0] = 1
    options: dict[str, Any] = {"window": window, "reduce": "sum"}
    expected = merge(fragments, grid, **options)
    out = torch.empty_like(expected)
    merging = merging_of(grid, window, "sum", False, 0, out.dtype, planned=False)  # type: ignore[arg-type]
    backend.merge(fragments, merging, out)
    assert torch.equal(out, expected)
    host.check_sums(merging)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("weighted", [False, True])
def test_long_segments_are_shared_out(backend: Any, dtype: Any, weighted: bool) -> None:
    """Many runs of rows a segment, in any place among the sorted rows; the bits of the CPU."""
    generator = np.random.default_rng(3)
    lengths = [0, 700, 3, 257, 256, 0, 64, 1000, 1, 641]
    index = np.repeat(np.arange(len(lengths)), lengths)
    index = torch.from_numpy(np.stack([generator.permutation(index) for _ in range(2)]))
    x = torch.from_numpy(generator.standard_normal((*index.shape, 5))).to(dtype)
    precise = torch.float64 if dtype == torch.float64 else torch.float32
    weight = torch.from_numpy(generator.random(index.shape)).to(precise) if weighted else None
    for mean in (False, True):
        expected, sums = segments.reduce(x, index, weight, len(lengths), mean)
        y, weights = torch.empty_like(expected), torch.empty_like(sums)
        backend.reduce(x, index, weight, y, weights, mean)
        assert torch.equal(y, expected)
        assert torch.equal(weights, sums)


def test_an_index_is_checked_once_and_again_when_it_changes(
    backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    aminmax = torch.aminmax

    def looked(x: Any) -> Any:
        looks.append(len(x))
        return aminmax(x)

    monkeypatch.setattr(torch, "aminmax", looked)
    y, index = torch.arange(10.0).reshape(5, 2), torch.tensor([4, 0, 2])
    x = torch.empty(3, 2)
    for _ in range(3):
        backend.gather(y, index, None, x)
    assert torch.equal(x, y[index])
    assert len(looks) == 1
    index[1] = 5
    with pytest.raises(IndexError, match=r"index: got values from 2 to 5, takes \[0, 5\)"):
        backend.gather(y, index, None, x)
    index[1] = 1
    backend.gather(y[:2], index.clone().clamp_(max=1), None, x)  # another index, of another n
    assert len(looks) == 3


@pytest.mark.parametrize("batch", [0, 2])
def test_an_index_that_is_trusted_reads_nothing_outside(backend: Any, batch: int) -> None:
    """Rows sent elsewhere are left out, also where narrow integers would wrap; zeros come back."""
    index = torch.tensor([0, -1, 2, 3, 1 << 16, 1, -(1 << 40), 2])
    index = index.expand(batch, -1).contiguous() if batch else index
    x = torch.arange(1.0, 1 + index.numel() * 2).reshape(*index.shape, 2)
    kept = (index >= 0) & (index < 3)
    expected, sums = segments.reduce(x * kept[..., None], index * kept, kept.float(), 3, False)
    backend.trust(index, 3)
    y, weights = torch.empty_like(expected), torch.empty_like(sums)
    backend.reduce(x, index, None, y, weights, False)
    assert torch.equal(y, expected)
    assert torch.equal(weights, sums)
    back = torch.empty_like(x)
    backend.gather(y, index, None, back)
    assert torch.equal(back, unmerge(y, index * kept) * kept[..., None])


def test_a_call_goes_to_the_stream_of_its_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever device is current: a stream of another one would be refused by the driver."""
    from types import SimpleNamespace

    from tokfrag import _device

    streams = {0: 11, 1: 22}
    monkeypatch.setattr(_device, "_is_initialized", lambda: False)
    monkeypatch.setattr(torch._C, "_cuda_getCurrentRawStream", streams.get, raising=False)
    for device in (1, 0):
        x: Any = SimpleNamespace(device=torch.device("cuda", device))
        with _device.launch(x) as there:
            assert there == (device, streams[device])
