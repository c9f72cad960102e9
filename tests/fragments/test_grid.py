"""Grids: starts, counts, coverage, edges, and what bad arguments get."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag.fragments import FragmentGrid, UncoveredWarning
from tokfrag.reference import grid as reference

axes = st.tuples(st.integers(0, 12), st.integers(1, 6), st.integers(1, 7), st.integers(1, 3))
edges = st.sampled_from(["pad", "drop", "shift"])


def make(columns: list[tuple[int, int, int, int]], edge: str) -> FragmentGrid | None:
    """The grid, or None where a window is longer than its axis."""
    shape, size, stride, dilation = zip(*columns, strict=True)
    if edge != "pad" and any(0 < n < d * (w - 1) + 1 for n, w, _, d in columns):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UncoveredWarning)
        return FragmentGrid(shape, size, stride, edge=edge, dilation=dilation)


@given(st.lists(axes, min_size=1, max_size=2), edges)
def test_twin(columns: list[tuple[int, int, int, int]], edge: str) -> None:
    grid = make(columns, edge)
    if grid is None:
        return
    windows = list(reference.windows(grid))
    assert grid.n == len(windows)
    assert [tuple(origin) for origin in grid.origins] == [start for _, start in windows]
    coverage = reference.coverage(grid)
    np.testing.assert_array_equal(grid.coverage(), coverage)
    assert grid.uncovered == np.count_nonzero(coverage == 0)


@given(axes, edges)
def test_edges(column: tuple[int, int, int, int], edge: str) -> None:
    grid = make([column], edge)
    if grid is None:
        return
    length, size, stride, dilation = column
    extent = dilation * (size - 1) + 1
    starts = grid.starts[0]
    assert np.all(starts < length)
    if edge != "pad":
        assert np.all(starts + extent <= length)
        assert grid.padded_shape == grid.shape
    elif starts.size:
        assert grid.padded_shape == (max(length, starts[-1] + extent),)
    if edge != "drop" and stride <= size and dilation == 1:
        assert grid.uncovered == 0


@pytest.mark.parametrize("length", [1, 2, 5])
@pytest.mark.parametrize(
    ("pad_mode", "numpy_mode"),
    [("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")],
)
def test_padding_is_numpys_at_any_distance(length: int, pad_mode: str, numpy_mode: str) -> None:
    padded = np.pad(np.arange(length), (0, 3 * length + 4), mode=numpy_mode)
    got = [reference.source_position(length, pad_mode, p) for p in range(padded.size)]
    assert got == padded.tolist()


def test_per_axis_arguments() -> None:
    grid = FragmentGrid((10, 20), (3, 4), 2, dilation=(1, 2))
    assert (grid.size, grid.stride, grid.dilation) == ((3, 4), (2, 2), (1, 2))
    assert FragmentGrid((8, 8), 4).stride == (4, 4)
    assert FragmentGrid(np.int64(9), np.int32(3)).counts == (3,)


def test_of_reads_the_shape() -> None:
    x = np.zeros((2, 3, 16, 24))
    assert FragmentGrid.of(x, 8).shape == (16, 24)
    assert FragmentGrid.of(x, 3, channels_last=True).shape == (3, 16)
    with pytest.raises(ValueError, match=r"x: got shape \(2, 3\)"):
        FragmentGrid.of(np.zeros((2, 3)), 8)


def test_values() -> None:
    grid = FragmentGrid((10, 7), 3, 2, pad_mode="constant", pad_value=float("nan"))
    again = FragmentGrid((10, 7), (3, 3), (2, 2), pad_value=float("nan"))
    assert grid == again
    assert hash(grid) == hash(again)
    assert grid != FragmentGrid((10, 7), 3, 2)
    assert grid != "a grid"
    assert pickle.loads(pickle.dumps(grid)) == grid
    assert eval(repr(FragmentGrid((10,), 3, edge="shift"))) == FragmentGrid((10,), 3, edge="shift")
    with pytest.raises(AttributeError, match="immutable"):
        grid.shape = (1, 1)  # type: ignore[misc]
    with pytest.raises(AttributeError, match="immutable"):
        del grid.shape


def test_drop_warns_of_losses_once() -> None:
    with pytest.warns(UncoveredWarning, match="leaves 2 of 8 positions"):
        grid = FragmentGrid((8,), 3, edge="drop")
    assert grid.uncovered == 2
    pickle.loads(pickle.dumps(grid))
    FragmentGrid((9,), 3, edge="drop")


def test_huge_axes_need_no_memory() -> None:
    grid = FragmentGrid((2**40,), 2**10, 2**9)
    assert grid.n == 2**31 - 1
    assert grid.uncovered == 0


@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (ValueError, "shape: got 5 space-time axes", ((2,) * 5, 1), {}),
        (TypeError, "shape: got ()", ((), 1), {}),
        (ValueError, "shape: got", ((-1,), 1), {}),
        (TypeError, "shape: got", ((1.5,), 1), {}),
        (TypeError, "shape: got", (("8",), 1), {}),
        (ValueError, "size: got 0", ((8,), 0), {}),
        (ValueError, "size: got 3 values", ((8, 8), (1, 2, 3)), {}),
        (TypeError, "size: got True", ((8,), True), {}),
        (TypeError, "size: got None", ((8,), None), {}),
        (ValueError, "stride: got 0", ((8,), 2, 0), {}),
        (ValueError, "stride: got -1", ((8,), 2, -1), {}),
        (TypeError, "stride: got 1.5", ((8,), 2, 1.5), {}),
        (ValueError, "dilation: got 0", ((8,), 2), {"dilation": 0}),
        (ValueError, "edge: got 'crop'", ((8,), 2), {"edge": "crop"}),
        (ValueError, "pad_mode: got 'zeros'", ((8,), 2), {"pad_mode": "zeros"}),
        (TypeError, "pad_value: got str", ((8,), 2), {"pad_value": "0"}),
        (ValueError, "size: a window reaches over 9", ((8,), 9), {"edge": "drop"}),
        (ValueError, "size: a window reaches over 9", ((8,), 5), {"edge": "shift", "dilation": 2}),
        (ValueError, "than 64 bits count", ((2**40, 2**40), 1), {}),
        (ValueError, "size: got", ((8,), 2**63), {}),
    ],
)
def test_refusals(
    error: type[Exception], message: str, arguments: tuple[object, ...], options: dict[str, object]
) -> None:
    with pytest.raises(error) as refusal:
        FragmentGrid(*arguments, **options)  # type: ignore[arg-type]
    assert message in str(refusal.value)
