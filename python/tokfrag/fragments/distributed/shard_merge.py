"""Merging the positions that one process owns, of fragments that several hold."""

from __future__ import annotations

from functools import cached_property
from itertools import groupby, product
from math import prod
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tokfrag import _arrays
from tokfrag._operators import thread_limit
from tokfrag.fragments.distributed.exchange import Index, Peers
from tokfrag.fragments.distributed.shards import GridShards
from tokfrag.fragments.engines import cuda, host
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.shapes import merging_of
from tokfrag.fragments.windows import Part, Reduce, Window, axis_sums, outer


class _Piece(NamedTuple):
    """The same taps of some windows along one axis."""

    windows: slice
    taps: slice


class _Span(NamedTuple):
    """Positions along one axis, and the windows that hold any of them."""

    begin: int
    end: int
    windows: slice


class ShardMerge:
    """One call of `gather_merge`: who sends what, and the merge of what has arrived.

    A process' region falls into boxes: along each axis, a border that windows of other processes
    reach, and the rest. Only for a border are fragments put side by side in one array; the rest is
    merged from the process' own fragments where they lie.
    """

    def __init__(
        self,
        shards: GridShards,
        peers: Peers,
        window: Window,
        reduce: Reduce,
        fill_value: complex,
        dtype: torch.dtype,
        channels_last: bool,
        threads: int | None,
    ) -> None:
        self.shards, self.peers, self.grid = shards, peers, shards.grid
        self.window, self.reduce, self.fill_value = window, reduce, fill_value
        self.channels_last, self.threads = channels_last, threads
        options = (channels_last, fill_value, dtype)
        self._merging = merging_of(self.grid, window, reduce, *options)
        self._vectors, self._whole = self._merging.weights
        if reduce == "mean" and self._whole is not None and (self._whole <= 0).any():
            self._check_whole()

    def __call__(self, fragments: Tensor) -> Tensor:
        """The merged positions of this process' region."""
        dtype = fragments.dtype
        if not self._merging.plain:
            fragments = self._weighted_only(fragments)
        counts = self.shards.counts(self.peers.rank)
        own = fragments.reshape(fragments.shape[0], *counts, *fragments.shape[2:])
        arrived = self._exchange(own)
        lengths = self.shards.shape(self.peers.rank)
        out = self._new(fragments, lengths, self.fill_value)
        for box in product(*self._spans):
            part = fragments
            windows = tuple(span.windows for span in box)
            if windows != self.shards.windows(self.peers.rank):
                part = self._side_by_side(own, arrived, windows)
            self._merge_box(part, box, out)
        return out if out.dtype == dtype else cast("Tensor", _arrays.narrowed(out, dtype))

    def _weighted_only(self, fragments: Tensor) -> Tensor:
        """This process' fragments in the type they are merged in, and 0 where the weight is 0."""
        if self._merging.wide is not None:
            fragments = fragments.to(self._merging.wide)
        weights = self.own_window()
        if weights is None or _arrays.sums_to_a_number(fragments):
            return fragments
        return fragments.where(weights.to(fragments.device) != 0, 0)

    # The exchange

    def _exchange(self, own: Tensor) -> list[tuple[tuple[_Piece, ...], Tensor]]:
        """The pieces of other processes' fragments over this region."""
        me = self.peers.rank
        outgoing, sizes, expected = [], [], []
        for rank in range(self.peers.count):
            mine = [] if rank == me else self._pieces(me, rank)
            taken = [own[self._index(piece, me)].reshape(-1) for piece in mine]
            outgoing.append(torch.cat(taken) if taken else own.new_empty(0))
            theirs = [] if rank == me else self._pieces(rank, me)
            expected.append(theirs)
            sizes.append(sum(prod(self._piece_shape(own, piece)) for piece in theirs))
        incoming = self.peers.swap(outgoing, sizes)
        arrived = []
        for message, pieces in zip(incoming, expected, strict=True):
            done = 0
            for piece in pieces:
                assert message is not None
                shape = self._piece_shape(own, piece)
                arrived.append((piece, message[done : done + prod(shape)].view(shape)))
                done += prod(shape)
        return arrived

    def _pieces(self, owner: int, needy: int) -> list[tuple[_Piece, ...]]:
        """The parts of `owner`'s fragments that lie over the region of `needy`."""
        axes = zip(self.shards.windows(owner), self.shards.region(needy), strict=True)
        return list(product(*(self._axis_pieces(axis, *at) for axis, at in enumerate(axes))))

    def _axis_pieces(self, axis: int, windows: slice, region: slice) -> list[_Piece]:
        size, dilation = self.grid.size[axis], self.grid.dilation[axis]
        starts = self.grid.starts[axis][windows]
        begin = np.clip(-((starts - region.start) // dilation), 0, size)
        end = np.clip((region.stop - 1 - starts) // dilation + 1, 0, size)
        if region.start == region.stop:
            return []
        found = []
        taps = enumerate(zip(begin.tolist(), end.tolist(), strict=True), windows.start)
        for (first, last), group in groupby(taps, key=lambda item: item[1]):
            held = [window for window, _ in group]
            if first < last:
                found.append(_Piece(slice(held[0], held[-1] + 1), slice(first, last)))
        return found

    def _index(self, piece: tuple[_Piece, ...], rank: int) -> Index:
        """A piece's place in the fragments of a process: (batch, *counts, channels, *size)."""
        firsts = [run.start for run in self.shards.windows(rank)]
        windows = [_moved(axis.windows, first) for axis, first in zip(piece, firsts, strict=True)]
        return (slice(None), *windows, *self._inner(piece))

    def _inner(self, piece: tuple[_Piece, ...]) -> Index:
        taps = [axis.taps for axis in piece]
        return (*taps, slice(None)) if self.channels_last else (slice(None), *taps)

    def _piece_shape(self, own: Tensor, piece: tuple[_Piece, ...]) -> tuple[int, ...]:
        channels = own.shape[-1 if self.channels_last else 1 + len(piece)]
        lengths = [_length(axis.taps) for axis in piece]
        inner = (*lengths, channels) if self.channels_last else (channels, *lengths)
        return (own.shape[0], *(_length(axis.windows) for axis in piece), *inner)

    # The merge

    @cached_property
    def _spans(self) -> list[list[_Span]]:
        """The border (if any) and the rest of this region, an axis."""
        spans = []
        rank = self.peers.rank
        for axis, (run, region) in enumerate(
            zip(self.shards.windows(rank), self.shards.region(rank), strict=True)
        ):
            starts = self.grid.starts[axis]
            extent = self.grid.dilation[axis] * (self.grid.size[axis] - 1) + 1
            begin, end = region.start, region.stop
            # Ends ascend with starts, so windows over the border are neighbours.
            first = int(np.searchsorted(starts + extent, begin, side="right"))
            border = begin
            if first < run.start:
                border = min(int(starts[run.start - 1]) + extent, end)
            found = []
            if border > begin:
                last = int(np.searchsorted(starts, border))
                found.append(_Span(begin, border, slice(first, max(last, run.start))))
            if end > border and run.stop > run.start:
                found.append(_Span(border, end, run))
            spans.append(found)
        return spans

    def _side_by_side(
        self,
        own: Tensor,
        arrived: list[tuple[tuple[_Piece, ...], Tensor]],
        windows: tuple[slice, ...],
    ) -> Tensor:
        """Fragments of a run of windows, own ones and others'; taps that nobody sent are zero."""
        rank = len(windows)
        counts = [_length(run) for run in windows]
        made = own.new_zeros((own.shape[0], *counts, *own.shape[1 + rank :]))
        mine = self.shards.windows(self.peers.rank)
        taps = tuple(slice(0, size) for size in self.grid.size)
        whole = tuple(map(_Piece, mine, taps))
        for piece, values in [(whole, own), *arrived]:
            common = [_common(axis.windows, run) for axis, run in zip(piece, windows, strict=True)]
            if any(_length(run) <= 0 for run in common):
                continue
            to = [_moved(run, into.start) for run, into in zip(common, windows, strict=True)]
            of = [_moved(run, axis.windows.start) for run, axis in zip(common, piece, strict=True)]
            place = (slice(None), *to, *self._inner(piece))
            taken: Index = (slice(None), *of)
            made[place] = values[taken]
        return made.flatten(1, rank)

    def _merge_box(self, part: Tensor, box: tuple[_Span, ...], out: Tensor) -> None:
        first = tuple(span.windows.start for span in box)
        counts = tuple(_length(span.windows) for span in box)
        starts = [int(s[at]) for s, at in zip(self.grid.starts, first, strict=True)]
        reach = self._reach(box)
        begin = tuple(span.begin - start for span, start in zip(box, starts, strict=True))
        merged = self._new(part, reach)
        self._run(part, (first, counts, begin), merged)
        region = self.shards.region(self.peers.rank)
        to, of = [], []
        for span, start, length, own in zip(box, starts, reach, region, strict=True):
            end = min(span.end, start + length)  # beyond: in no window
            to.append(slice(span.begin - own.start, max(end, span.begin) - own.start))
            of.append(slice(span.begin - start, max(end, span.begin) - start))
        out[self._outer(to)] = merged[self._outer(of)]

    def _run(self, part: Tensor, windows: Part, merged: Tensor) -> None:
        if not part.is_cuda:
            plain = self._merging._replace(plan=self._merging.plan.part(*windows), plain=True)
            host.merge(part, plain, merged, thread_limit(_arrays.thread_count(self.threads)))
        elif cuda.kernels(part.device.index) is not None:
            cuda.merge(part, self._merging._replace(plain=True), merged, windows)
        else:
            on_host = torch.empty(merged.shape, dtype=merged.dtype)
            self._run(part.cpu(), windows, on_host)
            merged.copy_(on_host)

    def _reach(self, box: tuple[_Span, ...]) -> tuple[int, ...]:
        """How many positions the windows of a box hold together, an axis."""
        return tuple(
            int(starts[span.windows.stop - 1] - starts[span.windows.start]) + step * (size - 1) + 1
            for span, starts, size, step in zip(
                box, self.grid.starts, self.grid.size, self.grid.dilation, strict=True
            )
        )

    def _outer(self, space: list[slice]) -> Index:
        return (slice(None), *space) if self.channels_last else (slice(None), slice(None), *space)

    def _new(self, like: Tensor, lengths: tuple[int, ...], fill: Any = None) -> Tensor:
        channels = like.shape[-1] if self.channels_last else like.shape[2]
        inner = (*lengths, channels) if self.channels_last else (channels, *lengths)
        shape = (like.shape[0], *inner)
        return like.new_empty(shape) if fill is None else like.new_full(shape, fill)

    # For the backward

    @cached_property
    def plain_shards(self) -> GridShards:
        """The same shards on a grid that pads with zeros."""
        grid = self.grid
        spec = (grid.size, grid.stride, grid.edge, "constant", 0, grid.dilation)
        plain = FragmentGrid.checked(grid.shape, *spec)  # type: ignore[arg-type]
        return GridShards(plain, self.peers.count, self.shards.split)

    def plain_sum(self, dtype: torch.dtype) -> ShardMerge:
        """The unweighted sum on the same shards."""
        options = ("uniform", "sum", 0, dtype, self.channels_last, self.threads)
        return ShardMerge(self.plain_shards, self.peers, *options)  # type: ignore[arg-type]

    def own_window(self) -> Tensor | None:
        """The weights of this process' fragments, in a shape that broadcasts; None: ones."""
        if isinstance(self.window, str) and self.window == "uniform":
            return None
        rank = len(self.grid.size)
        whole = self._whole
        if whole is None:
            ones = map(np.ones, self.grid.size)
            vectors = zip(self._vectors, ones, strict=True)
            whole = outer([one if own is None else own for own, one in vectors])
        elif whole.ndim > rank:
            runs = self.shards.windows(self.peers.rank)
            whole = whole.reshape(self.grid.counts + self.grid.size)[runs]
        leading = (1, prod(whole.shape[:-rank]))
        inner = (*self.grid.size, 1) if self.channels_last else (1, *self.grid.size)
        return torch.from_numpy(np.ascontiguousarray(whole)).reshape(*leading, *inner)

    def weight_sums(self, like: Tensor) -> Tensor:
        """The sum of the weights over each position of the region, 1 where no fragment lies."""
        if self._whole is not None:
            sums = self._weight_map()
        else:
            region = self.shards.region(self.peers.rank)
            axes = enumerate(zip(self._vectors, region, strict=True))
            sums = outer([axis_sums(self.grid, axis, own)[part] for axis, (own, part) in axes])
        shaped = torch.from_numpy(np.where(sums == 0, 1, sums))
        return (shaped[None, ..., None] if self.channels_last else shaped[None, None]).to(like)

    def _weight_map(self) -> NDArray[np.float64]:
        """The sum of whole-window weights over each position of the region."""
        spans = [
            _Span(region[0].begin, region[-1].end, slice(region[0].windows.start, own.stop))
            for region, own in zip(self._spans, self.shards.windows(self.peers.rank), strict=True)
            if region
        ]
        sums = np.zeros(self.shards.shape(self.peers.rank))
        if len(spans) < len(self._spans):
            return sums
        ones = torch.ones(1, dtype=torch.float64)
        n = prod(_length(span.windows) for span in spans)
        ones = ones.expand(1, n, 1, *self.grid.size)
        task = ShardMerge(
            self.shards, self.peers, self.window, "sum", 0, torch.float64, False, self.threads
        )
        task._merge_box(ones, tuple(spans), torch.from_numpy(sums)[None, None])
        return sums

    def _check_whole(self) -> None:
        sums = self._weight_map()
        region = self.shards.region(self.peers.rank)
        held = zip(self.grid.axis_coverage(), region, strict=True)
        covered = outer([counts[part] for counts, part in held]) > 0
        if not (np.isfinite(sums) & (sums != 0))[covered].all():
            raise ValueError(
                "window: the weights of some positions sum to zero; "
                "a mean takes weights that do not"
            )


def _length(run: slice) -> int:
    return int(run.stop - run.start)


def _moved(run: slice, by: int) -> slice:
    return slice(run.start - by, run.stop - by)


def _common(a: slice, b: slice) -> slice:
    return slice(max(a.start, b.start), min(a.stop, b.stop))
