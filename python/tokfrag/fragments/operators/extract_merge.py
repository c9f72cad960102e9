"""extract and merge as torch operators, with gradients. Imported on the first tensor."""

from __future__ import annotations

from math import prod
from typing import Any

import torch

from tokfrag import _arrays
from tokfrag._operators import define, implement
from tokfrag.fragments import merging
from tokfrag.fragments._op_arguments import (
    GRID_SCHEMA,
    Number,
    Sizes,
    kept_grid,
    space_time,
    thread_limit,
    window_arguments,
    window_of,
)
from tokfrag.fragments._weighted_ops import extract_weighted
from tokfrag.fragments.engines import cuda as _cuda_backend
from tokfrag.fragments.extraction import check_shape, fragments_shape, pad_bytes
from tokfrag.fragments.grid import FragmentGrid, axis_count
from tokfrag.fragments.merging import Reduce, Window


def extract(
    x: torch.Tensor,
    grid: FragmentGrid,
    channels_last: bool,
    out: torch.Tensor | None,
    threads: int,
) -> torch.Tensor:
    """`tokfrag.extract` for tensors; `threads` as the kernels take it."""
    check_shape(x, grid, channels_last)
    shape = fragments_shape(x, grid, channels_last)
    if out is not None:
        _check_out(out, x, "x", shape)
    if _is_plain(x):
        target = _arrays.empty_tensor(x, shape) if out is None else out
        _run_extract(x, grid, channels_last, threads, target)
        return target
    spec = (grid.size, grid.stride, grid.dilation, grid.edge, grid.pad_mode, grid.pad_value)
    if out is None:
        fragments: torch.Tensor = _extract(x, *spec, channels_last, threads)
        return fragments
    _extract_into(x, *spec, channels_last, threads, out)
    return out


def merge(
    fragments: torch.Tensor,
    grid: FragmentGrid,
    window: Window,
    reduce: Reduce,
    channels_last: bool,
    fill_value: Number,
    out: torch.Tensor | None,
    threads: int,
) -> torch.Tensor:
    """`tokfrag.merge` for tensors; `threads` as the kernels take it."""
    merging.check_fragments(fragments, grid, channels_last)
    shape = merging.merged_shape(fragments, grid, channels_last)
    if out is not None:
        _check_out(out, fragments, "fragments", shape)
        _arrays.check_apart(out, window, "window")
    if _is_plain(fragments):
        target = _arrays.empty_tensor(fragments, shape) if out is None else out
        _run_merge(fragments, grid, window, reduce, channels_last, fill_value, threads, target)
        return target
    spec = (grid.shape, grid.size, grid.stride, grid.dilation, grid.edge, grid.pad_mode)
    name, weights = window_arguments(grid, window)
    options = (name, weights, reduce, channels_last, fill_value, threads)
    if out is None:
        merged: torch.Tensor = _merge(fragments, *spec, *options)
        return merged
    _merge_into(fragments, *spec, *options, out)
    return out


def _is_plain(x: torch.Tensor) -> bool:
    """True if nothing but the kernel would see a call on `x`: the dispatcher is left out.

    That saves most of a small call's time. Gradients, tracing, functorch's transforms, dispatch
    modes, subclasses, other devices and lazily conjugated tensors all go the long way.
    """
    return (
        not _is_compiling()
        and type(x) in _PLAIN_TYPES
        and x.is_cpu
        and not (x.requires_grad and torch.is_grad_enabled())
        and x.layout is torch.strided
        and not x.is_neg()
        and not x.is_conj()
        and not _dispatch_modes()
        and _transforms() is None
        and _trace() is None
    )


_is_compiling = torch.compiler.is_compiling
_PLAIN_TYPES = (torch.Tensor, torch.nn.Parameter)


try:
    # What may be watching the dispatcher: modes, functorch's transforms, torch.jit.trace.
    _dispatch_modes = torch._C._len_torch_dispatch_stack
    _transforms = torch._C._functorch.peek_interpreter_stack
    _trace = torch._C._get_tracing_state
except AttributeError:  # a torch that has renamed them: every call goes the long way

    def _dispatch_modes() -> int:
        return 1


def _check_out(out: torch.Tensor, x: torch.Tensor, name: str, shape: tuple[int, ...]) -> None:
    _arrays.check_out(out, x, name, shape)
    _refuse_gradient(x, name)
    _refuse_gradient(out, "out")


def _refuse_gradient(x: torch.Tensor, name: str) -> None:
    if torch.is_grad_enabled() and x.requires_grad:
        raise ValueError(f"out: with a gradient wanted for {name}, takes none: it would be lost")


# extract


def _extract_grid(
    x: torch.Tensor,
    size: Sizes,
    stride: Sizes,
    dilation: Sizes,
    edge: str,
    pad_mode: str,
    pad_value: Number,
    channels_last: bool,
) -> FragmentGrid:
    shape = space_time(x.shape, channels_last)
    return kept_grid(shape, tuple(size), tuple(stride), tuple(dilation), edge, pad_mode, pad_value)


def _extract_cpu(x: torch.Tensor, *arguments: Any) -> torch.Tensor:
    grid = _extract_grid(x, *arguments[:-1])
    out = _arrays.empty_tensor(x, fragments_shape(x, grid, arguments[-2]))
    _run_extract(x, grid, arguments[-2], arguments[-1], out)
    return out


def _extract_into_cpu(x: torch.Tensor, *arguments: Any) -> None:
    grid = _extract_grid(x, *arguments[:-2])
    _run_extract(x, grid, *arguments[-3:])


def _run_extract(
    x: torch.Tensor, grid: FragmentGrid, channels_last: bool, threads: int, out: torch.Tensor
) -> None:
    if x.is_cuda:
        _cuda_backend.run_extract(x, grid, channels_last, out)
        return
    grid.plan.extract_at(
        x.data_ptr(),
        x.shape,
        x.stride(),
        x.itemsize,
        channels_last,
        pad_bytes(grid, x.dtype),
        out.data_ptr(),
        thread_limit(threads),
    )


def _extract_fake(
    x: torch.Tensor,
    size: Sizes,
    stride: Sizes,
    dilation: Sizes,
    edge: Any,
    pad_mode: str,
    pad_value: Number,
    channels_last: bool,
    threads: int,
) -> torch.Tensor:
    shape = space_time(x.shape, channels_last)
    counts = [axis_count(*axis, edge) for axis in zip(shape, size, stride, dilation, strict=True)]
    inner = (*size, x.shape[-1]) if channels_last else (x.shape[1], *size)
    return x.new_empty((x.shape[0], prod(counts), *inner))


def _extract_setup(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    x, *ctx.arguments = inputs
    ctx.shape = space_time(x.shape, inputs[7])


def _extract_backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    size, stride, dilation, edge, pad_mode, _, channels_last, threads = ctx.arguments
    spec = (ctx.shape, size, stride, dilation, edge, pad_mode)
    options: tuple[Any, ...] = ("uniform", [], "sum", channels_last, 0, threads)
    if gradient.is_complex():
        parts = (_merge(part, *spec, *options) for part in (gradient.real, gradient.imag))
        return torch.complex(*parts), *(None,) * 8
    return _merge(gradient, *spec, *options), *(None,) * 8


_EXTRACT_SCHEMA = f"Tensor x, {GRID_SCHEMA}, Scalar pad_value, bool channels_last, int threads"

_extract = define(
    f"extract({_EXTRACT_SCHEMA}) -> Tensor",
    cpu=_extract_cpu,
    fake=_extract_fake,
    setup_context=_extract_setup,
    backward=_extract_backward,
)
_extract_into = define(
    f"extract_into({_EXTRACT_SCHEMA}, Tensor(a!) out) -> ()",
    cpu=_extract_into_cpu,
    fake=lambda *arguments: None,
)


# merge


def _merge_grid(
    shape: Sizes, size: Sizes, stride: Sizes, dilation: Sizes, edge: str, pad_mode: str
) -> FragmentGrid:
    axes = (tuple(shape), tuple(size), tuple(stride), tuple(dilation))
    return kept_grid(*axes, edge, pad_mode, 0)


def _merge_cpu(fragments: torch.Tensor, *arguments: Any) -> torch.Tensor:
    grid = _merge_grid(*arguments[:6])
    out = _arrays.empty_tensor(fragments, merging.merged_shape(fragments, grid, arguments[9]))
    reduce, channels_last, fill_value, threads = arguments[8:]
    window = window_of(*arguments[6:8])
    _run_merge(fragments, grid, window, reduce, channels_last, fill_value, threads, out)
    return out


def _merge_into_cpu(fragments: torch.Tensor, *arguments: Any) -> None:
    window = window_of(*arguments[6:8])
    _run_merge(fragments, _merge_grid(*arguments[:6]), window, *arguments[8:])


def _run_merge(
    fragments: torch.Tensor,
    grid: FragmentGrid,
    window: Window,
    reduce: Reduce,
    channels_last: bool,
    fill_value: Number,
    threads: int,
    out: torch.Tensor,
) -> None:
    if fragments.is_cuda:
        _cuda_backend.run_merge(fragments, grid, window, reduce, channels_last, fill_value, out)
        return
    plan, code, fill = merging.prepare(grid, window, reduce, fill_value, fragments.dtype)
    plan.merge_at(
        fragments.data_ptr(),
        fragments.shape,
        fragments.stride(),
        code,
        fragments.itemsize,
        channels_last,
        fill,
        out.data_ptr(),
        thread_limit(threads),
    )


def _merge_fake(fragments: torch.Tensor, shape: Sizes, *arguments: Any) -> torch.Tensor:
    reduce, channels_last = arguments[7:9]
    merging.check_dtype(fragments.dtype, reduce)
    channels = fragments.shape[-1 if channels_last else 2]
    inner = (*shape, channels) if channels_last else (channels, *shape)
    return fragments.new_empty((fragments.shape[0], *inner))


def _merge_setup(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    fragments, *arguments = inputs
    ctx.spec, ctx.threads = arguments[:6], arguments[11]
    ctx.window, _, ctx.reduce, ctx.channels_last, _ = arguments[6:11]
    weights = arguments[7]
    if ctx.reduce == "max":
        ctx.save_for_backward(*weights, fragments, output)
    else:
        ctx.save_for_backward(*weights)


def _merge_backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
    """The gradient of fragment elements: what extract cuts from `gradient`, times the weights."""
    options = (ctx.channels_last, ctx.threads)
    if ctx.reduce == "max":
        fragments, largest = ctx.saved_tensors
        count = 0
        result = _max_backward(ctx, gradient, fragments, largest)
    else:
        weights = list(ctx.saved_tensors)
        count = len(weights)
        result = extract_weighted(
            gradient, *ctx.spec[1:], ctx.window, weights, ctx.reduce, *options
        )
    return result, *(None,) * 7, [None] * count, *(None,) * 4


def _max_backward(
    ctx: Any, gradient: torch.Tensor, fragments: torch.Tensor, largest: torch.Tensor
) -> torch.Tensor:
    """Shared evenly among the fragments that attain the maximum."""
    axes = (*ctx.spec[1:5], "constant")
    options = (ctx.channels_last, 0, ctx.threads)
    cut: torch.Tensor = _extract(largest, *axes, 0, ctx.channels_last, ctx.threads)
    attained = (fragments == cut).to(gradient.dtype)
    held = _merge(attained, ctx.spec[0], *axes, "uniform", [], "sum", *options)
    share = gradient / held.clamp_min(1)
    result: torch.Tensor = _extract(share, *axes, 0, ctx.channels_last, ctx.threads)
    return result * attained


_MERGE_SCHEMA = (
    "Tensor fragments, SymInt[] shape, "
    f"{GRID_SCHEMA}, str window, Tensor[] weights, str reduce, "
    "bool channels_last, Scalar fill_value, int threads"
)

_merge = define(
    f"merge({_MERGE_SCHEMA}) -> Tensor",
    cpu=_merge_cpu,
    fake=_merge_fake,
    setup_context=_merge_setup,
    backward=_merge_backward,
)
_merge_into = define(
    f"merge_into({_MERGE_SCHEMA}, Tensor(a!) out) -> ()",
    cpu=_merge_into_cpu,
    fake=lambda *arguments: None,
)

implement("extract", "CUDA", _extract_cpu)
implement("extract_into", "CUDA", _extract_into_cpu)
implement("merge", "CUDA", _merge_cpu)
implement("merge_into", "CUDA", _merge_into_cpu)
