"""Putting fragments back."""

from __future__ import annotations

from typing import Any

import numpy as np

from tokfrag import _arrays
from tokfrag._arrays import ArrayT
from tokfrag.fragments.data_arrays import is_data_array, named_merged, numbers_of
from tokfrag.fragments.engines import host, stacked
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.placing import put_back
from tokfrag.fragments.selection import Where, chosen_windows
from tokfrag.fragments.shapes import (
    HOST_REDUCES,
    check_fragments,
    check_stacked,
    is_ordered_apart,
    merging_of,
)
from tokfrag.fragments.windows import REDUCES, Reduce, Window, window_weights


def merge(
    fragments: ArrayT,
    grid: FragmentGrid,
    *,
    window: Window = "uniform",
    reduce: Reduce = "mean",
    channels_last: bool = False,
    fill_value: bool | int | float = 0,
    where: Where | None = None,
    out: ArrayT | None = None,
    threads: int | None = None,
) -> ArrayT:
    """One array from overlapping fragments.

    With ``w`` the window and the sums over all fragments that hold a position: ``"mean"`` is
    ``sum(w * fragment) / sum(w)``, ``"sum"`` is ``sum(w * fragment)``, ``"max"`` and ``"min"`` the
    largest and the smallest value, ``"median"`` the middle one or the mean of both (all three NaN
    if a value is), ``"vote"`` the most frequent value, of several the lowest.

    Sums are kept in float64 (those of halves mostly in float32) in a fixed order, so the bits
    depend neither on the number of threads nor on the machine; a uniform mean of equal values is
    exact, hence ``merge(extract(x, grid), grid)`` equals `x` bit for bit wherever a fragment covers
    it. A mean of float64 whose sum is above the largest double is infinite, and one of integers
    under weights that are not equal may go either way where it is halfway between two.

    All but ``"sum"`` leave out what fragments hold beyond an axis. ``"sum"`` with a uniform
    window is the adjoint of `extract`: with a `pad_mode` that copies data it adds those values to
    the positions they were copied from.

    Parameters
    ----------
    fragments : ``(batch, n, channels, *size)``, or ``(batch, n, *size, channels)`` with
        `channels_last`; a NumPy array, a tensor of any strides, or what speaks DLPack or
        ``__array__`` (an xarray.DataArray gives one); float16, bfloat16, float32,
        float64; uint8, int8, int16, int32 (results are rounded half to even and saturated); for
        ``"max"``, ``"min"`` and ``"vote"`` also int64 and bool; a vote takes no floats
    grid : the grid they were cut on
    window : a name; one vector of ``size[axis]`` weights an axis (a list or tuple); or an array of
        weights of shape `size`, or one for each fragment, ``(n, *size)`` or ``(n, 1, ..., 1)``.
        With ``u = (k + 1) / (size + 1)``: ``"hann"`` is ``sin(pi * u)**2`` and ``"triangular"``
        ``1 - abs(2 * u - 1)``, neither of which reaches zero; ``"gaussian"`` has a standard
        deviation of ``size / 8`` (MONAI's default) and is clipped below at 1e-3
    fill_value : for positions that no fragment holds
    where : windows that there are fragments of, if not of all: their numbers, in the fragments'
        order, or a mask over space-time for those that touch it, ascending; `fragments` has as
        many, ``(batch, len(where), ...)``
    out : a contiguous array for the result, of its shape and type, apart from `fragments` and
        from a `window` that is an array, which is read where it lies
    threads : how many to use at most; by default all that the process may use

    Returns
    -------
    ``(batch, channels, *space_time)``, or ``(batch, *space_time, channels)``; the kind, type and
    device of `fragments`. Differentiable in `fragments`.

    Raises
    ------
    ValueError : fragments that are not the grid's; weights that are not finite, of a wrong shape,
        or whose sum or its reciprocal is zero or infinite somewhere under a mean; a wrong `out`
    TypeError : a type that is not merged

    Examples
    --------
    >>> import numpy as np
    >>> from tokfrag import FragmentGrid, extract, merge
    >>> grid = FragmentGrid((7,), size=3, stride=2)
    >>> x = np.arange(7.0)[None, None]
    >>> merge(extract(x, grid), grid)[0, 0].tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    """
    if type(fragments) is not np.ndarray and not _arrays.is_tensor(fragments):
        if is_data_array(fragments):
            chosen = None if where is None else chosen_windows(grid, where)
            numbers: ArrayT = merge(
                numbers_of(fragments),
                grid,
                window=window,
                reduce=reduce,
                channels_last=channels_last,
                fill_value=fill_value,
                where=chosen,
                out=out,
                threads=threads,
            )
            named: ArrayT = named_merged(
                numbers, fragments, grid, chosen, channels_last=channels_last
            )
            return named
        fragments = _arrays.from_protocols(fragments)
        _arrays.check_array(fragments, "fragments")
    count = 0 if threads is None else _arrays.thread_count(threads)
    if isinstance(grid, FragmentGrid) and grid.inner is not None:
        chosen = None if where is None else chosen_windows(grid, where)
        folds = reduce == "sum" and grid.pad_mode != "constant"
        # What is folded is added up before it is rounded and saturated.
        wide = _arrays.summed_in(fragments.dtype) if folds else fragments.dtype
        over_reach: ArrayT = merge(
            fragments if wide == fragments.dtype else _arrays.converted(fragments, wide),
            grid.inner,
            window=window,
            reduce=reduce,
            channels_last=channels_last,
            fill_value=fill_value,
            where=chosen,
            threads=threads,
        )
        own: ArrayT = put_back(
            over_reach,
            grid,
            channels_last=channels_last,
            fold=folds,
            fill_value=fill_value,
        )
        if wide != fragments.dtype:
            own = _arrays.narrowed(own, fragments.dtype)
        if out is None:
            return own
        _arrays.check_out(out, fragments, "fragments", tuple(own.shape))
        out[...] = own
        return out
    if where is not None or (reduce not in REDUCES and not _has_kernel(fragments, grid, reduce)):
        merged: ArrayT = _merge_stacked(
            fragments, grid, window, reduce, channels_last, fill_value, where, out
        )
        return merged
    if not isinstance(fragments, np.ndarray):
        from tokfrag.fragments.operators import extract_merge

        options = (channels_last, fill_value, out, count)
        return extract_merge.merge(fragments, grid, window, reduce, *options)
    if not isinstance(grid, FragmentGrid):
        check_fragments(fragments, grid, channels_last)
    merging = merging_of(grid, window, reduce, channels_last, fill_value, fragments.dtype)
    if not merging.plain or not (out is None or isinstance(window, str)):
        shape = check_fragments(fragments, grid, channels_last)
        if out is not None:
            _arrays.check_out(out, fragments, "fragments", shape)
            _arrays.check_apart(out, window, "window")
        if not merging.plain:
            return host.merge_array(fragments, merging, out, count)  # type: ignore[no-any-return]
    result: ArrayT | None = merging.plan.merge(
        fragments, merging.code, channels_last, merging.fill, out, count
    )
    if result is None:
        shape = check_fragments(fragments, grid, channels_last)
        _arrays.refuse_out(out, fragments, "fragments", shape)
    return result


def _has_kernel(fragments: Any, grid: FragmentGrid, reduce: Reduce) -> bool:
    """Whether a kernel merges these by `reduce`, which is none of `REDUCES`: without gradients."""
    if reduce not in HOST_REDUCES or not isinstance(grid, FragmentGrid):
        return False
    if is_ordered_apart(grid, reduce, fragments.dtype):
        return False
    if isinstance(fragments, np.ndarray):
        return True
    from tokfrag._operators import is_plain
    from tokfrag.fragments.operators import extract_merge

    if not is_plain(fragments):
        return False
    return bool(fragments.is_cpu) or (fragments.is_cuda and extract_merge.has_kernels(fragments))


def _merge_stacked(
    fragments: Any,
    grid: FragmentGrid,
    window: Window,
    reduce: Reduce,
    channels_last: bool,
    fill_value: bool | int | float,
    where: Where | None,
    out: Any,
) -> Any:
    """By all values of a position at once: subsets of the windows, and what no kernel knows."""
    chosen = None if where is None else chosen_windows(grid, where)
    count = None if chosen is None else len(chosen)
    shape = check_fragments(fragments, grid, channels_last, count)
    check_stacked(fragments.dtype, reduce, window)
    _arrays.number_bytes(fill_value, fragments.dtype, "fill_value")
    if out is not None:
        _arrays.check_out(out, fragments, "fragments", shape)
    moved = fragments
    if channels_last:
        moved = np.moveaxis(moved, -1, 2) if isinstance(moved, np.ndarray) else moved.movedim(-1, 2)
    weights = window_weights(grid, window)
    merged = stacked.merge(moved, grid, weights, reduce, fill_value, chosen)
    if channels_last:
        made = isinstance(merged, np.ndarray)
        merged = np.moveaxis(merged, 1, -1) if made else merged.movedim(1, -1)
    if out is None:
        return merged
    out[...] = merged
    return out
