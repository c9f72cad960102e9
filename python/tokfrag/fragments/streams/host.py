"""Slabs of sums in this machine's memory, added to by the native kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag._core.stitching import Slab, window_places
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.streams.stitching import Halo, Part, Stitcher
from tokfrag.fragments.streams.weight_sums import WeightSums
from tokfrag.fragments.windows import Reduce, Window

_EMITTED = ("float16", "bfloat16", "float32", "float64")


class HostStitcher(Stitcher):
    """Sums in float32, or in float64 for float64 outputs; see `Stitcher`.

    The slab is a ring along axis 0, so nothing moves when a part of it is given up.

    Parameters
    ----------
    like : an output of the model, (count, channels, *size), array or tensor
    threads : how many to use, 0 for the default
    part : as `Stitcher` takes it
    """

    def __init__(
        self,
        grid: FragmentGrid,
        window: Window,
        reduce: Reduce,
        halo: Halo | None,
        like: Any,
        threads: int,
        part: Part | None = None,
    ) -> None:
        super().__init__(grid, window, reduce, halo, like, part)
        self._threads = threads
        wide = self.narrow or _arrays.dtype_name(like.dtype) == "float64"
        self._type: Any = np.float64 if wide else np.float32
        lengths = (self.depth, *grid.padded_shape[1:])
        self._empty = -np.inf if reduce == "max" else 0
        self._sums = self._slab_of(like.shape[1], lengths)
        address = self._sums.ctypes.data
        self._slab = Slab(address, wide, like.shape[1], lengths)
        self._tables = [self._variants(axis) for axis in range(len(grid.shape))]
        self._window = None if self.whole is None else self._numbers(self.whole)
        self._divisors: WeightSums | None = None
        if self._window is not None and reduce == "mean":
            self._divisors = WeightSums(grid, self._window, threads)
        self._factors = [self._numbers(self.inverse(axis)) for axis in range(len(grid.shape))]
        if reduce == "sum":
            self._factors = [np.ones_like(factors) for factors in self._factors]

    def add(self, first: int, fragments: Any, weights: NDArray[np.float64] | None = None) -> None:
        """Add fragments [first, first + count) of the entry to the slab."""
        fragments = _arrays.kernel_array(fragments)
        code = _arrays.dtype_code(fragments.dtype)
        if code < 0:
            raise TypeError(
                f"model: got outputs of {_arrays.dtype_name(fragments.dtype)}, takes real numbers"
            )
        grid = self.grid
        numbers = self._windows(first, len(fragments))
        origins = window_places(grid.plan, numbers)[:, 1:]
        variants = np.zeros_like(origins)
        if self.halo is not None:
            places = np.unravel_index(numbers, grid.counts)
            for axis, (at, count) in enumerate(zip(places, grid.counts, strict=True)):
                variants[:, axis] = (at > 0) + 2 * (at < count - 1)
        replaced = None if weights is None else self._numbers(weights / self.scale)
        window = self._window if replaced is None else replaced
        strides: tuple[int, ...]
        if _arrays.is_tensor(fragments):
            address, item, strides = fragments.data_ptr(), fragments.itemsize, fragments.stride()
        else:
            if not fragments.flags.aligned:
                fragments = fragments.copy()
            address, item, strides = fragments.ctypes.data, 1, fragments.strides
        size = (grid.size, grid.dilation)
        vectors = tuple(0 if table is None else table.ctypes.data for table in self._tables)
        whole = 0 if window is None else window.ctypes.data
        options = (self.reduce == "max", self._threads)
        self._slab.add(
            code, address, item, strides, *size, origins, vectors, variants, whole, *options
        )
        self._weigh(origins)

    def take(self, done: slice, out: Any = None) -> Any:
        """Give up finished positions, normalised, and empty their part of the ring."""
        grid = self.grid
        thickness = done.stop - done.start
        held = min(thickness, self.depth)  # beyond: in no window
        shape = (len(self._sums), thickness, *grid.shape[1:])
        if out is None:
            out = np.empty(shape, self._type)
            if self.tensors:
                import torch

                out = torch.from_numpy(out)
        strides: tuple[int, ...]
        if _arrays.is_tensor(out):
            address, item, strides = out.data_ptr(), out.itemsize, out.stride()
        else:
            address, item, strides = out.ctypes.data, 1, out.strides
        factors = [self._factors[0][done.start : done.stop], *self._factors[1:]]
        divisors, divisor_rows = self._divided_by(done)
        if self._divisors is not None and self.may_vanish:
            self.check_weights(self._divisors.over(slice(done.start, done.start + held)), done)
        self._slab.emit(
            _arrays.dtype_code(out.dtype),
            address,
            item,
            strides,
            done.start,
            (held, *grid.shape[1:]),
            tuple(numbers.ctypes.data for numbers in factors),
            divisors,
            divisor_rows,
            self.reduce == "max",
            self._threads,
        )
        if thickness > held:
            out[:, held:] = 0
        self.base = done.stop
        return out

    def restart(self) -> None:
        """Begin the next batch entry with an empty slab."""
        self.base = 0
        if self.grid.padded_shape[0] > self.grid.shape[0]:  # else all has been given up
            self._sums.fill(self._empty)

    def _windows(self, first: int, count: int) -> NDArray[np.int64]:
        """The windows of fragments [first, first + count)."""
        return np.arange(first, first + count)

    def _weigh(self, origins: NDArray[np.int64]) -> None:
        """Take note of windows that came: of all, the grid knows what they weigh."""

    def _divided_by(self, done: slice) -> tuple[int, tuple[int, ...]]:
        """Addresses of numbers to divide by and of their rows, or 0: factors do."""
        return (0, ()) if self._divisors is None else self._divisors.addresses(done.start)

    def _slab_of(self, channels: int, lengths: tuple[int, ...]) -> NDArray[Any]:
        slab = _arrays.empty_array(self._type, (channels, *lengths))
        slab.fill(self._empty)
        return slab

    def _variants(self, axis: int) -> NDArray[Any] | None:
        """The weights of an axis' windows: one row, or with a halo four, by the ends they keep."""
        if self.uniform and self.halo is None and axis < len(self.grid.shape) - 1:
            return None
        if self.halo is None:
            return self._numbers(self.vectors[axis][None])
        ends = [(True, True), (False, True), (True, False), (False, False)]
        return self._numbers(np.stack([self.vector(axis, *at) for at in ends]))

    def _numbers(self, values: NDArray[np.float64]) -> NDArray[Any]:
        return np.ascontiguousarray(values, self._type)


def emits_into(target: Any) -> bool:
    """True if `HostStitcher.take` can write to parts of `target`."""
    if _arrays.dtype_name(target.dtype) not in _EMITTED or _arrays.dtype_code(target.dtype) < 0:
        return False
    if isinstance(target, np.ndarray):
        return bool(target.flags.writeable and target.flags.aligned)
    return _arrays.is_tensor(target) and target.is_cpu and not target.requires_grad
