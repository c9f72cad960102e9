"""Statistics of every fragment of a grid, without writing a fragment anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag.fragments.data_arrays import is_data_array, named_features, numbers_of
from tokfrag.fragments.engines import host
from tokfrag.fragments.extraction import extract
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.placing import placed
from tokfrag.fragments.series import (
    SeriesFeature,
    WindowNumber,
    c3,
    recipe,
    series_feature,
)
from tokfrag.fragments.shapes import FEATURES, Feature, check_feature_data, feature_table
from tokfrag.fragments.streams.cutting import cut_numbers

if TYPE_CHECKING:
    import torch

_SERIES_VALUES = 1 << 20  # of windows cut at once


def fragment_features(
    x: NDArray[Any] | torch.Tensor,
    grid: FragmentGrid,
    features: Sequence[Feature | str] = FEATURES,
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

    Grids of one axis take what `tokfrag.fragments.SERIES_FEATURES` names too, and more by tsfresh's
    names, with tsfresh's formulas: ``"skewness"``, ``"quantile__q_0.1"``,
    ``'linear_trend__attr_"slope"'``; of arrays and of CPU tensors without gradients. Moments,
    changes, trends, harmonics, crossings and autocorrelations come from sums that windows share,
    quantiles from blocks sorted once, counts and places from the windows; all in float64.

    A series is summed in blocks that overlapping fragments share, each about its own mean: offsets
    and drifts cost no accuracy (of int64 beyond 2**53, what a float64 drops is lost). Blocks of
    float32 and halves are summed in float32 and put together in float64: results are within 2e-7
    of exact ones, relative to the largest magnitude in the fragment. All else is float64. What the
    grid pads with counts as data. A NaN or an infinity spoils only the fragments that hold it. The
    result has the same bits for any number of threads. A torch tensor that asks for gradients is
    computed by torch, in its own dtype (halves in float32), from the materialised fragments.

    Parameters
    ----------
    x : (batch, channels, *space_time) array or tensor, or what speaks DLPack or ``__array__``
        bool, uint8, uint16, uint32, int8 to int64, float16, bfloat16, float32 or float64; any
        strides and byte order. An xarray.DataArray gives one, with the names of features along
        ``feature``.
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
    names = (features,) if isinstance(features, str) else tuple(features)
    if is_data_array(x):
        made = fragment_features(numbers_of(x), grid, names, lags=lags, axis=axis, threads=threads)
        columns = [column for name in names for column in _columns(name, lags)]
        return named_features(made, x, grid, columns)
    x = _arrays.from_protocols(x)
    _arrays.check_plain(x, "x")
    if any(name not in FEATURES and series_feature(name) is not None for name in names):
        return _with_series(x, grid, names, lags, axis, threads)
    if isinstance(grid, FragmentGrid) and grid.inner is not None:
        x = _arrays.kernel_array(x) if _arrays.is_tensor(x) else _arrays.kernel_array(np.asarray(x))
        check_feature_data(x, grid)
        reached, inner = placed(x, grid, channels_last=False), grid.inner
        return fragment_features(reached, inner, names, lags=lags, axis=axis, threads=threads)
    table = feature_table(grid, names, lags, axis)
    count = _arrays.thread_count(threads)
    if _arrays.is_tensor(x):
        from tokfrag.fragments.operators import features as operator

        return operator.features(x, table, count)
    x = _arrays.kernel_array(np.asarray(x))
    check_feature_data(x, grid)
    out = _arrays.empty_array(
        x.dtype if x.dtype.kind == "f" else np.float32,
        (x.shape[0], grid.n, x.shape[1], len(table.columns)),
    )
    host.features(x, table, out, count)
    return out


def _columns(name: str, lags: Sequence[int]) -> list[str]:
    """The columns of a feature."""
    return [f"{name}__lag_{lag}" for lag in lags] if name == "lag_corr" else [name]


def _with_series(
    x: Any,
    grid: FragmentGrid,
    names: tuple[str, ...],
    lags: Sequence[int],
    axis: int,
    threads: int | None,
) -> Any:
    """Columns of which some go by tsfresh's names: those from the windows, the others as ever."""
    own = tuple(name for name in names if name in FEATURES)
    known = {name: series_feature(name) for name in names if name not in FEATURES}
    wrong = [name for name, feature in known.items() if feature is None]
    if wrong or len(set(names)) < len(names):
        if wrong:
            feature_table(grid, wrong, lags, axis)  # refuses them
        raise ValueError(f"features: got {names}, takes each at most once")
    if not isinstance(grid, FragmentGrid) or len(grid.shape) != 1:
        raise ValueError(f"grid: got {grid}, takes one axis with features by tsfresh's names")
    tensors = _arrays.is_tensor(x)
    if tensors and (not x.is_cpu or x.requires_grad):
        raise TypeError(
            "x: got a tensor on a device or with a gradient, takes arrays and CPU tensors without "
            "one with features by tsfresh's names"
        )
    plain = fragment_features(x, grid, own, lags=lags, axis=axis, threads=threads)
    x = _arrays.kernel_array(x if tensors else np.asarray(x))
    check_feature_data(x, grid)
    bfloat16 = tensors and _arrays.dtype_name(x.dtype) == "bfloat16"
    array = (x.float() if bfloat16 else x).numpy(force=True) if tensors else x
    found = [feature for feature in known.values() if feature is not None]
    table = _series_table(array, grid, found, threads)
    per_name = {"lag_corr": len(lags) if "lag_corr" in own else 1}
    columns, at = [], {"own": 0, "series": 0}
    for name in names:
        source, kind = (plain, "own") if name in FEATURES else (table, "series")
        width = per_name.get(name, 1)
        columns.append(np.asarray(source[..., at[kind] : at[kind] + width], np.float64))
        at[kind] += width
    together = np.concatenate(columns, -1)
    if not tensors:
        with np.errstate(over="ignore"):  # what a half does not hold is infinite
            return together.astype(plain.dtype)
    import torch

    return torch.from_numpy(together).to(plain.dtype)


def _series_table(
    x: NDArray[Any], grid: FragmentGrid, features: list[SeriesFeature], threads: int | None
) -> NDArray[np.float64]:
    """Series features of all windows, (batch, n, channels, f)."""
    n = grid.size[0]
    recipes = [recipe(feature, n) for feature in features]
    needed = dict.fromkeys(number for made in recipes if made for number in made.numbers)
    found = dict(zip(needed, _numbers(x, grid, list(needed), threads), strict=True))
    wanted = {f.parameters["lag"] for f in features if f.base == "autocorrelation"}
    lags = tuple(sorted(lag for lag in wanted if lag < n))
    of_lags: dict[int, NDArray[np.float64]] = {}
    if lags:
        wide = x.astype(np.float64)
        known = fragment_features(wide, grid, ("lag_corr",), lags=lags, threads=threads)
        of_lags = dict(zip(lags, np.moveaxis(known, -1, 0), strict=True))
    table = np.empty((x.shape[0], grid.n, x.shape[1], len(features)))
    with np.errstate(all="ignore"):
        for k, (feature, made) in enumerate(zip(features, recipes, strict=True)):
            if made is None:
                _from_windows(x, grid, feature.parameters["lag"], table[..., k], threads)
                continue
            values = [found[number] for number in made.numbers]
            if feature.base == "autocorrelation" and feature.parameters["lag"] in of_lags:
                values.append(of_lags[feature.parameters["lag"]])
            table[..., k] = made.formula(*values)
    return table


def _numbers(
    x: NDArray[Any], grid: FragmentGrid, numbers: list[WindowNumber], threads: int | None
) -> NDArray[np.float64]:
    """These numbers of all windows, (numbers, batch, n, channels), by the kernel."""
    columns = [number.column for number in numbers]
    count = _arrays.thread_count(threads)
    if grid.inner is not None:
        x, grid = placed(x, grid, channels_last=False), grid.inner
    if grid.dilation == (1,):
        return np.moveaxis(host.window_numbers(x, grid, columns, count), -1, 0)
    windows = extract(x, grid, threads=threads)
    series = windows.reshape(-1, x.shape[1], *grid.size)
    table = host.window_numbers(series, FragmentGrid(grid.size, grid.size), columns, count)
    return np.moveaxis(table.reshape(x.shape[0], grid.n, x.shape[1], -1), -1, 0)


def _from_windows(
    x: NDArray[Any], grid: FragmentGrid, lag: int, out: NDArray[np.float64], threads: int | None
) -> None:
    """`c3` of all windows, some of them at a time."""
    batch, channels = x.shape[:2]
    table = np.empty((batch * grid.n, channels))
    step = max(1, _SERIES_VALUES // max(1, channels * grid.size[0]))
    for first in range(0, len(table), step):
        numbers = np.arange(first, min(first + step, len(table)))
        windows = np.empty((len(numbers), channels, *grid.size), x.dtype)
        cut_numbers(x, grid, numbers, windows, threads)
        table[numbers] = c3(windows.astype(np.float64), lag)
    out[...] = table.reshape(out.shape)
