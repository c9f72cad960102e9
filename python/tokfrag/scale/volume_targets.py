"""What a result is written to: an array like the source, or an image with all its levels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tokfrag.scale.volume_arrays import (
    Layout,
    create_npy,
    exists,
    is_npy,
    open_volume,
    writer_lengths,
)
from tokfrag.scale.volume_blocks import Blocks
from tokfrag.scale.volume_images import ImageMetadata
from tokfrag.scale.volume_planning import Probe, Source
from tokfrag.scale.volume_pyramids import Coarsening, level_factors

_DEFAULT_LENGTH = 64  # of a chunk, where the source has none


@dataclass(frozen=True)
class Target:
    """A volume that is written.

    Attributes
    ----------
    path, layout, dtype
        Of the finest array.
    shapes
        Of all levels, the finest first.
    chunks, shards
        Of what is made.
    image
        The attributes of an image that is made or there; None for a plain array.
    zarr_format
        2 or 3.
    unit
        What is written at once, in space and time.
    how
        Coarser levels are made.
    """

    path: str
    layout: Layout
    dtype: np.dtype[Any]
    shapes: tuple[tuple[int, ...], ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    image: ImageMetadata | None
    zarr_format: Literal[2, 3]
    unit: tuple[int, ...]
    how: Coarsening

    @classmethod
    def of(
        cls,
        path: str,
        source: Source,
        probe: Probe,
        dtype: Any,
        chunks: Sequence[int] | None,
        how: Coarsening | None,
    ) -> Target:
        """The target of a source; ValueError if what is there does not fit."""
        if path == source.path or path.startswith(f"{source.path}/"):
            raise ValueError(f"dst: got {path}, takes another place than src")
        if how not in (None, "mean", "nearest"):
            raise ValueError(f"pyramid: got {how!r}, takes 'mean' or 'nearest'")
        entries, _, fine = source.layout.split(source.shape)
        space = probe.merging.space
        channels = source.layout.channels or probe.result_channels > 1
        layout = Layout(source.layout.batch, channels)
        shape = layout.shape(entries, probe.result_channels, space)
        kind = probe.dtype if dtype is None else np.dtype(dtype)
        units = _units(source, layout, space, chunks)
        image, shapes = None, [shape]
        if source.image is not None and not is_npy(path):
            scale = tuple(a / b for a, b in zip(fine, space, strict=True))
            image = ImageMetadata(
                source.image.written(
                    source.level, scale, before=source.layout.channels, after=channels
                )
            )
            for level in range(1, image.levels):
                coarse = _coarse_space(source, level, fine, space)
                shapes.append(layout.shape(entries, probe.result_channels, coarse))
        made = cls(
            path,
            layout,
            kind,
            tuple(shapes),
            *units,
            image,
            source.zarr_format,
            _unit_of(layout, units),
            how or ("mean" if kind.kind == "f" else "nearest"),
        )
        return made._of_what_is_there() if exists(path) else made

    def _of_what_is_there(self) -> Target:
        """With the type, the chunks and the writer's unit of the array that is there."""
        try:
            array = open_volume(self.path, name="dst")
        except (KeyError, ValueError):
            if self.image is None or not self._is_begun():
                raise
            return self
        if tuple(array.shape) != self.shapes[0]:
            raise ValueError(f"dst: {self.path} has shape {array.shape}, takes {self.shapes[0]}")
        unit = writer_lengths(array, self.layout)
        if isinstance(array, np.ndarray):
            unit = self.unit
        facts = {**self.__dict__, "dtype": np.dtype(array.dtype), "unit": unit}
        return Target(**facts)

    def _is_begun(self) -> bool:
        """Whether it is an image whose making was interrupted: nothing says yet that it is one."""
        import zarr

        group = zarr.open(self.path, mode="r")
        return not hasattr(group, "shape") and not dict(group.attrs)

    @property
    def identity(self) -> dict[str, Any]:
        """What tells it from others, as JSON holds it."""
        return {
            "path": self.path,
            "layout": [self.layout.batch, self.layout.channels],
            "dtype": self.dtype.str,
            "shapes": [list(shape) for shape in self.shapes],
            "unit": list(self.unit),
            "pyramid": self.how,
        }

    def is_there(self) -> bool:
        """Whether the finest array is."""
        try:
            open_volume(self.path, name="dst")
        except (FileNotFoundError, KeyError, ValueError):
            return False
        return True

    def make(self) -> None:
        """Make what is not there."""
        if is_npy(self.path):
            with suppress(FileExistsError):
                create_npy(self.path, self.shapes[0], self.dtype)
            return
        import zarr

        if self.image is None:
            if not exists(self.path):
                self._make_array(self.path, self.shapes[0])
            return
        group = zarr.open_group(self.path, mode="a", zarr_format=self.zarr_format)
        for level, shape in enumerate(self.shapes):
            inner = self.image.level_path(level, "dst")
            if inner not in group:
                self._make_array(self.path, shape, inner)
        if not group.attrs:
            group.attrs.put(dict(self.image.attributes))  # last: without it there is no image

    def _make_array(self, path: str, shape: tuple[int, ...], name: str | None = None) -> None:
        import zarr
        from zarr.errors import ContainsArrayError

        chunks = tuple(max(min(c, n), 1) for c, n in zip(self.chunks, shape, strict=True))
        options: dict[str, Any] = {"shards": self.shards} if self.zarr_format == 3 else {}
        if self.shards is not None:
            chunks = self.chunks  # shards are whole chunks, at the end of a short axis too
        else:
            options = {}
        if self.zarr_format == 2:
            options["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
        with suppress(ContainsArrayError):  # another call was faster, and made the same
            zarr.create_array(
                path,
                name=name,
                shape=shape,
                dtype=self.dtype,
                chunks=chunks,
                fill_value=0,
                zarr_format=self.zarr_format,
                **options,
            )

    def block_lengths(
        self,
        block: Sequence[int] | None,
        choose: Callable[[tuple[int, ...]], tuple[int, ...]],
    ) -> tuple[int, ...]:
        """Lengths of blocks: the given ones, checked, or chosen ones."""
        space = self.layout.split(self.shapes[0])[2]
        unit = tuple(min(u, n) for u, n in zip(self.unit, space, strict=True))
        if block is None:
            return choose(unit)
        lengths = tuple(block)
        if len(lengths) != len(space) or min(lengths) < 1:
            raise ValueError(f"block: got {block}, takes a length for each of {len(space)} axes")
        free = is_npy(self.path)
        for length, u, n in zip(lengths, unit, space, strict=True):
            if not free and length < n and length % u:
                raise ValueError(
                    f"block: got {lengths}, takes multiples of {unit}, written at once"
                )
        return tuple(min(b, n) for b, n in zip(lengths, space, strict=True))

    def coarse_blocks(self, entries: int) -> list[Blocks]:
        """The blocks of each level but the finest: a few units an axis."""
        made = []
        for shape in self.shapes[1:]:
            space = self.layout.split(shape)[2]
            # Chunks of a level are no longer than it is, so several units hold whole ones.
            lengths = [n if n <= 2 * u else u for n, u in zip(space, self.unit, strict=True)]
            made.append(Blocks(space, tuple(lengths), entries))
        return made

    def factors(self, level: int) -> tuple[int, ...]:
        """How many positions of the level before make one of a level."""
        fine, coarse = (self.layout.split(self.shapes[at])[2] for at in (level - 1, level))
        return level_factors(fine, coarse)


def _units(
    source: Source, layout: Layout, space: tuple[int, ...], chunks: Sequence[int] | None
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Chunks and shards of a result, as the source has them: of one entry and few channels."""
    own, shards = source.units
    if chunks is not None:
        lengths = tuple(int(length) for length in chunks)
        if len(lengths) != len(space) or min(lengths) < 1:
            raise ValueError(f"chunks: got {chunks}, takes a length for each of {len(space)} axes")
        return layout.shape(1, 1, lengths), None
    if own is None:
        return layout.shape(1, 1, tuple(min(_DEFAULT_LENGTH, n) for n in space)), None
    lengths = source.layout.split(own)[2]
    made = layout.shape(1, 1, lengths)
    if shards is None:
        return made, None
    return made, layout.shape(1, 1, source.layout.split(shards)[2])


def _unit_of(
    layout: Layout, units: tuple[tuple[int, ...], tuple[int, ...] | None]
) -> tuple[int, ...]:
    chunks, shards = units
    return layout.split(shards or chunks)[2]


def _coarse_space(
    source: Source, level: int, fine: tuple[int, ...], space: tuple[int, ...]
) -> tuple[int, ...]:
    """The lengths of a coarser level: the source's own, or as much coarser than the result."""
    array = open_volume(source.path, source.level + level)
    own = source.layout.split(tuple(array.shape))[2]
    if space == fine:
        return own
    factors = level_factors(fine, own)
    return tuple(-(-n // f) for n, f in zip(space, factors, strict=True))


__all__ = ["Target"]
