"""The problems that the CUDA kernels are tried on, on a device and emulated."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from hypothesis import strategies as st

from tokfrag import FragmentGrid
from tokfrag.fragments.shapes import FEATURES

PAD_MODES = ("constant", "reflect", "replicate", "circular")
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# Halves are added up in float32 on the GPU, in float64 on the CPU: they may round apart, once.
TOLERANCE = {torch.float16: 2e-3, torch.bfloat16: 2e-2}


@st.composite
def grids(draw: Any, longest: tuple[int, ...]) -> FragmentGrid:
    """Grids with every edge rule; sizes often multiples of 4, so that wide accesses occur.

    ``longest[r - 1]`` bounds the axes of a grid of rank ``r``.
    """
    rank = draw(st.integers(1, len(longest)))
    unit = draw(st.sampled_from((1, 4)))
    dilation = draw(st.sampled_from((1, 1, 2, 3)))
    edge = draw(st.sampled_from(("pad", "shift")))
    lengths, sizes, strides = [], [], []
    for axis in range(rank):
        step = unit if axis == rank - 1 else 1
        length = step * draw(st.integers(1, max(longest[rank - 1] // step, 1)))
        limit = length if edge == "pad" else (length - 1) // dilation + 1
        lengths.append(length)
        sizes.append(min(step * draw(st.integers(1, max(limit // step, 1))), limit))
        strides.append(step * draw(st.integers(1, 6)))
    return FragmentGrid(
        lengths,
        sizes,
        strides,
        edge=edge,
        pad_mode=draw(st.sampled_from(PAD_MODES)),
        pad_value=draw(st.sampled_from((0, 1))),
        dilation=dilation,
    )


def numbers(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> Any:
    """Whole numbers below 100; true and false evenly."""
    values = torch.from_numpy(np.random.default_rng(seed).integers(0, 100, shape))
    return (values > 49) if dtype == torch.bool else values.to(dtype)


def image(grid: FragmentGrid, channels_last: bool, dtype: Any) -> Any:
    """What `extract` cuts by `grid`: two entries of three channels."""
    return numbers((2, *grid.shape, 3) if channels_last else (2, 3, *grid.shape), dtype)


class MergeCase(NamedTuple):
    """The arguments of a merge that differ between problems."""

    fragments: Any
    grid: FragmentGrid
    window: Any
    reduce: Any
    channels_last: bool


@st.composite
def merge_cases(draw: Any, longest: tuple[int, ...], dtypes: tuple[Any, ...]) -> MergeCase:
    """Merges with every kind of window and reduction."""
    grid = draw(grids(longest))
    channels_last = draw(st.booleans())
    shape = (2, grid.n, *grid.size, 4) if channels_last else (2, grid.n, 4, *grid.size)
    reduce = draw(st.sampled_from(("mean", "sum", "max")))
    rng = np.random.default_rng(1)
    windows: dict[str, Any] = {
        "uniform": "uniform",
        "gaussian": "gaussian",
        "vectors": [rng.random(size) + 0.1 for size in grid.size],
        "whole": rng.random(grid.size) + 0.1,
        "per fragment": rng.random((grid.n, *grid.size)) + 0.1,
    }
    kind = "uniform" if reduce == "max" else draw(st.sampled_from(sorted(windows)))
    fragments = numbers(shape, draw(st.sampled_from(dtypes)))
    return MergeCase(fragments, grid, windows[kind], reduce, channels_last)


def feature_names(grid: FragmentGrid, axis: int) -> tuple[Any, tuple[int, ...]]:
    """The features and lags that a grid's windows have along an axis."""
    lags = tuple(range(1, min(grid.size[axis], 12)))
    return (FEATURES if lags else FEATURES[:-1]), lags
