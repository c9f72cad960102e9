"""What a call takes, checked once: shapes against the grid, one frozen value for all engines."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from operator import index as as_int
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag.fragments.arguments import space_time_shape
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.windows import (
    ALL_REDUCES,
    REDUCES,
    SUMMED,
    Reduce,
    Weights,
    Window,
    window_weights,
)

if TYPE_CHECKING:
    from tokfrag._core.fragments import GridPlan, WindowPlan

Feature: TypeAlias = Literal["mean", "std", "min", "max", "diff_energy", "lag_corr"]
FEATURES: tuple[Feature, ...] = ("mean", "std", "min", "max", "diff_energy", "lag_corr")
_ITEM_BYTES = (1, 2, 4, 8, 16)
#: What the kernels merge by, in their order: `REDUCES`, and what no gradient goes through.
HOST_REDUCES: tuple[Reduce, ...] = (*REDUCES, "min", "median", "vote")
_EXTREMES = ("max", "min")
_ORDERED = ("median", "vote")
_MOST_ORDERED = 64  # windows over a position, beyond which the kernels do not sort


class Cut(NamedTuple):
    """One extract, for data of one type on one grid; kept with the grid."""

    grid: FragmentGrid
    channels_last: bool
    pad: bytes  # the pad value as one number of the type
    plan: GridPlan


class Merging(NamedTuple):
    """One merge, for fragments of one type on one grid; that of a named window is kept with it."""

    grid: FragmentGrid
    window: Window
    reduce: Reduce
    channels_last: bool
    fill_value: complex
    weights: Weights
    wide: Any  # the type to merge in, where the kernels do not know the fragments'; or None
    plain: bool  # no weight is 0, and no other type is needed
    code: int  # of the type merged in
    fill: bytes  # the fill value as one number of it
    plan: Any  # the WindowPlan of the CPU's kernels; None where it was not asked for


class FeatureTable(NamedTuple):
    """One call of fragment_features: the columns of its result."""

    grid: FragmentGrid
    names: tuple[str, ...]
    columns: tuple[int, ...]  # the kernels' number for each
    lags: tuple[int, ...]
    axis: int
    pad_value: float


# extract


def check_data(x: Any, grid: FragmentGrid, channels_last: bool) -> tuple[int, ...]:
    """The shape of x's fragments; refuses data that does not lie on the grid."""
    shape = tuple(x.shape)  # slices and items of a torch.Size are slow
    if (
        not isinstance(grid, FragmentGrid)
        or len(shape) < 3
        or (shape[1:-1] if channels_last else shape[2:]) != grid.shape
    ):
        refuse_data(x, grid, channels_last)
    if channels_last:
        return (shape[0], grid.n, *grid.size, shape[-1])
    return (shape[0], grid.n, shape[1], *grid.size)


def cut_of(grid: FragmentGrid, channels_last: bool, dtype: Any) -> Cut:
    """The extract of data of `dtype`, made once for each."""
    kept: Cut | None = grid._cache.get((dtype, channels_last))
    if kept is None:
        if isinstance(dtype, np.dtype):
            _check_item(dtype)
        value = grid.pad_value if grid.padded_shape != grid.shape else 0
        pad = _arrays.number_bytes(value, dtype, "pad_value")
        kept = Cut(grid, bool(channels_last), pad, grid.plan)
        grid._cache[dtype, channels_last] = kept
    return kept


# merge


def check_fragments(
    fragments: Any, grid: FragmentGrid, channels_last: bool, count: int | None = None
) -> tuple[int, ...]:
    """The shape that fragments merge to; refuses what was not cut on the grid.

    `count`: how many windows there are fragments of, if not of all.
    """
    if not isinstance(grid, FragmentGrid):
        raise TypeError(f"grid: got {type(grid).__name__}, takes a FragmentGrid")
    shape = tuple(fragments.shape)
    if (
        len(shape) != len(grid.size) + 3
        or shape[1] != (grid.n if count is None else count)
        or (shape[2:-1] if channels_last else shape[3:]) != grid.size
    ):
        _refuse_fragments(shape, grid, channels_last, count)
    if channels_last:
        return (shape[0], *grid.shape, shape[-1])
    return (shape[0], shape[2], *grid.shape)


def merging_of(
    grid: FragmentGrid,
    window: Window,
    reduce: Reduce,
    channels_last: bool,
    fill_value: complex,
    dtype: Any,
    *,
    planned: bool = True,
) -> Merging:
    """The merge of fragments of `dtype`, made once for each named window.

    Not `planned`: for other kernels than the CPU's, whose tables are as long as the axes.
    """
    named = isinstance(window, str)
    # 0.0 and -0.0 are equal, but not one value; text takes long for a small call
    value = fill_value or (0 if fill_value.__class__ is int else str(fill_value))
    key = (window, reduce, channels_last, value, dtype, planned)
    if named:
        kept: Merging | None = grid._cache.get(key)
        if kept is not None:
            return kept
    _arrays.number_bytes(fill_value, dtype, "fill_value")  # the type can hold it
    wide = _arrays.wider(dtype)
    merged_in = dtype if wide is None else wide
    if reduce in _ORDERED:
        check_stacked(dtype, reduce, window)
    else:
        check_merged_dtype(dtype, merged_in, reduce)
    weights = window_weights(grid, window)
    check_kernel_reduce(window, reduce)
    made = Merging(
        grid,
        window,
        reduce,
        bool(channels_last),
        fill_value,
        weights,
        wide,
        wide is None and not weights.hold_zeros,
        _arrays.dtype_code(merged_in),
        _arrays.number_bytes(fill_value, merged_in, "fill_value"),
        window_plan(grid, weights, reduce) if planned else None,
    )
    if named and fill_value == fill_value:  # no two NaNs are one key
        grid._cache[key] = made
    return made


def is_ordered_apart(grid: FragmentGrid, reduce: str, dtype: Any) -> bool:
    """Whether a median or a vote is beyond the kernels: too many windows, votes of uint32."""
    if reduce not in _ORDERED:
        return False
    if reduce == "vote" and "float" in _arrays.dtype_name(_arrays.wider(dtype) or dtype):
        return True
    most: int | None = grid._cache.get("most windows")
    if most is None:
        most = prod(int(counts.max(initial=0)) for counts in grid.axis_coverage())
        grid._cache["most windows"] = most
    return most > _MOST_ORDERED


def check_merged_dtype(dtype: Any, merged_in: Any, reduce: str) -> None:
    """Refuse types that `reduce` does not merge; `merged_in` is the type that stands for it."""
    known = _arrays.dtype_code(merged_in) >= 0
    if not known or (reduce not in _EXTREMES and _arrays.dtype_name(merged_in) not in SUMMED):
        raise TypeError(
            f"fragments: got {_arrays.dtype_name(dtype)}, takes uint16, uint32, "
            f"{', '.join(SUMMED)}; with reduce='max' or 'min' int64 and bool too"
        )


def check_stacked(dtype: Any, reduce: str, window: Window) -> None:
    """Refuse types and weights that a merge by all values of a position does not take."""
    if reduce not in ALL_REDUCES:
        raise ValueError(f"reduce: got {reduce!r}, takes {', '.join(map(repr, ALL_REDUCES))}")
    uniform = isinstance(window, str) and window == "uniform"
    if reduce not in ("mean", "sum") and not uniform:
        raise ValueError(f"window: reduce={reduce!r} takes no weights, leave the window uniform")
    wide = _arrays.wider(dtype)
    merged_in = dtype if wide is None else wide
    check_merged_dtype(dtype, merged_in, "max" if reduce in ("min", "vote") else reduce)
    if reduce == "vote" and "float" in _arrays.dtype_name(dtype):
        raise TypeError(
            f"fragments: got {_arrays.dtype_name(dtype)}; reduce='vote' takes labels: integers or "
            "bool"
        )


def check_kernel_reduce(window: Window, reduce: str) -> None:
    """Refuse what no kernel of merge does."""
    if reduce not in HOST_REDUCES:
        raise ValueError(f"reduce: got {reduce!r}, takes {', '.join(map(repr, HOST_REDUCES))} here")
    uniform = isinstance(window, str) and window == "uniform"
    if reduce in _EXTREMES and not uniform:
        raise ValueError(f"window: reduce={reduce!r} takes no weights, leave the window uniform")


def weights_of_fragments(weights: Weights, grid: FragmentGrid) -> NDArray[np.float64] | None:
    """The array of weights, of shape (n,) where all of a fragment have the same."""
    array = weights.array
    if array is not None and weights.per_fragment and not any(array.strides[1:]):
        return np.ascontiguousarray(array.T[(0,) * len(grid.size)])
    return array


def window_plan(grid: FragmentGrid, weights: Weights, reduce: Reduce) -> WindowPlan:
    """A merge's weights as the CPU's kernels take them."""
    from tokfrag._core.fragments import WindowPlan

    array = weights_of_fragments(weights, grid)
    vectors, number = list(weights.vectors), HOST_REDUCES.index(reduce)
    return WindowPlan(grid.plan, number, vectors, array, weights.per_fragment)


# fragment_features


def feature_table(
    grid: FragmentGrid, features: Sequence[str], lags: Sequence[int], axis: int
) -> FeatureTable:
    """The arguments of fragment_features; raises if they do not fit the grid."""
    if not isinstance(grid, FragmentGrid):
        raise TypeError(f"grid: got {type(grid).__name__}, takes a FragmentGrid")
    names = (features,) if isinstance(features, str) else tuple(features)
    unknown = [name for name in names if name not in FEATURES]
    if unknown:
        raise ValueError(
            f"features: got {unknown[0]!r}, takes {', '.join(FEATURES)}, and names of tsfresh's"
        )
    if len(set(names)) < len(names):
        raise ValueError(f"features: got {names}, takes each at most once")
    rank = len(grid.shape)
    try:
        axis = as_int(axis)
        wanted = tuple(map(as_int, lags))
    except TypeError:
        raise TypeError(f"lags, axis: got {lags!r}, {axis!r}, takes integers") from None
    if not -rank <= axis < rank:
        raise ValueError(f"axis: got {axis}, takes {-rank} to {rank - 1} for a grid of rank {rank}")
    axis %= rank
    if "lag_corr" not in names:
        wanted = ()
    elif not wanted:
        raise ValueError("lags: got none, takes at least one for 'lag_corr'")
    elif not all(1 <= lag < grid.size[axis] for lag in wanted):
        size = grid.size[axis]
        raise ValueError(f"lags: got {wanted}, takes 1 to {size - 1} for windows of {size}")
    if isinstance(grid.pad_value, complex):
        raise TypeError(f"grid: got pad_value {grid.pad_value}, takes a real one")
    columns = tuple(
        FEATURES.index(name)
        for name in names
        for _ in range(len(wanted) if name == "lag_corr" else 1)
    )
    return FeatureTable(grid, names, columns, wanted, axis, float(grid.pad_value))


def check_feature_data(x: Any, grid: FragmentGrid) -> None:
    """Refuse data that fragment_features does not take, or that does not lie on the grid."""
    if _arrays.dtype_code(x.dtype) < 0:
        raise TypeError(
            f"x: got {_arrays.dtype_name(x.dtype)}, takes bool, uint8, uint16, uint32, int8 to "
            "int64, float16, bfloat16, float32, float64"
        )
    shape = tuple(x.shape)
    if len(shape) != 2 + len(grid.shape) or shape[2:] != grid.shape:
        raise ValueError(
            f"x: got shape {shape}, takes (batch, channels) + {grid.shape}, the grid's"
        )


# segment_merge, unmerge


def check_segments(
    x: tuple[int, ...],
    index: tuple[int, ...],
    weight: tuple[int, ...] | None,
    x_name: str,
    rows: bool,
) -> None:
    """Raise ValueError unless the shapes go together; `rows`: `x` has a row for each index."""
    if len(index) not in (1, 2):
        raise ValueError(f"index: got shape {index}, takes (m,) or (batch, m)")
    lead = index if rows else index[:-1]
    if len(x) < len(index) or x[: len(lead)] != lead:
        wanted = f"{index} + features" if rows else f"{index[:-1]} + (n,) + features"
        raise ValueError(f"{x_name}: got shape {x}, takes {wanted} with an index of shape {index}")
    if weight is not None and weight != index:
        raise ValueError(f"weight: got shape {weight}, takes that of index, {index}")


# Refusals


def _check_item(dtype: np.dtype[Any]) -> None:
    plain = not dtype.hasobject and dtype.names is None and dtype.subdtype is None
    if not plain or dtype.itemsize not in _ITEM_BYTES or dtype.kind in "SU":
        raise TypeError(f"x: got type {dtype}, takes numbers of 1, 2, 4, 8 or 16 bytes")


def refuse_data(x: Any, grid: object, channels_last: bool) -> NoReturn:
    """Says why `x` is not data on the grid, or that it is none."""
    if not isinstance(grid, FragmentGrid):
        raise TypeError(f"grid: got {type(grid).__name__}, takes a FragmentGrid")
    got = space_time_shape(x.shape, channels_last)
    layout = "(batch, *space_time, channels)" if channels_last else "(batch, channels, *space_time)"
    raise ValueError(
        f"x: got shape {tuple(x.shape)}, whose space-time axes are {got} as {layout}; "
        f"takes the grid's, {grid.shape}"
    )


def _refuse_fragments(
    shape: tuple[int, ...], grid: FragmentGrid, channels_last: bool, count: int | None
) -> NoReturn:
    n = grid.n if count is None else count
    on = "on this grid" if count is None else f"with {count} windows chosen"
    size = ", ".join(map(str, grid.size))
    takes = (
        f"(batch, {n}, {size}, channels)" if channels_last else f"(batch, {n}, channels, {size})"
    )
    raise ValueError(f"fragments: got shape {shape}, takes {takes} {on}")
