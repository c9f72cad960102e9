"""extract and merge made of torch's own operators: for devices that have no kernel of ours."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tokfrag.fragments import merging
from tokfrag.fragments.features import source_table
from tokfrag.fragments.grid import FragmentGrid


def extract(x: Tensor, grid: FragmentGrid, channels_last: bool) -> Tensor:
    """The fragments of `x`, gathered one axis after the other."""
    rank = len(grid.shape)
    first = 1 if channels_last else 2
    for axis in range(rank):
        at = first + 2 * axis
        index = _positions(grid, axis, folded=True).to(x.device)
        taken = x.index_select(at, index.clamp(min=0).reshape(-1))
        x = taken.reshape(*x.shape[:at], *index.shape, *x.shape[at + 1 :])
        missing = (index < 0).reshape(*index.shape, *(1,) * (x.ndim - at - 2))
        if grid.padded_shape[axis] != grid.shape[axis]:
            x = x.masked_fill(missing, grid.pad_value)
    counts = [first + 2 * axis for axis in range(rank)]
    sizes = [first + 2 * axis + 1 for axis in range(rank)]
    inner = [*sizes, x.ndim - 1] if channels_last else [1, *sizes]
    return x.permute(0, *counts, *inner).flatten(1, rank)


def merge(
    fragments: Tensor,
    grid: FragmentGrid,
    window: merging.Window,
    reduce: merging.Reduce,
    channels_last: bool,
    fill_value: Any,
) -> Tensor:
    """What `fragments` merge to: sums by index_add_, in the order it takes them."""
    rank = len(grid.shape)
    if channels_last:
        fragments = fragments.movedim(-1, 2)
    batch, _, channels = fragments.shape[:3]
    positions = prod(grid.shape)
    # Where each element of a fragment goes; what goes nowhere goes behind the end.
    index = torch.zeros((1,) * 2 * rank, dtype=torch.int64)
    lost = torch.zeros((1,) * 2 * rank, dtype=torch.bool)
    for axis in range(rank):
        shape = [1] * 2 * rank
        shape[axis], shape[rank + axis] = grid.counts[axis], grid.size[axis]
        source = _positions(grid, axis, folded=reduce == "sum").reshape(shape)
        index = index + source * prod(grid.shape[axis + 1 :])
        lost = lost | (source < 0)
    index = torch.where(lost, positions, index).reshape(-1).to(fragments.device)

    dtype = fragments.dtype
    values = fragments.movedim(2, 1).flatten(2)
    covered = torch.zeros(positions + 1, dtype=torch.bool, device=fragments.device)
    covered[index] = True
    if reduce == "max":
        result = values.new_zeros((batch, channels, positions + 1))
        everywhere = index.expand(batch, channels, -1)
        result.scatter_reduce_(2, everywhere, values, "amax", include_self=False)
    else:
        wide = torch.float32 if dtype in (torch.float16, torch.bfloat16) else torch.float64
        weights = _weights(grid, window).to(fragments.device, wide)
        result = torch.zeros((batch, channels, positions + 1), dtype=wide, device=fragments.device)
        result.index_add_(2, index, values.to(wide) * weights)
        if reduce == "mean":
            sums = torch.zeros(positions + 1, dtype=wide, device=fragments.device)
            result /= sums.index_add_(0, index, weights)
        if not dtype.is_floating_point:
            limits = torch.iinfo(dtype)
            result = result.round().clamp(limits.min, limits.max)
    result = result.masked_fill(~covered, fill_value)[..., :-1].to(dtype)
    result = result.reshape(batch, channels, *grid.shape)
    return result.movedim(1, -1) if channels_last else result


def _positions(grid: FragmentGrid, axis: int, *, folded: bool) -> Tensor:
    """Where the elements of each window lie on an axis, (count, size); -1: on none of it.

    `folded`: those beyond the axis lie where the pad mode copies them from.
    """
    taps = np.arange(grid.size[axis]) * grid.dilation[axis]
    position = grid.starts[axis][:, None] + taps
    if folded:
        position = source_table(grid, axis)[position]
    return torch.from_numpy(np.where(position < grid.shape[axis], position, -1))


def _weights(grid: FragmentGrid, window: merging.Window) -> Tensor:
    """One weight for each element of each fragment, flat."""
    vectors, whole = merging.window_weights(grid, window)
    if whole is None:
        whole = np.ones(())
        for vector, size in zip(vectors, grid.size, strict=True):
            whole = whole[..., None] * (np.ones(size) if vector is None else vector)
    return torch.from_numpy(np.broadcast_to(whole, (grid.n, *grid.size)).reshape(-1).copy())
