"""A planned batch made: its ids, its places' numbers, and the patches of its images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.stream.documents import flatten
from tokfrag.stream.packed import Packed
from tokfrag.stream.patches import Patches, patchify
from tokfrag.stream.placeholders import mrope_positions
from tokfrag.stream.planning import Item, Rows
from tokfrag.stream.sources import ImageSource, Tokens

#: Gives the array or tensor for values: their number, the numbers in each, and the dtype.
Allocate = Callable[[int, int, Any], Any]


def assemble(
    rows: Rows,
    readers: Sequence[Tokens | ImageSource],
    *,
    length: int,
    pad_id: int,
    mrope: bool,
    threads: int | None,
    allocate: Allocate | None = None,
) -> Packed:
    """Make a batch whose rows were planned; patches where a source has images."""
    parts: list[Any] = []
    counts: list[int] = []
    numbers: list[int] = []  # of each segment's document, -1 for padding
    special: list[tuple[int, _Piece]] = []  # where pieces with images begin
    before: Item | None = None
    number, place = -1, 0
    for row in rows:
        used = 0
        for item in row:
            source, document, begin, end = item
            # A document that goes on in the next row keeps its number.
            going_on = before is not None and before[:2] == item[:2] and before[3] == begin
            number += not going_on
            before = item
            reader = readers[source]
            if isinstance(reader, ImageSource):
                piece = _Piece(reader, document, begin, end)
                parts.append(piece.ids)
                special.append((place, piece))
            else:
                parts.append(reader.ids(document, begin, end))
            counts.append(end - begin)
            numbers.append(number)
            used += end - begin
            place += end - begin
        if used < length:
            parts.append(np.full(length - used, pad_id, np.int64))
            counts.append(length - used)
            numbers.append(-1)
            place += length - used
    for part, count in zip(parts, counts, strict=True):
        if len(part) != count:
            raise ValueError(
                f"sources: a document had {count} tokens when planned, now {len(part)}"
            )
    ids = flatten(parts)[0].astype(np.int64)
    bounds = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts, out=bounds[1:])
    shape = (len(rows), length)
    owner = np.repeat(np.array(numbers, np.int32), counts)
    positions = np.arange(len(ids)) - np.repeat(bounds[:-1].astype(np.int64), counts)
    mask = owner >= 0
    if mrope:
        positions = np.where(mask, positions, 0)
        positions = np.repeat(positions[None], 3, 0)
    for begin, piece in special:
        end = begin + len(piece.ids)
        mask[begin:end] &= piece.ids != piece.source.placeholder
        if mrope:
            positions[:, begin:end] = piece.positions()
    images = [reader for reader in readers if isinstance(reader, ImageSource)]
    if images:
        _check_strays(ids, mask, special, images[0].placeholder)
    return Packed(
        ids.reshape(shape),
        bounds,
        max(counts, default=0),
        positions.reshape(*positions.shape[:-1], *shape),
        owner.reshape(shape),
        mask.reshape(shape),
        patches=_patches(images[0], special, threads, allocate) if images else None,
    )


def _check_strays(
    ids: NDArray[np.int64],
    mask: NDArray[np.bool_],
    special: list[tuple[int, _Piece]],
    placeholder: int,
) -> None:
    """ValueError if a document of tokens alone holds what stands for an image's patches."""
    strays = mask & (ids == placeholder)
    for begin, piece in special:
        strays[begin : begin + len(piece.ids)] = False
    if strays.any():
        raise ValueError(
            f"sources: a document without images holds the placeholder {placeholder}, which stands"
            " for an image's patches"
        )


class _Piece:
    """A part of a document with images, and the images that lie in it."""

    def __init__(self, source: ImageSource, document: int, begin: int, end: int) -> None:
        read = source.read(document)
        self.source = source
        self.ids = read.ids()[begin:end]
        self._read = read
        self._inside = [n for n, (a, b) in enumerate(read.spans) if begin <= a and b <= end]
        self.grids = read.grids[self._inside]

    def positions(self) -> NDArray[np.int64]:
        return mrope_positions(
            self.ids, self.source.placeholder, self.grids, merge=self.source.plan.merge
        )

    def images(self) -> list[Any]:
        return self._read.sized_images(self._inside)


def _patches(
    source: ImageSource,
    pieces: list[tuple[int, _Piece]],
    threads: int | None,
    allocate: Allocate | None,
) -> Patches:
    plan = source.plan
    images = [image for _, piece in pieces for image in piece.images()]
    grids = np.concatenate([np.empty((0, 3), np.int64), *(piece.grids for _, piece in pieces)])
    out = None
    if allocate is not None:
        out = allocate(int(grids.prod(1).sum()), plan.patch_values, source.dtype)
    patches = patchify(
        images,
        plan,
        scale=source.scale,
        shift=source.shift,
        dtype=source.dtype,
        out=out,
        threads=threads,
    )
    if not np.array_equal(patches.grid_thw, grids):
        raise ValueError(
            f"images: have the grids {patches.grid_thw.tolist()}, when planned {grids.tolist()}"
        )
    return patches
