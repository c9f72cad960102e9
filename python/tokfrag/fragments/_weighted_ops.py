"""The adjoint of merge as a torch operator: fragments times the weights that merge gives them."""

from __future__ import annotations

from itertools import repeat
from math import prod
from typing import Any

import torch

from tokfrag import _arrays
from tokfrag._operators import define, implement
from tokfrag.fragments import merging
from tokfrag.fragments._op_arguments import (
    GRID_SCHEMA,
    Sizes,
    kept_grid,
    space_time,
    thread_limit,
    window_of,
)
from tokfrag.fragments.extraction import fragments_shape
from tokfrag.fragments.grid import axis_count


def _cpu(
    x: torch.Tensor,
    size: Sizes,
    stride: Sizes,
    dilation: Sizes,
    edge: Any,
    pad_mode: Any,
    window: str,
    weights: list[torch.Tensor],
    reduce: Any,
    channels_last: bool,
    threads: int,
) -> torch.Tensor:
    if not x.is_floating_point():
        raise TypeError(f"x: got {x.dtype}, takes a floating dtype")
    if reduce == "max":
        raise ValueError("reduce: got 'max', which has no weights; takes 'mean' or 'sum'")
    shape = space_time(x.shape, channels_last)
    grid = kept_grid(shape, tuple(size), tuple(stride), tuple(dilation), edge, pad_mode, 0)
    out = _arrays.empty_tensor(x, fragments_shape(x, grid, channels_last))
    plan, code, _ = merging.prepare(grid, window_of(window, weights), reduce, 0, x.dtype)
    plan.extract_at(
        x.data_ptr(),
        x.shape,
        x.stride(),
        code,
        x.itemsize,
        channels_last,
        out.data_ptr(),
        thread_limit(threads),
    )
    return out


def _fake(x: torch.Tensor, size: Sizes, *arguments: Any) -> torch.Tensor:
    stride, dilation, edge = arguments[:3]
    channels_last = arguments[7]
    shape = space_time(x.shape, channels_last)
    counts = [axis_count(*axis, edge) for axis in zip(shape, size, stride, dilation, strict=True)]
    inner = (*size, x.shape[-1]) if channels_last else (x.shape[1], *size)
    return x.new_empty((x.shape[0], prod(counts), *inner))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    x, *arguments = inputs
    ctx.spec, ctx.window, weights = arguments[:5], *arguments[5:7]
    ctx.reduce, ctx.channels_last, ctx.threads = arguments[7:]
    ctx.shape = space_time(x.shape, ctx.channels_last)
    ctx.save_for_backward(*weights)


def _backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
    weights = list(ctx.saved_tensors)
    options = (ctx.reduce, ctx.channels_last, 0, ctx.threads)
    merge = torch.ops.tokfrag.merge.default
    merged = merge(gradient, ctx.shape, *ctx.spec, ctx.window, weights, *options)
    return merged, *(None,) * 6, [None] * len(weights), *(None,) * 3


def composed(
    x: torch.Tensor,
    size: Sizes,
    stride: Sizes,
    dilation: Sizes,
    edge: Any,
    pad_mode: str,
    window: Any,
    weights: list[torch.Tensor],
    reduce: str,
    channels_last: bool,
    threads: int,
) -> torch.Tensor:
    """The same from the operators extract and merge, for devices without a kernel for it."""
    axes = (size, stride, dilation, edge)
    shape = space_time(x.shape, channels_last)
    counts = list(map(axis_count, shape, size, stride, dilation, repeat(edge)))

    def put(fragments: torch.Tensor, shape: Any, *axes: Any, last: bool) -> torch.Tensor:
        plain: tuple[Any, ...] = ("constant", "uniform", [], "sum", last, 0, threads)
        total: torch.Tensor = torch.ops.tokfrag.merge.default(fragments, shape, *axes, *plain)
        return total

    whole: torch.Tensor | None = None
    vectors: list[torch.Tensor] = []
    if window == "whole":
        leading = (1, prod(counts)) if weights[0].dim() > len(size) else (1, 1)
        whole = weights[0].reshape(*leading, *((*size, 1) if channels_last else (1, *size)))
    elif window == "vectors":
        vectors = weights
    else:
        vectors = [torch.from_numpy(merging.axis_window(window, w)) for w in size]
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
    cut: torch.Tensor = torch.ops.tokfrag.extract.default(
        x, *axes, pad_mode, 0, channels_last, threads
    )
    if window == "uniform":
        return cut
    if whole is None:
        whole = torch.ones((), dtype=torch.float64)
        for vector in vectors:
            whole = whole[..., None] * vector
        whole = whole[..., None] if channels_last else whole
    return cut * whole.to(cut)


extract_weighted = define(
    f"extract_weighted(Tensor x, {GRID_SCHEMA}, str window, Tensor[] weights, str reduce, "
    "bool channels_last, int threads) -> Tensor",
    cpu=_cpu,
    fake=_fake,
    setup_context=_setup,
    backward=_backward,
)
implement("extract_weighted", "CUDA", composed)
