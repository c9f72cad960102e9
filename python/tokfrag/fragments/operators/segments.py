"""The torch operators behind :mod:`tokfrag.fragments.segments`; imported on the first tensor.

``segment_reduce`` and ``segment_gather`` are each other's adjoints, so their gradients, of any
order, are made of themselves.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tokfrag._operators import define, implement
from tokfrag.fragments.engines import cuda as _cuda_backend
from tokfrag.fragments.segments import check_shapes, run_gather, run_reduce

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def accumulator(x: Tensor) -> torch.dtype:
    """The dtype in which rows of ``x`` are weighted."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def check(x: Tensor, index: Any, weight: Any, x_name: str, *, rows: bool = True) -> None:
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
    check_shapes(*shapes, x_name, rows)


def reduce(
    x: Tensor, index: Tensor, weight: Tensor | None, n: int, mean: bool, threads: int = 0
) -> tuple[Tensor, Tensor]:
    """Weighted sums (or means) of rows and of their weights, as a torch operator."""
    result: tuple[Tensor, Tensor] = _reduce(x, index.long(), weight, n, mean, threads)
    return result


def gather(y: Tensor, index: Tensor, scale: Tensor | None, threads: int = 0) -> Tensor:
    """``scale[i] * y[index[i]]`` as a torch operator."""
    result: Tensor = _gather(y, index.long(), scale, threads)
    return result


def _reduce_shapes(x: Tensor, index: Tensor, n: int) -> tuple[Tensor, Tensor]:
    lead = (*index.shape[:-1], n)
    return (
        x.new_empty((*lead, *x.shape[index.ndim :])),
        x.new_empty(lead, dtype=accumulator(x)),
    )


def _reduce_cpu(
    x: Tensor, index: Tensor, weight: Tensor | None, n: int, mean: bool, threads: int
) -> tuple[Tensor, Tensor]:
    y, weight_sum = _reduce_shapes(x, index, n)
    weight = None if weight is None else weight.contiguous()
    run_reduce(x, index.contiguous(), weight, y, weight_sum, mean=mean, threads=threads)
    return y, weight_sum


def _gather_cpu(y: Tensor, index: Tensor, scale: Tensor | None, threads: int) -> Tensor:
    x = y.new_empty((*index.shape, *y.shape[index.ndim :]))
    scale = None if scale is None else scale.contiguous()
    run_gather(y, index.contiguous(), scale, x, threads=threads)
    return x


def reduce_in_torch(
    x: Tensor, index: Tensor, weight: Tensor | None, n: int, mean: bool, threads: int = 0
) -> tuple[Tensor, Tensor]:
    """The same sums made of torch's own operators, for devices without a kernel; deterministic."""
    batch = index.shape[0] if index.ndim == 2 else 1
    rows = index.shape[-1]
    if index.numel() and not bool(((index >= 0) & (index < n)).all()):
        raise IndexError(f"index: got values from {index.min()} to {index.max()}, takes [0, {n})")
    shift = torch.arange(batch, device=index.device).mul_(n).repeat_interleave(rows)
    destination, order = (index.reshape(-1) + shift).sort(stable=True)
    lengths = torch.zeros(batch * n, dtype=torch.int64, device=index.device)
    lengths.index_add_(0, destination, torch.ones_like(destination))
    values = x.reshape(batch * rows, -1).to(accumulator(x))[order]
    weights = values.new_ones(batch * rows) if weight is None else weight.reshape(-1)[order]
    total = torch.segment_reduce(values * weights[:, None], "sum", lengths=lengths, axis=0)
    weight_sum = torch.segment_reduce(weights, "sum", lengths=lengths, axis=0)
    if mean:
        zero = weight_sum == 0
        total = total / weight_sum.masked_fill(zero, 1)[:, None]
        total = total.masked_fill(zero[:, None], 0)
    y, sums = _reduce_shapes(x, index, n)
    return y.copy_(total.reshape(y.shape)), sums.copy_(weight_sum.reshape(sums.shape))


def gather_in_torch(y: Tensor, index: Tensor, scale: Tensor | None, threads: int = 0) -> Tensor:
    """The same gather made of torch's own operators, for devices without a kernel."""
    n = y.shape[index.ndim - 1]
    if index.numel() and not bool(((index >= 0) & (index < n)).all()):
        raise IndexError(f"index: got values from {index.min()} to {index.max()}, takes [0, {n})")
    if index.ndim == 2:
        x = y[torch.arange(index.shape[0], device=y.device)[:, None], index]
    else:
        x = y[index]
    if scale is None:
        return x
    return (x * scale.reshape(scale.shape + (1,) * (x.ndim - scale.ndim))).to(y.dtype)


def _reduce_cuda(
    x: Tensor, index: Tensor, weight: Tensor | None, n: int, mean: bool, threads: int
) -> tuple[Tensor, Tensor]:
    if _cuda_backend.kernels(x.device.index) is None:
        return reduce_in_torch(x, index, weight, n, mean)
    y, weight_sum = _reduce_shapes(x, index, n)
    weight = None if weight is None else weight.contiguous()
    _cuda_backend.run_reduce(x, index.contiguous(), weight, y, weight_sum, mean)
    return y, weight_sum


def _gather_cuda(y: Tensor, index: Tensor, scale: Tensor | None, threads: int) -> Tensor:
    if _cuda_backend.kernels(y.device.index) is None:
        return gather_in_torch(y, index, scale)
    x = y.new_empty((*index.shape, *y.shape[index.ndim :]))
    scale = None if scale is None else scale.contiguous()
    _cuda_backend.run_gather(y, index.contiguous(), scale, x)
    return x


def _reduce_fake(
    x: Tensor, index: Tensor, weight: Tensor | None, n: int, mean: bool, threads: int
) -> tuple[Tensor, Tensor]:
    return _reduce_shapes(x, index, n)


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
)
_gather = define(
    "segment_gather(Tensor y, Tensor index, Tensor? scale, int threads) -> Tensor",
    cpu=_gather_cpu,
    fake=_gather_fake,
    setup_context=_save_gather,
    backward=_gather_backward,
)
implement("segment_reduce", "CUDA", _reduce_cuda)
implement("segment_gather", "CUDA", _gather_cuda)
