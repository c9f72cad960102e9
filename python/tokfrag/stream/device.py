"""Patches on a CUDA device, by the kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tokfrag._arrays import dtype_code
from tokfrag._device import kernels, launch
from tokfrag._operators import is_memory, nobody_watches
from tokfrag.stream.layouts import Layout
from tokfrag.stream.pixels import Pixels, runs
from tokfrag.stream.scaling import FORMULAS, Scaling

_MOST_CHANNELS = 16  # that the kernel has numbers for
_MOST_VALUES = 1 << 31  # of one image


def suits(pixels: list[Pixels], grids: NDArray[np.int64], plan: Layout) -> bool:
    """Whether the kernel takes these, which lie on one device that is not the CPU."""
    watched = torch.is_grad_enabled() and any(p.data.requires_grad for p in pixels)
    return (
        not watched
        and nobody_watches()
        and all(p.data.is_cuda and is_memory(p.data) for p in pixels)
        and plan.channels <= _MOST_CHANNELS
        and int(grids.prod(1).max()) * plan.patch_values < _MOST_VALUES
        and kernels(pixels[0].data.device.index) is not None
    )


def fill(
    values: torch.Tensor,
    pixels: list[Pixels],
    grids: NDArray[np.int64],
    plan: Layout,
    scaling: Scaling,
) -> None:
    """Write the patches of images into `values`, on their device; those of bytes and of floats."""
    sizes = (plan.frames, plan.patch, plan.patch, plan.channels, plan.merge)
    scale, shift = (numbers.tolist() for numbers in scaling.numbers())
    with launch(values) as (device, stream):
        module: Any = kernels(device)
        out = values.data_ptr()
        for dtype, items in runs(pixels, grids):
            module.patchify(
                dtype_code(np.dtype(dtype)),
                dtype_code(values.dtype),
                items,
                sizes,
                plan.steps,
                FORMULAS.index(scaling.formula),
                scale,
                shift,
                out,
                device,
                stream,
            )
            patches = sum(t * h * w for *_, t, h, w in items)
            out += patches * plan.patch_values * values.itemsize
