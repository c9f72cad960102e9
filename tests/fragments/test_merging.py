"""merge: equal to its twin, exact where it promises so, over every type, layout and window."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from support import run_python
from tokfrag import FragmentGrid, extract, merge, reference
from tokfrag._core import supported_isas
from tokfrag.fragments import UncoveredWarning
from tokfrag.fragments.shapes import merging_of

DTYPES = ["u1", "i1", "i2", "i4", "f2", "f4", "f8"]
PAD_MODES = ["constant", "reflect", "replicate", "circular"]


@st.composite
def grids(draw: st.DrawFn) -> FragmentGrid:
    rank = draw(st.integers(1, 3))
    longest = (12, 7, 4)[rank - 1]
    shape = draw(st.tuples(*[st.integers(0, longest)] * rank))
    options: dict[str, Any] = {
        "size": draw(st.tuples(*[st.integers(1, 4)] * rank)),
        "stride": draw(st.tuples(*[st.integers(1, 4)] * rank)),
        "dilation": draw(st.tuples(*[st.integers(1, 2)] * rank)),
        "edge": draw(st.sampled_from(["pad", "drop", "shift"])),
        "pad_mode": draw(st.sampled_from(PAD_MODES)),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UncoveredWarning)
        try:
            return FragmentGrid(shape, **options)
        except ValueError:
            return FragmentGrid(shape, **{**options, "edge": "pad"})


@st.composite
def windows(draw: st.DrawFn, grid: FragmentGrid) -> Any:
    kind = draw(st.sampled_from(["name", "vectors", "whole", "fragments", "scalars"]))
    if kind == "name":
        return draw(st.sampled_from(["uniform", "hann", "gaussian", "triangular"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    if kind == "vectors":
        return [rng.random(size) + 0.1 for size in grid.size]
    if kind == "scalars":
        return rng.random((grid.n, *(1,) * len(grid.size))) + 0.1
    shape = grid.size if kind == "whole" else (grid.n, *grid.size)
    return (rng.random(shape) + 0.1).astype(draw(st.sampled_from(["f4", "f8"])))


def values(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    numbers = rng.standard_normal(shape) * 10.0 ** rng.integers(-3, 4, shape)
    return numbers.astype(dtype)


def bits(x: np.ndarray) -> bytes:
    return np.ascontiguousarray(x).tobytes()


@given(st.data())
def test_twin(data: st.DataObject) -> None:
    grid = data.draw(grids())
    reduce = data.draw(st.sampled_from(["mean", "sum", "max", "min"]))
    window = "uniform" if reduce in ("max", "min") else data.draw(windows(grid))
    dtype = data.draw(st.sampled_from(DTYPES))
    channels_last = data.draw(st.booleans())
    batch, channels = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 3))
    inner = (*grid.size, channels) if channels_last else (channels, *grid.size)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    fragments = values(rng, (batch, grid.n, *inner), dtype)
    strided = data.draw(st.sampled_from(["no", "reversed", "transposed", "unaligned"]))
    if strided == "reversed":
        fragments = fragments[..., ::-1]
    elif strided == "transposed":
        fragments = np.asfortranarray(fragments)
    elif strided == "unaligned":
        memory = np.empty(fragments.nbytes + 1, np.uint8)
        shifted = memory[1:].view(dtype).reshape(fragments.shape)
        shifted[...] = fragments
        fragments = shifted
    options = {"window": window, "reduce": reduce, "channels_last": channels_last, "fill_value": 7}
    scalars = not isinstance(window, str) and not isinstance(window, list)
    expected = reference.merge(
        fragments,
        grid,
        **{**options, "window": np.broadcast_to(window, (grid.n, *grid.size))}
        if scalars and window.ndim > len(grid.size)
        else options,
    )
    got = merge(fragments, grid, **options, threads=data.draw(st.sampled_from([1, 2, None])))
    assert got.dtype == fragments.dtype
    assert got.shape == expected.shape
    if reduce in ("max", "min"):
        np.testing.assert_array_equal(got, expected)
    elif np.dtype(dtype).kind in "iu":
        # The twin has no rounding before the last; a tie may fall the other way.
        difference = np.abs(got.astype(np.int64) - expected.astype(np.int64))
        assert difference.max(initial=0) <= 1
    else:
        ulp = {"f2": 2.0**-10, "f4": 2.0**-23, "f8": 2.0**-50}[dtype]
        # Halves are summed in float32.
        scale = np.abs(fragments.astype(np.float64)).max(initial=0)
        scale *= 2.0**-23 if dtype == "f2" else 2.0**-50
        np.testing.assert_allclose(got, expected, rtol=ulp, atol=scale * max(fragments.size, 1))
    out = np.empty_like(got)
    assert merge(fragments, grid, **options, out=out, threads=1) is out
    assert bits(out) == bits(got)


@given(st.data())
def test_weighted_extract_twin(data: st.DataObject) -> None:
    grid = data.draw(grids())
    reduce = data.draw(st.sampled_from(["mean", "sum"]))
    window = data.draw(windows(grid))
    dtype = data.draw(st.sampled_from(["f2", "f4", "f8"]))
    channels_last = data.draw(st.booleans())
    batch, channels = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 3))
    shape = (batch, *grid.shape, channels) if channels_last else (batch, channels, *grid.shape)
    x = values(np.random.default_rng(data.draw(st.integers(0, 2**16))), shape, dtype)
    strided = data.draw(st.sampled_from(["no", "reversed", "transposed", "unaligned"]))
    if strided == "reversed":
        x = x[..., ::-1]
    elif strided == "transposed":
        x = np.asfortranarray(x)
    elif strided == "unaligned":
        shifted = np.empty(x.nbytes + 1, np.uint8)[1:].view(dtype).reshape(x.shape)
        shifted[...] = x
        x = shifted
    named = isinstance(window, (str, list))
    plain = (
        window
        if named or window.ndim == len(grid.size)
        else np.broadcast_to(window, (grid.n, *grid.size))
    )
    expected = reference.extract_weighted(
        x, grid, window=plain, reduce=reduce, channels_last=channels_last
    )
    merging = merging_of(grid, window, reduce, False, 0, x.dtype)
    plan, code = merging.plan, merging.code
    got = plan.extract(x, code, channels_last, data.draw(st.sampled_from([0, 1, 2])))
    assert got.dtype == x.dtype
    assert got.shape == expected.shape
    ulp = {"f2": 2.0**-10, "f4": 2.0**-23, "f8": 2.0**-50}[dtype]
    np.testing.assert_allclose(got, expected, rtol=ulp, atol=2.0**-24 if dtype == "f2" else 0)


finite = {
    "f2": st.integers(0, 0xFFFF),
    "f4": st.integers(0, 0xFFFFFFFF),
    "f8": st.integers(0, 0xFFFFFFFFFFFFFFFF),
}


@given(st.data(), grids(), st.sampled_from(["f2", "f4", "f8"]))
def test_mean_of_extract_is_exact(data: st.DataObject, grid: FragmentGrid, dtype: str) -> None:
    """Any finite values, subnormals and signed zeros among them, come back bit for bit."""
    count = int(np.prod(grid.shape))
    patterns = data.draw(st.lists(finite[dtype], min_size=count, max_size=count))
    numbers = np.array(patterns, dtype.replace("f", "u")).view(dtype)
    # Sums of float64 values overflow like any float64; the narrower types have room.
    limit = np.finfo(dtype).max / (1000 if dtype == "f8" else 1)
    x = np.where(np.abs(numbers) <= limit, numbers, numbers.dtype.type(-0.0))
    x = x.reshape(1, 1, *grid.shape)
    back = merge(extract(x, grid), grid, fill_value=3)
    covered = grid.coverage() > 0
    assert bits(back[0, 0][covered]) == bits(x[0, 0][covered])
    assert np.all(back[0, 0][~covered] == 3)
    ones = np.ones(grid.size)
    whole = merge(extract(x, grid), grid, window=ones, fill_value=3)
    if dtype != "f8":
        assert bits(whole) == bits(back)


@pytest.mark.parametrize("window", ["uniform", "hann", "gaussian", "triangular"])
@pytest.mark.parametrize("dtype", ["f2", "f4"])
def test_any_positive_window_keeps_equal_values(window: str, dtype: str) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 33, 40)).astype(dtype)
    grid = FragmentGrid((33, 40), 8, 3)
    np.testing.assert_array_equal(merge(extract(x, grid), grid, window=window), x)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("window", ["uniform", "gaussian"])
@pytest.mark.parametrize("stride", [1, 5, 16])
def test_signed_zeros_survive(dtype: str, window: str, stride: int) -> None:
    x = np.full((1, 2, 50, 70), -0.0, dtype)
    grid = FragmentGrid((50, 70), 16, stride)
    assert np.all(np.signbit(merge(extract(x, grid), grid, window=window)))


@given(grids(), st.integers(0, 2**16))
def test_sum_is_the_adjoint_of_extract(grid: FragmentGrid, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(-8, 8, (1, 2, *grid.shape)).astype(np.float64)
    y = rng.integers(-8, 8, (1, grid.n, 2, *grid.size)).astype(np.float64)
    assert np.sum(extract(x, grid) * y) == np.sum(x * merge(y, grid, reduce="sum"))


LARGE = r"""
import zlib
import numpy as np
from tokfrag import FragmentGrid, merge
from tokfrag.fragments.shapes import merging_of
rng = np.random.default_rng(0)
checksum = 0
for shape, size, stride, options in [
    ((2500,), 256, 64, {}),
    ((50, 130), 32, 16, {"edge": "shift"}),
    ((40, 50), 33, 7, {"pad_mode": "reflect"}),
    ((40, 50), 16, 16, {}),
    ((9, 20, 30), 8, 4, {}),
    ((20, 30), (3, 4), 1, {}),
    ((30, 40), 9, 4, {"dilation": 2}),
    ((100, 20), (32, 20), (16, 20), {}),
]:
    grid = FragmentGrid(shape, size, stride, **options)
    rank = len(shape)
    each = rng.random((grid.n, *grid.size)).astype("f4")
    lone = rng.random((grid.n, *(1,) * rank))
    for dtype in "f2", "f4", "f8", "u1", "i4":
        for channels_last in False, True:
            inner = (*grid.size, 3) if channels_last else (3, *grid.size)
            f = rng.standard_normal((2, grid.n, *inner)) * 60
            f = f.astype("i1").astype(dtype) if dtype == "u1" else f.astype(dtype)
            for window in "uniform", "gaussian", "hann", rng.random(grid.size), each, lone:
                for reduce in "mean", "sum", "max":
                    if reduce == "max" and not (isinstance(window, str) and window == "uniform"):
                        continue
                    for threads in 1, 2, 5:
                        out = merge(f, grid, window=window, reduce=reduce,
                                    channels_last=channels_last, threads=threads)
                        if threads == 1:
                            first = out
                        assert out.tobytes() == first.tobytes(), (shape, dtype, threads)
                    checksum = zlib.crc32(first.tobytes(), checksum)
                    if reduce == "max" or np.dtype(dtype).kind != "f":
                        continue
                    merging = merging_of(grid, window, reduce, False, 0, first.dtype)
                    plan, code = merging.plan, merging.code
                    cut = [plan.extract(first, code, channels_last, n) for n in (1, 2, 5)]
                    assert cut[0].tobytes() == cut[1].tobytes() == cut[2].tobytes()
                    checksum = zlib.crc32(cut[0].tobytes(), checksum)
print(checksum)
"""


def test_same_bits_on_every_path() -> None:
    sums = set()
    for isa in supported_isas():
        done = run_python(LARGE, timeout=240, TOKFRAG_ISA=isa)
        assert done.returncode == 0, done.stderr
        sums.add(done.stdout)
    assert len(sums) == 1


class TestTraps:
    """What peers get silently wrong."""

    @pytest.mark.parametrize("count", [255, 256, 257, 513])
    def test_more_windows_than_a_byte_counts(self, count: int) -> None:
        grid = FragmentGrid(2 * count - 1, count, 1)
        ones = np.ones((1, grid.n, 1, count), np.float32)
        assert grid.coverage().max() == count
        np.testing.assert_array_equal(merge(ones, grid), np.ones((1, 1, 2 * count - 1), "f4"))

    def test_half_sums(self) -> None:
        grid = FragmentGrid(2047, 1024, 1)  # the middle position lies in 1024 windows
        tenths = np.full((1, grid.n, 1, 1024), 0.1, np.float16)
        total = merge(tenths, grid, reduce="sum")
        assert total[0, 0, 1023] == np.float16(1024 * float(np.float16(0.1)))

    def test_bfloat16_sums_and_means(self) -> None:
        torch = pytest.importorskip("torch")
        grid = FragmentGrid(2047, 1024, 1)  # the middle position lies in 1024 windows
        tenths = torch.full((1, grid.n, 1, 1024), 0.1, dtype=torch.bfloat16)
        total = merge(tenths, grid, reduce="sum")
        exact = torch.tensor(1024 * float(tenths[0, 0, 0, 0])).to(torch.bfloat16)
        assert total[0, 0, 1023] == exact
        assert torch.equal(merge(tenths, grid), tenths[:, :1, 0, :1].expand(1, 1, 2047))

    @pytest.mark.parametrize(("size", "stride"), [(40, 20), (7, 3), (40, 40)])
    def test_bfloat16_sums_that_overflow_float32(self, size: int, stride: int) -> None:
        torch = pytest.importorskip("torch")
        x = torch.randn(1, 2, 60, 90).to(torch.bfloat16)
        x[..., ::7] = 3e38
        x[..., 5, 3] = float("inf")
        x[..., 6, 3] = float("nan")
        grid = FragmentGrid((60, 90), size, stride)
        for window in "uniform", "gaussian":
            back = merge(extract(x, grid), grid, window=window)
            torch.testing.assert_close(back, x, rtol=0, atol=0, equal_nan=True)

    @pytest.mark.parametrize("dtype", ["u1", "f2", "f4"])
    def test_means_of_a_constant(self, dtype: str) -> None:
        grid = FragmentGrid((32, 32, 32), 16, 4, edge="shift")
        value = 200 if dtype == "u1" else 0.7
        x = np.full((1, 1, 32, 32, 32), value, dtype)
        np.testing.assert_array_equal(merge(extract(x, grid), grid), x)
        np.testing.assert_array_equal(merge(extract(x, grid), grid, window="gaussian"), x)

    def test_shapes_that_do_not_divide(self) -> None:
        x = np.random.default_rng(0).random((1, 2, 100, 130)).astype(np.float32)
        for edge in "pad", "shift":
            grid = FragmentGrid((100, 130), 32, 16, edge=edge)
            np.testing.assert_array_equal(merge(extract(x, grid), grid), x)

    def test_windows_that_underflow(self) -> None:
        k = np.arange(64.0)
        tiny = np.exp(-0.5 * ((k - 31.5) / 1.0) ** 2)  # 1e-216 at the ends
        x = np.random.default_rng(0).random((1, 1, 100, 100)).astype(np.float32)
        grid = FragmentGrid((100, 100), 64, 16)
        back = merge(extract(x, grid), grid, window=[tiny, tiny])
        np.testing.assert_array_equal(back, x)
        back = merge(extract(x, grid), grid, window=[tiny * 1e-90, tiny])
        np.testing.assert_array_equal(back, x)

    def test_integers_round_to_even_and_saturate(self) -> None:
        grid = FragmentGrid(3, 2, 1)
        fragments = np.array([[[[1, 250]], [[251, 7]]]], np.uint8)
        assert merge(fragments, grid)[0, 0].tolist() == [1, 250, 7]  # 250.5 to even
        assert merge(fragments, grid, reduce="sum")[0, 0].tolist() == [1, 255, 7]


def test_infinities_and_nans() -> None:
    for dtype in np.float16, np.float32, np.float64:
        grid = FragmentGrid(3, 2, 1, edge="drop")
        f = np.array([[[[1, np.inf]], [[np.inf, np.nan]]]], dtype)
        assert merge(f, grid)[0, 0, :2].tolist() == [1, np.inf]
        assert np.isnan(merge(f, grid)[0, 0, 2])
        assert np.isnan(merge(f, grid, reduce="max")[0, 0, 2])
        both = np.array([[[[1, np.inf]], [[-np.inf, 0]]]], dtype)
        assert np.isnan(merge(both, grid)[0, 0, 1])


def test_fill_value_where_nothing_lies() -> None:
    grid = FragmentGrid((10, 10), 2, 4)
    out = merge(np.ones((1, grid.n, 1, 2, 2)), grid, fill_value=float("nan"))
    np.testing.assert_array_equal(np.isnan(out[0, 0]), grid.coverage() == 0)


def test_max_of_64_bit_integers_is_exact() -> None:
    grid = FragmentGrid(4, 2, 1, edge="drop")
    f = np.array([[[[2**62 + 1, 5]], [[2**62, -3]], [[-(2**63), 2**63 - 1]]]], np.int64)
    expected = reference.merge(f, grid, reduce="max")
    np.testing.assert_array_equal(merge(f, grid, reduce="max"), expected)
    flags = np.array([[[[True, False]], [[False, False]], [[False, True]]]])
    assert merge(flags, grid, reduce="max")[0, 0].tolist() == [True, False, False, True]


GRID = FragmentGrid((6, 6), 3, 3)
FRAGMENTS = np.zeros((1, 4, 1, 3, 3))


@pytest.mark.parametrize(
    ("error", "message", "fragments", "options"),
    [
        (ValueError, "fragments: got shape (1, 3, 1, 3, 3)", FRAGMENTS[:, :3], {}),
        (ValueError, "takes (batch, 4, channels, 3, 3)", FRAGMENTS[..., :2], {}),
        (ValueError, "takes (batch, 4, 3, 3, channels)", FRAGMENTS, {"channels_last": True}),
        (TypeError, "fragments: got list", [1], {}),
        (TypeError, "fragments: got int64", FRAGMENTS.astype("i8"), {}),
        (TypeError, "fragments: got bool", FRAGMENTS.astype("?"), {"reduce": "sum"}),
        (TypeError, "fragments: got complex128", FRAGMENTS.astype("c16"), {"reduce": "max"}),
        (TypeError, "fragments: got >c8", FRAGMENTS.astype(">c8"), {}),
        (ValueError, "reduce: got 'mode'", FRAGMENTS, {"reduce": "mode"}),
        (ValueError, "window: got 'kaiser'", FRAGMENTS, {"window": "kaiser"}),
        (ValueError, "window: got 1 vectors", FRAGMENTS, {"window": [np.ones(3)]}),
        (ValueError, "shape (2,) for axis 1", FRAGMENTS, {"window": [np.ones(3), np.ones(2)]}),
        (
            ValueError,
            "window: got an array of shape (3, 2)",
            FRAGMENTS,
            {"window": np.ones((3, 2))},
        ),
        (ValueError, "not a number", FRAGMENTS, {"window": np.full((3, 3), np.nan)}),
        (ValueError, "not a number", FRAGMENTS, {"window": [np.ones(3), np.full(3, np.inf)]}),
        (ValueError, "sum to zero", FRAGMENTS, {"window": np.zeros((3, 3))}),
        (ValueError, "sum to zero", FRAGMENTS, {"window": [np.ones(3), np.array([1.0, 0, 1])]}),
        (TypeError, "window: got dict", FRAGMENTS, {"window": {}}),
        (ValueError, "takes no weights", FRAGMENTS, {"window": "hann", "reduce": "max"}),
        (ValueError, "fill_value: got nan", FRAGMENTS.astype("u1"), {"fill_value": float("nan")}),
        (ValueError, "threads: got -1", FRAGMENTS, {"threads": -1}),
        (ValueError, "out: got shape", FRAGMENTS, {"out": np.zeros((1, 1, 6, 5))}),
        (TypeError, "out: got float32", FRAGMENTS, {"out": np.zeros((1, 1, 6, 6), "f4")}),
    ],
)
def test_refusals(
    error: type[Exception], message: str, fragments: Any, options: dict[str, Any]
) -> None:
    with pytest.raises(error) as refusal:
        merge(fragments, GRID, **options)
    assert message in str(refusal.value)


@pytest.mark.parametrize("stride", [16, 2])
def test_whole_weights_whose_sum_is_next_to_zero_are_refused(stride):
    grid = FragmentGrid((48,), 32, stride, edge="shift")
    window = np.ones(32)
    window[:2] = window[-2:] = 1e-310
    with pytest.raises(ValueError, match="window: the weights of some positions"):
        merge(np.ones((1, grid.n, 1, 32)), grid, window=window)


def test_out_over_the_window_is_refused():
    grid = FragmentGrid((64,), 32, 16)
    fragments = np.ones((1, grid.n, 1, 32))
    memory = np.ones(64)
    with pytest.raises(ValueError, match="out: shares memory with window"):
        merge(fragments, grid, window=memory[:32], out=memory.reshape(1, 1, 64))
    with pytest.raises(ValueError, match="out: shares memory with window"):
        merge(fragments, grid, window=memory[31::-1], out=memory.reshape(1, 1, 64))
    assert merge(fragments, grid, window=np.ones(32), out=memory.reshape(1, 1, 64))[0, 0, 5] == 1


def test_a_negative_zero_fills_as_one():
    with pytest.warns(UserWarning, match="leaves 2 of 6"):
        grid = FragmentGrid((6,), 2, 3, edge="drop")
    fragments = np.ones((1, grid.n, 1, 2))
    signs = [np.signbit(merge(fragments, grid, fill_value=v)[0, 0, 2]) for v in (0.0, -0.0, 0.0)]
    assert signs == [False, True, False]


def test_halves_that_underflow_beside_infinities_are_summed_again():
    grid = FragmentGrid((36,), 24, 12)
    window = np.full(24, 1e-50)
    window[12:] = 1
    fragments = np.ones((1, grid.n, 1, 24), np.float16)
    fragments[0, 1] = np.inf
    assert not np.isnan(merge(fragments, grid, window=[window])).any()


def test_integer_sums_of_infinities_that_meet_are_zero():
    grid = FragmentGrid((36,), 24, 12)
    window = np.full(24, 1e308)
    window[12:] = -1e308
    fragments = np.full((1, grid.n, 1, 24), 100, np.int32)
    assert (merge(fragments, grid, window=[window], reduce="sum")[0, 0, 12:24] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_lone_fragments_whose_numbers_lie_apart(dtype: str) -> None:
    grid = FragmentGrid((2,), 2, 1)
    fragments = np.asfortranarray(np.arange(4, dtype=dtype).reshape(1, 1, 2, 2))
    assert merge(fragments, grid).tolist() == [[[0, 1], [2, 3]]]


@pytest.mark.parametrize("of_each", [False, True])
def test_weights_need_not_be_aligned(of_each: bool) -> None:
    grid = FragmentGrid((40, 40), 8, 4)
    rng = np.random.default_rng(0)
    fragments = rng.standard_normal((2, grid.n, 3, 8, 8)).astype(np.float32)
    weights = rng.random((grid.n, 8, 8) if of_each else (8, 8)) + 0.1
    held = np.zeros(weights.nbytes + 1, np.uint8)
    odd = held[1:].view(np.float64).reshape(weights.shape)
    odd[...] = weights
    assert not odd.flags.aligned
    np.testing.assert_array_equal(
        merge(fragments, grid, window=odd), merge(fragments, grid, window=weights)
    )
