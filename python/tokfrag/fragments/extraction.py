"""Cutting arrays into fragments."""

from __future__ import annotations

from typing import Any, NoReturn, cast

import numpy as np

from tokfrag import _arrays
from tokfrag._arrays import ArrayT
from tokfrag.fragments.grid import Edge, FragmentGrid, PadMode, PerAxis, space_time_shape

_ITEM_BYTES = (1, 2, 4, 8, 16)


def extract(
    x: ArrayT,
    grid: FragmentGrid | None = None,
    *,
    size: PerAxis | None = None,
    stride: PerAxis | None = None,
    edge: Edge = "pad",
    pad_mode: PadMode = "constant",
    pad_value: bool | int | float | complex = 0,
    dilation: PerAxis = 1,
    channels_last: bool = False,
    out: ArrayT | None = None,
    threads: int | None = None,
) -> ArrayT:
    """The fragments of `x`, one copy each.

    ``fragments[b, i, c, k] = x[b, c, start(i) + dilation * k]``, every space-time axis alike; what
    lies beyond an axis comes from the grid's pad mode.

    Parameters
    ----------
    x : ``(batch, channels, *space_time)``, or ``(batch, *space_time, channels)`` with
        `channels_last`; a NumPy array or a tensor, of any numeric type and any strides
    grid : a `FragmentGrid` over the space-time axes; or none, and `size`, `stride`, `edge`,
        `pad_mode`, `pad_value`, `dilation` as it takes them
    out : a contiguous array for the result, of the result's shape and type, apart from `x`
    threads : how many to use at most; by default all that the process may use

    Returns
    -------
    ``(batch, n, channels, *size)``, or ``(batch, n, *size, channels)``; the kind, type and device
    of `x`. ``flatten(0, 1)`` is a view that a model takes. Differentiable: its backward is
    ``merge(..., reduce="sum")``.

    Raises
    ------
    ValueError : a shape that is not the grid's; a pad value the type cannot hold; a wrong `out`
    TypeError : not an array; a type without numbers in it; both `grid` and `size`, or neither

    Examples
    --------
    >>> import numpy as np
    >>> from tokfrag import extract
    >>> extract(np.arange(7)[None, None], size=3, stride=2)[0, :, 0].tolist()
    [[0, 1, 2], [2, 3, 4], [4, 5, 6]]
    """
    if type(x) is not np.ndarray:
        _arrays.check_array(x, "x")
    if grid is None or size is not None:
        if grid is not None or size is None:
            _refuse_arguments(grid)
        grid = FragmentGrid.of(
            x,
            size,
            stride,
            channels_last=channels_last,
            edge=edge,
            pad_mode=pad_mode,
            pad_value=pad_value,
            dilation=dilation,
        )
    if not isinstance(x, np.ndarray):
        from tokfrag.fragments.operators import extract_merge as _torch_ops

        count = 0 if threads is None else _arrays.thread_count(threads)
        return _torch_ops.extract(x, grid, channels_last, out, count)
    check_shape(x, grid, channels_last)
    pad = grid._cache.get(x.dtype)
    if pad is None:
        pad = pad_bytes(grid, x.dtype)
    if out is not None:
        _arrays.check_out(out, x, "x", fragments_shape(x, grid, channels_last))
    count = 0 if threads is None else _arrays.thread_count(threads)
    return (grid._plan or grid.plan).extract(x, channels_last, pad, out, count)


def pad_bytes(grid: FragmentGrid, dtype: Any) -> bytes:
    """The grid's pad value as one number of `dtype`, kept with the grid."""
    pad: bytes | None = grid._cache.get(dtype)
    if pad is None:
        if isinstance(dtype, np.dtype):
            _check_numpy_dtype(dtype)
        value = grid.pad_value if grid.padded_shape != grid.shape else 0
        pad = _arrays.number_bytes(value, dtype, "pad_value")
        grid._cache[dtype] = pad
    return pad


def fragments_shape(x: Any, grid: FragmentGrid, channels_last: bool) -> tuple[int, ...]:
    """The shape of x's fragments."""
    shape = tuple(x.shape)  # slices and items of a torch.Size are slow
    if channels_last:
        return (shape[0], grid.n, *grid.size, shape[-1])
    return (shape[0], grid.n, shape[1], *grid.size)


def check_shape(x: Any, grid: FragmentGrid, channels_last: bool) -> None:
    """Refuses data that does not lie on the grid."""
    shape = tuple(x.shape)
    if (
        not isinstance(grid, FragmentGrid)
        or len(shape) < 3
        or (shape[1:-1] if channels_last else shape[2:]) != grid.shape
    ):
        _refuse_shape(x, grid, channels_last)


def _check_numpy_dtype(dtype: np.dtype[Any]) -> None:
    plain = not dtype.hasobject and dtype.names is None and dtype.subdtype is None
    if not plain or dtype.itemsize not in _ITEM_BYTES or dtype.kind in "SU":
        raise TypeError(f"x: got type {dtype}, takes numbers of 1, 2, 4, 8 or 16 bytes")


def _refuse_arguments(grid: FragmentGrid | None) -> NoReturn:
    if grid is None:
        raise TypeError("grid: got neither a grid nor a size, takes one of them")
    raise TypeError("size: got both a grid and a size, takes one of them")


def _refuse_shape(x: Any, grid: FragmentGrid, channels_last: bool) -> NoReturn:
    if not isinstance(grid, FragmentGrid):
        raise TypeError(f"grid: got {type(grid).__name__}, takes a FragmentGrid")
    got = space_time_shape(x.shape, channels_last)
    layout = "(batch, *space_time, channels)" if channels_last else "(batch, channels, *space_time)"
    raise ValueError(
        f"x: got shape {tuple(x.shape)}, whose space-time axes are {cast(Any, got)} as {layout}; "
        f"takes the grid's, {grid.shape}"
    )
