"""A model over a volume, block by block, on the workers of an engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Literal

import numpy as np

from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.planning.plan import Candidate, FragmentPlan
from tokfrag.fragments.streams.sliding import Call
from tokfrag.fragments.windows import Reduce, Window
from tokfrag.scale.engines import Engine, engine_of
from tokfrag.scale.parts import PartDone, is_done
from tokfrag.scale.plan import PlanHead
from tokfrag.scale.volume_arrays import Layout, absolute, digest, open_volume, write_result
from tokfrag.scale.volume_blocks import Blocks, HeldVolume, Merging, block_result
from tokfrag.scale.volume_borders import Borders
from tokfrag.scale.volume_exchange import HandedFiles, MergeBorders, RunWindows
from tokfrag.scale.volume_handing import handed_paths
from tokfrag.scale.volume_jobs import Job, VolumeMap, VolumePart
from tokfrag.scale.volume_planning import grid_of
from tokfrag.scale.volume_pyramids import Coarsening
from tokfrag.scale.volume_records import read_block_record, records_folder, write_block_record


@dataclass(frozen=True)
class MapBlock:
    """The work: a block of a volume through the model to its place. Idempotent.

    Attributes
    ----------
    model
        From fragments to outputs.
    src, level, src_layout
        What is read.
    dst, dst_layout
        What is written.
    merging, blocks, channels, call
        How: see ``block_result``.
    folder, plan
        Where records are, and the hash of the plan.
    """

    model: Callable[..., Any]
    src: str
    level: int
    src_layout: Layout
    dst: str
    dst_layout: Layout
    merging: Merging
    blocks: Blocks
    channels: int
    call: Call
    folder: str
    plan: str

    def __call__(self, part: VolumePart) -> PartDone:
        """Do a block."""
        folder = Path(self.folder)
        if is_done(folder, self.plan, part.number):
            return PartDone(part.number, 0, 0, again=True)
        began = monotonic()
        source = open_volume(self.src, self.level)
        target = open_volume(self.dst, write=True, name="dst")
        entry, block = self.blocks.block(part.number)

        def held(windows: tuple[slice, ...]) -> HeldVolume:
            return HeldVolume(source, self.src_layout, entry, self.merging.grid, windows)

        result, windows = block_result(
            self.model, held, self.merging, block, self.channels, self.call
        )
        written, size = write_result(target, self.dst_layout, entry, block, result)
        write_block_record(
            folder,
            self.plan,
            part.number,
            windows=windows,
            seconds=monotonic() - began,
            sha256=written,
        )
        return PartDone(part.number, size, 0)


def map_volume(
    model: Callable[..., Any],
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    grid: FragmentGrid | FragmentPlan | Candidate,
    *,
    engine: str | Engine = "local",
    workers: int | None = None,
    batch_size: int | None = None,
    window: Window = "gaussian",
    reduce: Reduce | None = None,
    halo: Sequence[int | tuple[int, int]] | int | Literal["valid", "scale"] | None = None,
    reduce_slab: Callable[[Any], Any] | None = None,
    with_origins: bool = False,
    device: Any = None,
    dtype: Any = None,
    level: int = 0,
    block: Sequence[int] | None = None,
    chunks: Sequence[int] | None = None,
    pyramid: Coarsening | None = None,
    memory_limit: int = 1 << 28,
    borders: Literal["recompute", "exchange", "auto"] = "recompute",
    name: str = "",
    resume: bool = True,
    progress: bool = True,
) -> VolumeMap:
    """Run a model on every fragment of a volume on disk, block by block, each by one worker.

    The result has the bits of ``map_fragments(model, src, grid, out=dst)`` in one process, if the
    model gives a fragment the same outputs in any batch. Windows that reach several blocks are run
    for each, or run once and their outputs handed on through files; either way the plan says
    beforehand what that costs.

    Parameters
    ----------
    model : callable
        As in ``map_fragments``, with one output of several positions a window. Pickled for the
        workers: of processes of this machine, it is a function of a module or an object of one.
    src : str or os.PathLike
        A ``.npy`` file, a zarr array of format 2 or 3, or an OME-Zarr image: ``(*space_time)``,
        ``(channels, *space_time)`` or ``(batch, channels, *space_time)``; of an image, its axes
        tell. Every worker must be able to read it, and nobody to change it meanwhile.
    dst : str or os.PathLike
        Where the result goes: what is not there is made, a ``.npy`` file by its name, else zarr of
        the format, chunks and shards of `src`, and of an image an image with its metadata and all
        coarser levels. An array that is there is written to if its shape fits. Beside it a folder
        ``dst.blocks`` says which blocks are done.
    grid : FragmentGrid, FragmentPlan or Candidate
        Over the space-time axes, without offset and padding; of a plan the best, with its batch
        and its halo.
    engine, workers, resume, progress
        As in :func:`encode_corpus`. Without ``resume`` a volume that was begun is refused.
    batch_size : int, optional
        Fragments a call of the model: 1, or what the plan says.
    window, reduce, halo, with_origins, device
        As in ``map_fragments``.
    reduce_slab : callable, optional
        As in ``map_fragments``; gets a part of a slab, so it must treat every position by itself.
    dtype : optional
        Of a result that is made; by default what ``map_fragments`` gives.
    level : int
        Of the image that is read.
    block : sequence of int, optional
        Lengths of a block, multiples of what is written at once (a shard, else a chunk); by default
        such that the fewest windows are run twice.
    chunks : sequence of int, optional
        Space-time lengths of chunks of a result that is made.
    pyramid : "mean" or "nearest", optional
        How coarser levels are made: means for floats and the first position for integers.
    memory_limit : int
        Bytes that a block may take, about, besides the model.
    borders : "recompute", "exchange" or "auto"
        Windows that reach several blocks: run for each; or run once in a first round that leaves
        their outputs in ``dst.blocks``, from which a second merges (they are hashed, and removed as
        soon as no block needs them); or whichever costs less by a measured call of the model and
        the measured speed of that folder. A call that goes on keeps to what was begun.
    name : str
        Of the model: blocks that a model of another name has made are not gone on with. Weights of
        an ``nn.Module`` are told apart without.

    Returns
    -------
    VolumeMap
        Prints as a line of what was predicted and what was run.

    Raises
    ------
    ValueError, TypeError
        An argument that does not fit; `dst` holds blocks of another plan.
    FileExistsError
        It holds blocks, without ``resume``.
    WorkerLostError
        Workers died with the same block again and again.

    Notes
    -----
    A block is written whole, in chunks that no other block has a part of, synchronised, and then
    recorded; a block that has its record is never done again. Workers and this process may be
    killed at any time: the same call, on any engine, does what is missing.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> np.save(folder / "a.npy", np.arange(64, dtype=np.float32))
    >>> grid = FragmentGrid((64,), size=8, stride=4)
    >>> options = {"window": "uniform", "workers": 1, "progress": False}
    >>> made = map_volume(np.negative, folder / "a.npy", folder / "b.npy", grid, **options)
    >>> np.load(folder / "b.npy")[:4].tolist(), made.again
    ([0.0, -1.0, -2.0, -3.0], 0)
    """
    chosen = engine_of(engine, workers)
    grid, batch_size, halo = grid_of(grid, batch_size, halo)
    call = Call(batch_size, window, reduce, device, reduce_slab, halo, None, with_origins, False, 1)
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
        borders=borders,
        name=name,
        resume=resume,
    )
    if job.borders == "exchange":
        _exchange(model, job, call, level, chosen, progress)
    else:
        _recompute(model, job, call, level, chosen, progress)
    return job.finished(os.fspath(dst))


def _recompute(
    model: Callable[..., Any], job: Job, call: Call, level: int, chosen: Engine, progress: bool
) -> None:
    """One round: every block runs all windows that reach it."""
    work = MapBlock(
        model,
        job.source.path,
        level,
        job.source.layout,
        job.target.path,
        job.target.layout,
        job.probe.merging,
        job.blocks,
        job.probe.channels,
        call,
        str(job.folder),
        job.plan,
    )
    with job.bar("mapping", progress) as advance:
        job.run(chosen, work, 0, advance)
        job.coarsen(chosen, advance)


def _exchange(
    model: Callable[..., Any], job: Job, call: Call, level: int, chosen: Engine, progress: bool
) -> None:
    """Two rounds: every block runs its own windows, then takes what others have left for it."""
    borders = Borders(job.probe.merging, job.blocks)
    kind, places = job.probe.output, (str(job.folder), job.plan)
    job = job.with_lost_files(handed_paths, borders.readers)
    first = RunWindows(
        model, job.source.path, level, job.source.layout, borders, kind, call, *places
    )
    second = MergeBorders(
        job.target.path, job.target.layout, call.reduce_slab, borders, kind, *places
    )
    files = HandedFiles(job, borders)
    with job.bar("mapping", progress) as advance:
        job.run(chosen, first, 0, advance)
        job.run(chosen, second, 1, files.after(advance))
        files.forget()
        job.coarsen(chosen, advance)


def verify_volume(dst: str | os.PathLike[str]) -> int:
    """Read every block of a volume that `map_volume` has made; ValueError names a changed one.

    Parameters
    ----------
    dst : str or os.PathLike

    Returns
    -------
    int
        How many blocks there are.

    Raises
    ------
    ValueError
        A block is missing, or is not what was written: without its record it is done again.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> np.save(folder / "a.npy", np.ones(8, np.float32))
    >>> grid = FragmentGrid((8,), size=4)
    >>> made = map_volume(
    ...     np.negative, folder / "a.npy", folder / "b.npy", grid, workers=1, progress=False
    ... )
    >>> verify_volume(folder / "b.npy")
    1
    """
    path = absolute(dst)
    folder = records_folder(path)
    head = PlanHead.read(folder)
    if head.settings.get("kind") != "volume":
        raise ValueError(f"dst: {folder} is not of a volume")
    facts = head.settings["dst"]
    layout = Layout(*facts["layout"])
    array = open_volume(path, name="dst")
    entries, _, space = layout.split(array.shape)
    blocks = Blocks(space, tuple(head.settings["block"]), entries)
    first = len(blocks) * (int(head.settings["rounds"]) - 1)
    for number in range(len(blocks)):
        if not is_done(folder, head.hash, first + number):
            raise ValueError(f"dst: {path}: block {number} of {len(blocks)} is not done")
        record = read_block_record(folder, head.hash, first + number)
        values = np.ascontiguousarray(array[layout.place(*blocks.block(number))])
        if digest(values) != record.sha256:
            raise ValueError(
                f"dst: {path}: block {number} is not what was written; without"
                f" {folder.name}/{first + number:06d}.json it is done again"
            )
    return len(blocks)


__all__ = ["MapBlock", "map_volume", "verify_volume"]
