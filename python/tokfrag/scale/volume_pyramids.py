"""The coarser levels of an image, each from the one before, in parts of whole chunks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag.scale.parts import PartDone, is_done
from tokfrag.scale.volume_arrays import Layout, open_volume, write_block
from tokfrag.scale.volume_blocks import Blocks
from tokfrag.scale.volume_records import write_block_record

Coarsening: TypeAlias = Literal["mean", "nearest"]


@dataclass(frozen=True)
class CoarsePart:
    """A part of a level.

    Attributes
    ----------
    number
        Its place among all parts of the plan.
    index
        Its place among those of the level.
    """

    number: int
    index: int


@dataclass(frozen=True)
class CoarsenPart:
    """The work: a part of a level of an image from the level before. Idempotent.

    Attributes
    ----------
    path, layout
        Of the image.
    level
        That is written.
    factors
        How many positions of the level before make one.
    blocks
        Of the level.
    how
        Means, or the first of the positions.
    folder, plan
        Where records are, and the hash of the plan.
    """

    path: str
    layout: Layout
    level: int
    factors: tuple[int, ...]
    blocks: Blocks
    how: Coarsening
    folder: str
    plan: str

    def __call__(self, part: CoarsePart) -> PartDone:
        """Do a part."""
        if is_done(Path(self.folder), self.plan, part.number):
            return PartDone(part.number, 0, 0, again=True)
        began = monotonic()
        fine = open_volume(self.path, self.level - 1)
        coarse = open_volume(self.path, self.level, write=True, name="dst")
        entry, region = self.blocks.block(part.index)
        space = self.layout.split(fine.shape)[2]
        read = tuple(
            slice(at.start * f, min(at.stop * f, n))
            for at, f, n in zip(region, self.factors, space, strict=True)
        )
        values = np.asarray(fine[self.layout.place(entry, read)])
        made = coarsened(values, self.factors, self.how)
        place = self.layout.place(entry, region)
        write_block(coarse, place, _arrays.narrowed(made, np.dtype(coarse.dtype)))
        write_block_record(
            Path(self.folder), self.plan, part.number, windows=0, seconds=monotonic() - began
        )
        return PartDone(part.number, values.nbytes, 0)


def coarsened(values: NDArray[Any], factors: tuple[int, ...], how: Coarsening) -> NDArray[Any]:
    """One value for each `factors` along the last axes; at the end, of those that are there."""
    leading = values.ndim - len(factors)
    if how == "nearest":
        place: tuple[Any, ...] = (..., *(slice(None, None, factor) for factor in factors))
        taken: NDArray[Any] = values[place]
        return taken
    made: NDArray[Any] = values.astype(np.float64)
    for axis, factor in enumerate(factors, leading):
        starts = np.arange(0, values.shape[axis], factor)
        held = np.minimum(starts + factor, values.shape[axis]) - starts
        shape = (-1, *(1,) * (values.ndim - axis - 1))
        made = np.add.reduceat(made, starts, axis=axis) / held.reshape(shape)
    return made


def level_factors(fine: tuple[int, ...], coarse: tuple[int, ...]) -> tuple[int, ...]:
    """How many positions make one, an axis; ValueError where it is no whole number."""
    factors = []
    for n, m in zip(fine, coarse, strict=True):
        factor = max(round(n / max(m, 1)), 1)
        if m not in (n // factor, -(-n // factor)):
            raise ValueError(f"src: got levels of {fine} and {coarse}, takes whole factors")
        factors.append(factor)
    return tuple(factors)


__all__ = ["CoarsePart", "CoarsenPart", "Coarsening", "coarsened", "level_factors"]
