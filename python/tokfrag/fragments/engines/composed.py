"""Cutting and merging made of torch's own operators.

For devices that have no kernel of ours, for torch.func and forward-mode differentiation (every
step has its derivatives), and for exports: lengths may be symbols.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tokfrag import _arrays
from tokfrag.fragments.axes import Edge, PadMode, axis_count
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.shapes import Merging
from tokfrag.fragments.windows import Weights, axis_window

_sym_max: Any = torch.sym_max


class FreeGrid(NamedTuple):
    """A grid over lengths that may be symbols."""

    shape: tuple[Any, ...]
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    edge: Edge
    pad_mode: PadMode
    pad_value: complex

    @property
    def counts(self) -> tuple[Any, ...]:
        """Fragments an axis."""
        axes = zip(self.shape, self.size, self.stride, self.dilation, strict=True)
        return tuple(_free_count(*lengths, self.edge) for lengths in axes)

    @property
    def n(self) -> Any:
        """Fragments in all."""
        return prod(self.counts)


def extract(x: Tensor, grid: FragmentGrid, channels_last: bool) -> Tensor:
    """The fragments of `x`, gathered one axis after the other."""
    rank = len(grid.shape)
    first = 1 if channels_last else 2
    counts = grid.counts
    for axis in range(rank):
        at = first + 2 * axis
        index = _positions(grid, axis, folded=True, device=x.device)
        taken = x.index_select(at, index.clamp(min=0).reshape(-1))
        x = taken.reshape(*x.shape[:at], counts[axis], grid.size[axis], *x.shape[at + 1 :])
        if grid.edge == "pad" and grid.pad_mode == "constant":
            missing = (index < 0).reshape(*index.shape, *(1,) * (x.ndim - at - 2))
            x = x.masked_fill(missing, grid.pad_value)
    windows = [first + 2 * axis for axis in range(rank)]
    taps = [first + 2 * axis + 1 for axis in range(rank)]
    inner = [*taps, x.ndim - 1] if channels_last else [1, *taps]
    return x.permute(0, *windows, *inner).flatten(1, rank)


def extract_free(x: Tensor, grid: FreeGrid, channels_last: bool) -> Tensor:
    """The same on lengths that may be symbols.

    By one index over all axes, and no axis is made of two: torch would ask symbols whether they
    divide each other, and bind them by the answer.
    """
    rank, counts = len(grid.shape), grid.counts
    window = torch.arange(grid.n, device=x.device)
    index: Any = 0
    missing: Any = torch.zeros((), dtype=torch.bool, device=x.device)
    for axis in range(rank):
        at = window
        if axis < rank - 1:
            at = at // _whole(prod(counts[axis + 1 :]), x.device)
        if axis:
            at = at % _whole(counts[axis], x.device)
        shape = (-1, *(1,) * axis, grid.size[axis], *(1,) * (rank - axis - 1))
        source = _positions(grid, axis, folded=True, device=x.device)[at].reshape(shape)
        index = index * _whole(grid.shape[axis], x.device) + source.clamp(min=0)
        missing = missing | (source < 0)
    channels = x.movedim(-1, 1) if channels_last else x
    fragments = channels.flatten(2)[:, :, index]
    if grid.edge == "pad" and grid.pad_mode == "constant":
        fragments = fragments.masked_fill(missing, grid.pad_value)
    fragments = fragments.movedim(2, 1)
    fragments = fragments.movedim(2, -1) if channels_last else fragments
    return fragments.contiguous()


def merge(fragments: Tensor, merging: Merging) -> Tensor:
    """What `fragments` merge to: sums by index_add, in the order it takes them."""
    grid, reduce, channels_last = merging.grid, merging.reduce, merging.channels_last
    weights = None if reduce == "max" else merging.weights
    return merge_free(fragments, grid, weights, reduce, channels_last, merging.fill_value)


def merge_free(
    fragments: Tensor,
    grid: FragmentGrid | FreeGrid,
    weights: Weights | Tensor | None,
    reduce: str,
    channels_last: bool,
    fill_value: Any,
) -> Tensor:
    """The same on lengths that may be symbols; `weights` are None for a maximum.

    As a tensor they are ``(*size)`` or ``(n, *size)``.
    """
    rank = len(grid.shape)
    if channels_last:
        fragments = fragments.movedim(-1, 2)
    dtype, device = fragments.dtype, fragments.device
    batch, windows, channels = fragments.shape[:3]
    positions, counts = prod(grid.shape), grid.counts
    # Where each element of a fragment goes; what goes nowhere goes behind the end.
    index = torch.zeros((1,) * 2 * rank, dtype=torch.int64, device=device)
    lost = torch.zeros((1,) * 2 * rank, dtype=torch.bool, device=device)
    for axis in range(rank):
        shape = [1] * 2 * rank
        shape[axis], shape[rank + axis] = counts[axis], grid.size[axis]
        source = _positions(grid, axis, folded=reduce == "sum", device=device).reshape(shape)
        index = index + source * prod(grid.shape[axis + 1 :])
        lost = lost | (source < 0)
    index = torch.where(lost, positions, index).reshape(-1)

    # By way of one axis, as in `extract_free`: symbols need not be divided.
    values = fragments.movedim(2, 1).reshape(-1)
    values = values.reshape(batch, channels, windows * prod(grid.size))
    held = torch.zeros(positions + 1, dtype=torch.float32, device=device)
    covered = held.index_add(0, index, torch.ones_like(index, dtype=torch.float32)) > 0
    if weights is None:
        empty = values.new_zeros((batch, channels, positions + 1))
        everywhere = index.expand(batch, channels, -1)
        result = empty.scatter_reduce(2, everywhere, values, "amax", include_self=False)
    else:
        wide = torch.float32 if dtype in (torch.float16, torch.bfloat16) else torch.float64
        dense = (
            weights if isinstance(weights, Tensor) else torch.from_numpy(weights.dense(grid.size))
        )
        # One weight for each element of each fragment, flat.
        if dense.dim() == rank:
            flat = dense.reshape(-1).to(device, wide).repeat(grid.n)
        else:
            flat = dense.expand(grid.n, *grid.size).reshape(-1).to(device, wide)
        # Left out, not multiplied: 0 * NaN is NaN.
        weighed = (values.to(wide) * flat).masked_fill(flat == 0, 0)
        sums = torch.zeros((batch, channels, positions + 1), dtype=wide, device=device)
        result = sums.index_add(2, index, weighed)
        if reduce == "mean":
            none = torch.zeros(positions + 1, dtype=wide, device=device)
            held = none.index_add(0, index, flat)
            result = result / held.masked_fill(~covered, 1)
        result = _arrays.narrowed(result, dtype)
    result = result.masked_fill(~covered, fill_value)[..., :positions]
    result = result.reshape(batch, channels, *grid.shape)
    return result.movedim(1, -1) if channels_last else result


def dense_weights(window: Any, tensors: list[Tensor], size: Sequence[int]) -> Tensor:
    """The weights of an operator's arguments, ``(*size)`` or ``(n, *size)``, by torch alone."""
    if window == "whole":
        return tensors[0].expand(*tensors[0].shape[: tensors[0].ndim - len(size)], *size)
    if window == "uniform":
        return torch.ones(tuple(size), dtype=torch.float64)
    vectors = tensors
    if window != "vectors":
        vectors = [torch.from_numpy(axis_window(window, w)) for w in size]
    dense = torch.ones((), dtype=torch.float64)
    for vector in vectors:
        dense = dense[..., None] * vector
    return dense


def spelled_out(
    window: Any, tensors: list[Tensor], size: Sequence[int]
) -> tuple[Any, list[Tensor]]:
    """A named window as vectors made of numbers, for traced programs hold no other constants."""
    if window in ("vectors", "whole"):
        return window, tensors
    vectors = [
        torch.stack([torch.full((), float(v), dtype=torch.float64) for v in axis_window(window, w)])
        for w in size
    ]
    return "vectors", vectors


def extract_weighted(
    x: Tensor,
    size: Any,
    stride: Any,
    dilation: Any,
    edge: Any,
    pad_mode: str,
    window: Any,
    weights: list[Tensor],
    reduce: str,
    channels_last: bool,
    threads: int,
) -> Tensor:
    """The adjoint of merge from the operators extract and merge."""
    axes = (size, stride, dilation, edge)
    shape = tuple(x.shape[1:-1] if channels_last else x.shape[2:])
    counts = list(map(axis_count, shape, size, stride, dilation, repeat(edge)))

    def put(fragments: Tensor, shape: Any, *axes: Any, last: bool) -> Tensor:
        plain: tuple[Any, ...] = ("constant", "uniform", [], "sum", last, 0, threads)
        total: Tensor = torch.ops.tokfrag.merge.default(fragments, shape, *axes, *plain)
        return total

    whole: Tensor | None = None
    vectors: list[Tensor] = []
    if window == "whole":
        leading = (1, prod(counts)) if weights[0].dim() > len(size) else (1, 1)
        whole = weights[0].reshape(*leading, *((*size, 1) if channels_last else (1, *size)))
    elif window == "vectors":
        vectors = weights
    else:
        vectors = [torch.from_numpy(axis_window(window, w)) for w in size]
    if reduce == "mean":
        pad_mode = "constant"
        if whole is not None:
            held = whole.expand(1, prod(counts), *whole.shape[2:])
            sums = put(held, shape, *axes, last=channels_last)
        else:
            # The sums over a grid are the products of those over its axes.
            sums = torch.ones((), dtype=torch.float64)
            for axis, vector in enumerate(vectors):
                own = ([shape[axis]], [size[axis]], [stride[axis]], [dilation[axis]], edge)
                held = vector.expand(1, counts[axis], 1, -1)
                sums = sums[..., None] * put(held, *own, last=False).reshape(-1)
            sums = sums[None, ..., None] if channels_last else sums[None, None]
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        x = (wide / torch.where(sums == 0, 1, sums).to(wide)).to(x.dtype)
    cut: Tensor = torch.ops.tokfrag.extract.default(x, *axes, pad_mode, 0, channels_last, threads)
    if window == "uniform":
        return cut
    if whole is None:
        whole = torch.ones((), dtype=torch.float64)
        for vector in vectors:
            whole = whole[..., None] * vector
        whole = whole[..., None] if channels_last else whole
    return cut * whole.to(cut)


def _free_count(length: Any, size: int, stride: int, dilation: int, edge: Edge) -> Any:
    """`axis_count`, without asking a symbol whether it is larger than another."""
    if not isinstance(length, torch.SymInt):
        return axis_count(length, size, stride, dilation, edge)
    extent = dilation * (size - 1) + 1
    if edge == "drop":
        return _sym_max((length - extent) // stride + 1, 0)
    if edge == "pad" and extent < stride:  # a window for each start on the axis
        return (length + stride - 1) // stride
    return _sym_max((length - extent + stride - 1) // stride, 0) + 1


def _positions(
    grid: FragmentGrid | FreeGrid, axis: int, *, folded: bool, device: torch.device
) -> Tensor:
    """Where the elements of each window lie on an axis, (count, size); -1: on none of it.

    `folded`: those beyond the axis lie where the pad mode copies them from.
    """
    length, dilation = grid.shape[axis], grid.dilation[axis]
    starts = torch.arange(grid.counts[axis], device=device) * grid.stride[axis]
    if grid.edge == "shift":
        starts = starts.clamp(max=length - (dilation * (grid.size[axis] - 1) + 1))
    position = starts[:, None] + torch.arange(grid.size[axis], device=device) * dilation
    if not folded or grid.pad_mode == "constant":
        return torch.where(position < length, position, -1)
    if grid.pad_mode == "replicate":
        return position.clamp(max=length - 1)
    if grid.pad_mode == "circular":
        around: Tensor = position % _whole(length, device)
        return around
    period = _sym_max(2 * (length - 1), 1)
    around = position % _whole(period, device)
    return torch.minimum(around, period - around).clamp(max=length - 1)


def _whole(number: Any, device: torch.device) -> Any:
    """A symbol as a tensor: ONNX has no remainder by the former."""
    if not isinstance(number, torch.SymInt):
        return number
    whole: Any = torch.full
    return whole((), number, dtype=torch.int64, device=device)
