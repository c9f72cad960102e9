"""Cutting arrays into fragments."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from tokfrag import _arrays
from tokfrag._arrays import ArrayT
from tokfrag.fragments.axes import Edge, PadMode
from tokfrag.fragments.grid import FragmentGrid, PerAxis
from tokfrag.fragments.shapes import check_cut, check_data


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
    count = 0 if threads is None else _arrays.thread_count(threads)
    if not isinstance(x, np.ndarray):
        from tokfrag.fragments.operators import extract_merge

        return extract_merge.extract(x, grid, channels_last, out, count)
    cut = check_cut(x, grid, channels_last)
    if out is not None:
        _arrays.check_out(out, x, "x", check_data(x, grid, channels_last))
    return cut.plan.extract(x, channels_last, cut.pad, out, count)


def _refuse_arguments(grid: FragmentGrid | None) -> NoReturn:
    if grid is None:
        raise TypeError("grid: got neither a grid nor a size, takes one of them")
    raise TypeError("size: got both a grid and a size, takes one of them")
