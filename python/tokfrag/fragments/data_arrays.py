"""xarray's DataArrays: their dimensions and coordinates on the way in and out.

xarray is never imported here: if the caller holds a DataArray, it is in ``sys.modules``. Names: a
dimension ``time`` of the data is ``in_time`` within a fragment; fragments themselves are numbered
along ``fragment``; ``first_time`` is where each of them begins.
"""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokfrag.fragments.grid import FragmentGrid, source_table

DataArray: TypeAlias = Any  # xarray's, which need not be there
FRAGMENT = "fragment"
FEATURE = "feature"
_WITHIN = "in_"
_FIRST = "first_"
#: The attribute of a coordinate that keeps its type where some of its labels are missing.
_OWN_TYPE = "unpadded_dtype"


def is_data_array(x: object) -> bool:
    """True for an xarray.DataArray; false, without importing xarray, where it never was."""
    xarray = sys.modules.get("xarray")
    return xarray is not None and isinstance(x, xarray.DataArray)


def numbers_of(x: Any) -> Any:
    """The numbers of a DataArray as an array or tensor, or as what they speak; all else as it is.

    Those that lie in a file are read.
    """
    if not is_data_array(x):
        return x
    return np.asarray(x.data) if x.chunks is not None else x.data


def sliced_numbers(x: DataArray) -> Any:
    """What slices into the numbers of a DataArray: those that lie in a file stay there."""
    if x.chunks is not None:
        return x.data
    return x.data if x.variable._in_memory else x.variable


def named_fragments(
    fragments: Any, x: DataArray, grid: FragmentGrid, *, channels_last: bool
) -> DataArray:
    """The fragments of `x` as a DataArray: ``(batch, fragment, channels, *in_space)``.

    Coordinates of batch and channels stay. A label along a space-time axis is one a position of
    each fragment, ``(fragment, in_time)``, and missing where that lies beyond the axis;
    ``first_time`` is the label, or the number, of each fragment's first position.
    """
    batch, channels, space = _parts(x.dims, channels_last)
    within = tuple(_WITHIN + str(dim) for dim in space)
    inner = (*within, channels) if channels_last else (channels, *within)
    added = _first_labels(x, grid, space)
    for axis, dim in enumerate(space):
        if dim in x.coords:
            place = (FRAGMENT, within[axis])
            added[dim] = _labels(x, grid, axis, dim, _positions(grid, axis), place)
    made = _named(fragments, x, (batch, FRAGMENT, *inner), space, added)
    return made.assign_attrs(x.attrs).rename(x.name)


def named_merged(
    merged: Any,
    fragments: DataArray,
    grid: FragmentGrid,
    chosen: NDArray[np.int64] | None,
    *,
    channels_last: bool,
) -> DataArray:
    """What fragments as `named_fragments` makes them merge to, with the labels they hold.

    Of windows `chosen` alone, or of all. Raises ValueError where labels are not the grid's.
    """
    batch, channels, within = _parts(fragments.dims[:1] + fragments.dims[2:], channels_last)
    space = tuple(str(dim).removeprefix(_WITHIN) for dim in within)
    dims = (batch, *space, channels) if channels_last else (batch, channels, *space)
    added = {}
    for axis, (dim, inside) in enumerate(zip(space, within, strict=True)):
        if dim in fragments.coords and fragments.coords[dim].dims == (FRAGMENT, inside):
            positions = _positions(grid, axis)
            at = positions if chosen is None else positions[chosen]
            labels = _merged_labels(fragments.coords[dim], at, grid.shape[axis])
            if labels is not None:
                added[dim] = ((dim,), *labels)
    gone = (fragments.dims[1], *within)
    made = _named(merged, fragments, dims, gone, added)
    return made.assign_attrs(fragments.attrs).rename(fragments.name)


def named_features(table: Any, x: DataArray, grid: FragmentGrid, columns: list[str]) -> DataArray:
    """Features of fragments of `x` as a DataArray: ``(batch, fragment, channels, feature)``."""
    batch, channels, space = _parts(x.dims, False)
    added = {**_first_labels(x, grid, space), FEATURE: ((FEATURE,), columns)}
    return _named(table, x, (batch, FRAGMENT, channels, FEATURE), space, added).rename(x.name)


def named_results(results: Any, x: DataArray) -> Any:
    """A model's results over the space-time of `x`, several in what holds them.

    Dimensions are those of `x`. Coordinates of axes that have another length are left out, as are
    those of the channels, which are the model's own. What a slab's reduction took axes from stays
    an array.
    """
    if isinstance(results, dict):
        return {name: named_results(result, x) for name, result in results.items()}
    if isinstance(results, (tuple, list)):
        return type(results)(named_results(result, x) for result in results)
    if results is None or len(results.shape) != len(x.dims):
        return results
    lengths = zip(x.dims, results.shape, strict=True)
    other = tuple(dim for dim, length in lengths if length != x.sizes[dim])
    return _named(results, x, x.dims, (x.dims[1], *other), {})


def _named(
    numbers: Any,
    x: DataArray,
    dims: tuple[Any, ...],
    gone: tuple[Any, ...],
    added: dict[Any, Any],
) -> DataArray:
    """A DataArray with the coordinates of `x` that lie along none of `gone`, and others."""
    if len(set(dims)) < len(dims):
        raise ValueError(f"x: got dimensions that make {dims}, takes others")
    kept = x.coords.to_dataset().drop_dims(gone, errors="ignore").coords
    return type(x)(numbers, kept, dims).assign_coords(added)


def _parts(dims: tuple[Any, ...], channels_last: bool) -> tuple[Any, Any, tuple[Any, ...]]:
    """Batch, channels and space-time of the dimensions of data."""
    if channels_last:
        return dims[0], dims[-1], tuple(dims[1:-1])
    return dims[0], dims[1], tuple(dims[2:])


def _positions(grid: FragmentGrid, axis: int) -> NDArray[np.int64]:
    """The positions of each fragment on an axis: (n, size)."""
    return grid.origins[:, axis, None] + np.arange(grid.size[axis]) * grid.dilation[axis]


def _first_labels(x: DataArray, grid: FragmentGrid, space: tuple[Any, ...]) -> dict[Any, Any]:
    """Where each fragment begins, an axis: a label if the axis has them, else a number."""
    return {
        _FIRST + str(dim): _labels(x, grid, axis, dim, grid.origins[:, axis], (FRAGMENT,))
        for axis, dim in enumerate(space)
    }


def _labels(
    x: DataArray,
    grid: FragmentGrid,
    axis: int,
    dim: Any,
    positions: NDArray[np.int64],
    dims: tuple[str, ...],
) -> Any:
    """The labels at positions on an axis, as a coordinate; their numbers if it has none."""
    if dim not in x.coords:
        return dims, positions
    labels, attrs = x.coords[dim].values, dict(x.coords[dim].attrs)
    if not positions.size:
        return dims, np.empty(positions.shape, labels.dtype), attrs
    # The table begins at the first position that windows reach.
    source = source_table(grid, axis)[positions + grid.padding[axis][0] - grid.offset[axis]]
    missing = source < 0
    if missing.any():
        attrs[_OWN_TYPE] = labels.dtype.str
        labels = _with_room_for_missing(labels)
    found = labels[np.where(missing, 0, source)]
    if missing.any():
        found[missing] = _missing(found.dtype)
    return dims, found, attrs


def _missing(dtype: np.dtype[Any]) -> Any:
    """What stands for a label that there is none of."""
    if dtype.hasobject:
        return None
    return np.array("NaT" if dtype.kind in "mM" else np.nan, dtype)


def _with_room_for_missing(labels: NDArray[Any]) -> NDArray[Any]:
    """The same in a type that can say of a label that it is missing."""
    if labels.dtype.kind in "fcmM":
        return labels
    exact = labels.dtype.kind in "iu" and (np.abs(labels.astype(object)) <= 2**53).all()
    return labels.astype(np.float64 if exact else object)


def _merged_labels(
    held: DataArray, positions: NDArray[np.int64], length: int
) -> tuple[NDArray[Any], dict[Any, Any]] | None:
    """The labels of an axis by those of fragments, with attributes; None if some are missing."""
    inside = (positions >= 0) & (positions < length)
    if len(np.unique(positions[inside])) < length:
        return None
    labels = held.values[inside]
    found = np.empty(length, labels.dtype)
    found[positions[inside]] = labels
    if not (found[positions[inside]] == labels).all():
        raise ValueError(
            f"fragments: got labels along {held.name!r} that differ where fragments overlap; "
            "takes them in the grid's order"
        )
    attrs = dict(held.attrs)
    own = attrs.pop(_OWN_TYPE, None)
    return (found.astype(own) if own else found), attrs
