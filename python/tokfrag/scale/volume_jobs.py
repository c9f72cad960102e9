"""A volume that is being made: its plan, its folder of records, and the rounds over its blocks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokfrag._files import remove_partial_files
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.streams.sliding import Call
from tokfrag.scale.engines import Engine
from tokfrag.scale.parts import PartDone, is_done, missing_parts, record_path
from tokfrag.scale.plan import PlanHead
from tokfrag.scale.progress import parts_bar
from tokfrag.scale.volume_arrays import absolute
from tokfrag.scale.volume_blocks import Blocks, chosen_lengths
from tokfrag.scale.volume_borders import Borders
from tokfrag.scale.volume_costs import BorderMode, border_mode, handed_bytes
from tokfrag.scale.volume_planning import (
    Probe,
    Source,
    checked_source,
    model_name,
    window_name,
)
from tokfrag.scale.volume_pyramids import Coarsening, CoarsenPart, CoarsePart
from tokfrag.scale.volume_records import (
    begin_plan,
    forget_blocks,
    read_block_record,
    records_folder,
)
from tokfrag.scale.volume_targets import Target


@dataclass(frozen=True)
class VolumePart:
    """A block, by its number."""

    number: int


@dataclass(frozen=True)
class VolumeMap:
    """What `map_volume` has done.

    Attributes
    ----------
    path
        The volume.
    blocks, again
        How many there are, and how many of them an earlier call had done.
    windows, run
        How many the grid has, over the batch, and how many all blocks ran.
    predicted
        `run` over `windows`, from the plan alone: 1 where no window reaches two blocks.
    seconds
        That workers have spent on the blocks, together.
    borders
        "recompute" or "exchange".
    handed, handed_predicted
        Bytes that blocks left for each other, and how many the plan said.
    """

    path: str
    blocks: int
    again: int
    windows: int
    run: int
    predicted: float
    seconds: float
    borders: BorderMode
    handed: int
    handed_predicted: int

    @property
    def measured(self) -> float:
        """`run` over `windows`: what recomputing costs."""
        return self.run / max(self.windows, 1)

    def __str__(self) -> str:
        handed = ""
        if self.borders == "exchange":
            own, said = self.handed / 1e6, self.handed_predicted / 1e6
            handed = f"{own:.1f} MB handed on ({said:.1f} predicted), "
        return (
            f"{self.path}: {self.blocks} blocks, {self.again} of them there before;"
            f" {self.run} windows run for {self.windows}, {self.measured:.3f}x"
            f" ({self.predicted:.3f}x predicted), {handed}{self.seconds:.1f} s of workers"
        )


@dataclass(frozen=True)
class Job:
    """What all rounds over the blocks share.

    Attributes
    ----------
    source, probe, target
        What is read, what the model makes of it, what is written.
    blocks, coarse
        Of the finest level, and of the others.
    rounds
        Over the blocks, each with a record of its own.
    folder, plan
        Of the records, and the hash of the plan.
    missing
        The numbers of the parts that were not done in the beginning.
    predicted
        How many windows all blocks run.
    borders, handed
        How they get what reaches several, and the bytes that they leave for each other.
    """

    source: Source
    probe: Probe
    target: Target
    blocks: Blocks
    coarse: list[Blocks]
    rounds: int
    folder: Path
    plan: str
    missing: list[int]
    predicted: int
    borders: BorderMode
    handed: int

    @classmethod
    def prepare(
        cls,
        model: Callable[..., Any],
        src: str | os.PathLike[str],
        dst: str | os.PathLike[str],
        grid: FragmentGrid,
        call: Call,
        *,
        dtype: Any,
        level: int,
        block: Sequence[int] | None,
        chunks: Sequence[int] | None,
        pyramid: Coarsening | None,
        memory_limit: int,
        name: str,
        resume: bool,
        rounds: int = 1,
        borders: str = "recompute",
        least_share: float | None = None,
    ) -> Job:
        """Check everything, write the plan, and make what is to be written to."""
        source = checked_source(absolute(src), level, grid)
        probe = Probe.of(model, source, grid, call)
        target = Target.of(absolute(dst), source, probe, dtype, chunks, pyramid)
        entries, held_channels, _ = source.layout.split(source.shape)
        position = held_channels * source.dtype.itemsize + 12 * probe.channels
        lengths = target.block_lengths(
            block,
            lambda unit: chosen_lengths(probe.merging, unit, entries, position, memory_limit),
        )
        blocks = Blocks(probe.merging.space, lengths, entries)
        coarse = target.coarse_blocks(entries)
        folder = records_folder(target.path)
        shared = Borders(probe.merging, blocks)
        mode = border_mode(borders, folder, shared, probe, model, source, call)
        rounds = 2 if mode == "exchange" else rounds
        settings = {
            "kind": "volume",
            "borders": mode,
            "rounds": rounds,
            "src": source.identity,
            "grid": repr(grid),
            "window": window_name(call.window),
            "reduce": probe.merging.reduce,
            "halo": repr(call.halo),
            "reduce_slab": model_name(call.reduce_slab),
            "model": model_name(model),
            "name": name,
            "with_origins": call.with_origins,
            "least_share": least_share,
            "dst": target.identity,
            "block": list(lengths),
        }
        parts = rounds * len(blocks) + sum(map(len, coarse))
        plan = begin_plan(folder, parts, settings, resume=resume)
        if not target.is_there():
            forget_blocks(folder)
        target.make()
        missing = list(missing_parts(folder, PlanHead(plan, parts, {})))
        predicted, handed = blocks.windows(probe.merging), 0
        if mode == "exchange":
            predicted, handed = probe.merging.grid.n * entries, handed_bytes(shared, probe)
        return cls(
            source,
            probe,
            target,
            blocks,
            coarse,
            rounds,
            folder,
            plan,
            missing,
            predicted,
            mode,
            handed,
        )

    def with_lost_files(
        self,
        paths: Callable[[Path, int], Sequence[Path]],
        readers: Callable[[int], Iterable[int]],
    ) -> Job:
        """The same, where the first round is done again of blocks whose files are needed and gone.

        `paths` are of the files that the first round leaves of a block, `readers` the blocks that
        need them in the second. When all was done they are gone.
        """
        each, missing = len(self.blocks), set(self.missing)
        for number in range(each):
            needed = [reader + each for reader in readers(number) if reader + each in missing]
            if not needed or all(path.exists() for path in paths(self.folder, number)):
                continue
            # Another call may have finished since: it removes files after the records are there.
            if all(is_done(self.folder, self.plan, reader) for reader in needed):
                continue
            record_path(self.folder, number).unlink(missing_ok=True)
            missing.add(number)
        return replace(self, missing=sorted(missing))

    @property
    def windows(self) -> int:
        """How many windows there are, over the batch."""
        return self.probe.merging.grid.n * self.blocks.entries

    def bar(self, what: str, show: bool) -> AbstractContextManager[Callable[[PartDone], object]]:
        """A bar over all parts, which says what borders cost."""
        parts = self.rounds * len(self.blocks) + sum(map(len, self.coarse))
        title = f"{what}, {self.predicted / self.windows:.2f}x windows"
        if self.handed:
            title += f", {self.handed / 1e6:.3g} MB handed on"
        return parts_bar(parts, parts - len(self.missing), title, show)

    def run(
        self, engine: Engine, work: Any, number: int, advance: Callable[[PartDone], object]
    ) -> None:
        """Do a round, by its number, over the blocks that are missing in it."""
        first = number * len(self.blocks)
        own = [VolumePart(n) for n in self.missing if first <= n < first + len(self.blocks)]
        _run(engine, work, own, advance)

    def coarsen(self, engine: Engine, advance: Callable[[PartDone], object]) -> None:
        """Make the coarser levels, each from the one before."""
        first = self.rounds * len(self.blocks)
        for level, blocks in enumerate(self.coarse, 1):
            work = CoarsenPart(
                self.target.path,
                self.target.layout,
                level,
                self.target.factors(level),
                blocks,
                self.target.how,
                str(self.folder),
                self.plan,
            )
            own = [n for n in self.missing if first <= n < first + len(blocks)]
            _run(engine, work, [CoarsePart(n, n - first) for n in own], advance)
            first += len(blocks)

    def finished(self, path: str) -> VolumeMap:
        """What has been done, after a look at all records."""
        remove_partial_files(self.folder)
        numbers = range(self.rounds * len(self.blocks))
        records = [read_block_record(self.folder, self.plan, number) for number in numbers]
        last = (self.rounds - 1) * len(self.blocks)
        begun = [n for n in self.missing if last <= n < last + len(self.blocks)]
        return VolumeMap(
            path,
            len(self.blocks),
            len(self.blocks) - len(begun),
            self.windows,
            sum(record.windows for record in records),
            self.predicted / self.windows,
            sum(record.seconds for record in records),
            self.borders,
            sum(record.handed for record in records),
            self.handed,
        )


def _run(
    engine: Engine, work: Any, parts: list[Any], advance: Callable[[PartDone], object]
) -> None:
    if parts:
        for done in engine.run(work, parts):
            advance(done)


__all__ = ["Job", "VolumeMap", "VolumePart"]
