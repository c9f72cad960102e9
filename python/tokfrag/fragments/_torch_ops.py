"""extract and merge as torch operators, with gradients. Imported on the first tensor."""

from __future__ import annotations

from functools import lru_cache
from itertools import repeat
from math import prod
from typing import Any

import torch

from tokfrag import _arrays, _core
from tokfrag._torch_ops import define, implement
from tokfrag.fragments import _cuda_backend, merging
from tokfrag.fragments.extraction import check_shape, fragments_shape, pad_bytes
from tokfrag.fragments.grid import FragmentGrid, axis_count
from tokfrag.fragments.merging import Reduce, Window

Sizes = list[int]
Number = bool | int | float | complex


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
    if _is_plain(fragments):
        target = _arrays.empty_tensor(fragments, shape) if out is None else out
        _run_merge(fragments, grid, window, reduce, channels_last, fill_value, threads, target)
        return target
    spec = (grid.shape, grid.size, grid.stride, grid.dilation, grid.edge, grid.pad_mode)
    name, weights = _window_arguments(grid, window)
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
        not torch.compiler.is_compiling()
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


def _window_arguments(grid: FragmentGrid, window: Window) -> tuple[str, list[torch.Tensor]]:
    if isinstance(window, str):
        return window, []
    vectors, whole = merging.window_weights(grid, window)
    if whole is not None:
        return "whole", [torch.tensor(whole)]
    return "vectors", [torch.tensor(vector) for vector in vectors]


def _window_of(name: str, weights: list[torch.Tensor]) -> Window:
    if name == "vectors":
        return weights
    return weights[0] if name == "whole" else name  # type: ignore[return-value]


@lru_cache(maxsize=256)
def _grid(
    shape: tuple[int, ...],
    size: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    edge: Any,
    pad_mode: Any,
    pad_value: Number,
) -> FragmentGrid:
    # Not through __init__: its warning about uncovered positions belongs to the user's own grid.
    return FragmentGrid.checked(shape, size, stride, edge, pad_mode, pad_value, dilation)


def thread_limit(threads: int) -> int:
    """The most threads a call may use; 0 stands for as many as torch may."""
    return threads or min(_core.default_threads(), torch.get_num_threads())


def _space_time(shape: Any, channels_last: bool) -> tuple[int, ...]:
    return tuple(shape[1:-1] if channels_last else shape[2:])


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
    shape = _space_time(x.shape, channels_last)
    return _grid(shape, tuple(size), tuple(stride), tuple(dilation), edge, pad_mode, pad_value)


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
    shape = _space_time(x.shape, channels_last)
    counts = [axis_count(*axis, edge) for axis in zip(shape, size, stride, dilation, strict=True)]
    inner = (*size, x.shape[-1]) if channels_last else (x.shape[1], *size)
    return x.new_empty((x.shape[0], prod(counts), *inner))


def _extract_setup(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    x, *ctx.arguments = inputs
    ctx.shape = _space_time(x.shape, inputs[7])


def _extract_backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    size, stride, dilation, edge, pad_mode, _, channels_last, threads = ctx.arguments
    spec = (ctx.shape, size, stride, dilation, edge, pad_mode)
    options: tuple[Any, ...] = ("uniform", [], "sum", channels_last, 0, threads)
    if gradient.is_complex():
        parts = (_merge(part, *spec, *options) for part in (gradient.real, gradient.imag))
        return torch.complex(*parts), *(None,) * 8
    return _merge(gradient, *spec, *options), *(None,) * 8


_GRID_SCHEMA = "int[] size, int[] stride, int[] dilation, str edge, str pad_mode"
_EXTRACT_SCHEMA = f"Tensor x, {_GRID_SCHEMA}, Scalar pad_value, bool channels_last, int threads"

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
    return _grid(*axes, edge, pad_mode, 0)


def _merge_cpu(fragments: torch.Tensor, *arguments: Any) -> torch.Tensor:
    grid = _merge_grid(*arguments[:6])
    out = _arrays.empty_tensor(fragments, merging.merged_shape(fragments, grid, arguments[9]))
    reduce, channels_last, fill_value, threads = arguments[8:]
    window = _window_of(*arguments[6:8])
    _run_merge(fragments, grid, window, reduce, channels_last, fill_value, threads, out)
    return out


def _merge_into_cpu(fragments: torch.Tensor, *arguments: Any) -> None:
    window = _window_of(*arguments[6:8])
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
    """The gradient of fragment elements: the window times what extract cuts from `gradient`."""
    weights = [] if ctx.reduce == "max" else list(ctx.saved_tensors)
    wide = gradient.float() if gradient.dtype in (torch.float16, torch.bfloat16) else gradient
    if ctx.reduce == "max":
        result = _max_backward(ctx, gradient)
    elif ctx.reduce == "sum":
        cut = _cut(ctx, gradient, ctx.spec[5])
        result = _times_window(ctx, cut, weights)
    else:
        scaled = (wide / _weight_sums(ctx, wide, weights)).to(gradient.dtype)
        result = _times_window(ctx, _cut(ctx, scaled, "constant"), weights)
    return result, *(None,) * 7, [None] * len(weights), *(None,) * 4


def _cut(ctx: Any, x: torch.Tensor, pad_mode: str) -> torch.Tensor:
    _, size, stride, dilation, edge, _ = ctx.spec
    axes = (size, stride, dilation)
    cut: torch.Tensor = _extract(x, *axes, edge, pad_mode, 0, ctx.channels_last, ctx.threads)
    return cut


def _put(ctx: Any, x: torch.Tensor) -> torch.Tensor:
    """The sum of fragments at each position; padded positions left out."""
    spec = (*ctx.spec[:5], "constant")
    total: torch.Tensor = _merge(x, *spec, "uniform", [], "sum", ctx.channels_last, 0, ctx.threads)
    return total


def _axis_vectors(ctx: Any, weights: list[torch.Tensor]) -> list[torch.Tensor]:
    """The window's weights, a vector an axis."""
    if ctx.window == "vectors":
        return weights
    return [torch.from_numpy(merging.axis_window(ctx.window, size)) for size in ctx.spec[1]]


def _outer(vectors: list[torch.Tensor]) -> torch.Tensor:
    product = vectors[0]
    for vector in vectors[1:]:
        product = product[..., None] * vector
    return product


def _whole_window(ctx: Any, weights: list[torch.Tensor]) -> torch.Tensor:
    """The window in float64, in a shape that broadcasts over fragments."""
    rank = len(ctx.spec[1])
    window = weights[0] if ctx.window == "whole" else _outer(_axis_vectors(ctx, weights))
    leading = (1, window.shape[0]) if window.dim() > rank else (1, 1)
    size = window.shape[-rank:]
    return window.reshape(*leading, *((*size, 1) if ctx.channels_last else (1, *size)))


def _times_window(ctx: Any, x: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
    return x if ctx.window == "uniform" else x * _whole_window(ctx, weights).to(x)


def _weight_sums(ctx: Any, like: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
    """The sum of the weights over each position, 1 where no fragment lies."""
    counts = list(map(axis_count, *ctx.spec[:4], repeat(ctx.spec[4])))
    if ctx.window == "whole":
        window = _whole_window(ctx, weights)
        sums = _put(ctx, window.expand(1, prod(counts), *window.shape[2:]))
    else:
        # The sums over a grid are the products of those over its axes.
        axes = []
        for axis, vector in enumerate(_axis_vectors(ctx, weights)):
            spec = [[values[axis]] for values in ctx.spec[:4]]
            held = vector.expand(1, counts[axis], 1, -1)
            total = _merge(
                held, *spec, ctx.spec[4], "constant", "uniform", [], "sum", False, 0, ctx.threads
            )
            axes.append(total.reshape(-1))
        sums = _outer(axes)
        sums = sums[None, ..., None] if ctx.channels_last else sums[None, None]
    return torch.where(sums == 0, 1, sums).to(like)


def _max_backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
    """Shared evenly among the fragments that attain the maximum."""
    fragments, largest = ctx.saved_tensors
    attained = (fragments == _cut(ctx, largest, "constant")).to(gradient.dtype)
    share = gradient / _put(ctx, attained).clamp_min(1)
    result: torch.Tensor = _cut(ctx, share, "constant") * attained
    return result


_MERGE_SCHEMA = (
    "Tensor fragments, SymInt[] shape, "
    f"{_GRID_SCHEMA}, str window, Tensor[] weights, str reduce, "
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
