"""Merging by torch's own operators, one window over each position after the other.

What devices without kernels of ours do: no atomic addition, so the same bits every time, and sums
in the kernels' order of windows. Where each number comes from is worked out once a grid and device.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tokfrag import _arrays
from tokfrag.fragments.engines.stacked import sources
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.shapes import Merging

_MOST_KEPT = 1 << 22  # numbers of a table that is kept


class _Sources(NamedTuple):
    """The windows over each position, ascending: (holders, positions) each."""

    window: Tensor
    tap: Tensor
    valid: Tensor


def merge(fragments: Tensor, merging: Merging) -> Tensor:
    """What fragments merge to, by mean, sum or max."""
    grid, reduce = merging.grid, merging.reduce
    own = fragments.dtype
    moved = _arrays.kernel_array(fragments)
    moved = moved.movedim(-1, 2) if merging.channels_last else moved
    batch, n, channels = moved.shape[:3]
    values = moved.movedim(2, 1).reshape(batch, channels, n * prod(grid.size))
    table = _sources_on(grid, reduce == "sum", fragments.device)
    wide = torch.float32 if own in (torch.float16, torch.bfloat16) else torch.float64
    weights = None if reduce == "max" else _dense(merging, fragments.device, wide)
    shape = (batch, channels, prod(grid.shape))
    held = table.valid.any(0)
    total = torch.zeros(shape[2:], dtype=wide, device=fragments.device)
    result = values.new_zeros(shape, dtype=values.dtype if weights is None else wide)
    seen = torch.zeros_like(held)
    for window, tap, valid in zip(*table, strict=True):
        taken = values.index_select(2, window * prod(grid.size) + tap)
        if weights is None:
            larger = torch.maximum(result, taken) if taken.dtype != torch.bool else result | taken
            result = torch.where(valid, torch.where(seen, larger, taken), result)
        else:
            at = window if merging.weights.per_fragment else 0
            weight = weights[at, tap].masked_fill(~valid, 0)
            # Left out, not multiplied: 0 * NaN is NaN.
            result = result + (taken.to(wide) * weight).masked_fill(weight == 0, 0)
            total = total + weight
        seen = seen | valid
    if weights is not None:
        if reduce == "mean":
            result = result / total.masked_fill(~held, 1)
        result = _arrays.narrowed(result, own)
    filled = result.masked_fill(~held, merging.fill_value).reshape(batch, channels, *grid.shape)
    made = filled.movedim(1, -1) if merging.channels_last else filled
    return made.to(own)


def _dense(merging: Merging, device: torch.device, dtype: torch.dtype) -> Tensor:
    dense = merging.weights.dense(merging.grid.size).reshape(-1, prod(merging.grid.size))
    return torch.from_numpy(np.ascontiguousarray(dense)).to(device, dtype)


def _sources_on(grid: FragmentGrid, folded: bool, device: torch.device) -> _Sources:
    holders = prod(int(c.max(initial=1)) for c in grid.axis_coverage())
    small = holders * prod(grid.shape) <= _MOST_KEPT
    return (_kept_sources if small else _make_sources)(grid, folded, device)


def _make_sources(grid: FragmentGrid, folded: bool, device: torch.device) -> _Sources:
    made = sources(grid, np.arange(grid.n), slice(0, grid.shape[0]), folded=folded)
    return _Sources(*(torch.from_numpy(m.reshape(len(m), -1)).to(device) for m in made))


_kept_sources = lru_cache(maxsize=16)(_make_sources)
