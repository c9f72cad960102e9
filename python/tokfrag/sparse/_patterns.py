"""Where the non-zeros are: packing masks, and what is derived from packed indices and kept.

The stored form is described in ``csrc/sparse/layout.hpp`` and, as plain loops, in
:mod:`tokfrag.reference.sparse`.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from tokfrag._core import sparse as _native

TILE = _native.TILE


def pack_mask(mask: Tensor) -> tuple[Tensor, Tensor]:
    """The indices ``(local, runs)`` of a boolean mask ``(rows, columns)``."""
    rows, columns = mask.shape
    flags = mask.detach().to("cpu", torch.uint8).contiguous()
    runs = torch.zeros((-(-columns // TILE), rows, 2), dtype=torch.uint8)
    nnz = _native.encode_runs(flags.data_ptr(), rows, columns, runs.data_ptr())
    local = torch.empty(nnz, dtype=torch.uint8)
    _native.encode_columns(flags.data_ptr(), rows, columns, runs.data_ptr(), local.data_ptr())
    return local.to(mask.device), runs.to(mask.device)


@dataclass(frozen=True)
class _Entry:
    runs_address: int
    columns: int
    versions: tuple[int, int]
    pattern: _native.Pattern


# One pattern a live index tensor. A copy, a load or a move makes another tensor or version, and so
# another pattern: nothing has to be told when indices change.
_patterns: MutableMapping[Tensor, _Entry] = WeakTensorKeyDictionary()


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else int(tensor._version)


def pattern_of(local: Tensor, runs: Tensor, columns: int) -> _native.Pattern:
    """What is derived from packed indices; built on first use, validated while building."""
    versions = (_version(local), _version(runs))
    entry = _patterns.get(local)
    if (
        entry is not None
        and entry.versions == versions
        and entry.runs_address == runs.data_ptr()
        and entry.columns == columns
    ):
        return entry.pattern
    if local.device.type != "cpu" or runs.device.type != "cpu":
        raise ValueError(f"local: got a tensor on {local.device}, takes cpu")
    if local.dtype != torch.uint8 or runs.dtype != torch.uint8:
        raise TypeError(f"local, runs: got {local.dtype}, {runs.dtype}, takes uint8")
    if runs.ndim != 3 or runs.shape[0] != -(-columns // TILE) or runs.shape[2] != 2:
        raise ValueError(
            f"runs: got shape {tuple(runs.shape)}, takes ({-(-columns // TILE)}, rows, 2)"
        )
    if local.ndim != 1 or not local.is_contiguous() or not runs.is_contiguous():
        raise ValueError("local, runs: takes contiguous tensors, local of one dimension")
    pattern = _native.Pattern(
        local.data_ptr(), runs.data_ptr(), runs.shape[1], columns, local.numel()
    )
    _patterns[local] = _Entry(runs.data_ptr(), columns, versions, pattern)
    return pattern


def positions_of(local: Tensor, runs: Tensor, columns: int) -> Tensor:
    """For each stored value its place ``row * columns + column``: int64 ``(nnz,)``."""
    here = local.device
    local, runs = local.cpu(), runs.cpu()
    pattern = pattern_of(local, runs, columns)
    positions = torch.empty(pattern.nnz, dtype=torch.int64)
    pattern.positions(local.data_ptr(), runs.data_ptr(), positions.data_ptr())
    return positions.to(here)


def densify(values: Tensor, local: Tensor, runs: Tensor, columns: int) -> Tensor:
    """The dense matrix ``(rows, columns)``; gradients flow to ``values``."""
    rows = runs.shape[1]
    dense = values.new_zeros(rows * columns)
    return dense.index_put((positions_of(local, runs, columns),), values).view(rows, columns)
