"""Instances that a model numbers within each fragment, numbered once over a whole volume."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag._files import whole_file
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.instances import shared_pairs, united
from tokfrag.fragments.merging import merge
from tokfrag.fragments.streams.sliding import Call, Feeder
from tokfrag.scale.engines import Engine, engine_of
from tokfrag.scale.parts import PartDone, is_done
from tokfrag.scale.plan import part_name
from tokfrag.scale.volume_arrays import Layout, open_volume, write_block
from tokfrag.scale.volume_blocks import Blocks, HeldVolume, Merging, check_output
from tokfrag.scale.volume_jobs import Job, VolumeMap, VolumePart
from tokfrag.scale.volume_planning import grid_of
from tokfrag.scale.volume_pyramids import Coarsening
from tokfrag.scale.volume_records import unless_done, write_block_record


@dataclass(frozen=True)
class FindInstances:
    """The first round: the instances of a block's windows, and which share positions. Idempotent.

    Attributes
    ----------
    model, src, level, layout, merging, blocks, call, folder, plan
        As in ``MapBlock``.
    least_share
        As in ``merge_labels``.
    """

    model: Callable[..., Any]
    src: str
    level: int
    layout: Layout
    merging: Merging
    blocks: Blocks
    call: Call
    folder: str
    plan: str
    least_share: float

    def __call__(self, part: VolumePart) -> PartDone:
        """Do a block."""
        folder = Path(self.folder)
        if is_done(folder, self.plan, part.number):
            return PartDone(part.number, 0, 0, again=True)
        began = monotonic()
        entry, block = self.blocks.block(part.number)
        found = self.merging.part(block)
        numbers = np.zeros(0, np.int64)
        labels = np.zeros((0, *self.merging.grid.size), np.int64)
        ends = np.zeros((0, 2, 2), np.int64)
        if found is not None:
            grid = self.merging.grid
            mesh = np.ix_(*(np.arange(run.start, run.stop) for run in found[0].windows))
            numbers = np.ravel_multi_index(mesh, grid.counts).reshape(-1)
            source = open_volume(self.src, self.level)
            held = HeldVolume(source, self.layout, entry, grid, found[0].windows)
            labels = self._labels(held, numbers)
            pairs = shared_pairs(labels, found[0].grid, self.least_share)
            ends = np.array(
                [[(numbers[w], label) for w, label in pair] for pair in pairs], np.int64
            )
            ends = ends.reshape(-1, 2, 2)
        path = labels_path(folder, part.number)
        with unless_done(folder, self.plan, part.number), whole_file(path) as file:
            np.savez(file, labels=labels, numbers=numbers, pairs=ends)
        write_block_record(
            folder, self.plan, part.number, windows=len(numbers), seconds=monotonic() - began
        )
        return PartDone(part.number, labels.nbytes, 0)

    def _labels(self, held: HeldVolume, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The model's labels of these windows, ``(windows, *size)``."""
        size = self.merging.grid.size
        labels = np.zeros((len(numbers), *size), np.int64)
        feeder = Feeder(self.model, held, self.merging.grid, self.call._replace(chosen=numbers))
        done = 0
        with feeder.no_gradients():
            while done < len(numbers):
                count = min(feeder.batch_size, len(numbers) - done)
                outputs = feeder.outputs(self.model, done, count)
                if outputs is None:
                    continue  # smaller batches next time
                check_output(outputs, size, count, 1)
                own = outputs.cpu().numpy() if _arrays.is_tensor(outputs) else np.asarray(outputs)
                if own.dtype.kind not in "iu":
                    raise TypeError(f"model: got outputs of {own.dtype}, takes integers: labels")
                labels[done : done + count] = own[:, 0]
                done += count
        return labels


@dataclass(frozen=True)
class WriteInstances:
    """The second round: a block of the volume, by the numbers that all blocks share. Idempotent.

    Attributes
    ----------
    dst, layout, merging, blocks, folder, plan
        As in ``MapBlock``.
    """

    dst: str
    layout: Layout
    merging: Merging
    blocks: Blocks
    folder: str
    plan: str

    def __call__(self, part: VolumePart) -> PartDone:
        """Do a block."""
        folder = Path(self.folder)
        if is_done(folder, self.plan, part.number):
            return PartDone(part.number, 0, 0, again=True)
        began = monotonic()
        number = part.number - len(self.blocks)
        entry, block = self.blocks.block(number)
        target = open_volume(self.dst, write=True, name="dst")
        lengths = tuple(at.stop - at.start for at in block)
        values = np.zeros(lengths, np.int64)
        found = self.merging.part(block)
        if found is not None:
            part_of, reached = found
            try:
                with np.load(labels_path(folder, number), allow_pickle=False) as held:
                    labels, windows = held["labels"], held["numbers"]
            except FileNotFoundError:
                if is_done(folder, self.plan, part.number):
                    # Another call was faster, and has removed what lay between the rounds.
                    return PartDone(part.number, 0, 0, again=True)
                raise
            with np.load(numbers_path(folder, entry), allow_pickle=False) as held:
                instances, numbered = held["instances"], held["numbers"]
            owners = np.broadcast_to(_column(windows, labels.ndim), labels.shape)
            whole = np.zeros(labels.shape, np.int64)
            there = labels != 0
            keys = _keys(np.stack([owners[there], labels[there]], 1))
            whole[there] = numbered[np.searchsorted(_keys(instances), keys)]
            merged = merge(whole[None, :, None], part_of.grid, reduce="vote")[0, 0]
            values[reached] = merged[part_of.wanted]
        if values.max(initial=0) > np.iinfo(target.dtype).max:
            raise ValueError(f"dtype: {target.dtype} does not hold {values.max()} instances")
        place = self.layout.place(entry, block)
        spans = [at.indices(n) for at, n in zip(place, target.shape, strict=True)]
        shape = tuple(end - begin for begin, end, _ in spans)
        written = write_block(target, place, values.reshape(shape))
        write_block_record(
            folder,
            self.plan,
            part.number,
            windows=0,
            seconds=monotonic() - began,
            sha256=written,
        )
        return PartDone(part.number, values.nbytes, 0)


def label_volume(
    model: Callable[..., Any],
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    grid: FragmentGrid,
    *,
    least_share: float = 0.5,
    engine: str | Engine = "local",
    workers: int | None = None,
    batch_size: int | None = None,
    device: Any = None,
    dtype: Any = np.int64,
    level: int = 0,
    block: Sequence[int] | None = None,
    chunks: Sequence[int] | None = None,
    memory_limit: int = 1 << 28,
    name: str = "",
    resume: bool = True,
    progress: bool = True,
) -> VolumeMap:
    """Number the instances that a model finds in fragments once over a whole volume on disk.

    The result has the bits of ``merge_labels`` over all fragments in one process: a first round
    finds instances and which of them share positions, these are united, and a second round writes.

    Parameters
    ----------
    model : callable
        From ``(count, channels, *size)`` to integers ``(count, 1, *size)``: 0 is background,
        anything else an instance of that fragment. It numbers a fragment alike every time.
    src, dst, engine, workers, batch_size, device, level, block, chunks, memory_limit, name
        As in :func:`map_volume`.
    grid : FragmentGrid
        Over the space-time axes, without offset and padding.
    least_share : float
        As in ``merge_labels``.
    dtype : integer type
        Of a result that is made; an error if there are more instances than it holds.
    resume, progress
        As in :func:`map_volume`.

    Returns
    -------
    VolumeMap

    Raises
    ------
    ValueError, TypeError, FileExistsError, WorkerLostError
        As :func:`map_volume` does.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> np.save(folder / "a.npy", np.array([0, 1, 1, 1, 1, 0, 1, 1]))
    >>> grid = FragmentGrid((8,), size=4, stride=2)
    >>> options = {"block": (4,), "workers": 1, "progress": False}
    >>> made = label_volume(lambda x: x, folder / "a.npy", folder / "b.npy", grid, **options)
    >>> np.load(folder / "b.npy").tolist()
    [0, 1, 1, 1, 1, 0, 1, 1]
    """
    if not 0 < least_share <= 1:
        raise ValueError(f"least_share: got {least_share}, takes more than 0, up to 1")
    if np.dtype(dtype).kind not in "iu":
        raise TypeError(f"dtype: got {dtype}, takes one of integers")
    chosen = engine_of(engine, workers)
    grid, batch_size, _ = grid_of(grid, batch_size, 0)
    call = Call(batch_size, "uniform", "vote", device, None, None, None, False, False, 1)
    pyramid: Coarsening = "nearest"
    job = Job.prepare(
        model,
        src,
        dst,
        grid,
        call,
        dtype=dtype,
        level=level,
        block=block,
        chunks=chunks,
        pyramid=pyramid,
        memory_limit=memory_limit,
        name=name,
        resume=resume,
        rounds=2,
        least_share=least_share,
    )
    if job.probe.channels != 1 or job.probe.merging.outputs != grid:
        raise ValueError("model: takes labels of one channel, of the size of the fragments")
    shared = (job.probe.merging, job.blocks)
    places = (str(job.folder), job.plan)
    job = job.with_lost_files(lambda at, number: [labels_path(at, number)], lambda own: [own])
    find = FindInstances(
        model, job.source.path, level, job.source.layout, *shared, call, *places, least_share
    )
    write = WriteInstances(job.target.path, job.target.layout, *shared, *places)
    with job.bar("labelling", progress) as advance:
        job.run(chosen, find, 0, advance)
        _number(job)
        job.run(chosen, write, 1, advance)
        job.coarsen(chosen, advance)
    made = job.finished(os.fspath(dst))
    for number in range(len(job.blocks)):
        labels_path(job.folder, number).unlink(missing_ok=True)
    return made


def labels_path(folder: Path, number: int) -> Path:
    """Where the labels of a block's windows are, between the rounds."""
    return folder / f"{part_name(number)}.labels.npz"


def numbers_path(folder: Path, entry: int) -> Path:
    """Where the numbers of all instances of a batch entry are."""
    return folder / f"instances-{entry}.npz"


def _number(job: Job) -> None:
    """Unite what blocks have found, and number it: by windows, and then by labels."""
    each = len(job.blocks) // job.blocks.entries
    for entry in range(job.blocks.entries):
        path = numbers_path(job.folder, entry)
        if path.exists():
            continue
        instances, pairs = [np.zeros((0, 2), np.int64)], [np.zeros((0, 2, 2), np.int64)]
        for number in range(entry * each, (entry + 1) * each):
            with np.load(labels_path(job.folder, number), allow_pickle=False) as held:
                labels, windows = held["labels"], held["numbers"]
                pairs.append(held["pairs"])
            for window, own in zip(windows.tolist(), labels, strict=True):
                there = np.unique(own[own != 0])
                instances.append(np.stack([np.full_like(there, window), there], 1))
        found = np.unique(np.concatenate(instances), axis=0)
        joined = np.unique(np.concatenate(pairs), axis=0)
        at = np.searchsorted(_keys(found), _keys(joined.reshape(-1, 2))).reshape(-1, 2) + 1
        numbers = united(((a, b) for a, b in at.tolist()), len(found))[1:]
        with whole_file(path) as file:
            np.savez(file, instances=found, numbers=numbers)


def _keys(pairs: NDArray[np.int64]) -> NDArray[Any]:
    """Pairs as values that sort like them."""
    kind = np.dtype([("window", np.int64), ("label", np.int64)])
    made: NDArray[Any] = np.ascontiguousarray(pairs, np.int64).view(kind).reshape(-1)
    return made


def _column(values: NDArray[np.int64], axes: int) -> NDArray[np.int64]:
    return values.reshape(-1, *(1,) * (axes - 1))


__all__ = ["FindInstances", "WriteInstances", "label_volume", "labels_path", "numbers_path"]
