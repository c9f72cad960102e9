"""Rows of a sparse table and the gradient of its values: native on the CPU, torch's elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tokfrag._core import sparse as _native
from tokfrag._device import is_captured
from tokfrag.sparse.products.products import ELEMENTS, threads
from tokfrag.sparse.products.remembered import Remembered, own_copy

DIM_LIMIT = 1 << 15  # columns are stored in 16 bits


@dataclass(eq=False, frozen=True)
class Rows:
    """Where a table's values lie, checked: copies on the CPU that no caller can write to."""

    offsets: Tensor
    local: Tensor
    #: Values of the fullest row.
    fullest: int


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
    offsets, local = own_copy(offsets).contiguous(), own_copy(local).contiguous()
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
    fullest = int(offsets.diff().max()) if len(offsets) > 1 else 0
    return Rows(offsets, local, fullest)


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
    if flat.is_cuda and is_captured():  # a graph can wait for nothing: the device checks
        torch._assert_async(((flat >= 0) & (flat < rows)).all(), f"ids: takes 0 to {rows - 1}")
    elif flat.numel():
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
        found = composed_lookup(flat, values, offsets, local, columns, places.fullest)
        return found.view(*ids.shape, columns)
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
        lines = grad.view(len(flat), columns)
        return composed_gradient(lines, flat, offsets, local, places.fullest)
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


def _entries(
    ids: Tensor, offsets: Tensor, local: Tensor, columns: int, fullest: int
) -> tuple[Tensor, Tensor, Tensor]:
    """For each of the rows ``ids`` its values' columns and index: ``(len(ids), fullest)``.

    Rows that hold fewer end with the column ``columns``; the third tells which are there. Nothing
    of it depends on what the device holds, so that a CUDA graph may hold it all.
    """
    first = offsets[ids][:, None]
    index = first + torch.arange(fullest, device=ids.device)
    there = index < offsets[ids + 1][:, None]
    index = index.clamp(max=local.numel() - 1)
    column = torch.where(there, local[index].to(torch.int64), columns)
    return column, index, there


def composed_lookup(
    ids: Tensor, values: Tensor, offsets: Tensor, local: Tensor, columns: int, fullest: int
) -> Tensor:
    """:func:`lookup` of ``ids (n,)`` by torch's operators, on any device."""
    out = values.new_zeros((len(ids), columns + 1))
    if fullest:
        column, index, there = _entries(ids, offsets, local, columns, fullest)
        out.scatter_(1, column, torch.where(there, values[index], 0))
    return out[:, :columns].contiguous()


def composed_gradient(
    grad: Tensor, ids: Tensor, offsets: Tensor, local: Tensor, fullest: int
) -> Tensor:
    """:func:`lookup_gradient` of ``grad (n, columns)``, on any device.

    Sums are kept in float32 for half types. ``index_put_`` sorts before it adds, so that a GPU
    gives the same bits each time, which ``index_add_`` does not.
    """
    columns = grad.shape[1]
    wide = torch.promote_types(grad.dtype, torch.float32)
    sums = torch.zeros(local.numel() + 1, dtype=wide, device=grad.device)
    if fullest:
        column, index, there = _entries(ids, offsets, local, columns, fullest)
        arrived = grad.gather(1, column.clamp(max=columns - 1)).to(wide)
        index = torch.where(there, index, local.numel())
        sums.index_put_((index,), arrived.masked_fill_(~there, 0), accumulate=True)
    return sums[:-1].to(grad.dtype)
