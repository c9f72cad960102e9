"""Merging rows that share a destination (irregular fragments, token merging), and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag.fragments.arguments import one_integer
from tokfrag.fragments.engines import host
from tokfrag.fragments.shapes import check_segments

if TYPE_CHECKING:
    import torch


_LARGEST = 2**63 - 1  # that kernels count


def segment_merge(
    x: NDArray[Any] | torch.Tensor,
    index: NDArray[Any] | torch.Tensor,
    n: int,
    *,
    weight: NDArray[Any] | torch.Tensor | None = None,
    threads: int | None = None,
    validate: bool = True,
) -> tuple[Any, Any]:
    """Average the rows of ``x`` that ``index`` sends to the same place.

    ``y[d] = sum(weight[i] * x[i]) / sum(weight[i])`` over the ``i`` with ``index[i] == d``, added
    in source order: the same bits for any number of threads. Where no row arrives, or the weights
    sum to zero, ``y`` is 0. Gradients reach ``x`` and ``weight``.

    Parameters
    ----------
    x : (m, *features) or (batch, m, *features)
        float16, bfloat16, float32 or float64. Half precision is added in float32, and long sums in
        float64; a sum (of sixteen rows, in float32) above the largest number is infinite, and so is
        its mean.
    index : (m,) or (batch, m)
        Integers in ``[0, n)``; its rank says whether there is a batch.
    n : int
        Rows of the result.
    weight : same shape as ``index``
        Any floating dtype; all ones if not given.
    threads : int, optional
        At most so many threads; one per processor if not given.
    validate : bool
        False: on a CUDA device nothing is waited for to check ``index``, once for each; rows that
        it sends elsewhere are left out. Elsewhere it is checked all the same.

    Returns
    -------
    y : (n, *features) or (batch, n, *features)
        The dtype and device of ``x``.
    weight_sum : (n,) or (batch, n)
        What each row of ``y`` was divided by; float64 for float64 ``x``, else float32.

    Raises
    ------
    ValueError, TypeError, IndexError
        A shape, a dtype or an index that does not fit; the message names the argument.

    Examples
    --------
    >>> x = np.array([[1.0], [3.0], [10.0]])
    >>> y, weight_sum = segment_merge(x, np.array([0, 0, 2]), 3)
    >>> y.ravel().tolist(), weight_sum.tolist()
    ([2.0, 0.0, 10.0], [2.0, 0.0, 1.0])
    """
    n = one_integer(n, "n", least=0)
    count = _arrays.thread_count(threads)
    x, index, weight = map(_arrays.from_protocols, (x, index, weight))
    for name, given in (("x", x), ("index", index), ("weight", weight)):
        _arrays.check_plain(given, name)
    if _arrays.is_tensor(x):
        from tokfrag.fragments.engines.rows import accumulator
        from tokfrag.fragments.operators import segments as ops

        ops.check(x, index, weight, "x")
        if weight is not None:
            weight = cast("torch.Tensor", weight).to(accumulator(x))
        if not validate:
            ops.trust(cast("torch.Tensor", index), n)
        return ops.reduce(x, cast("torch.Tensor", index), weight, n, True, count)
    x, index, weight = _check_arrays(x, index, weight, "x")
    y = np.empty((*index.shape[:-1], n, *x.shape[index.ndim :]), x.dtype)
    weight_sum = np.empty(
        (*index.shape[:-1], n), np.float64 if x.dtype == np.float64 else np.float32
    )
    host.reduce(x, index, weight, y, weight_sum, mean=True, threads=count)
    return y, weight_sum


def unmerge(
    y: NDArray[Any] | torch.Tensor,
    index: NDArray[Any] | torch.Tensor,
    *,
    threads: int | None = None,
    validate: bool = True,
) -> Any:
    """Give every source row the merged row it went into: ``x[i] = y[index[i]]``.

    Parameters
    ----------
    y : (n, *features) or (batch, n, *features)
        float16, bfloat16, float32 or float64.
    index : (m,) or (batch, m)
        Integers in ``[0, n)``, as given to :func:`segment_merge`.
    threads : int, optional
        At most so many threads; one per processor if not given.
    validate : bool
        As in :func:`segment_merge`; rows sent elsewhere are zeros.

    Returns
    -------
    x : (m, *features) or (batch, m, *features)
        The dtype and device of ``y``; gradients reach ``y``.

    Raises
    ------
    ValueError, TypeError, IndexError
        A shape, a dtype or an index that does not fit; the message names the argument.

    Examples
    --------
    >>> unmerge(np.array([2.0, 0.0, 10.0]), np.array([0, 0, 2])).tolist()
    [2.0, 2.0, 10.0]
    """
    count = _arrays.thread_count(threads)
    y, index = _arrays.from_protocols(y), _arrays.from_protocols(index)
    _arrays.check_plain(y, "y")
    _arrays.check_plain(index, "index")
    if _arrays.is_tensor(y):
        from tokfrag.fragments.operators import segments as ops

        ops.check(y, index, None, "y", a_row_each=False)
        if not validate:
            ops.trust(cast("torch.Tensor", index), y.shape[cast("torch.Tensor", index).ndim - 1])
        return ops.gather(y, cast("torch.Tensor", index), None, count)
    y, index, _ = _check_arrays(y, index, None, "y", a_row_each=False)
    x = np.empty((*index.shape, *y.shape[index.ndim :]), y.dtype)
    host.gather(y, index, None, x, threads=count)
    return x


def _check_arrays(
    x: Any, index: Any, weight: Any, x_name: str, a_row_each: bool = True
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[Any] | None]:
    x, index = _arrays.kernel_array(np.asarray(x)), np.asarray(index)
    if x.dtype.kind != "f" or _arrays.dtype_code(x.dtype) < 0:
        raise TypeError(f"{x_name}: got {x.dtype}, takes float16, float32 or float64")
    if index.dtype.kind not in "iu":
        raise TypeError(f"index: got {index.dtype}, takes integers")
    if index.dtype.kind == "u" and index.size and int(index.max()) > _LARGEST:
        raise IndexError(f"index: got {index.max()}, takes values up to {_LARGEST}")
    if weight is not None:
        weight = np.asarray(weight)
        if weight.dtype.kind != "f":
            raise TypeError(f"weight: got {weight.dtype}, takes a floating dtype")
    check_segments(
        x.shape, index.shape, None if weight is None else weight.shape, x_name, a_row_each
    )
    if weight is not None:
        kind = np.float64 if x.dtype == np.float64 else np.float32
        weight = np.require(weight, kind, ["C", "ALIGNED"])
    return x, np.require(index, np.int64, ["C", "ALIGNED"]), weight
