"""Cutting arrays into fragments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag._arrays import ArrayT
from tokfrag.fragments.arguments import PerAxis
from tokfrag.fragments.axes import Edge, PadMode
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.placing import placed
from tokfrag.fragments.shapes import check_cut, check_data

if TYPE_CHECKING:
    import torch

PerChannel: TypeAlias = "float | Sequence[float] | NDArray[Any] | torch.Tensor"


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
        speaks DLPack or ``__array__``
    grid : a `FragmentGrid` over the space-time axes; or none, and `size`, `stride`, `edge`,
        `pad_mode`, `pad_value`, `dilation` as it takes them
    scale, shift : one number, or one a channel: fragments of ``x * scale + shift``, computed in
        float32 (in float64 for x of float64 or of integers of 32 bits and more). What the grid pads
        with is data, in the units of `x`
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
    if type(x) is not np.ndarray:
        x = _arrays.from_protocols(x)
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
    if scale is not None or shift is not None or dtype is not None:
        fragments = extract(x, grid, channels_last=channels_last, threads=threads)
        made: ArrayT = _scaled(fragments, scale, shift, dtype, channels_last)
        if out is None:
            return made
        _arrays.check_out(out, made, "the result", tuple(made.shape))
        out[...] = made
        return out
    count = 0 if threads is None else _arrays.thread_count(threads)
    if isinstance(grid, FragmentGrid) and grid.inner is not None:
        check_data(x, grid, channels_last)
        reached: ArrayT = placed(x, grid, channels_last)
        return extract(reached, grid.inner, channels_last=channels_last, out=out, threads=threads)
    if not isinstance(x, np.ndarray):
        from tokfrag.fragments.operators import extract_merge

        return extract_merge.extract(x, grid, channels_last, out, count)
    cut = check_cut(x, grid, channels_last)
    if out is not None:
        _arrays.check_out(out, x, "x", check_data(x, grid, channels_last))
    return cut.plan.extract(x, channels_last, cut.pad, out, count)


def _scaled(
    fragments: Any,
    scale: PerChannel | None,
    shift: PerChannel | None,
    dtype: Any,
    channels_last: bool,
) -> Any:
    """Fragments times `scale` plus `shift`, in another type."""
    tensors = _arrays.is_tensor(fragments)
    name = _arrays.dtype_name(fragments.dtype)
    if "complex" in name:
        raise TypeError(f"x: got {name}, takes real numbers with scale, shift and dtype")
    if dtype is not None:
        if tensors and not hasattr(dtype, "is_floating_point"):
            raise TypeError(f"dtype: got {dtype!r}, takes a torch dtype for a tensor")
        dtype = dtype if tensors else np.dtype(dtype)
    if scale is None and shift is None:
        return _arrays.narrowed(fragments, dtype)
    wide = "64" in name or name in ("int32", "uint32")
    made: Any = _as_float(fragments, wide)
    axis = fragments.ndim - 1 if channels_last else 2
    for what, value in (("scale", scale), ("shift", shift)):
        if value is None:
            continue
        numbers = _channel_numbers(value, what, fragments.shape[axis])
        shaped: Any = numbers.reshape(-1, *(1,) * (fragments.ndim - axis - 1))
        if tensors:
            import torch

            shaped = torch.from_numpy(shaped).to(made)
        else:
            shaped = shaped.astype(made.dtype)
        made = made * shaped if what == "scale" else made + shaped
    if dtype is None:
        floating = "float" in name
        dtype = fragments.dtype if floating else _as_float(fragments[:0], wide=False).dtype
    return _arrays.narrowed(made, dtype)


def _as_float(fragments: Any, wide: bool) -> Any:
    if _arrays.is_tensor(fragments):
        return fragments.double() if wide else fragments.float()
    return fragments.astype(np.float64 if wide else np.float32)


def _channel_numbers(value: Any, name: str, channels: int) -> NDArray[np.float64]:
    """One number, or one a channel, as float64."""
    if _arrays.is_tensor(value):
        value = value.detach().cpu().numpy()
    try:
        numbers = np.array(value, np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: got {value!r}, takes numbers") from None
    if numbers.ndim > 1 or (numbers.ndim == 1 and len(numbers) != channels):
        raise ValueError(
            f"{name}: got shape {numbers.shape}, takes one number or {channels}, one a channel"
        )
    return numbers.reshape(-1)


def _refuse_arguments(grid: FragmentGrid | None) -> NoReturn:
    if grid is None:
        raise TypeError("grid: got neither a grid nor a size, takes one of them")
    raise TypeError("size: got both a grid and a size, takes one of them")
