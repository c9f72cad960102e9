"""Open input files: local ones and fsspec's, unpacked where their names say so."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import IO, Any

from tokfrag.tokens.shards.sources import file_system, is_url

_CHUNK = 1 << 18

# How files begin that are no text, whatever their names say.
_MAGICS = {
    b"PAR1": "Parquet",
    b"ARROW1": "Arrow",
    b"FEA1": "Feather (version 1)",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x1f\x8b\x08": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x04\x22\x4d\x18": "lz4",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Obj\x01": "Avro",
    b"ORC": "ORC",
    b"SQLite format 3\x00": "SQLite",
    b"\x89HDF\r\n\x1a\n": "HDF5",
    b"%PDF-": "PDF",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\x7fELF": "ELF",
}


class BrokenFileError(ValueError):
    """A file that cannot be read to its end."""


def needed(module: str, path: str) -> Any:
    """A package of an extra; ModuleNotFoundError says what wants it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name != package:
            raise
        raise ModuleNotFoundError(
            f"{path}: is read by {package}, which is not installed: tokfrag[scale] brings it",
            name=package,
        ) from None


@contextmanager
def opened(path: str) -> Iterator[IO[bytes]]:
    """A file as it is, to read and to seek."""
    if is_url(path):
        system, place = file_system(path)
        with system.open(place, "rb") as file:
            yield file
    else:
        with open(path, "rb") as file:
            yield file


@contextmanager
def unpacked(path: str, packing: str | None) -> Iterator[tuple[IO[bytes], Callable[[], int]]]:
    """A file to read, unpacked where need be, and how many bytes of it on disk are read.

    Raises
    ------
    BrokenFileError
        It is cut short or damaged.
    """
    with ExitStack() as stack:
        raw = stack.enter_context(opened(path))
        file, broken = _unpacker(path, packing, raw)
        if packing is not None:
            stack.enter_context(file)
            if not raw.read(1):  # gzip and zstd would find nothing in it, and no fault
                raise BrokenFileError(f"{path}: not a whole {packing} file (it is empty)")
            raw.seek(0)
        try:
            yield file, raw.tell
        except broken as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of the disk, not of what is packed
            raise BrokenFileError(f"{path}: not a whole {packing} file ({error})") from None


def _unpacker(
    path: str, packing: str | None, raw: IO[bytes]
) -> tuple[Any, tuple[type[Exception], ...]]:
    """What unpacks a file, and what it raises where that is cut short or damaged."""
    if packing is None:
        return raw, ()
    if packing == "gzip":
        return gzip.GzipFile(fileobj=raw), (EOFError, zlib.error, gzip.BadGzipFile)
    if packing == "bzip2":
        return _frames(raw, bz2.BZ2Decompressor), (EOFError, OSError)
    if packing == "xz":
        return _frames(raw, lzma.LZMADecompressor, b"\0"), (EOFError, lzma.LZMAError)
    zstandard = needed("zstandard", path)
    begin = zstandard.ZstdDecompressor().decompressobj
    return _frames(raw, begin), (EOFError, zstandard.ZstdError)


def _frames(raw: IO[bytes], begin: Callable[[], Any], padding: bytes = b"") -> IO[bytes]:
    return io.BufferedReader(_Frames(raw, begin, padding), _CHUNK)


class _Frames(io.RawIOBase):
    """Frames of bzip2, xz or zstd, one after another.

    Unlike the libraries' own readers it sees a missing end, and a frame that is damaged where it
    begins: bz2 and lzma take that for the end of all.
    """

    def __init__(self, raw: IO[bytes], begin: Callable[[], Any], padding: bytes) -> None:
        self._raw = raw
        self._begin = begin
        self._padding = padding  # what may lie between frames
        self._frame: Any = None
        self._packed = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            if self._frame is None or getattr(self._frame, "needs_input", True):
                self._packed = self._packed or self._raw.read(_CHUNK)
                if not self._packed:
                    if self._frame is not None:
                        raise EOFError("the last frame is cut short")
                    return 0
            if self._frame is None:
                self._packed = self._packed.lstrip(self._padding)
                if not self._packed:
                    continue
                self._frame = self._begin()
            self._ready = memoryview(self._unpack(self._packed))
            self._packed = b""
            if self._frame.eof:
                self._packed, self._frame = self._frame.unused_data, None
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _unpack(self, packed: bytes) -> bytes:
        # A few bytes of bzip2 or xz may stand for gigabytes; zstandard has no such bound.
        bounded = hasattr(self._frame, "needs_input")
        data: bytes = self._frame.decompress(packed, *([_CHUNK] if bounded else []))
        return data


def refuse_binary(path: str, head: bytes) -> None:
    """BrokenFileError if what is to be text begins as a file of another kind."""
    for magic, name in _MAGICS.items():
        if head.startswith(magic):
            raise BrokenFileError(
                f"{path}: is {name} by its first bytes, not text; files are read by their names"
            )


__all__ = ["BrokenFileError", "needed", "opened", "refuse_binary", "unpacked"]
