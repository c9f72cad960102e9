"""Statistics of every fragment of a grid, without writing a fragment anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index as as_int
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag._core import features as _native
from tokfrag.fragments.grid import FragmentGrid

if TYPE_CHECKING:
    import torch

Feature: TypeAlias = Literal["mean", "std", "min", "max", "diff_energy", "lag_corr"]
FEATURES: tuple[Feature, ...] = ("mean", "std", "min", "max", "diff_energy", "lag_corr")


def fragment_features(
    x: NDArray[Any] | torch.Tensor,
    grid: FragmentGrid,
    features: Sequence[Feature] = FEATURES,
    *,
    lags: Sequence[int] = (1,),
    axis: int = 0,
    threads: int | None = None,
) -> Any:
    """Compute statistics of all fragments of ``grid`` in one pass over ``x``.

    With ``y`` the ``W`` values of one channel of a fragment, ``m`` their mean and ``t`` their index
    along ``axis``:

    - ``mean``: ``m``
    - ``std``: ``sqrt(sum((y - m)**2) / W)``
    - ``min``, ``max``: NaN if the fragment holds one
    - ``diff_energy``: mean of ``(y[t + 1] - y[t])**2`` over the pairs in the fragment; 0 if none
    - ``lag_corr``: for each lag ``l``, ``sum((y[t] - m) * (y[t + l] - m)) / sum((y - m)**2)``, the
      usual (biased) autocorrelation; 0 if the fragment is constant

    Sums are shared by overlapping fragments and kept in float64, relative to a local median: a
    large offset costs no accuracy (of int64 beyond 2**53, what a float64 drops is lost). What the
    grid pads with counts as data. A NaN or an infinity spoils only the fragments that hold it. The
    result has the same bits for any number of threads. A torch tensor that asks for gradients is
    computed by torch, in its own dtype (halves in float32), from the materialised fragments.

    Parameters
    ----------
    x : (batch, channels, *space_time)
        bool, uint8, int8 to int64, float16, bfloat16, float32 or float64; any strides.
    grid : FragmentGrid
        Over the shape ``x.shape[2:]``.
    features : sequence of str
        The columns, in order; each at most once.
    lags : sequence of int
        For ``lag_corr``: steps within a fragment, from 1 to less than its size along ``axis``.
    axis : int
        The grid's axis (0 is the first after the channels) along which differences and lags run.
    threads : int, optional
        At most so many threads; one per processor if not given.

    Returns
    -------
    (batch, n, channels, f)
        Of ``x``'s dtype if that is floating, else float32; ``f`` counts every lag.

    Raises
    ------
    ValueError, TypeError
        An argument that does not fit; the message names it.

    Examples
    --------
    >>> x = np.array([[[1.0, 2.0, 4.0, 4.0]]])
    >>> fragment_features(x, FragmentGrid((4,), size=2), ("mean", "diff_energy")).tolist()
    [[[[1.5, 1.0]], [[4.0, 0.0]]]]
    """
    names, lags, axis = check_features(grid, features, lags, axis)
    count = _arrays.thread_count(threads)
    if _arrays.is_tensor(x):
        from tokfrag.fragments.operators import features as ops

        return ops.features(x, grid, names, lags, axis, count)
    x = np.asarray(x)
    if _arrays.dtype_code(x.dtype) < 0:
        raise TypeError(f"x: got dtype {x.dtype}, takes bool, integers up to 64 bits, or floats")
    check_shape(tuple(x.shape), grid)
    x = np.require(x, requirements=["ALIGNED"])
    columns = column_codes(names, lags)
    out = _arrays.empty_array(
        x.dtype if x.dtype.kind == "f" else np.float32,
        (x.shape[0], grid.n, x.shape[1], len(columns)),
    )
    run_features(x, x.strides, grid, columns, lags, axis, out, count)
    return out


def check_features(
    grid: FragmentGrid, features: Sequence[str], lags: Sequence[int], axis: int
) -> tuple[tuple[str, ...], tuple[int, ...], int]:
    """The arguments as tuples and a non-negative axis; raises if they do not fit the grid."""
    if not isinstance(grid, FragmentGrid):
        raise TypeError(f"grid: got {type(grid).__name__}, takes a FragmentGrid")
    names = (features,) if isinstance(features, str) else tuple(features)
    unknown = [name for name in names if name not in FEATURES]
    if unknown:
        raise ValueError(f"features: got {unknown[0]!r}, takes {', '.join(FEATURES)}")
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
    if "lag_corr" in names:
        size = grid.size[axis]
        if not wanted:
            raise ValueError("lags: got none, takes at least one for 'lag_corr'")
        if not all(1 <= lag < size for lag in wanted):
            raise ValueError(f"lags: got {wanted}, takes 1 to {size - 1} for windows of {size}")
    return names, wanted if "lag_corr" in names else (), axis


def check_shape(shape: tuple[int, ...], grid: FragmentGrid) -> None:
    """Raise ValueError unless ``shape`` is (batch, channels, *grid.shape)."""
    if len(shape) != 2 + len(grid.shape) or shape[2:] != grid.shape:
        raise ValueError(
            f"x: got shape {shape}, takes (batch, channels) + {grid.shape}, the grid's"
        )


def column_codes(names: Sequence[str], lags: Sequence[int]) -> list[int]:
    """The kernel's number for each column of the result."""
    columns: list[int] = []
    for name in names:
        repeat = len(lags) if name == "lag_corr" else 1
        columns += [FEATURES.index(name)] * repeat
    return columns


def run_features(
    x: Any,
    strides: Sequence[int],
    grid: FragmentGrid,
    columns: Sequence[int],
    lags: Sequence[int],
    axis: int,
    out: Any,
    threads: int,
) -> None:
    """Call the kernel on a checked array or CPU tensor; ``strides`` are in bytes."""
    if 0 in x.shape or grid.n == 0:
        return
    axes = [
        (
            grid.shape[a],
            grid.size[a],
            grid.dilation[a],
            strides[2 + a],
            grid.starts[a],
            source_table(grid, a),
        )
        for a in range(len(grid.shape))
    ]
    _native.fragment_features(
        _arrays.dtype_code(x.dtype),
        _arrays.dtype_code(out.dtype),
        _address(x),
        x.shape[0],
        x.shape[1],
        strides[0],
        strides[1],
        axes,
        axis,
        real_pad_value(grid),
        columns,
        lags,
        _address(out),
        threads,
    )


def real_pad_value(grid: FragmentGrid) -> float:
    """The grid's pad value as a float; raises TypeError if it is complex."""
    if isinstance(grid.pad_value, complex):
        raise TypeError(f"grid: got pad_value {grid.pad_value}, takes a real one")
    return float(grid.pad_value)


def source_table(grid: FragmentGrid, axis: int) -> NDArray[np.int64]:
    """For each padded position of an axis, the position it is read from; -1 for the pad value."""
    length = grid.shape[axis]
    position = np.arange(grid.padded_shape[axis], dtype=np.int64)
    if len(position) == length:
        return position
    if grid.pad_mode == "constant":
        return np.where(position < length, position, -1)
    if grid.pad_mode == "replicate":
        return np.minimum(position, length - 1)
    if grid.pad_mode == "circular":
        return position % length
    period = max(2 * (length - 1), 1)
    folded = position % period
    return np.minimum(folded, period - folded) if length > 1 else np.zeros_like(position)


def _address(array: Any) -> int:
    if isinstance(array, np.ndarray):
        return int(array.__array_interface__["data"][0])
    return int(array.data_ptr())
