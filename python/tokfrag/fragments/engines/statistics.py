"""fragment_features made of torch's own operators: on any device, and differentiable."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from tokfrag.fragments.engines import composed
from tokfrag.fragments.shapes import FeatureTable


def features(x: Tensor, table: FeatureTable) -> Tensor:
    """The kernels' formulas on materialised fragments."""
    out_dtype, grid = result_dtype(x), table.grid
    wide = x.to(torch.promote_types(out_dtype, torch.float32))
    y = composed.extract(wide, grid, channels_last=False)
    axes = tuple(range(3, y.ndim))
    values = prod(grid.size)
    mean = y.mean(axes, keepdim=True)
    time = 3 + table.axis
    deviation = y - mean
    low, high = y.amin(axes), y.amax(axes)
    constant = (low == high) & low.isfinite()
    # A constant fragment has neither spread nor correlation; the 1 keeps its gradient finite.
    energy = (deviation**2).sum(axes).masked_fill(constant, 1)
    columns = []
    for name in table.names:
        if name == "mean":
            columns.append(mean.flatten(2))
        elif name == "std":
            columns.append((energy / values).sqrt().masked_fill(constant, 0)[..., None])
        elif name == "min":
            columns.append(low[..., None])
        elif name == "max":
            columns.append(high[..., None])
        elif name == "diff_energy":
            steps = y.diff(dim=time) ** 2
            pairs = max(steps[0, 0, 0].numel() if steps.numel() else 0, 1)
            columns.append((steps.sum(axes) / pairs)[..., None])
        else:
            for lag in table.lags:
                length = grid.size[table.axis] - lag
                early = deviation.narrow(time, 0, length)
                late = deviation.narrow(time, lag, length)
                correlation = (early * late).sum(axes) / energy
                columns.append(correlation.masked_fill(constant, 0)[..., None])
    if not columns:
        return y.new_empty((*y.shape[:3], 0), dtype=out_dtype)
    return torch.cat([c.reshape(*y.shape[:3], 1) for c in columns], -1).to(out_dtype)


def result_dtype(x: Tensor) -> torch.dtype:
    """The type of x's features."""
    return x.dtype if x.is_floating_point() else torch.float32
