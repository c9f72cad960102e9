"""The adjoint of merge as a torch operator: fragments times the weights that merge gives them."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from tokfrag import _arrays
from tokfrag._operators import define, implement, is_plain, thread_limit
from tokfrag.fragments.engines import composed, cuda, host
from tokfrag.fragments.operators.arguments import (
    GRID_SCHEMA,
    MergeArguments,
    Sizes,
    cut_shape,
    no_gradients,
    space_time,
)
from tokfrag.fragments.shapes import check_data


class _Arguments(NamedTuple):
    """What ``tokfrag::extract_weighted`` takes after the data, in the order of its schema."""

    size: Sizes
    stride: Sizes
    dilation: Sizes
    edge: Any
    pad_mode: Any
    window: str
    weights: list[torch.Tensor]
    reduce: Any
    channels_last: bool
    threads: int

    def merge(self, shape: Any) -> MergeArguments:
        """The merge on a grid over `shape` whose adjoint this is."""
        options = (self.reduce, self.channels_last, 0, self.threads)
        return MergeArguments(shape, *self[:5], self.window, self.weights, *options)


def _check(x: torch.Tensor, given: _Arguments) -> None:
    if not x.is_floating_point():
        raise TypeError(f"x: got {x.dtype}, takes a floating dtype")
    if given.reduce == "max":
        raise ValueError("reduce: got 'max', which has no weights; takes 'mean' or 'sum'")


def _native(x: torch.Tensor, *arguments: Any) -> torch.Tensor:
    given = _Arguments(*arguments)
    _check(x, given)
    merging = given.merge(space_time(x, given.channels_last)).merging(x.dtype)
    out = _arrays.empty_tensor(x, check_data(x, merging.grid, given.channels_last))
    host.adjoint(x, merging, out, thread_limit(given.threads))
    return out


def _on_device(x: torch.Tensor, *arguments: Any) -> torch.Tensor:
    if cuda.kernels(x.device.index) is None:
        return composed.extract_weighted(x, *arguments)
    given = _Arguments(*arguments)
    _check(x, given)
    merging = given.merge(space_time(x, given.channels_last)).merging(x.dtype, planned=False)
    out = _arrays.empty_tensor(x, check_data(x, merging.grid, given.channels_last))
    cuda.adjoint(x, merging, out)
    return out


def _fake(x: torch.Tensor, *arguments: Any) -> torch.Tensor:
    given = _Arguments(*arguments)
    axes = (given.size, given.stride, given.dilation, given.edge)
    return x.new_empty(cut_shape(x, *axes, given.channels_last))


def _composed(x: torch.Tensor, *arguments: Any) -> torch.Tensor:
    given = _Arguments(*arguments)
    window, weights = composed.spelled_out(given.window, given.weights, given.size)
    return composed.extract_weighted(x, *given._replace(window=window, weights=weights))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    x, *arguments = inputs
    given = _Arguments(*arguments)
    ctx.given = given._replace(weights=[])
    ctx.shape = space_time(x, given.channels_last)
    ctx.save_for_backward(*given.weights)


def _backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
    given: _Arguments = ctx.given._replace(weights=list(ctx.saved_tensors))
    merged = torch.ops.tokfrag.merge.default(gradient, *given.merge(ctx.shape))
    return merged, *no_gradients(given._fields, len(given.weights))


def weighted(x: torch.Tensor, given: MergeArguments, weights: list[torch.Tensor]) -> torch.Tensor:
    """The adjoint of a merge with these arguments; past the dispatcher where nothing watches."""
    options = (given.window, weights, given.reduce, given.channels_last, given.threads)
    if x.is_cpu and is_plain(x):
        return _native(x, *given.axes, *options)
    made: torch.Tensor = extract_weighted(x, *given.axes, *options)
    return made


extract_weighted = define(
    f"extract_weighted(Tensor x, {GRID_SCHEMA}, str window, Tensor[] weights, str reduce, "
    "bool channels_last, int threads) -> Tensor",
    cpu=_native,
    fake=_fake,
    setup_context=_setup,
    backward=_backward,
    decomposition=_composed,
)
implement("extract_weighted", "CUDA", _on_device)
