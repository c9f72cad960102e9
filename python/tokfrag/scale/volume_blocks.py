"""Blocks of a volume: which there are, which windows reach each, and its bits from those alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag.fragments.grid import FragmentGrid, source_table
from tokfrag.fragments.shapes import check_stacked
from tokfrag.fragments.streams.host import HostStitcher
from tokfrag.fragments.streams.kept import KeptStitcher
from tokfrag.fragments.streams.results import central_window, resized
from tokfrag.fragments.streams.sliding import Call, Feeder
from tokfrag.fragments.streams.stitching import (
    Halo,
    Part,
    Stitcher,
    central_grid,
    output_grid,
    refuse_two_readings,
)
from tokfrag.fragments.windows import Reduce, Window
from tokfrag.scale.volume_arrays import Layout, Region


@dataclass(frozen=True)
class Merging:
    """How the outputs of a model become a volume.

    Attributes
    ----------
    grid
        Of the fragments.
    outputs
        Of what the model makes of them.
    window, reduce, halo
        As in ``map_fragments``, for the outputs.
    margin
        Positions before and after the outputs' grid that no output reaches, an axis.
    """

    grid: FragmentGrid
    outputs: FragmentGrid
    window: Window
    reduce: Reduce
    halo: Halo | None
    margin: tuple[int, ...]

    @classmethod
    def of(
        cls, grid: FragmentGrid, size: tuple[int, ...], window: Window, reduce: Reduce, halo: Any
    ) -> Merging:
        """For outputs of a size; ValueError where they do not lie on a grid."""
        none = (0,) * len(size)
        if halo == "valid":
            window = central_window(window, grid.size, size)
            margin = tuple((w - v) // 2 for w, v in zip(grid.size, size, strict=True))
            return cls(grid, central_grid(grid, size), window, reduce, None, margin)
        outputs = output_grid(grid, size)
        if size != grid.size:
            if halo is None:
                refuse_two_readings(grid, size)
            elif halo != "scale":
                raise ValueError(f"halo: got outputs of size {size}, takes {grid.size}")
        kept = None if halo == "scale" else halo
        window = resized(window, grid.size, size)
        return cls(grid, outputs, window, reduce, kept, none)

    @property
    def space(self) -> tuple[int, ...]:
        """The lengths of the result."""
        lengths = zip(self.outputs.shape, self.margin, strict=True)
        return tuple(length + 2 * margin for length, margin in lengths)

    def part(self, block: Region) -> tuple[Part, Region] | None:
        """The windows that reach a block of the result, and where in it they do; None: none."""
        windows, wanted, reached = [], [], []
        grid = self.outputs
        for axis, (at, margin) in enumerate(zip(block, self.margin, strict=True)):
            begin = max(at.start - margin, 0)
            end = min(at.stop - margin, grid.shape[axis])
            extent = grid.dilation[axis] * (grid.size[axis] - 1) + 1
            starts = grid.starts[axis]
            first = int(np.searchsorted(starts + extent, begin, side="right"))
            last = int(np.searchsorted(starts, end))
            if begin >= end or first >= last:
                return None
            origin = int(starts[first])
            reach = min(int(starts[last - 1]) + extent, end)
            begin = max(begin, origin)
            if begin >= reach:
                return None
            windows.append(slice(first, last))
            wanted.append(slice(begin - origin, reach - origin))
            shift = margin - at.start
            reached.append(slice(begin + shift, reach + shift))
        return Part(grid, tuple(windows), tuple(wanted)), tuple(reached)

    def stitcher(self, part: Part, like: Any) -> Stitcher:
        """What merges the windows of a part."""
        own = (part.grid, self.window, self.reduce, self.halo, like)
        if self.reduce in ("min", "vote", "median"):
            check_stacked(like.dtype, self.reduce, "uniform")
            return KeptStitcher(*own, None, part)
        return HostStitcher(*own, 1, part)


class HeldVolume:
    """A part of one entry of a volume in memory, sliced by the whole's positions.

    Parameters
    ----------
    source : what slices into arrays
    layout : of the source
    entry : of the batch
    grid, windows : of which the part is what these windows hold
    """

    def __init__(
        self,
        source: Any,
        layout: Layout,
        entry: int,
        grid: FragmentGrid,
        windows: tuple[slice, ...],
    ) -> None:
        _, channels, space = layout.split(source.shape)
        self.shape = (1, channels, *space)
        self.dtype = np.dtype(source.dtype)
        self._cuts = tuple(_held(grid, axis, run) for axis, run in enumerate(windows))
        values = np.asarray(source[layout.place(entry, self._cuts)])
        lengths = tuple(cut.stop - cut.start for cut in self._cuts)
        self._values = values.reshape((1, channels, *lengths))

    def __getitem__(self, place: Region) -> NDArray[Any]:
        """The part at one slice an axis."""
        inside = zip(place[2:], self._cuts, strict=True)
        own = [slice(at.start - cut.start, at.stop - cut.start) for at, cut in inside]
        at = (*place[:2], *own)
        return self._values[at]


def _held(grid: FragmentGrid, axis: int, run: slice) -> slice:
    """The positions that a run of windows reads from, from the first to the last."""
    starts, step = grid.starts[axis][run], grid.dilation[axis]
    begin, end = int(starts[0]), int(starts[-1]) + step * (grid.size[axis] - 1) + 1
    if end <= grid.shape[axis]:
        return slice(begin, end)
    source = source_table(grid, axis)[begin:end]
    source = source[source >= 0]
    return slice(int(source.min()), int(source.max()) + 1)


def block_result(
    model: Callable[..., Any],
    held: Callable[[tuple[slice, ...]], Any],
    merging: Merging,
    block: Region,
    channels: int,
    call: Call,
) -> tuple[NDArray[Any] | None, int]:
    """The result at a block, ``(channels, *block)``, and how many windows went through the model.

    None if no window reaches the block.

    The bits are those of all windows together: each position sums the same numbers in the same
    order.
    """
    found = merging.part(block)
    if found is None:
        return None, 0
    part, _ = found
    numbers = window_numbers(merging.grid, part.windows)
    batches = outputs_of(model, held(part.windows), merging, numbers, channels, call)
    return merged(batches, merging, block, found, call.reduce_slab), len(numbers)


def window_numbers(grid: FragmentGrid, windows: tuple[slice, ...]) -> NDArray[np.int64]:
    """The numbers of windows, a run along each axis, ascending."""
    mesh = np.ix_(*(np.arange(run.start, run.stop) for run in windows))
    numbers: NDArray[np.int64] = np.ravel_multi_index(mesh, grid.counts).reshape(-1)
    return numbers


def outputs_of(
    model: Callable[..., Any],
    x: Any,
    merging: Merging,
    numbers: NDArray[np.int64],
    channels: int,
    call: Call,
) -> Iterator[Any]:
    """What the model makes of these windows, batch by batch, on the host."""
    feeder = Feeder(model, x, merging.grid, call._replace(chosen=numbers))
    done = 0
    while done < len(numbers):
        count = min(feeder.batch_size, len(numbers) - done)
        with feeder.no_gradients():
            outputs = feeder.outputs(model, done, count)
        if outputs is None:
            continue  # smaller batches next time
        if _arrays.is_tensor(outputs):
            outputs = outputs.detach().cpu()
        check_output(outputs, merging.outputs.size, count, channels)
        done += count
        yield outputs
        del outputs  # its memory is the next batch's


def merged(
    batches: Iterable[Any],
    merging: Merging,
    region: Region,
    found: tuple[Part, Region],
    reduce_slab: Callable[[Any], Any] | None,
) -> NDArray[Any] | None:
    """The result at a region, ``(channels, *region)``, of the outputs of all that reach it.

    `found` is what ``merging.part(region)`` gives. None if there are no outputs.
    """
    part, reached = found
    lengths = tuple(at.stop - at.start for at in region)
    stitcher: Stitcher | None = None
    result: NDArray[Any] | None = None
    done = 0
    for outputs in batches:
        if stitcher is None:
            stitcher = merging.stitcher(part, outputs)
        for finished in _finished(stitcher, outputs, done):
            slab = stitcher.take(finished)
            wanted = part.wanted[0]
            begin, end = max(finished.start, wanted.start), min(finished.stop, wanted.stop)
            if begin >= end:
                continue
            rows = slice(begin - finished.start, end - finished.start)
            inside = (slice(None), rows, *part.wanted[1:])
            own = slab[inside]
            if reduce_slab is not None:
                own = reduce_slab(own[None])[0]
            own = _on_host(own)
            if result is None:
                result = np.zeros((own.shape[0], *lengths), own.dtype)
            first = reached[0].start + begin - wanted.start
            place = (slice(None), slice(first, first + end - begin), *reached[1:])
            if own.shape[1:] != result[place].shape[1:]:
                raise ValueError(f"reduce_slab: got shape {own.shape} back, takes its positions")
            result[place] = own
        done += len(outputs)
        del outputs
    return result


def _finished(stitcher: Stitcher, outputs: Any, first: int) -> Iterator[slice]:
    """Merge outputs; give the positions that are finished, whenever there are some."""
    done = 0
    while done < len(outputs):
        at = first + done
        end = min(stitcher.until(at), stitcher.windows, first + len(outputs))
        stitcher.add(at, outputs[done : done + end - at])
        done += end - at
        finished = stitcher.finished(end)
        if finished is not None:
            yield finished


def check_output(output: Any, size: tuple[int, ...], count: int, channels: int) -> None:
    """Raise ValueError for an output that is not like the first one."""
    shape = tuple(getattr(output, "shape", ()))
    if shape != (count, channels, *size):
        raise ValueError(f"model: got an output of shape {shape}, takes {(count, channels, *size)}")


def _on_host(values: Any) -> NDArray[Any]:
    if _arrays.is_tensor(values):
        values = values.detach().cpu().numpy()
    array: NDArray[Any] = np.asarray(values)
    return array


@dataclass(frozen=True)
class Blocks:
    """A volume cut into blocks, each of whole chunks.

    Attributes
    ----------
    space
        The lengths of the volume.
    lengths
        Of a block.
    entries
        Of the batch.
    """

    space: tuple[int, ...]
    lengths: tuple[int, ...]
    entries: int = 1

    @property
    def counts(self) -> tuple[int, ...]:
        """Blocks along each axis."""
        return tuple(ceil(n / b) for n, b in zip(self.space, self.lengths, strict=True))

    def __len__(self) -> int:
        """How many blocks there are."""
        return self.entries * prod(self.counts)

    def block(self, number: int) -> tuple[int, Region]:
        """The batch entry and the positions of a block."""
        entry, *at = (int(i) for i in np.unravel_index(number, (self.entries, *self.counts)))
        spans = zip(at, self.lengths, self.space, strict=True)
        return entry, tuple(slice(i * b, min((i + 1) * b, n)) for i, b, n in spans)

    def windows(self, merging: Merging) -> int:
        """How many windows all blocks run, those that several run counted as often."""
        total = self.entries
        for axis in range(len(self.space)):
            along = 0
            for at in range(self.counts[axis]):
                begin = at * self.lengths[axis]
                end = min(begin + self.lengths[axis], self.space[axis])
                block = [slice(0, n) for n in self.space]
                block[axis] = slice(begin, end)
                found = merging.part(tuple(block))
                along += 0 if found is None else _count(found[0].windows[axis])
            total *= along
        return total


def chosen_lengths(
    merging: Merging, unit: tuple[int, ...], entries: int, position_bytes: int, memory_limit: int
) -> tuple[int, ...]:
    """Block lengths, multiples of `unit`: as large as memory allows, for the least overlap.

    At least 16 blocks are left where there are as many units, so that workers share them.
    """
    space = merging.space
    lengths = tuple(min(u, n) for u, n in zip(unit, space, strict=True))
    while True:
        best: tuple[float, tuple[int, ...]] | None = None
        for axis, length in enumerate(lengths):
            if length >= space[axis]:
                continue
            grown = (*lengths[:axis], min(2 * length, space[axis]), *lengths[axis + 1 :])
            if grown[axis] < space[axis] and grown[axis] % unit[axis]:
                continue
            blocks = Blocks(space, grown, entries)
            if len(blocks) < 16 or _bytes(merging, grown, position_bytes) > memory_limit:
                continue
            cost = blocks.windows(merging), grown
            best = cost if best is None else min(best, cost)
        if best is None:
            return lengths
        lengths = best[1]


def _bytes(merging: Merging, lengths: tuple[int, ...], position_bytes: int) -> int:
    """About what a block and all that its windows reach over take."""
    reach = [b + 2 * w for b, w in zip(lengths, merging.outputs.size, strict=True)]
    return prod(reach) * position_bytes


def _count(run: slice) -> int:
    return int(run.stop - run.start)


__all__ = [
    "Blocks",
    "HeldVolume",
    "Merging",
    "block_result",
    "check_output",
    "chosen_lengths",
    "merged",
    "outputs_of",
    "window_numbers",
]
