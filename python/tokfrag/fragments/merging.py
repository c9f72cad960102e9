"""Putting fragments back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag._arrays import ArrayT
from tokfrag.fragments.grid import FragmentGrid

if TYPE_CHECKING:
    import torch

    from tokfrag._core.fragments import WindowPlan

Reduce: TypeAlias = Literal["mean", "sum", "max"]
WindowName: TypeAlias = Literal["uniform", "hann", "gaussian", "triangular"]
Window: TypeAlias = (
    "WindowName | Sequence[NDArray[Any] | torch.Tensor | Sequence[float]] | NDArray[Any]"
    " | torch.Tensor"
)
#: One float64 vector an axis (None: ones); or weights of shape size, or (n, *size).
Weights: TypeAlias = "tuple[list[NDArray[np.float64] | None], NDArray[np.float64] | None]"

#: The first window of a part of a grid, how many, and the first position (from the part's own
#: first) that no other window holds; an axis each.
Part: TypeAlias = "tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]"

REDUCES: tuple[Reduce, ...] = ("mean", "sum", "max")
WINDOW_NAMES: tuple[WindowName, ...] = ("uniform", "hann", "gaussian", "triangular")
_SUMMED = ("uint8", "int8", "int16", "int32", "float16", "bfloat16", "float32", "float64")


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
    if not isinstance(fragments, np.ndarray):
        from tokfrag.fragments.operators import extract_merge as _torch_ops

        count = 0 if threads is None else _arrays.thread_count(threads)
        return _torch_ops.merge(
            fragments, grid, window, reduce, channels_last, fill_value, out, count
        )
    check_fragments(fragments, grid, channels_last)
    plan, code, fill = prepare(grid, window, reduce, fill_value, fragments.dtype)
    if out is not None:
        _arrays.check_out(out, fragments, "fragments", merged_shape(fragments, grid, channels_last))
        _arrays.check_apart(out, window, "window")
    count = 0 if threads is None else _arrays.thread_count(threads)
    return plan.merge(fragments, code, channels_last, fill, out, count)


def axis_window(name: WindowName, size: int) -> NDArray[np.float64]:
    """The `size` weights of a named window on one axis."""
    position = np.arange(1, size + 1, dtype=np.float64) / (size + 1)
    if name == "hann":
        return np.sin(np.pi * position) ** 2
    if name == "triangular":
        return 1 - np.abs(2 * position - 1)
    if name == "gaussian":
        distance = (np.arange(size, dtype=np.float64) - (size - 1) / 2) / (size / 8)
        return np.maximum(np.exp(-0.5 * distance**2), 1e-3)
    return np.ones(size)


def prepare(
    grid: FragmentGrid, window: Window, reduce: Reduce, fill_value: complex, dtype: Any
) -> tuple[WindowPlan, int, bytes]:
    """The native window, the type's code and the fill value's bytes; kept with the grid."""
    named = isinstance(window, str)
    key = (window, reduce, fill_value or str(fill_value), dtype)  # 0.0 and -0.0 are equal
    if named:
        kept: tuple[WindowPlan, int, bytes] | None = grid._cache.get(key)
        if kept is not None:
            return kept
    check_dtype(dtype, reduce)
    fill = _arrays.number_bytes(fill_value, dtype, "fill_value")
    made = (_window_plan(grid, window, reduce), _arrays.dtype_code(dtype), fill)
    if named and fill_value == fill_value:  # no two NaNs are one key
        grid._cache[key] = made
    return made


def _window_plan(grid: FragmentGrid, window: Window, reduce: Reduce) -> WindowPlan:
    if reduce not in REDUCES:
        raise ValueError(f"reduce: got {reduce!r}, takes 'mean', 'sum' or 'max'")
    uniform = isinstance(window, str) and window == "uniform"
    if reduce == "max" and not uniform:
        raise ValueError("window: reduce='max' takes no weights, leave the window uniform")
    from tokfrag._core.fragments import WindowPlan

    vectors, whole = window_weights(grid, window)
    per_fragment = whole is not None and whole.ndim > len(grid.size)
    if whole is not None and per_fragment and not any(whole.strides[1:]):
        whole = np.ascontiguousarray(whole.T[(0,) * len(grid.size)])  # one for each fragment
    return WindowPlan(grid.plan, REDUCES.index(reduce), vectors, whole, per_fragment)


def window_weights(grid: FragmentGrid, window: Window) -> Weights:
    """A window as checked numbers: one vector an axis (None: ones), or whole-window weights."""
    rank = len(grid.size)
    none: list[NDArray[np.float64] | None] = [None] * rank
    if isinstance(window, str):
        if window not in WINDOW_NAMES:
            names = ", ".join(map(repr, WINDOW_NAMES))
            raise ValueError(f"window: got {window!r}, takes {names}, vectors, or an array")
        if window == "uniform":
            return none, None
        return [axis_window(window, size) for size in grid.size], None
    if isinstance(window, (list, tuple)):
        if len(window) != rank:
            raise ValueError(f"window: got {len(window)} vectors, takes one an axis, {rank}")
        vectors: list[NDArray[np.float64] | None] = []
        for axis, size in enumerate(grid.size):
            vector = numbers(window[axis])
            if vector.shape != (size,):
                raise ValueError(
                    f"window: got weights of shape {vector.shape} for axis {axis}, takes ({size},)"
                )
            vectors.append(vector)
        return vectors, None
    whole = numbers(window)
    if whole.shape == (grid.n, *(1,) * rank) and whole.shape != (grid.n, *grid.size):
        whole = np.broadcast_to(whole, (grid.n, *grid.size))
    if whole.shape not in (grid.size, (grid.n, *grid.size)):
        raise ValueError(
            f"window: got an array of shape {whole.shape}, takes {grid.size}, "
            f"{(grid.n, *grid.size)} or {(grid.n, *(1,) * rank)}"
        )
    return none, whole


def check_fragments(fragments: Any, grid: FragmentGrid, channels_last: bool) -> None:
    """Refuses fragments that were not cut on the grid."""
    if not isinstance(grid, FragmentGrid):
        raise TypeError(f"grid: got {type(grid).__name__}, takes a FragmentGrid")
    shape = tuple(fragments.shape)
    if (
        len(shape) != len(grid.size) + 3
        or shape[1] != grid.n
        or (shape[2:-1] if channels_last else shape[3:]) != grid.size
    ):
        _refuse_shape(shape, grid, channels_last)


def check_dtype(dtype: Any, reduce: str) -> None:
    """Refuses types that `reduce` does not merge."""
    known = _arrays.dtype_code(dtype) >= 0
    name = _arrays.dtype_name(dtype)
    if not known or (reduce != "max" and name not in _SUMMED):
        takes = ", ".join(_SUMMED)
        raise TypeError(
            f"fragments: got {name}, takes {takes}; with reduce='max' int64 and bool too"
        )


def merged_shape(fragments: Any, grid: FragmentGrid, channels_last: bool) -> tuple[int, ...]:
    """The shape that fragments merge to."""
    shape = tuple(fragments.shape)
    if channels_last:
        return (shape[0], *grid.shape, shape[-1])
    return (shape[0], shape[2], *grid.shape)


def outer(vectors: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The product of one vector an axis."""
    product: NDArray[Any] = np.ones(())
    for vector in vectors:
        product = product[..., None] * vector
    return product


def axis_sums(
    grid: FragmentGrid, axis: int, vector: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """The sum of an axis' weights over each of its positions."""
    sums = np.zeros(grid.padded_shape[axis])
    for tap in range(grid.size[axis]):  # a window holds a position at most once
        at = grid.starts[axis] + grid.dilation[axis] * tap
        sums[at] += 1 if vector is None else vector[tap]
    return sums[: grid.shape[axis]]


def numbers(weights: Any) -> NDArray[np.float64]:
    """Weights as checked float64 numbers."""
    if _arrays.is_tensor(weights):
        if weights.requires_grad:
            raise ValueError("window: gradients do not flow into weights, detach them")
        weights = weights.detach().cpu().double().numpy()
    try:
        checked = np.ascontiguousarray(weights, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"window: got {type(weights).__name__}, takes numbers") from None
    # A sum says so in one pass; only where it does not come out are the numbers looked at.
    with np.errstate(over="ignore", invalid="ignore"):
        total = checked.sum()
    if not np.isfinite(total) and not np.isfinite(checked).all():
        raise ValueError("window: got weights that are infinite or not a number, takes finite ones")
    return checked


def _refuse_shape(shape: tuple[int, ...], grid: FragmentGrid, channels_last: bool) -> NoReturn:
    size = ", ".join(map(str, grid.size))
    takes = (
        f"(batch, {grid.n}, {size}, channels)"
        if channels_last
        else (f"(batch, {grid.n}, channels, {size})")
    )
    raise ValueError(f"fragments: got shape {shape}, takes {takes} on this grid")
