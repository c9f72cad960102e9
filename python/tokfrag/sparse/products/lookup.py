"""Rows of a sparse table and the gradient of its values: native on the CPU, torch's elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tokfrag._core import sparse as _native
from tokfrag.sparse.products.products import ELEMENTS, threads
from tokfrag.sparse.products.remembered import Remembered, own_copy

DIM_LIMIT = 1 << 15  # columns are stored in 16 bits


@dataclass(eq=False, frozen=True)
class Rows:
    """Where a table's values lie, checked: copies on the CPU that no caller can write to."""

    offsets: Tensor
    local: Tensor


def _derive(local: Tensor, offsets: Tensor, columns: int) -> Rows:
    if local.dtype != torch.int16 or offsets.dtype != torch.int64:
        raise TypeError(
            f"local, offsets: got {local.dtype}, {offsets.dtype}, takes int16 and int64"
        )
    if local.ndim != 1 or offsets.ndim != 1 or not len(offsets) or not 0 < columns <= DIM_LIMIT:
        raise ValueError(
            f"local, offsets: got shapes {tuple(local.shape)}, {tuple(offsets.shape)} for rows of "
            f"{columns}, takes (nnz,) and (rows + 1,) for rows of 1 to {DIM_LIMIT}"
        )
    rows = Rows(own_copy(offsets).contiguous(), own_copy(local).contiguous())
    offsets, local = rows.offsets, rows.local
    ascend = bool((offsets[1:] >= offsets[:-1]).all())  # a difference could overflow
    if not ascend or offsets[0] != 0 or offsets[-1] != len(local):
        raise ValueError(
            f"offsets: got {offsets[0]} to {offsets[-1]}, takes numbers that ascend from 0 to the "
            f"{len(local)} stored values"
        )
    if len(local) and not (int(local.min()) >= 0 and int(local.max()) < columns):
        raise ValueError(
            f"local: got columns {int(local.min())} to {int(local.max())}, takes 0 to {columns - 1}"
        )
    return rows


#: The checked places ``(local, offsets)`` of a table of ``columns``.
rows_of = Remembered(_derive)


def check_device(ids: Tensor, values: Tensor) -> None:
    """Refuse ids that lie on another device than the table."""
    if ids.device != values.device:
        raise ValueError(
            f"ids: got a tensor on {ids.device} for a table on {values.device}; takes the same "
            "device"
        )


def _check(ids: Tensor, values: Tensor, rows: int, name: str) -> Tensor:
    check_device(ids, values)
    if values.dtype not in ELEMENTS:
        raise TypeError(f"{name}: got {values.dtype}, takes float32, float64, float16 or bfloat16")
    # A copy: ids that another thread changes after the check would be read out of bounds.
    flat = ids.reshape(-1).to(torch.int64, copy=True)
    if flat.numel():
        least, largest = (int(bound) for bound in flat.aminmax())
        if least < 0 or largest >= rows:
            raise IndexError(f"ids: got {least} to {largest}, takes 0 to {rows - 1}")
    return flat


def lookup(ids: Tensor, values: Tensor, offsets: Tensor, local: Tensor, columns: int) -> Tensor:
    """Rows ``ids`` of a table: ``(*ids.shape, columns)``."""
    flat = _check(ids, values, offsets.numel() - 1, "values")
    places = rows_of(local, offsets, columns)
    if values.shape != local.shape:
        raise ValueError(f"values: got shape {tuple(values.shape)}, takes {tuple(local.shape)}")
    values = values.contiguous()
    if not values.is_cpu:
        return composed_lookup(flat, values, offsets, local, columns).view(*ids.shape, columns)
    out = torch.empty((*ids.shape, columns), dtype=values.dtype, device="cpu")
    _native.lookup(
        ELEMENTS[values.dtype],
        places.offsets.data_ptr(),
        places.local.data_ptr(),
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
    columns = grad.shape[-1]
    places = rows_of(local, offsets, columns)
    grad = grad.contiguous()
    if not grad.is_cpu:
        return composed_gradient(grad.view(len(flat), columns), flat, offsets, local)
    out = torch.empty(local.numel(), dtype=grad.dtype, device="cpu")
    _native.lookup_gradient(
        ELEMENTS[grad.dtype],
        places.offsets.data_ptr(),
        places.local.data_ptr(),
        offsets.numel() - 1,
        columns,
        flat.data_ptr(),
        flat.numel(),
        grad.data_ptr(),
        out.data_ptr(),
        threads(),
    )
    return out


def positions_of(offsets: Tensor, local: Tensor, columns: int) -> Tensor:
    """For each stored value its place ``row * columns + column``: int64 ``(nnz,)``."""
    places = rows_of(local, offsets, columns)
    rows = torch.arange(offsets.numel() - 1, device="cpu")
    row = torch.repeat_interleave(rows, places.offsets.diff())
    return (row * columns + places.local.to(torch.int64)).to(local.device)


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
