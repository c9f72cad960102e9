"""Where the non-zeros are: packing masks, and what is derived from packed indices and kept.

The stored form is described in ``csrc/sparse/layout.hpp`` and, as plain loops, in
:mod:`tokfrag.reference.sparse`.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tokfrag._core import sparse as _native

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


@dataclass(eq=False)
class Expanded:
    """The dense matrix of some values, and what tells that these are still the values.

    Torch counts changes of a tensor, but not those made through ``.data``; for these, a few values
    spread over the tensor are compared.
    """

    values: Tensor  # keeps the memory, so that its address is not another tensor's
    version: int
    samples: bytes
    weight: Tensor
    calls: set[tuple[object, ...]] = field(default_factory=set)  # that are known to want it

    def holds(self, values: Tensor) -> bool:
        return (
            self.values.data_ptr() == values.data_ptr()
            and values.is_contiguous()
            and self.version == values._version
            and self.values.dtype == values.dtype
            and self.samples == _samples(values)
        )


@dataclass(eq=False)
class Entry:
    """What is known of one live pair of index tensors."""

    owner: weakref.ref[Tensor]
    runs_address: int
    columns: int
    versions: tuple[int, int]
    pattern: _native.Pattern
    choices: dict[tuple[object, ...], str] = field(default_factory=dict)
    expanded: Expanded | None = None
    forms: dict[bool, DeviceForm] = field(default_factory=dict)

    @property
    def in_blocks(self) -> bool:
        """Whether products take the kernels of blocks of eight rows (the CPU's)."""
        return self.pattern.in_blocks


# One entry a live index tensor. A copy, a load or a move makes another tensor or version, and so
# another entry: nothing has to be told when indices change.
_entries: dict[int, Entry] = {}


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def entry_of(local: Tensor, runs: Tensor, columns: int) -> Entry:
    """What is derived from packed indices; built on first use, validated while building."""
    entry = _entries.get(id(local))
    if (
        entry is not None
        and entry.owner() is local
        and entry.versions == (_version(local), _version(runs))
        and entry.runs_address == runs.data_ptr()
        and entry.columns == columns
    ):
        return entry
    if local.dtype != torch.uint8 or runs.dtype != torch.uint8:
        raise TypeError(f"local, runs: got {local.dtype}, {runs.dtype}, takes uint8")
    if runs.ndim != 3 or runs.shape[0] != -(-columns // TILE) or runs.shape[2] != 2:
        raise ValueError(
            f"runs: got shape {tuple(runs.shape)}, takes ({-(-columns // TILE)}, rows, 2)"
        )
    if local.ndim != 1 or not local.is_contiguous() or not runs.is_contiguous():
        raise ValueError("local, runs: takes contiguous tensors, local of one axis")
    here, there = local.cpu(), runs.cpu()
    pattern = _native.Pattern(
        here.data_ptr(), there.data_ptr(), runs.shape[1], columns, local.numel()
    )
    key = id(local)

    def forget(owner: weakref.ref[Tensor]) -> None:
        known = _entries.get(key)
        if known is not None and known.owner is owner:
            del _entries[key]

    entry = Entry(
        weakref.ref(local, forget),
        runs.data_ptr(),
        columns,
        (_version(local), _version(runs)),
        pattern,
    )
    _entries[key] = entry
    return entry


def pattern_of(local: Tensor, runs: Tensor, columns: int) -> _native.Pattern:
    """The native form of packed indices, validated."""
    return entry_of(local, runs, columns).pattern


def positions_of(local: Tensor, runs: Tensor, columns: int) -> Tensor:
    """For each stored value its place ``row * columns + column``: int64 ``(nnz,)``."""
    here = local.device
    local, runs = local.cpu(), runs.cpu()
    pattern = pattern_of(local, runs, columns)
    positions = torch.empty(pattern.nnz, dtype=torch.int64, device="cpu")
    pattern.positions(local.data_ptr(), runs.data_ptr(), positions.data_ptr())
    return positions.to(here)


def densify(values: Tensor, local: Tensor, runs: Tensor, columns: int) -> Tensor:
    """The dense matrix ``(rows, columns)``; gradients flow to ``values``."""
    rows = runs.shape[1]
    dense = values.new_zeros(rows * columns)
    return dense.index_put((positions_of(local, runs, columns),), values).view(rows, columns)


def expand(values: Tensor, local: Tensor, runs: Tensor, columns: int) -> Tensor:
    """As :func:`densify`, natively on the CPU, without gradients."""
    if values.device.type != "cpu":
        return densify(values.detach(), local, runs, columns)
    dense = values.new_empty((runs.shape[1], columns))
    pattern_of(local, runs, columns).expand(
        local.data_ptr(),
        runs.data_ptr(),
        values.data_ptr(),
        values.element_size(),
        dense.data_ptr(),
    )
    return dense


def expanded(values: Tensor, local: Tensor, runs: Tensor, columns: int) -> Expanded:
    """The dense matrix, kept while the values stay as they are."""
    entry = entry_of(local, runs, columns)
    known = entry.expanded
    if known is None or not known.holds(values):
        weight = expand(values, local, runs, columns)
        known = Expanded(values.detach(), values._version, _samples(values), weight)
        entry.expanded = known
    return known


def _samples(values: Tensor) -> bytes:
    if values.is_cuda:
        return b""  # reading them would wait for the device
    return _native.sample_bytes(values.data_ptr(), values.element_size(), values.numel())


def device_form(local: Tensor, runs: Tensor, columns: int, *, transposed: bool) -> DeviceForm:
    """The stored matrix, or its transpose, for kernels on the device of ``local``."""
    entry = entry_of(local, runs, columns)
    form = entry.forms.get(transposed)
    if form is None:
        form = _describe(entry, local, runs, transposed)
        entry.forms[transposed] = form
    return form


def _describe(entry: Entry, local: Tensor, runs: Tensor, transposed: bool) -> DeviceForm:
    pattern = entry.pattern
    here, there = local.cpu(), runs.cpu()
    places = here.data_ptr(), there.data_ptr()
    rows, columns = pattern.rows, pattern.columns
    if transposed:
        rows, columns = columns, rows
    chunks = -(-columns // TILE)
    tiles = chunks * -(-rows // TILE)
    spans = torch.empty(chunks * rows, dtype=torch.int32, device="cpu")
    starts, origins = (torch.empty(n, dtype=torch.int64, device="cpu") for n in (tiles + 1, tiles))
    pattern.describe(*places, transposed, spans.data_ptr(), starts.data_ptr(), origins.data_ptr())
    fullest = int(starts.diff().max()) if tiles else 0
    device = local.device
    form = DeviceForm(
        local, spans.to(device), starts.to(device), origins.to(device), fullest=fullest
    )
    if transposed:
        form.local = torch.empty_like(here)
        form.sources = torch.empty(len(here), dtype=torch.int16, device="cpu")
        pattern.describe_transposed(*places, form.local.data_ptr(), form.sources.data_ptr())
        form.local, form.sources = form.local.to(device), form.sources.to(device)
    return form


def entry_rows(local: Tensor, runs: Tensor, columns: int) -> Tensor:
    """Each stored value's row inside its block: uint8 ``(nnz,)``, beside ``local``."""
    form = device_form(local, runs, columns, transposed=False)
    if form.entry_rows is None:
        rows = torch.empty(local.numel(), dtype=torch.uint8, device="cpu")
        pattern = entry_of(local, runs, columns).pattern
        here, there = local.cpu(), runs.cpu()
        pattern.describe_rows(here.data_ptr(), there.data_ptr(), rows.data_ptr())
        form.entry_rows = rows.to(local.device)
    return form.entry_rows
