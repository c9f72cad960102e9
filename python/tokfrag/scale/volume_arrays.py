"""Volumes on disk: `.npy` files, zarr arrays of both formats, and levels of OME-Zarr images."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag.scale.volume_images import ImageMetadata

#: One slice an axis.
Region = tuple[slice, ...]


@dataclass(frozen=True)
class Layout:
    """Which axes lie before those of space and time.

    Attributes
    ----------
    batch, channels
        Whether there is such an axis; the batch comes first.
    """

    batch: bool
    channels: bool

    @classmethod
    def of(cls, axes: int, rank: int, image: ImageMetadata | None) -> Layout:
        """The layout of an array of so many axes, `rank` of them of space and time."""
        leading = axes - rank
        if image is None:
            kinds = [(), ("channel",), ("batch", "channel")]
            if not 0 <= leading < len(kinds):
                raise ValueError(f"src: got {axes} axes for a grid of {rank}, takes 0 to 2 more")
            return cls("batch" in kinds[leading], "channel" in kinds[leading])
        types = image.axis_types[:leading] if leading >= 0 else ("?",)
        if len(image.axis_types) != axes or types not in (
            (),
            ("channel",),
            ("time",),
            ("time", "channel"),
        ):
            raise ValueError(
                f"src: got axes {image.axis_types} for a grid of {rank}; takes a grid over the last"
                " ones, and before them time, a channel, or both"
            )
        return cls("time" in types, "channel" in types)

    def shape(self, entries: int, channels: int, space: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of an array."""
        return (*[entries] * self.batch, *[channels] * self.channels, *space)

    def split(self, shape: tuple[int, ...]) -> tuple[int, int, tuple[int, ...]]:
        """The batch, the channels and the lengths in space and time."""
        left = list(shape)
        entries = left.pop(0) if self.batch else 1
        channels = left.pop(0) if self.channels else 1
        return entries, channels, tuple(left)

    def place(self, entry: int, space: Region) -> Region:
        """Where a region of one entry lies, with all its channels."""
        lead = [slice(entry, entry + 1)] * self.batch + [slice(None)] * self.channels
        return (*lead, *space)


def absolute(path: str | os.PathLike[str]) -> str:
    """A path as workers in another folder may read it; a URL as it is."""
    text = os.fspath(path)
    return text if "://" in text else os.path.abspath(text)


def is_npy(path: str) -> bool:
    """Whether a path is of a `.npy` file; all others are of zarr."""
    return path.endswith(".npy")


def open_volume(path: str, level: int = 0, *, write: bool = False, name: str = "src") -> Any:
    """Open what slices into arrays; of an image the array of a level."""
    if is_npy(path):
        try:
            array = np.load(path, mmap_mode="r+" if write else "r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{name}: {path}: not a whole .npy file ({error})") from error
        return array
    node = _opened(path, name, write=write)
    if not hasattr(node, "shape"):
        image = ImageMetadata.read(dict(node.attrs), path, name)
        node = node[image.level_path(level, name)]
    return node


def image_of(path: str, name: str = "src") -> ImageMetadata | None:
    """The metadata of an OME-Zarr image; None for a plain array."""
    if is_npy(path):
        return None
    node = _opened(path, name)
    return None if hasattr(node, "shape") else ImageMetadata.read(dict(node.attrs), path, name)


def exists(path: str) -> bool:
    """Whether a volume is there."""
    if is_npy(path):
        return Path(path).exists()
    import zarr

    try:
        zarr.open(path, mode="r")
    except FileNotFoundError:
        return False
    return True


def writer_lengths(array: Any, layout: Layout) -> tuple[int, ...]:
    """The lengths in space and time of what is written at once: a shard, a chunk, a position."""
    if isinstance(array, np.ndarray):
        return (1,) * len(layout.split(array.shape)[2])
    units = tuple(getattr(array, "shards", None) or array.chunks)
    entries, channels, lengths = layout.split(units)
    del channels  # a block has all of them
    if layout.batch and entries != 1 and array.shape[0] > 1:
        raise ValueError(f"dst: got chunks {units}, takes those of one batch entry")
    return lengths


def create_npy(path: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """A file of zeros that takes its name when it is whole."""
    temporary = f"{path}.{os.getpid()}-{token_hex(4)}.partial"
    try:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
        array.flush()
        del array
        _reserve(temporary, path)
        os.link(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _reserve(temporary: str, path: str) -> None:
    """Take the room on the disk now: where it is missing, a write to a mapped file is a SIGBUS."""
    if not hasattr(os, "posix_fallocate"):
        return
    handle = os.open(temporary, os.O_RDWR)
    try:
        os.posix_fallocate(handle, 0, os.fstat(handle).st_size)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL):
            return  # a file system that promises nothing
        error.filename = path
        raise
    finally:
        os.close(handle)


def synchronise(array: Any, place: Region) -> None:
    """Wait until a region that was written is on disk, where that is this machine's."""
    if isinstance(array, np.memmap):
        array.flush()
        return
    root = getattr(array.store, "root", None)
    if root is None:
        return  # an object store: what it has taken it keeps
    units = getattr(array, "shards", None) or array.chunks
    spans = []
    for at, unit, length in zip(place, units, array.shape, strict=True):
        begin, end, _ = at.indices(length)
        spans.append(range(begin // unit, -(-end // unit)))
    for index in np.ndindex(*map(len, spans)):
        chunk = tuple(span[i] for span, i in zip(spans, index, strict=True))
        path = Path(root) / array.path / array.metadata.encode_chunk_key(chunk)
        if path.exists():  # a chunk of nothing but the fill value has no file
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def write_block(array: Any, place: Region, values: NDArray[Any]) -> str:
    """Write a region, and wait until it is on disk: its SHA-256."""
    values = np.ascontiguousarray(values, array.dtype)
    with _naming(array):
        array[place] = values
        synchronise(array, place)
    return digest(values)


@contextmanager
def _naming(array: Any) -> Iterator[None]:
    """Let an error of the disk say which volume it was."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(getattr(array, "filename", None) or array.store_path)
        raise


def write_result(
    array: Any, layout: Layout, entry: int, block: Region, result: NDArray[Any] | None
) -> tuple[str, int]:
    """Write the result at a block, zeros if there is none: its SHA-256, and its bytes."""
    place = layout.place(entry, block)
    spans = [at.indices(n) for at, n in zip(place, array.shape, strict=True)]
    shape = tuple(end - begin for begin, end, _ in spans)
    dtype = np.dtype(array.dtype)
    if result is None:
        values = np.zeros(shape, dtype)
    else:
        narrow = dtype.kind in "iu" and result.dtype != dtype
        values = (_arrays.narrowed(result, dtype) if narrow else result).reshape(shape)
    return write_block(array, place, values), values.nbytes


def digest(values: NDArray[Any]) -> str:
    """The SHA-256 of values that lie side by side."""
    return hashlib.sha256(values.data).hexdigest()


def _opened(path: str, name: str, *, write: bool = False) -> Any:
    import zarr

    try:
        return zarr.open(path, mode="r+" if write else "r")
    except FileNotFoundError:
        raise FileNotFoundError(f"{name}: {path}: no zarr array or group, and no .npy") from None


__all__ = [
    "Layout",
    "Region",
    "absolute",
    "create_npy",
    "digest",
    "exists",
    "image_of",
    "is_npy",
    "open_volume",
    "synchronise",
    "write_block",
    "write_result",
    "writer_lengths",
]
