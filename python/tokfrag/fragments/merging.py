"""Putting fragments back."""

from __future__ import annotations

import numpy as np

from tokfrag import _arrays
from tokfrag._arrays import ArrayT
from tokfrag.fragments.engines import host
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.shapes import check_fragments, merging_of
from tokfrag.fragments.windows import Reduce, Window


def merge(
    fragments: ArrayT,
    grid: FragmentGrid,
    *,
    window: Window = "uniform",
    reduce: Reduce = "mean",
    channels_last: bool = False,
    fill_value: bool | int | float = 0,
    out: ArrayT | None = None,
    threads: int | None = None,
) -> ArrayT:
    """One array from overlapping fragments.

    With ``w`` the window and the sums over all fragments that hold a position: ``"mean"`` is
    ``sum(w * fragment) / sum(w)``, ``"sum"`` is ``sum(w * fragment)``, ``"max"`` the largest value
    (NaN if one is). Sums are kept in float64 (those of halves mostly in float32) in a fixed order,
    so the bits depend neither on the number of threads nor on the machine; a uniform mean of equal
    values is exact, hence ``merge(extract(x, grid), grid)`` equals `x` bit for bit wherever a
    fragment covers it. A mean of float64 whose sum is above the largest double is infinite, and one
    of integers under weights that are not equal may go either way where it is halfway between two.

    ``"mean"`` and ``"max"`` leave out what fragments hold beyond an axis. ``"sum"`` with a uniform
    window is the adjoint of `extract`: with a `pad_mode` that copies data it adds those values to
    the positions they were copied from.

    Parameters
    ----------
    fragments : ``(batch, n, channels, *size)``, or ``(batch, n, *size, channels)`` with
        `channels_last`; a NumPy array or a tensor of any strides; float16, bfloat16, float32,
        float64; uint8, int8, int16, int32 (results are rounded half to even and saturated); for
        ``"max"`` also int64 and bool
    grid : the grid they were cut on
    window : a name; one vector of ``size[axis]`` weights an axis (a list or tuple); or an array of
        weights of shape `size`, or one for each fragment, ``(n, *size)`` or ``(n, 1, ..., 1)``.
        With ``u = (k + 1) / (size + 1)``: ``"hann"`` is ``sin(pi * u)**2`` and ``"triangular"``
        ``1 - abs(2 * u - 1)``, neither of which reaches zero; ``"gaussian"`` has a standard
        deviation of ``size / 8`` (MONAI's default) and is clipped below at 1e-3
    fill_value : for positions that no fragment holds
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
    if type(fragments) is not np.ndarray:
        _arrays.check_array(fragments, "fragments")
    count = 0 if threads is None else _arrays.thread_count(threads)
    if not isinstance(fragments, np.ndarray):
        from tokfrag.fragments.operators import extract_merge

        options = (channels_last, fill_value, out, count)
        return extract_merge.merge(fragments, grid, window, reduce, *options)
    shape = check_fragments(fragments, grid, channels_last)
    merging = merging_of(grid, window, reduce, channels_last, fill_value, fragments.dtype)
    if out is not None:
        _arrays.check_out(out, fragments, "fragments", shape)
        _arrays.check_apart(out, window, "window")
    if not merging.plain:
        return host.merge_array(fragments, merging, out, count)  # type: ignore[no-any-return]
    return merging.plan.merge(fragments, merging.code, channels_last, merging.fill, out, count)
