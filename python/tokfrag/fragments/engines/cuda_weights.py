"""The weights of merges on devices: tables made once, and kept for as long as anyone reads them.

A table is small where a window has a name or a vector an axis: sums of weights repeat with the
stride, and what repeats is left out. Arrays of weights are as large as they are given.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tokfrag import _arrays, _device
from tokfrag._core import sparse as _native
from tokfrag._locks import fork_safe_lock
from tokfrag.fragments.axes import EDGES, PAD_MODES
from tokfrag.fragments.engines import host
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.shapes import HOST_REDUCES, Merging, weights_of_fragments
from tokfrag.fragments.windows import Part

if TYPE_CHECKING:
    from tokfrag._cuda import GridPlan, WindowPlan

_MOST_BYTES = 256 << 20  # of tables that nobody but this module holds


@lru_cache(maxsize=256)
def grid_plan(grid: FragmentGrid) -> GridPlan:
    """A grid's CUDA form."""
    from tokfrag._cuda import GridPlan

    axes = (grid.shape, grid.size, grid.stride, grid.dilation)
    return GridPlan(*axes, EDGES.index(grid.edge), PAD_MODES.index(grid.pad_mode))


class DeviceWeights:
    """The weights of one merge on one device."""

    def __init__(self, merging: Merging, device: torch.device, part: Part | None) -> None:
        plan = _window_plan(merging)
        self.plan: WindowPlan = plan if part is None else plan.part(*part)
        numbers = torch.from_numpy(self.plan.tables)
        #: Whether float32 is added up as pairs of floats: where doubles are slow.
        self.pairs = _in_pairs(merging, device) and self.plan.pairable
        if self.pairs:
            numbers = torch.cat([numbers, torch.from_numpy(self.plan.pair_tables)])
        elif merging.code in _HALVES:  # added up in float32
            numbers = numbers.float()
        # Converted before: a copy is waited for, work on the device would not be.
        self.tables: Tensor = numbers.to(device)
        self.kept: Tensor | None = None
        if merging.weights.hold_zeros:
            kept = merging.weights.dense(merging.grid.size) != 0
            self.kept = torch.from_numpy(kept).to(device)
        self._stream = _device.current_stream(device.index) if device.type == "cuda" else 0

    @property
    def nbytes(self) -> int:
        """How much memory of the device they take."""
        return self.tables.nbytes + (0 if self.kept is None else self.kept.nbytes)

    def read_on(self, stream: int) -> None:
        """Keep the memory from other uses until what is queued on a stream has read it."""
        if stream == self._stream or not self.tables.is_cuda:
            return
        here = torch.cuda.current_stream(self.tables.device)
        for read in (self.tables, self.kept):
            if read is not None and read.numel():
                read.record_stream(here)

    def weighted_only(self, fragments: Tensor, merging: Merging) -> Tensor:
        """Fragments, but 0 where the weight is 0: 0 * NaN and 0 * inf are NaN."""
        kept = self.kept
        if kept is None or not fragments.is_floating_point():
            return fragments
        if merging.channels_last:
            kept = kept[..., None]
        elif merging.weights.per_fragment:
            kept = kept[:, None]
        return fragments.where(kept, 0)


def _in_pairs(merging: Merging, device: torch.device) -> bool:
    """Whether a device adds doubles too slowly for this merge, and floats would do."""
    return merging.code == _FLOAT and _device.adds_doubles_slowly(device.index)


_FLOAT = _arrays.dtype_code(torch.float32)
_HALVES = tuple(map(_arrays.dtype_code, (torch.float16, torch.bfloat16)))
_kept: OrderedDict[Any, DeviceWeights] = OrderedDict()
_captured: set[DeviceWeights] = set()
_lock = fork_safe_lock()


def weights_on(merging: Merging, device: torch.device, part: Part | None) -> DeviceWeights:
    """The weights of a merge (or of a part of its windows) on a device.

    Those that a CUDA graph reads are kept for ever, for the graph may be replayed at any time.
    """
    precision = merging.code in _HALVES, _in_pairs(merging, device)
    key = (*_key(merging), precision, device, part)
    captured = device.type == "cuda" and _device.is_captured()
    with _lock:
        found = _kept.get(key)
        if found is not None:
            _kept.move_to_end(key)
    if found is None:
        if captured and _has_tables(merging):
            raise RuntimeError(
                "merge: got a CUDA graph that is being captured, takes one that is captured after "
                "a first call with the same grid, window and type: weights are copied to the "
                "device by the first"
            )
        found = DeviceWeights(merging, device, part)
        with _lock:
            _kept[key] = found
            total = sum(weights.nbytes for weights in _kept.values())
            while total > _MOST_BYTES and len(_kept) > 1:
                total -= _kept.popitem(last=False)[1].nbytes
    if captured:
        _captured.add(found)
    return found


def forget() -> None:
    """Drop all weights but those that CUDA graphs read."""
    with _lock:
        _kept.clear()
    grid_plan.cache_clear()


def _has_tables(merging: Merging) -> bool:
    uniform = isinstance(merging.window, str) and merging.window == "uniform"
    return not uniform or merging.reduce == "mean"


def _key(merging: Merging) -> tuple[Any, ...]:
    """A merge's weights, compared by value."""
    window: Any = merging.window
    if not isinstance(window, str):
        array = merging.weights.array
        if array is None:
            window = tuple(None if v is None else v.tobytes() for v in merging.weights.vectors)
        else:
            held = _held(merging)
            address = held.__array_interface__["data"][0]
            window = (held.shape, _native.checksum(address, held.nbytes))
    return merging.grid, merging.reduce, window


def _held(merging: Merging) -> NDArray[np.float64]:
    """The array of a merge's weights, one number for each fragment where that is all they are."""
    array = weights_of_fragments(merging.weights, merging.grid)
    assert array is not None
    return np.ascontiguousarray(array)


def _window_plan(merging: Merging) -> WindowPlan:
    """A window's CUDA form, its weights checked as on the CPU."""
    from tokfrag._cuda import WindowPlan

    weights = merging.weights
    host.check_sums(merging)
    vectors, number = list(weights.vectors), HOST_REDUCES.index(merging.reduce)
    whole = None if weights.array is None else _held(merging)
    return WindowPlan(grid_plan(merging.grid), number, vectors, whole, weights.per_fragment)
