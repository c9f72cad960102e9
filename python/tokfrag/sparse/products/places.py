"""Where the non-zeros are: packing masks, and the forms that are derived from them and kept.

The stored form is described in ``csrc/sparse/layout.hpp`` and, as plain loops, in
:mod:`tokfrag.reference.sparse`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from tokfrag._core import sparse as _native
from tokfrag._device import current_stream, refuse_in_graph
from tokfrag.sparse.products.kept import KeptMatrix
from tokfrag.sparse.products.remembered import Remembered, own_copy

TILE = _native.TILE


def pack_mask(mask: Tensor) -> tuple[Tensor, Tensor]:
    """The indices ``(local, runs)`` of a boolean mask ``(rows, columns)``."""
    rows, columns = mask.shape
    flags = mask.detach().to("cpu", torch.uint8).contiguous()
    runs = torch.zeros((-(-columns // TILE), rows, 2), dtype=torch.uint8, device="cpu")
    nnz = _native.encode_runs(flags.data_ptr(), rows, columns, runs.data_ptr())
    local = torch.empty(nnz, dtype=torch.uint8, device="cpu")
    _native.encode_columns(flags.data_ptr(), rows, columns, runs.data_ptr(), local.data_ptr())
    return local.to(mask.device), runs.to(mask.device)


@dataclass(eq=False)
class DeviceForm:
    """A stored matrix as CUDA kernels take it; see ``csrc/sparse/products_device.hpp``."""

    local: Tensor
    spans: Tensor
    starts: Tensor
    origins: Tensor
    sources: Tensor | None = None
    entry_rows: Tensor | None = None
    fullest: int = 0
    stream: int = 0  # the handle of the one that copied them to the device


@dataclass(eq=False)
class Entry:
    """The checked copy and the derived forms of one live pair of index tensors.

    ``local`` and ``runs`` are copies on the CPU: kernels read them, and no caller can write there
    after they were checked.
    """

    local: Tensor
    runs: Tensor
    pattern: _native.Pattern
    choices: dict[tuple[object, ...], str] = field(default_factory=dict)
    kept: KeptMatrix = field(default_factory=KeptMatrix)
    forms: dict[bool, DeviceForm] = field(default_factory=dict)
    positions: Tensor | None = None  # on another device than the CPU, where they cost an upload

    @property
    def addresses(self) -> tuple[int, int]:
        """Where the checked indices lie, as the pattern's methods take them."""
        return self.local.data_ptr(), self.runs.data_ptr()

    @property
    def in_blocks(self) -> bool:
        """Whether products take the kernels of blocks of eight rows (the CPU's)."""
        return self.pattern.in_blocks


def _derive(local: Tensor, runs: Tensor, columns: int) -> Entry:
    if local.dtype != torch.uint8 or runs.dtype != torch.uint8:
        raise TypeError(f"local, runs: got {local.dtype}, {runs.dtype}, takes uint8")
    if runs.ndim != 3 or runs.shape[0] != -(-columns // TILE) or runs.shape[2] != 2:
        raise ValueError(
            f"runs: got shape {tuple(runs.shape)}, takes ({-(-columns // TILE)}, rows, 2)"
        )
    if local.ndim != 1 or not local.is_contiguous() or not runs.is_contiguous():
        raise ValueError("local, runs: takes contiguous tensors, local of one axis")
    local, runs = own_copy(local), own_copy(runs)
    pattern = _native.Pattern(
        local.data_ptr(), runs.data_ptr(), runs.shape[1], columns, local.numel()
    )
    return Entry(local, runs, pattern)


#: ``(local, runs, columns)`` to an :class:`Entry`, validated while it is built.
entry_of = Remembered(_derive)


def pattern_of(local: Tensor, runs: Tensor, columns: int) -> _native.Pattern:
    """The native form of packed indices, validated."""
    return entry_of(local, runs, columns).pattern


def positions_of(local: Tensor, runs: Tensor, columns: int) -> Tensor:
    """For each stored value its place ``row * columns + column``: int64 ``(nnz,)``.

    On other devices than the CPU they are made once, and kept in 32 bits where those hold them.
    """
    entry = entry_of(local, runs, columns)
    if entry.positions is not None:
        return entry.positions.long()
    refuse_in_graph(local, "indices")
    positions = torch.empty(entry.pattern.nnz, dtype=torch.int64, device="cpu")
    entry.pattern.positions(*entry.addresses, positions.data_ptr())
    if local.is_cpu:
        return positions
    narrow = runs.shape[1] * columns <= torch.iinfo(torch.int32).max
    entry.positions = (positions.int() if narrow else positions).to(local.device)
    return entry.positions.long()


def densify(values: Tensor, local: Tensor, runs: Tensor, columns: int) -> Tensor:
    """The dense matrix ``(rows, columns)``; gradients flow to ``values``."""
    rows = runs.shape[1]
    dense = values.new_zeros(rows * columns)
    return dense.index_put((positions_of(local, runs, columns),), values).view(rows, columns)


def expand(values: Tensor, local: Tensor, runs: Tensor, columns: int) -> Tensor:
    """As :func:`densify`, natively on the CPU, without gradients."""
    if values.device.type != "cpu":
        return densify(values.detach(), local, runs, columns)
    entry = entry_of(local, runs, columns)
    dense = values.new_empty((runs.shape[1], columns))
    entry.pattern.expand(
        *entry.addresses, values.data_ptr(), values.element_size(), dense.data_ptr()
    )
    return dense


def device_form(local: Tensor, runs: Tensor, columns: int, *, transposed: bool) -> DeviceForm:
    """The stored matrix, or its transpose, for kernels on the device of ``local``."""
    entry = entry_of(local, runs, columns)
    form = entry.forms.get(transposed)
    if form is None:
        refuse_in_graph(local, "indices")
        form = _describe(entry, local.device, transposed)
        entry.forms[transposed] = form
    return form


def _describe(entry: Entry, device: torch.device, transposed: bool) -> DeviceForm:
    pattern = entry.pattern
    rows, columns = pattern.rows, pattern.columns
    if transposed:
        rows, columns = columns, rows
    chunks = -(-columns // TILE)
    tiles = chunks * -(-rows // TILE)
    spans = torch.empty(chunks * rows, dtype=torch.int32, device="cpu")
    starts, origins = (torch.empty(n, dtype=torch.int64, device="cpu") for n in (tiles + 1, tiles))
    pattern.describe(
        *entry.addresses, transposed, spans.data_ptr(), starts.data_ptr(), origins.data_ptr()
    )
    fullest = int(starts.diff().max()) if tiles else 0
    local, sources = entry.local, None
    if transposed:
        local = torch.empty_like(entry.local)
        sources = torch.empty(len(local), dtype=torch.int16, device="cpu")
        pattern.describe_transposed(*entry.addresses, local.data_ptr(), sources.data_ptr())
        sources = sources.to(device)
    return DeviceForm(
        local.to(device),
        spans.to(device),
        starts.to(device),
        origins.to(device),
        sources=sources,
        fullest=fullest,
        stream=current_stream(device.index) if device.type == "cuda" else 0,
    )


def entry_rows(local: Tensor, runs: Tensor, columns: int) -> Tensor:
    """Each stored value's row inside its block: uint8 ``(nnz,)``, beside ``local``."""
    form = device_form(local, runs, columns, transposed=False)
    if form.entry_rows is None:
        refuse_in_graph(local, "indices")
        entry = entry_of(local, runs, columns)
        rows = torch.empty(local.numel(), dtype=torch.uint8, device="cpu")
        entry.pattern.describe_rows(*entry.addresses, rows.data_ptr())
        form.entry_rows = rows.to(local.device)
    return form.entry_rows
