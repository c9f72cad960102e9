"""Patches by torch's own operators: for other devices than the CPU, and for gradients."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from tokfrag.stream.layouts import Layout
from tokfrag.stream.pixels import Pixels
from tokfrag.stream.scaling import Scaling


def composed(
    pixels: list[Pixels],
    grids: NDArray[np.int64],
    plan: Layout,
    scaling: Scaling,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Compute what the kernel computes, for tensors of one device; gradients flow through."""
    made = []
    for item, (t, h, w) in zip(pixels, grids.tolist(), strict=True):
        x = item.data if item.video else item.data[None]
        x = x.permute(0, 2, 3, 1) if item.channels_first else x
        device = x.device
        if x.dtype == torch.uint8:
            channel = torch.arange(plan.channels, device=device)
            x = torch.from_numpy(scaling.table()).to(device)[channel, x.long()]
        else:
            x = scaling.apply(x)
        short = t * plan.frames - len(x)
        if short:
            x = torch.cat([x, x[-1:].expand(short, *x.shape[1:])])
        m, p = plan.merge, plan.patch
        # time, frame | group row, row, pixel row | group column, column, pixel column | channel
        split = x.reshape(t, plan.frames, h // m, m, p, w // m, m, p, plan.channels)
        place = {"t": 1, "y": 4, "x": 7, "c": 8}
        order = (0, 2, 5, 3, 6, *(place[axis] for axis in plan.axes))
        made.append(split.permute(order).reshape(t * h * w, plan.patch_values))
    return torch.cat(made).to(dtype)
