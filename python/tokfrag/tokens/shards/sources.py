"""Input files: which form and packing a name stands for, and a file as it was when it was read."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from stat import S_ISDIR
from typing import Any, NamedTuple

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]

# Shorter files are never divided.
LEAST_RANGE = 1 << 20

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
# pathlib makes one slash of two.
_URL_OR_ITS_PATH = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_PACKINGS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd", ".zstd": "zstd"}
_FORMS = {
    ".jsonl": "lines",
    ".ndjson": "lines",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
}
# Containers that would be nonsense as text.
_REFUSED = frozenset(
    ".7z .avro .br .bin .db .h5 .hdf5 .lz4 .lzma .msgpack .npy .npz .orc .pdf .pickle .pkl .pt .rar"
    " .safetensors .snappy .sqlite .tar .tbz2 .tgz .txz .warc .xlsx .Z .zip .zarr".lower().split()
)


class Kind(NamedTuple):
    """How documents are held ("text", "lines", "parquet", "arrow"), and how that is packed."""

    form: str
    packing: str | None


def kind_of(path: str) -> Kind:
    """The kind of file that a name stands for; ValueError where it stands for none that is read."""
    name = path.rstrip("/").rpartition("/")[2].lower()
    stem, suffix = os.path.splitext(name)
    packing = _PACKINGS.get(suffix)
    if packing is not None:
        stem, suffix = os.path.splitext(stem)
    form = _FORMS.get(suffix, "text")
    if suffix in _REFUSED or (packing and form in ("parquet", "arrow")):
        raise ValueError(
            f"{path}: no kind of file that is read; takes .parquet, .arrow, .feather, .jsonl,"
            " .ndjson or text, the last three also packed as .gz, .bz2, .xz or .zst"
        )
    return Kind(form, packing)


def is_url(path: str) -> bool:
    """Whether a path is one for fsspec: ``s3://``, ``hf://``, ``memory://``."""
    return "://" in path and _URL.match(path) is not None


def check_local(out: str | os.PathLike[str]) -> None:
    """ValueError for a URL: one would be written to a folder here that is called as it is."""
    if _URL_OR_ITS_PATH.match(os.fspath(out)):
        raise ValueError(f"out: got {os.fspath(out)!r}, takes a local path; URLs are only read")


@dataclass(frozen=True)
class Source:
    """An input file, as it was when it was read, or a part of it.

    Attributes
    ----------
    path, bytes, modified_ns
        The file; of a URL, a number that is another for another content.
    begin, end
        About which bytes of it are meant: the part begins and ends at the next safe place, and all
        parts together are the file. ``end`` -1: the whole.
    """

    path: str
    bytes: int
    modified_ns: int
    begin: int = 0
    end: int = -1

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Source:
        """The file as it is now."""
        text = os.fspath(path)
        return cls(text, *size_and_stamp(text))

    @property
    def whole(self) -> bool:
        """Whether it is all of the file."""
        return self.end < 0

    @property
    def size(self) -> int:
        """About how many bytes are meant."""
        return self.bytes if self.end < 0 else self.end - self.begin

    def check_unchanged(self) -> None:
        """ValueError if the file is no longer what it was."""
        now = Source.of(self.path)
        if (now.bytes, now.modified_ns) != (self.bytes, self.modified_ns):
            raise ValueError(f"{self.path}: has changed while it was read")


def size_and_stamp(path: str) -> tuple[int, int]:
    """The bytes of a file, and a number that changes with its content; ValueError for a folder."""
    if not is_url(path):
        status = os.stat(path)
        if S_ISDIR(status.st_mode):
            raise ValueError(f"paths: {path} is a folder, takes files")
        return status.st_size, status.st_mtime_ns
    system, place = file_system(path)
    digest = hashlib.sha256(str(system.ukey(place)).encode()).digest()
    return int(system.size(place)), int.from_bytes(digest[:7], "big")


def file_system(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path there."""
    try:
        import fsspec
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"{url}: is read by fsspec, which is not installed: tokfrag[scale] brings it"
        ) from None
    system, place = fsspec.core.url_to_fs(url)
    return system, place


def source_list(paths: Paths) -> list[Source]:
    """The files of a path or several; ValueError for none, a folder, or a kind that is not read."""
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    sources = [Source.of(path) for path in paths]
    if not sources:
        raise ValueError("paths: got none, takes a path or several")
    for source in sources:
        kind_of(source.path)
    return sources


def ranges_of(path: str, size: int, most: int, *, text: bool) -> list[tuple[int, int]]:
    """How a file is divided into parts of at most about ``most`` bytes: ``(begin, end)`` each.

    ``(0, -1)``: the whole. ``text``: whether texts may be cut.
    """
    form, packing = kind_of(path)
    most = max(most, LEAST_RANGE)
    whole = size <= most or packing is not None or form == "arrow" or (form == "text" and not text)
    if whole:
        return [(0, -1)]
    count = -(-size // most)
    return [(size * part // count, size * (part + 1) // count) for part in range(count)]


__all__ = [
    "LEAST_RANGE",
    "Kind",
    "Paths",
    "Source",
    "check_local",
    "file_system",
    "is_url",
    "kind_of",
    "ranges_of",
    "size_and_stamp",
    "source_list",
]
