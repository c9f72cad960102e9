"""The CUDA kernels against their CPU twins. Needs a GPU; every test says so where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tokfrag import FragmentGrid, extract, merge
from tokfrag.fragments.engines import cuda_weights
from tokfrag.fragments.features import fragment_features
from tokfrag.fragments.segments import segment_merge, unmerge

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("torch sees no CUDA device", allow_module_level=True)
pytest.importorskip("tokfrag._cuda", reason="tokfrag was built without nvcc")

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
from support import run_python  # noqa: E402

LONGEST = (60, 24, 10, 6)
SUMMED = (torch.uint8, torch.int8, torch.int16, torch.int32, *FLOATS)
DTYPES = (torch.bool, torch.int64, torch.complex64, torch.complex128, *SUMMED)


@pytest.fixture(autouse=True, scope="module")
def _kernels() -> None:
    from tokfrag.fragments.engines import cuda

    assert cuda.kernels(0) is not None, "the kernels cannot run: nothing would be tested"


def assert_equal(got: Any, expected: Any, tolerance: float = 0) -> None:
    assert got.is_cuda
    torch.testing.assert_close(got.cpu(), expected, rtol=tolerance, atol=tolerance, equal_nan=True)


@settings(max_examples=150)
@given(grids(LONGEST), st.booleans(), st.sampled_from(DTYPES))
def test_extract(grid: FragmentGrid, channels_last: bool, dtype: Any) -> None:
    x = image(grid, channels_last, dtype)
    expected = extract(x, grid, channels_last=channels_last)
    assert_equal(extract(x.cuda(), grid, channels_last=channels_last), expected)


@settings(max_examples=200)
@given(merge_cases(LONGEST, SUMMED))
def test_merge(case: MergeCase) -> None:
    fragments, grid, window, reduce, channels_last = case
    options: dict[str, Any] = {"window": window, "reduce": reduce, "channels_last": channels_last}
    expected = merge(fragments, grid, fill_value=7, **options)
    got = merge(fragments.cuda(), grid, fill_value=7, **options)
    assert_equal(got, expected, TOLERANCE.get(fragments.dtype, 0))


@settings(max_examples=60)
@given(grids(LONGEST), st.sampled_from((torch.bool, torch.int64, *SUMMED)), st.integers(0, 3))
def test_features(grid: FragmentGrid, dtype: Any, axis: int) -> None:
    axis %= len(grid.shape)
    x = image(grid, False, dtype)
    names, lags = feature_names(grid, axis)
    expected = fragment_features(x, grid, names, lags=lags, axis=axis)
    got = fragment_features(x.cuda(), grid, names, lags=lags, axis=axis)
    assert_equal(got, expected, TOLERANCE.get(dtype, 1e-5))


@settings(max_examples=60)
@given(
    st.integers(0, 2),
    st.integers(0, 200),
    st.integers(1, 20),
    st.sampled_from((0, 1, 3, 8, 64)),
    st.sampled_from(FLOATS),
    st.booleans(),
)
def test_segments(batch: int, rows: int, n: int, columns: int, dtype: Any, weighted: bool) -> None:
    lead = (batch, rows) if batch else (rows,)
    x = numbers((*lead, columns), dtype)
    index = torch.from_numpy(np.random.default_rng(2).integers(0, n, lead))
    weight = numbers(lead, torch.float32, 3) if weighted else None
    y, sums = segment_merge(x, index, n, weight=weight)
    got, got_sums = segment_merge(
        x.cuda(), index.cuda(), n, weight=None if weight is None else weight.cuda()
    )
    assert_equal(got, y)
    assert_equal(got_sums, sums)
    assert_equal(unmerge(got, index.cuda()), unmerge(y, index))


def test_an_index_out_of_range_is_an_index_error() -> None:
    x = torch.ones(3, 2, device="cuda")
    with pytest.raises(IndexError, match=r"index: got values from 0 to 5, takes \[0, 5\)"):
        segment_merge(x, torch.tensor([0, 5, 1], device="cuda"), 5)


@pytest.mark.parametrize("view", ["step", "transposed", "expanded", "offset"])
def test_any_strides(view: str) -> None:
    grid = FragmentGrid((32, 32), 8, 4)
    base = numbers((2, 4, 64, 64), torch.float32).cuda()
    x = {
        "step": base[..., ::2, ::2],
        "transposed": base.mT[..., :32, :32],
        "expanded": base[:, :1, :32, :32].expand(2, 4, 32, 32),
        "offset": base[..., 1:33, 3:35],
    }[view]
    fragments = extract(x, grid)
    assert_equal(fragments, extract(x.cpu(), grid))
    spread = torch.zeros(*fragments.shape[:-1], 16, device="cuda")[..., ::2]
    spread.copy_(fragments)
    assert_equal(merge(spread, grid), merge(fragments.cpu(), grid))


def test_out_is_written_and_returned() -> None:
    grid = FragmentGrid((40,), 8, 4)
    x = torch.randn(2, 3, 40, device="cuda")
    out = torch.empty(2, grid.n, 3, 8, device="cuda")
    assert extract(x, grid, out=out) is out
    back = torch.empty_like(x)
    assert merge(out, grid, out=back) is back
    torch.testing.assert_close(back, x, rtol=0, atol=0)


def test_work_waits_for_its_stream() -> None:
    grid = FragmentGrid((1 << 20,), 64, 32)
    side = torch.cuda.Stream()
    x = torch.zeros(4, 1, 1 << 20, device="cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        torch.cuda._sleep(100_000_000)
        x += 1
        merged = merge(extract(x, grid), grid)
        x += 1
    side.synchronize()
    assert bool((merged == 1).all())


def test_other_devices() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("one CUDA device")
    grid = FragmentGrid((40,), 8, 4)
    x = torch.randn(2, 3, 40, device="cuda:1")
    from tokfrag import _device

    with torch.cuda.device(0):
        _device._found.clear()
        fragments = extract(x, grid)
        assert torch.cuda.current_device() == 0
        assert torch.empty(1, device="cuda").device.index == 0
    assert fragments.device == x.device
    assert_equal(fragments, extract(x.cpu(), grid))


@pytest.mark.parametrize("dtype", FLOATS)
def test_more_than_256_windows_over_a_position(dtype: Any) -> None:
    grid = FragmentGrid((600,), 300, 1, edge="shift")
    fragments = torch.ones(1, grid.n, 1, 300, dtype=dtype, device="cuda")
    assert bool((merge(fragments, grid) == 1).all())


@pytest.mark.parametrize("dtype", FLOATS)
def test_merge_of_extract_is_exact(dtype: Any) -> None:
    grid = FragmentGrid((50, 60), 12, 5)
    x = torch.randn(2, 3, 50, 60, device="cuda").to(dtype)
    torch.testing.assert_close(merge(extract(x, grid), grid), x, rtol=0, atol=0)


def test_weights_that_sum_to_zero_are_refused() -> None:
    grid = FragmentGrid((8,), 4, 4)
    fragments = torch.ones(1, 2, 1, 4, device="cuda")
    with pytest.raises(ValueError, match="window: the weights of some positions"):
        merge(fragments, grid, window=np.array([[1.0, 0, 1, 1], [1, 1, 1, 1]]))


def test_uncovered_positions_and_empty_batches() -> None:
    with pytest.warns(UserWarning, match="leaves 2 of 10"):
        grid = FragmentGrid((10,), 4, 4, edge="drop")
    fragments = torch.ones(1, 2, 1, 4, device="cuda")
    assert merge(fragments, grid, fill_value=-3)[0, 0, 8:].tolist() == [-3, -3]
    assert extract(torch.ones(0, 1, 10, device="cuda"), grid).shape == (0, 2, 1, 4)
    assert merge(fragments[:0], grid).shape == (0, 1, 10)


@pytest.mark.parametrize("width", [1, 2])
def test_more_than_2_to_31_elements(width: int) -> None:
    dtype = torch.uint8 if width == 1 else torch.float16
    length = (1 << 31) + 3 * 64
    need = 3 * length * width
    if torch.cuda.mem_get_info()[0] < 1.2 * need + 4 * length:
        pytest.skip(f"needs {(1.2 * need + 4 * length) / 1e9:.0f} GB of free GPU memory")
    size = 3 * 11  # odd: elements go one at a time
    grid = FragmentGrid((length,), size, edge="pad")
    x = torch.arange(length, device="cuda", dtype=torch.int32)
    x = x.remainder_(251).to(dtype)[None, None]
    fragments = extract(x, grid)
    assert torch.equal(fragments.view(-1)[:length], x.view(-1))
    assert int(fragments.view(-1)[length:].count_nonzero()) == 0
    back = merge(fragments, grid)
    assert torch.equal(back, x)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_more_than_2_to_31_elements_along_two_axes(dtype: Any) -> None:
    shape, size = ((65536, 32800), (64, 41)) if dtype == torch.uint8 else ((65536, 32768), (64, 64))
    need = 4 * shape[0] * shape[1] * dtype.itemsize
    if torch.cuda.mem_get_info()[0] < need:
        pytest.skip(f"needs {need / 1e9:.0f} GB of free GPU memory")
    x = torch.randint(0, 251, (1, 1, *shape), device="cuda", dtype=torch.uint8).to(dtype)
    grid = FragmentGrid(shape, size)
    fragments = extract(x, grid)
    tiles = x.view(shape[0] // size[0], size[0], shape[1] // size[1], size[1])
    expected = tiles.permute(0, 2, 1, 3).contiguous()
    assert torch.equal(fragments.view(-1), expected.view(-1))
    del expected
    assert torch.equal(merge(fragments, grid), x)


def test_a_replayed_graph_reads_its_own_weights() -> None:
    """Also when 80 other merges have pushed them out of every cache."""
    grid = FragmentGrid((64, 64), 16, 8)
    x = torch.randn(2, 3, 64, 64, device="cuda")

    def step() -> Any:
        return merge(extract(x, grid), grid, window="gaussian")

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        expected = step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = step()
    cuda_weights.forget()
    for n in range(80):
        other = FragmentGrid((20 + n,), 4, 2)
        merge(torch.zeros(1, other.n, 1, 4, device="cuda"), other, window="hann")
    junk = [torch.full((288,), 1e9, device="cuda", dtype=torch.float64) for _ in range(500)]
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(y, expected)
    assert len(junk) == 500


def test_the_first_merge_of_a_kind_is_not_captured() -> None:
    grid = FragmentGrid((72,), 12, 6)
    fragments = torch.ones(1, grid.n, 1, 12, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with (
        pytest.raises(RuntimeError, match="captured after a first call"),
        torch.cuda.graph(graph),
    ):
        merge(fragments, grid, window="triangular")


def test_segments_are_captured() -> None:
    x = torch.randn(300, 8, device="cuda")
    index = torch.randint(0, 7, (300,), device="cuda")
    expected, _ = segment_merge(x, index, 7)
    back = unmerge(expected, index)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        unmerge(segment_merge(x, index, 7)[0], index)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y, _ = segment_merge(x, index, 7)
        again = unmerge(y, index)
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(y, expected)
    assert torch.equal(again, back)


def test_long_segments() -> None:
    """Shared out between threads: the bits of the CPU."""
    x = torch.randn(2, 20_000, 24)
    index = (torch.rand(2, 20_000) ** 4 * 9).long()
    expected, sums = segment_merge(x, index, 9)
    got, got_sums = segment_merge(x.cuda(), index.cuda(), 9)
    assert_equal(got, expected)
    assert_equal(got_sums, sums)


def test_an_index_that_is_not_validated_waits_for_nothing() -> None:
    x = torch.randn(300, 8, device="cuda")
    index = torch.randint(0, 7, (300,), device="cuda")
    expected, _ = segment_merge(x, index.clone(), 7)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        y, _ = segment_merge(x, index, 7, validate=False)
        back = unmerge(y, index, validate=False)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(y, expected)
    assert torch.equal(back, expected[index])
    index[0] = 7
    assert not unmerge(y, index, validate=False)[0].any()


def test_a_failure_of_an_earlier_kernel_is_told_as_such() -> None:
    code = (
        "import torch, tokfrag\n"
        "x, out = torch.ones(1, 1, 8, device='cuda'), torch.empty(1, 2, 1, 4, device='cuda')\n"
        "tokfrag.extract(x, size=4, out=out)\n"
        "torch._assert_async(torch.zeros((), device='cuda'))\n"
        "try:\n"
        "    for _ in range(10_000):\n"
        "        tokfrag.extract(x, size=4, out=out)\n"
        "except RuntimeError as error:\n"
        "    print(error)\n"
    )
    done = run_python(code, timeout=120)
    assert "an earlier kernel on this device failed, seen by extract" in done.stdout, done.stdout


def test_data_on_two_devices_are_refused() -> None:
    grid = FragmentGrid((16,), 4, 2)
    x = torch.ones(1, 1, 16, device="cuda")
    with pytest.raises(ValueError, match="out: got a tensor on cpu, takes x's device, cuda:0"):
        extract(x, grid, out=torch.empty(1, grid.n, 1, 4))
    with pytest.raises(ValueError, match="index: got device cpu, takes cuda:0"):
        segment_merge(x[0], torch.zeros(1, dtype=torch.long), 1)


def test_weights_made_on_one_stream_are_read_on_another() -> None:
    grid = FragmentGrid((1 << 16,), 64, 32)
    fragments = torch.ones(4, grid.n, 1, 64, device="cuda")
    cuda_weights.forget()
    first, second = torch.cuda.Stream(), torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(first):
        torch.cuda._sleep(50_000_000)
        merge(fragments, grid, window="hann")
    with torch.cuda.stream(second):
        torch.cuda._sleep(50_000_000)
        merged = merge(fragments, grid, window="hann")
    cuda_weights.forget()
    with torch.cuda.stream(first):
        junk = [torch.full((1 << 10,), 1e9, device="cuda") for _ in range(100)]
    torch.cuda.synchronize()
    torch.testing.assert_close(merged, torch.ones_like(merged))
    assert len(junk) == 100


def test_folded_gradients_of_a_long_axis() -> None:
    """Looked at window by window, this took seconds."""
    grid = FragmentGrid((1_000_010,), 256, 64, pad_mode="reflect")
    x = torch.randn(1, 1, 1_000_010, requires_grad=True)
    gradient = torch.randn(1, grid.n, 1, 256)
    (expected,) = torch.autograd.grad(extract(x, grid), x, gradient)
    moved = x.detach().cuda().requires_grad_()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    y = extract(moved, grid)
    torch.autograd.grad(y, moved, gradient.cuda(), retain_graph=True)
    begin.record()
    (got,) = torch.autograd.grad(y, moved, gradient.cuda())
    end.record()
    end.synchronize()
    assert_equal(got, expected)
    assert begin.elapsed_time(end) < 100


@pytest.mark.parametrize("shape", [((300,), 65), ((40, 40), 8), ((80, 90), 70)])
def test_features_by_a_warp_and_by_a_block(shape: Any) -> None:
    lengths, size = shape
    x = torch.randn(2, 2, *lengths)
    grid = FragmentGrid(lengths, size, 5)
    expected = fragment_features(x, grid, lags=range(1, 6))
    assert_equal(fragment_features(x.cuda(), grid, lags=range(1, 6)), expected, 1e-5)


def test_features_compile_into_one_graph() -> None:
    grid = FragmentGrid((40,), 8, 4)
    x = torch.randn(2, 3, 40, device="cuda")
    compiled = torch.compile(lambda x: fragment_features(x, grid) * 2, fullgraph=True)
    torch.testing.assert_close(compiled(x), fragment_features(x, grid) * 2)


def test_gradients() -> None:
    grid = FragmentGrid((6, 5), 3, 2, pad_mode="reflect")
    x = torch.randn(1, 2, 6, 5, dtype=torch.float64, device="cuda", requires_grad=True)
    torch.autograd.gradcheck(lambda x: extract(x, grid), x)
    torch.autograd.gradgradcheck(lambda x: extract(x, grid), x)
    fragments = extract(x, grid).detach().requires_grad_()
    for window, reduce in (("uniform", "sum"), ("gaussian", "mean"), ("hann", "sum")):
        torch.autograd.gradcheck(
            lambda f, window=window, reduce=reduce: merge(f, grid, window=window, reduce=reduce),
            fragments,
        )
    rows = torch.randn(7, 3, dtype=torch.float64, device="cuda", requires_grad=True)
    index = torch.tensor([0, 2, 2, 1, 0, 2, 2], device="cuda")
    weight = torch.rand(7, dtype=torch.float64, device="cuda", requires_grad=True)
    torch.autograd.gradcheck(lambda x, w: segment_merge(x, index, 3, weight=w)[0], (rows, weight))


def test_operators_keep_torchs_contract() -> None:
    x = torch.randn(2, 3, 10, device="cuda", requires_grad=True)
    extract(x, size=4)  # defines the operators
    spec = ((4,), (2,), (1,), "pad", "reflect")
    torch.library.opcheck(torch.ops.tokfrag.extract.default, (x, *spec, 0, False, 0))
    fragments = extract(x, size=4, stride=2, pad_mode="reflect").detach().requires_grad_()
    arguments = (fragments, (10,), *spec, "gaussian", [], "mean", False, 0, 0)
    torch.library.opcheck(torch.ops.tokfrag.merge.default, arguments)


def test_compiles_into_one_graph() -> None:
    def roundtrip(x: Any) -> Any:
        grid = FragmentGrid.of(x, 8, 4)
        return merge(extract(x, grid) * 2, grid, window="hann")

    x = torch.randn(2, 3, 40, device="cuda")
    compiled = torch.compile(roundtrip, fullgraph=True)
    torch.testing.assert_close(compiled(x), roundtrip(x))
