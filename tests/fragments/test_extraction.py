"""extract: equal to its twin and to torch, over every type, layout, edge and code path."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, strategies as st

from support import run_python
from tokfrag import FragmentGrid, extract, reference
from tokfrag._core import supported_isas
from tokfrag.fragments import UncoveredWarning, release_workspace

DTYPES = ["?", "u1", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "c16", "<u2", ">f4", "m8[s]"]


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, FragmentGrid, bool]:
    """An array of any type and strides, a grid on it, and its layout."""
    rank = draw(st.integers(1, 4))
    longest = (14, 8, 5, 4)[rank - 1]
    shape = draw(st.tuples(*[st.integers(0, longest)] * rank))
    options = {
        "size": draw(st.tuples(*[st.integers(1, 4)] * rank)),
        "stride": draw(st.tuples(*[st.integers(1, 4)] * rank)),
        "dilation": draw(st.tuples(*[st.integers(1, 2)] * rank)),
        "edge": draw(st.sampled_from(["pad", "drop", "shift"])),
        "pad_mode": draw(st.sampled_from(["constant", "reflect", "replicate", "circular"])),
        "pad_value": draw(st.integers(0, 1)),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UncoveredWarning)
        try:
            grid = FragmentGrid(shape, **options)
        except ValueError:
            grid = FragmentGrid(shape, **{**options, "edge": "pad"})
    channels_last = draw(st.booleans())
    batch, channels = draw(st.integers(0, 2)), draw(st.integers(0, 3))
    full = (batch, *shape, channels) if channels_last else (batch, channels, *shape)
    return strided(draw, full, draw(st.sampled_from(DTYPES))), grid, channels_last


def strided(draw: st.DrawFn, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Random bytes seen through any order of axes, with gaps, reversed or repeated."""
    order = draw(st.permutations(range(len(shape))))
    steps = draw(st.tuples(*[st.sampled_from([-2, -1, 0, 1, 1, 2])] * len(shape)))
    base_shape = [max(shape[axis] * abs(steps[axis]), 1) for axis in order]
    count = int(np.prod(base_shape))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    if dtype == "?":
        base = rng.integers(0, 2, count).astype("?")
    else:
        base = np.frombuffer(rng.bytes(count * np.dtype(dtype).itemsize), dtype).copy()
    array = np.moveaxis(base.reshape(base_shape), range(len(shape)), order)
    for axis, (step, length) in enumerate(zip(steps, shape, strict=True)):
        if step == 0:
            array = np.repeat(array.take([0], axis), 1, axis)
            array = np.broadcast_to(array, (*array.shape[:axis], length, *array.shape[axis + 1 :]))
        else:
            array = array[(slice(None),) * axis + (slice(None, None, step),)]
            array = array[(slice(None),) * axis + (slice(0, length),)]
    assert array.shape == shape
    return array


def bits(x: np.ndarray) -> bytes:
    return np.ascontiguousarray(x).tobytes()


@given(cases(), st.sampled_from([None, 1, 2]))
def test_twin(case: tuple[np.ndarray, FragmentGrid, bool], threads: int | None) -> None:
    x, grid, channels_last = case
    expected = reference.extract(x, grid, channels_last=channels_last)
    got = extract(x, grid, channels_last=channels_last, threads=threads)
    assert got.dtype == x.dtype
    assert got.shape == expected.shape
    assert got.flags.c_contiguous
    assert bits(got) == bits(expected)
    out = np.full_like(got, 1)
    assert extract(x, grid, channels_last=channels_last, out=out, threads=threads) is out
    assert bits(out) == bits(expected)


@pytest.mark.parametrize("stride", [(16, 16), (8, 16), (5, 7)])
def test_matches_torch(stride: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    x = torch.randn(2, 3, 48, 64)
    grid = FragmentGrid((48, 64), 16, (16, 16))
    unfolded = x.unfold(2, 16, stride[0]).unfold(3, 16, stride[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UncoveredWarning)
        grid = FragmentGrid((48, 64), 16, stride, edge="drop")
    expected = unfolded.permute(0, 2, 3, 1, 4, 5).reshape(2, -1, 3, 16, 16)
    assert torch.equal(extract(x, grid), expected)


LARGE = r"""
import sys, zlib
import numpy as np
from tokfrag import FragmentGrid, extract
rng = np.random.default_rng(0)
checksum = 0
for shape, size, stride, dtype, options in [
    ((1 << 16,), 256, 64, "f4", {}),
    ((300, 500), 64, 32, "f4", {"edge": "shift"}),
    ((256, 256), 16, 16, "u1", {}),
    ((256, 256), (8, 32), (4, 24), "u1", {"edge": "shift"}),
    ((15, 64, 64), (4, 8, 16), (4, 8, 16), "u1", {}),
    ((40, 60, 70), 16, 8, "f8", {"pad_mode": "reflect"}),
    ((300, 500), 33, 17, "u1", {}),
    ((9, 31, 64, 65), (2, 8, 16, 16), (2, 4, 8, 8), "f2", {"pad_mode": "circular"}),
]:
    for channels_last in False, True:
        full = (1, *shape, 3) if channels_last else (1, 3, *shape)
        x = rng.integers(0, 100, full).astype(dtype)
        grid = FragmentGrid(shape, size, stride, **options)
        for threads in 1, 2, 5:
            f = extract(x, grid, channels_last=channels_last, threads=threads)
            checksum = zlib.crc32(f.tobytes(), checksum)
print(checksum)
"""


def test_same_bytes_on_every_path() -> None:
    """Large outputs, which go around the cache: every instruction set gives the same bytes."""
    sums = set()
    for isa in supported_isas():
        done = run_python(LARGE, timeout=240, TOKFRAG_ISA=isa)
        assert done.returncode == 0, done.stderr
        sums.add(done.stdout)
    assert len(sums) == 1


@pytest.mark.parametrize(
    ("shape", "size", "stride", "dtype", "options"),
    [
        ((1 << 15,), 256, 64, "f4", {}),
        ((300, 260), 64, 32, "f4", {"edge": "shift"}),
        ((256, 512), 16, 16, "u1", {}),
        ((256, 512), 16, (8, 4), "f2", {}),
        ((13, 128, 256), (2, 16, 16), (2, 16, 16), "u1", {}),
        ((512, 512), (12, 16), (4, 16), "u1", {"edge": "shift"}),
        ((70, 60, 80), 32, 16, "f4", {"pad_mode": "replicate"}),
    ],
)
@pytest.mark.parametrize("channels_last", [False, True])
def test_large_outputs(
    shape: tuple[int, ...], size: int, stride: int, dtype: str, options: dict, channels_last: bool
) -> None:
    """Beyond the size from which stores go around the cache."""
    x = np.random.default_rng(1).integers(0, 100, (3, 3, *shape)).astype(dtype)
    grid = FragmentGrid(shape, size, stride, **options)
    tail = [(0, p - n) for p, n in zip(grid.padded_shape, grid.shape, strict=True)]
    padded = np.pad(
        x, [(0, 0), (0, 0), *tail], mode="edge" if grid.pad_mode == "replicate" else "constant"
    )
    view = np.lib.stride_tricks.sliding_window_view(padded, grid.size, tuple(range(2, x.ndim)))
    index = np.ix_(*grid.starts)
    expected = np.stack([item[(slice(None), *index)] for item in view])
    expected = np.moveaxis(expected, 1, 1 + len(shape)).reshape(3, grid.n, 3, *grid.size)
    if channels_last:
        got = extract(np.ascontiguousarray(np.moveaxis(x, 1, -1)), grid, channels_last=True)
        got = np.moveaxis(got, -1, 2)
    else:
        got = extract(x, grid)
    np.testing.assert_array_equal(got, expected)


def test_size_instead_of_grid() -> None:
    x = np.arange(24.0).reshape(1, 1, 4, 6)
    grid = FragmentGrid((4, 6), 3, 2, edge="shift")
    got = extract(x, size=3, stride=2, edge="shift")
    np.testing.assert_array_equal(got, extract(x, grid))
    with pytest.warns(UncoveredWarning):
        extract(x, size=4, edge="drop")


def test_flatten_is_a_view() -> None:
    fragments = extract(np.zeros((2, 3, 8, 8)), size=4)
    assert np.shares_memory(fragments.reshape(-1, 3, 4, 4), fragments)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, "x: got shape (1, 1, 9)", lambda x, g: extract(x[..., :9], g)),
        (ValueError, "x: got shape (10,)", lambda x, g: extract(x[0, 0], g)),
        (TypeError, "x: got list", lambda x, g: extract([1, 2], g)),
        (TypeError, "masked", lambda x, g: extract(np.ma.masked_array(x), g)),
        (TypeError, "x: got type object", lambda x, g: extract(x.astype(object), g)),
        (TypeError, "x: got type", lambda x, g: extract(x.astype("S3"), g)),
        (TypeError, "neither a grid nor a size", lambda x, g: extract(x)),
        (TypeError, "both a grid and a size", lambda x, g: extract(x, g, size=3)),
        (TypeError, "grid: got tuple", lambda x, g: extract(x, (10,))),
        (ValueError, "threads: got 0", lambda x, g: extract(x, g, threads=0)),
        (TypeError, "threads: got 1.5", lambda x, g: extract(x, g, threads=1.5)),
        (ValueError, "out: got shape", lambda x, g: extract(x, g, out=np.empty((1, 4, 1, 2)))),
        (TypeError, "out: got int64", lambda x, g: extract(x, g, out=np.empty((1, 4, 1, 3), "i8"))),
        (TypeError, "out: got list", lambda x, g: extract(x, g, out=[])),
        (
            ValueError,
            "out: got a strided",
            lambda x, g: extract(x, g, out=np.empty((1, 4, 1, 6))[..., ::2]),
        ),
    ],
)
def test_refusals(error: type[Exception], message: str, call: object) -> None:
    with pytest.raises(error) as refusal:
        call(np.zeros((1, 1, 10)), FragmentGrid(10, 3))  # type: ignore[operator]
    assert message in str(refusal.value)


def test_refuses_read_only_and_overlapping_out() -> None:
    memory = np.zeros(40)
    x = memory[:10].reshape(1, 1, 10)
    grid = FragmentGrid(10, 3)
    with pytest.raises(ValueError, match="shares memory with x"):
        extract(x, grid, out=memory[5:17].reshape(1, 4, 1, 3))
    out = np.empty((1, 4, 1, 3))
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        extract(x, grid, out=out)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("u1", -1), ("u1", 256), ("i4", 0.5), ("?", 2), ("f4", 1j), ("i8", float("nan"))],
)
def test_refuses_a_pad_value_the_type_cannot_hold(dtype: str, value: complex) -> None:
    grid = FragmentGrid(10, 3, pad_value=value)
    with pytest.raises(ValueError, match="pad_value: got"):
        extract(np.zeros((1, 1, 10), dtype), grid)
    extract(np.zeros((1, 1, 9), dtype), FragmentGrid(9, 3, pad_value=value))  # pads nothing


def test_kept_memory_is_never_shared() -> None:
    """Large outputs may lie where earlier ones lay, but only once those are gone."""
    x = np.random.default_rng(0).random((1, 2, 600, 700))
    grid = FragmentGrid((600, 700), 64, 32)
    first = extract(x, grid)
    expected = first.copy()
    for _ in range(3):
        other = extract(-x, grid)
        assert not np.shares_memory(first, other)
        del other
    np.testing.assert_array_equal(first, expected)
    assert release_workspace() >= first.nbytes
    assert release_workspace() == 0
    np.testing.assert_array_equal(extract(x, grid), expected)


def test_refuses_outputs_beyond_64_bits() -> None:
    x = np.broadcast_to(np.zeros(1, np.uint8), (2**30, 2**30, 7))
    with pytest.raises(OverflowError, match="64 bits"):
        extract(x, FragmentGrid(7, 4, 1))
