"""segment_merge and unmerge made of torch's own operators."""

from __future__ import annotations

import torch
from torch import Tensor

from tokfrag._operators import is_exporting


def accumulator(x: Tensor) -> torch.dtype:
    """The dtype in which rows of ``x`` are weighted."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def empty_results(x: Tensor, index: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Where merged rows and sums of weights go."""
    lead = (*index.shape[:-1], n)
    return (
        x.new_empty((*lead, *x.shape[index.ndim :])),
        x.new_empty(lead, dtype=accumulator(x)),
    )


def reduce(
    x: Tensor, index: Tensor, weight: Tensor | None, n: int, mean: bool, *, traced: bool = False
) -> tuple[Tensor, Tensor]:
    """Sums (or means) of the rows of each segment, whose every step has its derivatives.

    `traced`: `index` has no values yet that could be checked.
    """
    if not traced:
        _check(index, n)
    lead = index.ndim
    wide = x.to(accumulator(x))
    weights = torch.ones_like(index, dtype=wide.dtype) if weight is None else weight
    spread = weights.reshape(*index.shape, *(1,) * (x.ndim - lead))
    y = _added(wide * spread, index, n)
    weight_sum = _added(weights, index, n)
    if mean:
        zero = weight_sum == 0
        shape = (*weight_sum.shape, *(1,) * (x.ndim - lead))
        y = y / weight_sum.masked_fill(zero, 1).reshape(shape)
        y = y.masked_fill(zero.reshape(shape), 0)
    return y.to(x.dtype), weight_sum


def _added(x: Tensor, index: Tensor, n: int) -> Tensor:
    """The sums of the rows of each segment."""
    if index.ndim == 1:
        return x.new_zeros((n, *x.shape[1:])).index_add(0, index, x)
    batch = index.shape[0]
    flat = index + torch.arange(batch, device=index.device)[:, None] * n
    sums = x.new_zeros((batch * n, *x.shape[2:]))
    sums = sums.index_add(0, flat.reshape(-1), x.flatten(0, 1))
    return sums.reshape(batch, n, *x.shape[2:])


def reduce_in_order(
    x: Tensor, index: Tensor, weight: Tensor | None, n: int, mean: bool
) -> tuple[Tensor, Tensor]:
    """The same sums in the order of the rows, hence the same bits each time: for devices."""
    batch = index.shape[0] if index.ndim == 2 else 1
    rows = index.shape[-1]
    _check(index, n)
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
    y, sums = empty_results(x, index, n)
    return y.copy_(total.reshape(y.shape)), sums.copy_(weight_sum.reshape(sums.shape))


def gather(y: Tensor, index: Tensor, scale: Tensor | None, *, traced: bool = False) -> Tensor:
    """``scale[i] * y[index[i]]``; every step has its derivatives. `traced` as in `reduce`."""
    if not traced:
        _check(index, y.shape[index.ndim - 1])
    if index.ndim == 2:
        x = y[torch.arange(index.shape[0], device=y.device)[:, None], index]
    else:
        x = y[index]
    if scale is None:
        return x
    return (x * scale.reshape(scale.shape + (1,) * (x.ndim - scale.ndim))).to(y.dtype)


def _check(index: Tensor, n: int) -> None:
    """Raise IndexError unless every value is in [0, n); index_add does under vmap.

    An export has no values yet.
    """
    if is_exporting() or index.numel() == 0 or torch._C._functorch.is_batchedtensor(index):
        return
    if not bool(((index >= 0) & (index < n)).all()):
        raise IndexError(f"index: got values from {index.min()} to {index.max()}, takes [0, {n})")
