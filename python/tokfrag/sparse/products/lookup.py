"""Rows of a sparse table and the gradient of its values: native on the CPU, torch's elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor

from tokfrag._core import sparse as _native
from tokfrag.sparse.products.products import ELEMENTS, threads


def check_device(ids: Tensor, values: Tensor) -> None:
    if ids.device != values.device:
        raise ValueError(
            f"ids: got a tensor on {ids.device} for a table on {values.device}; takes the same "
            "device"
        )


def _check(ids: Tensor, values: Tensor, rows: int, name: str) -> Tensor:
    check_device(ids, values)
    if values.dtype not in ELEMENTS:
        raise TypeError(f"{name}: got {values.dtype}, takes float32, float64, float16 or bfloat16")
    flat = ids.reshape(-1).to(torch.int64).contiguous()
    if flat.numel():
        least, largest = (int(bound) for bound in flat.aminmax())
        if least < 0 or largest >= rows:
            raise IndexError(f"ids: got {least} to {largest}, takes 0 to {rows - 1}")
    return flat


def lookup(ids: Tensor, values: Tensor, offsets: Tensor, local: Tensor, columns: int) -> Tensor:
    """Rows ``ids`` of a table: ``(*ids.shape, columns)``."""
    flat = _check(ids, values, offsets.numel() - 1, "values")
    if values.shape != local.shape:
        raise ValueError(f"values: got shape {tuple(values.shape)}, takes {tuple(local.shape)}")
    values = values.contiguous()
    if not values.is_cpu:
        return composed_lookup(flat, values, offsets, local, columns).view(*ids.shape, columns)
    out = torch.empty((*ids.shape, columns), dtype=values.dtype, device="cpu")
    _native.lookup(
        ELEMENTS[values.dtype],
        offsets.data_ptr(),
        local.data_ptr(),
        values.data_ptr(),
        columns,
        flat.data_ptr(),
        flat.numel(),
        out.data_ptr(),
        threads(),
    )
    return out


def lookup_gradient(grad: Tensor, ids: Tensor, offsets: Tensor, local: Tensor) -> Tensor:
    """The gradient of a lookup's values."""
    flat = _check(ids, grad, offsets.numel() - 1, "grad")
    if grad.ndim != ids.ndim + 1 or grad.shape[:-1] != ids.shape:
        raise ValueError(f"grad: got shape {tuple(grad.shape)}, takes ids' and the columns")
    grad = grad.contiguous()
    if not grad.is_cpu:
        return composed_gradient(grad.view(len(flat), -1), flat, offsets, local)
    out = torch.empty(local.numel(), dtype=grad.dtype, device="cpu")
    _native.lookup_gradient(
        ELEMENTS[grad.dtype],
        offsets.data_ptr(),
        local.data_ptr(),
        offsets.numel() - 1,
        grad.shape[-1],
        flat.data_ptr(),
        flat.numel(),
        grad.data_ptr(),
        out.data_ptr(),
        threads(),
    )
    return out


def positions_of(offsets: Tensor, local: Tensor, columns: int) -> Tensor:
    """For each stored value its place ``row * columns + column``: int64 ``(nnz,)``."""
    rows = torch.arange(offsets.numel() - 1, device=offsets.device)
    row = torch.repeat_interleave(rows, offsets.diff())
    return row * columns + local.to(torch.int64)


def _entries(ids: Tensor, offsets: Tensor, local: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each non-zero of the rows ``ids``: its line among them, column, and index in values."""
    first = offsets[ids]
    counts = offsets[ids + 1] - first
    line = torch.repeat_interleave(torch.arange(len(ids), device=ids.device), counts)
    before = counts.cumsum(0) - counts  # entries of earlier lines
    index = torch.arange(len(line), device=ids.device) + (first - before)[line]
    return line, local[index].to(torch.int64), index


def composed_lookup(
    ids: Tensor, values: Tensor, offsets: Tensor, local: Tensor, columns: int
) -> Tensor:
    """:func:`lookup` of ``ids (n,)`` by torch's operators, on any device."""
    line, column, index = _entries(ids, offsets, local)
    out = values.new_zeros((len(ids), columns))
    out[line, column] = values[index]
    return out


def composed_gradient(grad: Tensor, ids: Tensor, offsets: Tensor, local: Tensor) -> Tensor:
    """:func:`lookup_gradient` of ``grad (n, columns)``, on any device.

    Sums are kept in float32 for half types. ``index_put_`` sorts before it adds, so that a GPU
    gives the same bits each time, which ``index_add_`` does not.
    """
    line, column, index = _entries(ids, offsets, local)
    wide = torch.promote_types(grad.dtype, torch.float32)
    sums = torch.zeros(local.numel(), dtype=wide, device=grad.device)
    sums.index_put_((index,), grad[line, column].to(wide), accumulate=True)
    return sums.to(grad.dtype)
