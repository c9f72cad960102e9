"""segment_merge and unmerge as torch operators. Imported on the first tensor.

``segment_reduce`` and ``segment_gather`` are each other's adjoints, so their gradients, of any
order, are made of themselves.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tokfrag._operators import define, implement, transformed
from tokfrag.fragments.engines import cuda, host, rows
from tokfrag.fragments.engines.rows import accumulator
from tokfrag.fragments.shapes import check_segments

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def check(x: Tensor, index: Any, weight: Any, x_name: str, *, a_row_each: bool = True) -> None:
    """Raise TypeError or ValueError unless these tensors go together."""
    if x.dtype not in _FLOATS:
        raise TypeError(f"{x_name}: got {x.dtype}, takes a floating dtype up to float64")
    others = {"index": index} if weight is None else {"index": index, "weight": weight}
    for name, other in others.items():
        if not isinstance(other, Tensor):
            raise TypeError(f"{name}: got {type(other).__name__}, takes a tensor, as {x_name} is")
        if other.device != x.device:
            raise ValueError(f"{name}: got device {other.device}, takes {x.device}, as {x_name}")
    if index.is_floating_point() or index.is_complex() or index.dtype == torch.bool:
        raise TypeError(f"index: got {index.dtype}, takes integers")
    if weight is not None and weight.dtype not in _FLOATS:
        raise TypeError(f"weight: got {weight.dtype}, takes a floating dtype up to float64")
    shapes = (tuple(x.shape), tuple(index.shape), None if weight is None else tuple(weight.shape))
    check_segments(*shapes, x_name, a_row_each)


def trust(index: Tensor, n: int) -> None:
    """Let an index on a CUDA device go unchecked."""
    if index.is_cuda and not torch.compiler.is_compiling():
        cuda.trust(index.long(), n)


def reduce(
    x: Tensor, index: Tensor, weight: Tensor | None, n: int, mean: bool, threads: int = 0
) -> tuple[Tensor, Tensor]:
    """Weighted sums (or means) of rows and of their weights, as a torch operator."""
    if transformed():
        return rows.reduce(x, index.long(), weight, n, mean)
    result: tuple[Tensor, Tensor] = _reduce(x, index.long(), weight, n, mean, threads)
    return result


def gather(y: Tensor, index: Tensor, scale: Tensor | None, threads: int = 0) -> Tensor:
    """``scale[i] * y[index[i]]`` as a torch operator."""
    if transformed():
        return rows.gather(y, index.long(), scale)
    result: Tensor = _gather(y, index.long(), scale, threads)
    return result


def _as_read(
    x: Tensor, index: Tensor, weight: Tensor | None, x_name: str, *, a_row_each: bool
) -> tuple[Tensor, Tensor | None]:
    """Index and weights in the types that kernels read: an operator may be called by anyone."""
    check(x, index, weight, x_name, a_row_each=a_row_each)
    index = index.long().contiguous()
    return index, None if weight is None else weight.to(accumulator(x)).contiguous()


def _reduce_cpu(
    x: Tensor, index: Tensor, weight: Tensor | None, n: int, mean: bool, threads: int
) -> tuple[Tensor, Tensor]:
    index, weight = _as_read(x, index, weight, "x", a_row_each=True)
    y, weight_sum = rows.empty_results(x, index, n)
    host.reduce(x, index, weight, y, weight_sum, mean=mean, threads=threads)
    return y, weight_sum


def _gather_cpu(y: Tensor, index: Tensor, scale: Tensor | None, threads: int) -> Tensor:
    index, scale = _as_read(y, index, scale, "y", a_row_each=False)
    x = y.new_empty((*index.shape, *y.shape[index.ndim :]))
    host.gather(y, index, scale, x, threads=threads)
    return x


def _reduce_cuda(
    x: Tensor, index: Tensor, weight: Tensor | None, n: int, mean: bool, threads: int
) -> tuple[Tensor, Tensor]:
    index, weight = _as_read(x, index, weight, "x", a_row_each=True)
    if cuda.kernels(x.device.index) is None:
        return rows.reduce_in_order(x, index, weight, n, mean)
    y, weight_sum = rows.empty_results(x, index, n)
    cuda.reduce(x, index, weight, y, weight_sum, mean)
    return y, weight_sum


def _gather_cuda(y: Tensor, index: Tensor, scale: Tensor | None, threads: int) -> Tensor:
    index, scale = _as_read(y, index, scale, "y", a_row_each=False)
    if cuda.kernels(y.device.index) is None:
        return rows.gather(y, index, scale)
    x = y.new_empty((*index.shape, *y.shape[index.ndim :]))
    cuda.gather(y, index, scale, x)
    return x


def _reduce_composed(
    x: Tensor, index: Tensor, weight: Tensor | None, n: int, mean: bool, threads: int
) -> tuple[Tensor, Tensor]:
    return rows.reduce(x, index, weight, n, mean, traced=True)


def _gather_composed(y: Tensor, index: Tensor, scale: Tensor | None, threads: int) -> Tensor:
    return rows.gather(y, index, scale, traced=True)


def _reduce_fake(
    x: Tensor, index: Tensor, weight: Tensor | None, n: int, mean: bool, threads: int
) -> tuple[Tensor, Tensor]:
    return rows.empty_results(x, index, n)


def _gather_fake(y: Tensor, index: Tensor, scale: Tensor | None, threads: int) -> Tensor:
    return y.new_empty((*index.shape, *y.shape[index.ndim :]))


def _row_dot(a: Tensor, b: Tensor, lead: int) -> Tensor:
    """Sum of ``a * b`` over all but the first ``lead`` axes, in the accumulator's dtype."""
    dtype = accumulator(a)
    product = a.to(dtype) * b.to(dtype)
    return product.sum(dim=tuple(range(lead, product.ndim))) if product.ndim > lead else product


def _save_reduce(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, index, weight, _, mean, threads = inputs
    ctx.save_for_backward(x, index, weight, *output)
    ctx.mean, ctx.threads = mean, threads


def _reduce_backward(ctx: Any, grad_y: Tensor, grad_sum: Tensor) -> tuple[Any, ...]:
    x, index, weight, y, weight_sum = ctx.saved_tensors
    lead = index.ndim
    scale = weight
    if ctx.mean:
        inverse = torch.where(weight_sum == 0, 0.0, 1.0 / weight_sum)
        inverse = gather(inverse, index, None, ctx.threads)
        scale = inverse if weight is None else weight * inverse
    grad_x = gather(grad_y, index, scale, ctx.threads) if ctx.needs_input_grad[0] else None
    grad_weight = None
    if ctx.needs_input_grad[2]:
        arrived = gather(grad_y, index, None, ctx.threads)
        grad_weight = gather(grad_sum, index, None, ctx.threads)
        if ctx.mean:
            merged = gather(y, index, None, ctx.threads).to(accumulator(x))
            grad_weight = grad_weight + inverse * _row_dot(arrived, x - merged, lead)
        else:
            grad_weight = grad_weight + _row_dot(arrived, x, lead)
    return grad_x, None, grad_weight, None, None, None


def _save_gather(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    y, index, scale, threads = inputs
    ctx.save_for_backward(y, index, scale)
    ctx.threads = threads


def _gather_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    y, index, scale = ctx.saved_tensors
    grad_y = grad_scale = None
    if ctx.needs_input_grad[0]:
        grad_y = reduce(grad, index, scale, y.shape[index.ndim - 1], False, ctx.threads)[0]
    if ctx.needs_input_grad[2]:
        grad_scale = _row_dot(grad, gather(y, index, None, ctx.threads), index.ndim)
    return grad_y, None, grad_scale, None


_reduce = define(
    "segment_reduce(Tensor x, Tensor index, Tensor? weight, SymInt n, bool mean, int threads)"
    " -> (Tensor, Tensor)",
    cpu=_reduce_cpu,
    fake=_reduce_fake,
    setup_context=_save_reduce,
    backward=_reduce_backward,
    decomposition=_reduce_composed,
)
_gather = define(
    "segment_gather(Tensor y, Tensor index, Tensor? scale, int threads) -> Tensor",
    cpu=_gather_cpu,
    fake=_gather_fake,
    setup_context=_save_gather,
    backward=_gather_backward,
    decomposition=_gather_composed,
)
implement("segment_reduce", "CUDA", _reduce_cuda)
implement("segment_gather", "CUDA", _gather_cuda)
