"""Statistics of every fragment of a grid, without writing a fragment anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag.fragments.engines import host
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.shapes import FEATURES, Feature, check_feature_data, feature_table

if TYPE_CHECKING:
    import torch


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
        bool, uint8, uint16, uint32, int8 to int64, float16, bfloat16, float32 or float64; any
        strides and byte order.
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
    table = feature_table(grid, features, lags, axis)
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
