"""The rounds that run each window once: blocks leave what others need, then take what they need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.fragments.streams.sliding import Call
from tokfrag.scale.parts import PartDone, is_done
from tokfrag.scale.volume_arrays import Layout, Region, open_volume, write_result
from tokfrag.scale.volume_blocks import HeldVolume, merged, outputs_of, window_numbers
from tokfrag.scale.volume_borders import Borders
from tokfrag.scale.volume_handing import (
    Handed,
    KeptWriter,
    OutputKind,
    forget_handed,
    write_handed,
)
from tokfrag.scale.volume_jobs import Job, VolumePart
from tokfrag.scale.volume_records import unless_done, write_block_record


@dataclass(frozen=True)
class RunWindows:
    """The first round: a block's own windows through the model. Idempotent.

    Attributes
    ----------
    model, src, level, layout, call, folder, plan
        As in ``MapBlock``.
    borders
        Which windows those are.
    kind
        Of the outputs.
    """

    model: Callable[..., Any]
    src: str
    level: int
    layout: Layout
    borders: Borders
    kind: OutputKind
    call: Call
    folder: str
    plan: str

    def __call__(self, part: VolumePart) -> PartDone:
        """Do a block."""
        folder, number = Path(self.folder), part.number
        if is_done(folder, self.plan, number):
            return PartDone(number, 0, 0, again=True)
        began = monotonic()
        entry, _ = self.borders.blocks.block(number)
        windows = self.borders.windows(number)
        numbers = window_numbers(self.borders.merging.grid, windows)

        def run(writer: KeptWriter) -> NDArray[Any] | None:
            if not len(numbers):
                return None
            source = open_volume(self.src, self.level)
            held = HeldVolume(source, self.layout, entry, self.borders.merging.grid, windows)
            return self._inner(held, number, numbers, writer)

        size = 0
        with unless_done(folder, self.plan, number):
            size = write_handed(folder, number, self.kind, self.borders.kept(number), run)
        write_block_record(
            folder,
            self.plan,
            number,
            windows=len(numbers),
            seconds=monotonic() - began,
            handed=size,
        )
        return PartDone(number, size, 0)

    def _inner(
        self, held: HeldVolume, number: int, numbers: NDArray[np.int64], writer: KeptWriter
    ) -> NDArray[Any] | None:
        """Run the windows; give those that are kept to the writer, merge the inner part."""
        merging, inner = self.borders.merging, self.borders.inner(number)
        found = None if inner is None else merging.part(inner)
        wanted = np.zeros(0, np.int64)
        if found is not None:
            wanted = window_numbers(merging.grid, found[0].windows)

        def reaching() -> Iterator[Any]:
            done = 0
            outputs = outputs_of(self.model, held, merging, numbers, self.kind.channels, self.call)
            for batch in outputs:
                own = numbers[done : done + len(batch)]
                done += len(batch)
                writer.add(own, batch)
                at = np.flatnonzero(np.isin(own, wanted, assume_unique=True))
                if len(at):
                    yield batch if len(at) == len(own) else batch[at]
                del batch

        if inner is None or found is None:
            for _ in reaching():  # all of them are kept
                pass
            return None
        return merged(reaching(), merging, inner, found, self.call.reduce_slab)


@dataclass(frozen=True)
class MergeBorders:
    """The second round: a block of the volume, from what blocks have left. Idempotent.

    Attributes
    ----------
    dst, layout, reduce_slab, folder, plan
        As in ``MapBlock``.
    borders, kind
        As in ``RunWindows``.
    """

    dst: str
    layout: Layout
    reduce_slab: Callable[[Any], Any] | None
    borders: Borders
    kind: OutputKind
    folder: str
    plan: str

    def __call__(self, part: VolumePart) -> PartDone:
        """Do a block."""
        folder = Path(self.folder)

        def is_over() -> bool:
            return is_done(folder, self.plan, part.number)

        if is_over():
            return PartDone(part.number, 0, 0, again=True)
        began = monotonic()
        number = part.number - len(self.borders.blocks)
        entry, block = self.borders.blocks.block(number)
        try:
            result = self._merged(Handed(folder, self.borders, self.kind, is_over), number)
        except FileNotFoundError:
            if is_over():
                # Another call was faster, and has removed what lay between the rounds.
                return PartDone(part.number, 0, 0, again=True)
            raise
        target = open_volume(self.dst, write=True, name="dst")
        written, size = write_result(target, self.layout, entry, block, result)
        write_block_record(
            folder,
            self.plan,
            part.number,
            windows=0,
            seconds=monotonic() - began,
            sha256=written,
        )
        return PartDone(part.number, size, 0)

    def _merged(self, handed: Handed, number: int) -> NDArray[Any] | None:
        """The result at a block: its inner part is there, its frame is merged box by box."""
        merging = self.borders.merging
        entry, block = self.borders.blocks.block(number)
        inner = self.borders.inner(number)
        done: list[tuple[Region, NDArray[Any]]] = []
        values = None if inner is None else handed.inner(number)
        if inner is not None and values is not None:
            done.append((inner, values))
        for box in self.borders.frame(number):
            found = merging.part(box)
            if found is None:
                continue
            batches = handed.batches(entry, found[0].windows)
            values = merged(batches, merging, box, found, self.reduce_slab)
            if values is not None:
                done.append((box, values))
        if not done:
            return None
        first = done[0][1]
        lengths = tuple(at.stop - at.start for at in block)
        result = np.zeros((len(first), *lengths), first.dtype)
        for region, values in done:
            at = zip(region, block, strict=True)
            inside = (slice(own.start - b.start, own.stop - b.start) for own, b in at)
            place = (slice(None), *inside)
            result[place] = values
        return result


class HandedFiles:
    """What lies between the rounds, removed as soon as all blocks that need it are done.

    Parameters
    ----------
    job : Job
    borders : Borders
    """

    def __init__(self, job: Job, borders: Borders) -> None:
        self._folder, self._borders, self._each = job.folder, borders, len(job.blocks)
        missing = {number - self._each for number in job.missing}
        self._left = [
            sum(reader in missing for reader in borders.readers(number))
            for number in range(self._each)
        ]

    def after(self, advance: Callable[[PartDone], object]) -> Callable[[PartDone], object]:
        """What is told of each block of the second round; tells `advance`."""

        def told(done: PartDone) -> None:
            for source in self._borders.sources(done.number - self._each):
                self._left[source] -= 1
                if not self._left[source]:
                    forget_handed(self._folder, source)
            advance(done)

        return told

    def forget(self) -> None:
        """Remove the rest: what an earlier call has left."""
        for number in range(self._each):
            forget_handed(self._folder, number)


__all__ = ["HandedFiles", "MergeBorders", "RunWindows"]
