"""Cutting arrays into fragments."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from tokfrag import _arrays
from tokfrag._arrays import ArrayT
from tokfrag.fragments.arguments import PerAxis
from tokfrag.fragments.axes import Edge, PadMode
from tokfrag.fragments.changing import Change, PerChannel, change_of
from tokfrag.fragments.data_arrays import is_data_array, named_fragments, numbers_of
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.placing import placed
from tokfrag.fragments.shapes import check_data, cut_of, refuse_data


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
    scale: PerChannel | None = None,
    shift: PerChannel | None = None,
    dtype: Any = None,
    out: ArrayT | None = None,
    threads: int | None = None,
) -> ArrayT:
    """The fragments of `x`, one copy each.

    ``fragments[b, i, c, k] = x[b, c, start(i) + dilation * k]``, every space-time axis alike; what
    lies beyond an axis comes from the grid's pad mode.

    Parameters
    ----------
    x : ``(batch, channels, *space_time)``, or ``(batch, *space_time, channels)`` with
        `channels_last`; a NumPy array or a tensor, of any numeric type and any strides, or what
        speaks DLPack or ``__array__``. An xarray.DataArray gives one: dimensions ``fragment`` and
        ``in_<dim>``, labels where each begins (``first_<dim>``) and of each position
    grid : a `FragmentGrid` over the space-time axes; or none, and `size`, `stride`, `edge`,
        `pad_mode`, `pad_value`, `dilation` as it takes them
    scale, shift : one number, or one a channel: fragments of ``x * scale + shift``, computed in
        float32 (in float64 for x of float64 or of integers of 32 bits and more) on their way,
        not in another pass. What the grid pads with is data, in the units of `x`
    dtype : of the result, of x's kind; integers are rounded half to even and saturated. If it is
        not given: x's, or with `scale` or `shift` of integers float32
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
    TypeError : not an array; a type without numbers in it; both `grid` and `size`, or neither;
        complex numbers with `scale`, `shift` or `dtype`

    Examples
    --------
    >>> import numpy as np
    >>> from tokfrag import extract
    >>> extract(np.arange(7)[None, None], size=3, stride=2)[0, :, 0].tolist()
    [[0, 1, 2], [2, 3, 4], [4, 5, 6]]
    """
    named = None
    if type(x) is not np.ndarray and not _arrays.is_tensor(x):
        named = x if is_data_array(x) else None
        x = _arrays.from_protocols(numbers_of(x))
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
    if named is not None:
        options = {"channels_last": channels_last, "scale": scale, "shift": shift, "dtype": dtype}
        made = extract(x, grid, **options, out=out, threads=threads)
        known: ArrayT = named_fragments(made, named, grid, channels_last=channels_last)
        return known
    if scale is not None or shift is not None or dtype is not None:
        change = change_of(x, scale, shift, dtype, channels_last)
        if change is not None:
            changed: ArrayT = _extract_changed(x, grid, change, channels_last, out, threads)
            return changed
    count = 0 if threads is None else _arrays.thread_count(threads)
    if isinstance(grid, FragmentGrid) and grid.inner is not None:
        check_data(x, grid, channels_last)
        reached: ArrayT = placed(x, grid, channels_last)
        return extract(reached, grid.inner, channels_last=channels_last, out=out, threads=threads)
    if not isinstance(x, np.ndarray):
        from tokfrag.fragments.operators import extract_merge

        return extract_merge.extract(x, grid, channels_last, out, count)
    if not isinstance(grid, FragmentGrid):
        refuse_data(x, grid, channels_last)
    cut = grid._cache.get((x.dtype, channels_last)) or cut_of(grid, channels_last, x.dtype)
    fragments: ArrayT | None = cut.plan.extract(x, channels_last, cut.pad, out, count)
    if fragments is None:
        _arrays.refuse_out(out, x, "x", check_data(x, grid, channels_last))
    return fragments


def _extract_changed(
    x: Any, grid: FragmentGrid, change: Change, channels_last: bool, out: Any, threads: int | None
) -> Any:
    """Fragments of changed numbers: by the kernel, or by the array library's own operators."""
    shape = check_data(x, grid, channels_last)
    if out is not None:
        _arrays.check_out(out, change.empty, "the result", shape)
        _arrays.check_apart(out, x, "x")
    if grid.inner is not None:
        x, grid = placed(x, grid, channels_last), grid.inner
    if change.is_native(x) and not getattr(out, "requires_grad", False):
        count = _arrays.thread_count(threads)
        return change.extract(x, grid, channels_last, shape, out, count)
    if change.suits_device(x, shape) and not getattr(out, "requires_grad", False):
        from tokfrag.fragments.engines import cuda

        if cuda.kernels(x.device.index) is not None:
            target = _arrays.empty_tensor(change.empty, shape) if out is None else out
            scale, shift = ([] if n is None else n.tolist() for n in (change.scale, change.shift))
            cuda.extract_changed(x, grid, channels_last, scale, shift, target)
            return target
    fragments = extract(x, grid, channels_last=channels_last, threads=threads)
    made = change.apply(fragments, channels_last)
    if out is None:
        return made
    out[...] = made
    return out


def _refuse_arguments(grid: FragmentGrid | None) -> NoReturn:
    if grid is None:
        raise TypeError("grid: got neither a grid nor a size, takes one of them")
    raise TypeError("size: got both a grid and a size, takes one of them")
