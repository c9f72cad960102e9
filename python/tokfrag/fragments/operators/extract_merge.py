"""extract and merge as torch operators, with gradients. Imported on the first tensor."""

from __future__ import annotations

from typing import Any

import torch

from tokfrag import _arrays
from tokfrag._operators import (
    define,
    implement,
    is_plain,
    thread_limit,
    transformed as is_transformed,
)
from tokfrag.fragments.engines import composed, cuda, host, ordered
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.operators.adjoint import weighted
from tokfrag.fragments.operators.arguments import (
    GRID_SCHEMA,
    ExtractArguments,
    MergeArguments,
    Number,
    cut_shape,
    merge_arguments,
    no_gradients,
    space_time,
)
from tokfrag.fragments.shapes import (
    Cut,
    Merging,
    check_data,
    check_fragments,
    check_merged_dtype,
    cut_of,
    merging_of,
)
from tokfrag.fragments.windows import Reduce, Window


def extract(
    x: torch.Tensor,
    grid: FragmentGrid,
    channels_last: bool,
    out: torch.Tensor | None,
    threads: int,
) -> torch.Tensor:
    """`tokfrag.extract` for tensors; `threads` as the kernels take it."""
    shape = check_data(x, grid, channels_last)
    if out is not None:
        _check_out(out, x, "x", shape)
    if is_plain(x):
        if x.is_cpu:
            target = _arrays.empty_tensor(x, shape) if out is None else out
            host.extract(x, cut_of(grid, channels_last, x.dtype), target, thread_limit(threads))
            return target
        if x.is_cuda:
            target = _arrays.empty_tensor(x, shape) if out is None else out
            _run_extract(x, cut_of(grid, channels_last, x.dtype), target, threads)
            return target
    if is_transformed():
        return composed.extract(x, grid, channels_last)
    _arrays.check_plain(x, "x")
    arguments = ExtractArguments.of(grid, channels_last, threads)
    if out is None:
        fragments: torch.Tensor = _extract(x, *arguments)
        return fragments
    _extract_into(x, *arguments, out)
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
    shape = check_fragments(fragments, grid, channels_last)
    if out is not None:
        _check_out(out, fragments, "fragments", shape)
        _arrays.check_apart(out, window, "window")
    options = (grid, window, reduce, channels_last, fill_value)
    if is_plain(fragments):
        if fragments.is_cpu:
            target = _arrays.empty_tensor(fragments, shape) if out is None else out
            merging = merging_of(*options, fragments.dtype)
            host.merge(fragments, merging, target, thread_limit(threads))
            return target
        if fragments.is_cuda:
            target = _arrays.empty_tensor(fragments, shape) if out is None else out
            merging = merging_of(*options, fragments.dtype, planned=False)
            _run_merge(fragments, merging, target, threads)
            return target
    if is_transformed():
        merging = merging_of(*options, fragments.dtype)
        host.check_sums(merging)
        return composed.merge(fragments, merging)
    _arrays.check_plain(fragments, "fragments")
    arguments = merge_arguments(*options, threads)
    if out is None:
        merged: torch.Tensor = _merge(fragments, *arguments)
        return merged
    _merge_into(fragments, *arguments, out)
    return out


def has_kernels(x: torch.Tensor) -> bool:
    """Whether the CUDA kernels run where `x` lies."""
    return cuda.kernels(x.device.index) is not None


def _check_out(out: torch.Tensor, x: torch.Tensor, name: str, shape: tuple[int, ...]) -> None:
    if is_transformed():
        raise ValueError("out: under torch.func or forward-mode differentiation, takes none")
    _arrays.check_out(out, x, name, shape)
    if (x.requires_grad or out.requires_grad) and torch.is_grad_enabled():
        of = name if x.requires_grad else "out"
        raise ValueError(f"out: with a gradient wanted for {of}, takes none: it would be lost")


# extract


def _extract_native(x: torch.Tensor, *arguments: Any) -> torch.Tensor:
    given = ExtractArguments(*arguments)
    cut = cut_of(given.grid(x), given.channels_last, x.dtype)
    out = _arrays.empty_tensor(x, check_data(x, cut.grid, given.channels_last))
    _run_extract(x, cut, out, given.threads)
    return out


def _extract_into_native(x: torch.Tensor, *arguments: Any) -> None:
    *others, out = arguments
    given = ExtractArguments(*others)
    _run_extract(x, cut_of(given.grid(x), given.channels_last, x.dtype), out, given.threads)


def _run_extract(x: torch.Tensor, cut: Cut, out: torch.Tensor, threads: int) -> None:
    if not x.is_cuda:
        host.extract(x, cut, out, thread_limit(threads))
    elif cuda.kernels(x.device.index) is not None:
        cuda.extract(x, cut, out)
    else:
        out.copy_(composed.extract(x, cut.grid, cut.channels_last))


def _extract_fake(x: torch.Tensor, *arguments: Any) -> torch.Tensor:
    given = ExtractArguments(*arguments)
    axes = (given.size, given.stride, given.dilation, given.edge)
    return x.new_empty(cut_shape(x, *axes, given.channels_last))


def _extract_composed(x: torch.Tensor, *arguments: Any) -> torch.Tensor:
    given = ExtractArguments(*arguments)
    return composed.extract(x, given.grid(x), given.channels_last)


def _extract_setup(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    x, *arguments = inputs
    ctx.given = ExtractArguments(*arguments)
    ctx.shape = space_time(x, ctx.given.channels_last)


def _extract_backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    given: ExtractArguments = ctx.given
    arguments = MergeArguments(
        ctx.shape,
        *given[:5],
        window="uniform",
        weights=[],
        reduce="sum",
        channels_last=given.channels_last,
        fill_value=0,
        threads=given.threads,
    )
    none = (None,) * len(given)
    if gradient.is_complex():
        parts = (_merge(part, *arguments) for part in (gradient.real, gradient.imag))
        return torch.complex(*parts), *none
    run = _merge_native if gradient.is_cpu and is_plain(gradient) else _merge
    return run(gradient, *arguments), *none


_EXTRACT_SCHEMA = f"Tensor x, {GRID_SCHEMA}, Scalar pad_value, bool channels_last, int threads"

_extract = define(
    f"extract({_EXTRACT_SCHEMA}) -> Tensor",
    cpu=_extract_native,
    fake=_extract_fake,
    setup_context=_extract_setup,
    backward=_extract_backward,
    decomposition=_extract_composed,
)
_extract_into = define(
    f"extract_into({_EXTRACT_SCHEMA}, Tensor(a!) out) -> ()",
    cpu=_extract_into_native,
    fake=lambda *arguments: None,
)


# merge


def _merge_native(fragments: torch.Tensor, *arguments: Any) -> torch.Tensor:
    given = MergeArguments(*arguments)
    merging = given.merging(fragments.dtype, planned=not fragments.is_cuda)
    shape = check_fragments(fragments, merging.grid, given.channels_last)
    out = _arrays.empty_tensor(fragments, shape)
    _run_merge(fragments, merging, out, given.threads)
    return out


def _merge_into_native(fragments: torch.Tensor, *arguments: Any) -> None:
    *others, out = arguments
    given = MergeArguments(*others)
    merging = given.merging(fragments.dtype, planned=not fragments.is_cuda)
    _run_merge(fragments, merging, out, given.threads)


def _run_merge(fragments: torch.Tensor, merging: Merging, out: torch.Tensor, threads: int) -> None:
    if not fragments.is_cuda:
        host.merge(fragments, merging, out, thread_limit(threads))
    elif cuda.kernels(fragments.device.index) is not None:
        cuda.merge(fragments, merging, out)
    else:
        host.check_sums(merging)
        out.copy_(ordered.merge(fragments, merging))


def _merge_fake(fragments: torch.Tensor, *arguments: Any) -> torch.Tensor:
    given = MergeArguments(*arguments)
    wide = _arrays.wider(fragments.dtype)
    check_merged_dtype(fragments.dtype, wide or fragments.dtype, given.reduce)
    channels = fragments.shape[-1 if given.channels_last else 2]
    inner = (*given.shape, channels) if given.channels_last else (channels, *given.shape)
    return fragments.new_empty((fragments.shape[0], *inner))


def _merge_composed(fragments: torch.Tensor, *arguments: Any) -> torch.Tensor:
    given = MergeArguments(*arguments)
    weights = None
    if given.reduce != "max":
        window = composed.spelled_out(given.window, given.weights, given.size)
        weights = composed.dense_weights(*window, given.size)
    options = (given.reduce, given.channels_last, given.fill_value)
    return composed.merge_free(fragments, given.grid, weights, *options)


def _merge_setup(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    fragments, *arguments = inputs
    given = MergeArguments(*arguments)
    ctx.given = given._replace(weights=[])
    if given.reduce == "max":
        ctx.save_for_backward(fragments, output)
    else:
        ctx.save_for_backward(*given.weights)


def _merge_backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
    """The gradient of fragment elements: what extract cuts from `gradient`, times the weights."""
    given: MergeArguments = ctx.given
    weights: list[torch.Tensor] = []
    if given.reduce == "max":
        result = _max_backward(given, gradient, *ctx.saved_tensors)
    else:
        weights = list(ctx.saved_tensors)
        result = weighted(gradient, given, weights)
    return result, *no_gradients(given._fields, len(weights))


def _max_backward(
    given: MergeArguments, gradient: torch.Tensor, fragments: torch.Tensor, largest: torch.Tensor
) -> torch.Tensor:
    """Shared evenly among the fragments that attain the maximum."""
    plain = given._replace(pad_mode="constant", window="uniform", reduce="sum", fill_value=0)
    cutting = ExtractArguments._make([*plain.axes, 0, given.channels_last, given.threads])
    attained = (fragments == _extract(largest, *cutting)).to(gradient.dtype)
    share = gradient / _merge(attained, *plain).clamp_min(1)
    result: torch.Tensor = _extract(share, *cutting) * attained
    return result


_MERGE_SCHEMA = (
    "Tensor fragments, SymInt[] shape, "
    f"{GRID_SCHEMA}, str window, Tensor[] weights, str reduce, "
    "bool channels_last, Scalar fill_value, int threads"
)

_merge = define(
    f"merge({_MERGE_SCHEMA}) -> Tensor",
    cpu=_merge_native,
    fake=_merge_fake,
    setup_context=_merge_setup,
    backward=_merge_backward,
    decomposition=_merge_composed,
)
_merge_into = define(
    f"merge_into({_MERGE_SCHEMA}, Tensor(a!) out) -> ()",
    cpu=_merge_into_native,
    fake=lambda *arguments: None,
)

implement("extract", "CUDA", _extract_native)
implement("extract_into", "CUDA", _extract_into_native)
implement("merge", "CUDA", _merge_native)
implement("merge_into", "CUDA", _merge_into_native)
