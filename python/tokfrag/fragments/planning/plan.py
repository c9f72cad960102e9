"""Which fragment size, stride and batch? Closed forms, and this machine's measured speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, prod
from operator import index as as_int
from typing import Any, TypeAlias

import numpy as np

from tokfrag import _arrays
from tokfrag.fragments.arguments import PerAxis
from tokfrag.fragments.distributed.shards import shared_positions, splits
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.planning.calibration import Calibration, calibration
from tokfrag.fragments.streams.sliding import map_fragments
from tokfrag.fragments.streams.stitching import lost_positions

Cost: TypeAlias = "float | Callable[[tuple[int, ...]], float]"

_MOST_BATCH = 4096


@dataclass(frozen=True)
class Candidate:
    """One way to cut: its predicted costs, and its measured time once there is one."""

    grid: FragmentGrid
    batch: int
    split: tuple[int, ...]  # workers along each axis
    seconds: float
    memory: int  # bytes a worker holds at once, besides input and result
    halo_bytes: int  # sent between workers, in all
    redundancy: float  # positions computed for each position of the data
    imbalance: float  # the busiest worker's fragments over the average
    lost: int  # positions whose result would not be the whole model's
    receptive_field: tuple[int, ...]
    measured: float | None = None

    @property
    def halo(self) -> tuple[tuple[int, int], ...]:
        """Results to leave out at the borders of fragments; `map_fragments` takes it.

        Examples
        --------
        >>> plan_fragments((64,), "float32", receptive_field=4, memory_limit=500).best.halo
        ((1, 2),)
        """
        return tuple(map(_halo, self.receptive_field))


@dataclass(frozen=True)
class FragmentPlan:
    """Candidates, the quickest first, and the refused ones, with the results they would lose.

    Attributes
    ----------
    candidates : tuple of Candidate
    refused : tuple of Candidate
        The one that loses fewest results first.
    calibration : Calibration
        The machine's measured speed, by which the candidates are ranked.

    Examples
    --------
    >>> plan = plan_fragments((64,), "float32", receptive_field=4, memory_limit=500)
    >>> timed = plan.measure(lambda x: x, np.zeros((1, 1, 64), np.float32))
    >>> timed.best.measured > 0, plan.best.measured
    (True, None)
    >>> print(plan.table(rows=0))
    size | stride | n | batch | split | seconds | measured | memory | halo | redundancy
    """

    candidates: tuple[Candidate, ...]
    refused: tuple[Candidate, ...]
    calibration: Calibration = field(repr=False)

    @property
    def best(self) -> Candidate:
        """The candidate predicted to be the quickest."""
        return self.candidates[0]

    def measure(
        self, model: Callable[[Any], Any], x: Any, *, top: int = 1, device: Any = None
    ) -> FragmentPlan:
        """Time the first candidates in this process; the order stays the predicted one.

        Parameters
        ----------
        model : callable
            As :func:`map_fragments` takes it: a batch of fragments to results.
        x : (batch, channels, *shape) array or tensor
            The data the plan was made for.
        top : int
            How many candidates to time.
        device : torch device, optional
            Where the model runs, as :func:`map_fragments` takes it.

        Returns
        -------
        FragmentPlan
            The same plan with ``measured`` seconds in its first ``top`` candidates.
        """
        timed = []
        for candidate in self.candidates[:top]:
            begin = time.perf_counter()
            map_fragments(
                model,
                x,
                candidate.grid,
                batch_size=candidate.batch,
                window="uniform",
                halo=candidate.halo,
                device=device,
            )
            timed.append(replace(candidate, measured=time.perf_counter() - begin))
        return replace(self, candidates=(*timed, *self.candidates[top:]))

    def table(self, rows: int = 10) -> str:
        """The first candidates and the refused ones, a line each.

        Parameters
        ----------
        rows : int
            At most so many candidates, and so many refused ones.

        Returns
        -------
        str
        """
        head = "size | stride | n | batch | split | seconds | measured | memory | halo | redundancy"
        lines = [head]
        for c in self.candidates[:rows]:
            measured = "-" if c.measured is None else f"{c.measured:.3g}"
            lines.append(
                f"{_times(c.grid.size)} | {_times(c.grid.stride)} | {c.grid.n} | {c.batch} | "
                f"{_times(c.split)} | {c.seconds:.3g} | {measured} | {_bytes(c.memory)} | "
                f"{_bytes(c.halo_bytes)} | {c.redundancy:.2f}"
            )
        for c in self.refused[:rows]:
            share = c.lost / prod(c.grid.shape)
            lines.append(
                f"{_times(c.grid.size)} | {_times(c.grid.stride)} | refused: the results at "
                f"{c.lost} positions ({share:.1%}) would miss data beyond a fragment's border"
            )
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()


def plan_fragments(
    shape: PerAxis,
    dtype: Any,
    *,
    receptive_field: PerAxis,
    memory_limit: int,
    workers: int = 1,
    bandwidth: float | None = None,
    latency: float | None = None,
    cost: Cost | None = None,
    channels: int = 1,
    channels_out: int | None = None,
    model_memory: float = 0.0,
    sizes: Sequence[PerAxis] | None = None,
    strides: Sequence[PerAxis] | None = None,
) -> FragmentPlan:
    """Rank ways to cut an array into fragments for a model.

    A model with a receptive field of ``r`` positions sees ``r - 1`` beyond each result, so of a
    fragment's ``w`` results only ``w - (r - 1)`` are those of the whole array (more at the array's
    own border). A candidate whose stride exceeds that loses results: it is refused, and the plan
    says how many.

    The predicted time is the busiest worker's (``n`` fragments of ``w`` positions for it,
    moved bytes ``B``, messages ``m``, halo bytes ``h``)::

        n * cost(w) + calls * t_call + B / move_bandwidth + latency * m + h / bandwidth

    Workers split the grid of fragments, so that neighbours exchange ``w - s`` positions of input
    and of output a cut; the split with the least time is taken.

    Parameters
    ----------
    shape : int or sequence of int
        The lengths of the space-time axes, 1 to 4.
    dtype : NumPy or torch dtype
        Of the data; results are taken to be of the same.
    receptive_field : int or sequence of int
        Positions, one number or one an axis; 1 for a pointwise model.
    memory_limit : int
        Bytes a worker may use for a batch, its results and the slab being merged.
    workers : int
        Processes that share the work.
    bandwidth, latency : float, optional
        Bytes a second and seconds a message between workers; measured over a local socket if not
        given.
    cost : float or callable, optional
        The model's seconds a position, or a function from a fragment's size to seconds; if not
        given, as much as copying the fragment in and out.
    channels, channels_out : int
        Of the data, and of the results (by default as many).
    model_memory : float
        Bytes the model needs inside, a position of a fragment.
    sizes, strides : sequence of int, or of one tuple a candidate, optional
        To try instead of powers of two and the largest stride that loses nothing.

    Returns
    -------
    FragmentPlan
        ``best.grid``, ``best.batch`` and ``best.halo`` go into :func:`map_fragments`.

    Raises
    ------
    ValueError, TypeError
        An argument that does not fit; no candidate that loses nothing and fits in memory (the
        message says what the smallest would need).

    Examples
    --------
    >>> plan = plan_fragments((4096,), "float32", receptive_field=33, memory_limit=1 << 20)
    >>> plan.best.lost, plan.best.redundancy < 1.2, plan.refused[0].lost > 0
    (0, True, True)
    """
    lengths = FragmentGrid(shape, 1).shape
    field_sizes = _sizes(receptive_field, "receptive_field", len(lengths))
    item = _item_size(dtype)
    if min(lengths) < 1:
        raise ValueError(f"shape: got {lengths}, takes lengths of at least 1")
    for name, number in (
        ("workers", workers),
        ("channels", channels),
        ("memory_limit", memory_limit),
    ):
        _positive(number, name)
    for name, rate in (("bandwidth", bandwidth), ("latency", latency)):
        if rate is not None and not rate > 0:
            raise ValueError(f"{name}: got {rate}, takes more than 0")
    speed = calibration()
    speed = replace(
        speed,
        link_bandwidth=speed.link_bandwidth if bandwidth is None else float(bandwidth),
        link_latency=speed.link_latency if latency is None else float(latency),
    )
    task = _Task(
        lengths,
        field_sizes,
        item * channels,
        item * (channels if channels_out is None else _positive(channels_out, "channels_out")),
        4 * (channels if channels_out is None else channels_out),
        float(model_memory),
        int(memory_limit),
        int(workers),
        cost,
        speed,
    )
    found, refused, smallest = [], [], None
    for grid in _grids(lengths, field_sizes, sizes, strides):
        candidate = task.candidate(grid)
        if candidate.lost:
            refused.append(candidate)
        elif candidate.batch < 1:
            smallest = min(candidate.memory, smallest or candidate.memory)
        else:
            found.append(candidate)
    if not found:
        least = min((c.lost for c in refused), default=0)
        raise ValueError(
            f"memory_limit: got {memory_limit}, takes at least {smallest} for these sizes"
            if smallest is not None
            else f"strides: every candidate loses results, at least {least} of {prod(lengths)}"
        )
    found.sort(key=lambda c: (c.seconds, c.memory))
    refused.sort(key=lambda c: c.lost)
    return FragmentPlan(tuple(found), tuple(refused), speed)


@dataclass(frozen=True)
class _Task:
    """The facts that all candidates share; bytes are a position."""

    shape: tuple[int, ...]
    receptive_field: tuple[int, ...]
    input_bytes: int
    output_bytes: int
    sum_bytes: int
    model_bytes: float
    memory_limit: int
    workers: int
    cost: Cost | None
    speed: Calibration

    def candidate(self, grid: FragmentGrid) -> Candidate:
        """A grid with its batch, split and predictions; batch 0 if not even one fragment fits."""
        positions = prod(grid.size)
        slab = prod(grid.shape[1:]) * min(grid.size[0], grid.shape[0]) * self.sum_bytes
        each = ceil(positions * (self.input_bytes + self.output_bytes + self.model_bytes))
        split = min(splits(grid.counts, self.workers), key=lambda p: (self._seconds(grid, p, 1), p))
        local = _local_fragments(grid, split)
        batch = min((self.memory_limit - slab) // each, local, _MOST_BATCH)
        return Candidate(
            grid=grid,
            batch=max(batch, 0),
            split=split,
            seconds=self._seconds(grid, split, max(batch, 1)),
            memory=slab + each * max(batch, 1),
            halo_bytes=self._halo_bytes(grid, split),
            redundancy=grid.n * positions / prod(grid.shape),
            imbalance=local * prod(split) / grid.n,
            lost=lost_positions(grid, tuple(map(_halo, self.receptive_field))),
            receptive_field=self.receptive_field,
        )

    def _seconds(self, grid: FragmentGrid, split: tuple[int, ...], batch: int) -> float:
        positions = prod(grid.size)
        local = _local_fragments(grid, split)
        share = prod(grid.shape) / prod(split)
        # extract reads the data and writes fragments; merge reads results and writes them merged.
        moved = share * (self.input_bytes + self.output_bytes)
        moved += local * positions * (self.input_bytes + self.output_bytes)
        if self.cost is None:
            each = positions * (self.input_bytes + self.output_bytes) / self.speed.move_bandwidth
        elif callable(self.cost):
            each = float(self.cost(grid.size))
        else:
            each = positions * float(self.cost)
        halo = self._halo_bytes(grid, split) / prod(split)
        messages = 4 * sum(p > 1 for p in split)  # both neighbours, input and output
        return (
            local * each
            + ceil(local / batch) * self.speed.call_seconds
            + moved / self.speed.move_bandwidth
            + messages * self.speed.link_latency
            + halo / self.speed.link_bandwidth
        )

    def _halo_bytes(self, grid: FragmentGrid, split: tuple[int, ...]) -> int:
        """Positions in the overlap of windows on both sides of each cut, input and output."""
        return shared_positions(grid, split) * (self.input_bytes + self.output_bytes)


def _grids(
    shape: tuple[int, ...],
    receptive_field: tuple[int, ...],
    sizes: Sequence[PerAxis] | None,
    strides: Sequence[PerAxis] | None,
) -> Iterator[FragmentGrid]:
    """Candidates: cubes, and slabs across the first axis, of powers of two and halfway between."""
    rank = len(shape)
    if sizes is None:
        steps = sorted(
            {round(2 ** (k / 2)) & -2 or 1 for k in range(2 * max(shape).bit_length() + 1)}
        )
        wanted: list[tuple[int, ...]] = []
        for step in [*steps, max(shape)]:
            cube = tuple(min(step, length) for length in shape)
            for size in (cube, (cube[0], *shape[1:])):
                enough = all(
                    w >= min(r, d) for w, r, d in zip(size, receptive_field, shape, strict=True)
                )
                if enough and size not in wanted:
                    wanted.append(size)
    else:
        wanted = [_sizes(size, "sizes", rank) for size in sizes]
        for size in wanted:
            if any(w > d for w, d in zip(size, shape, strict=True)):
                raise ValueError(f"sizes: got {size}, takes at most {shape}")
    for size in wanted:
        if strides is None:
            lossless = tuple(
                max(w - (r - 1), 1) for w, r in zip(size, receptive_field, strict=True)
            )
            tried = [lossless] if lossless == size else [lossless, size]
        else:
            tried = [_sizes(stride, "strides", rank) for stride in strides]
        for stride in tried:
            yield FragmentGrid(shape, size, stride, edge="shift")


def _halo(receptive_field: int) -> tuple[int, int]:
    """Positions the model looks at before and after the one it computes."""
    before = (receptive_field - 1) // 2
    return before, receptive_field - 1 - before


def _local_fragments(grid: FragmentGrid, split: tuple[int, ...]) -> int:
    return prod(ceil(count / p) for count, p in zip(grid.counts, split, strict=True))


def _sizes(value: PerAxis, name: str, rank: int) -> tuple[int, ...]:
    numbers = (value,) * rank if not isinstance(value, Sequence) else tuple(value)
    if len(numbers) != rank:
        raise ValueError(f"{name}: got {value}, takes one integer, or one for each of {rank} axes")
    return tuple(_positive(number, name) for number in numbers)


def _positive(value: Any, name: str) -> int:
    try:
        number = as_int(value)
    except TypeError:
        raise TypeError(f"{name}: got {value!r}, takes an integer") from None
    if number < 1:
        raise ValueError(f"{name}: got {value}, takes 1 or more")
    return number


def _item_size(dtype: Any) -> int:
    if _arrays.dtype_name(dtype) == "bfloat16":
        return 2
    try:
        return int(np.dtype(_arrays.dtype_name(dtype)).itemsize)
    except TypeError:
        pass
    try:
        return int(np.dtype(dtype).itemsize)
    except TypeError:
        raise TypeError(f"dtype: got {dtype!r}, takes a NumPy or torch dtype") from None


def _times(numbers: tuple[int, ...]) -> str:
    return "x".join(map(str, numbers))


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
