"""Files: read whole and within bounds, written whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from threading import get_ident
from typing import IO, Any

MAX_BYTES = 1 << 30
_PARTIAL = ".partial"


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Read a file as it is, no more of it than ``MAX_BYTES``.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    bytes
        Its content, packed or not.

    Raises
    ------
    ValueError
        It is longer.
    """
    path = Path(path)
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size} bytes, takes at most {MAX_BYTES}")
    return path.read_bytes()


def unpack(path: str | os.PathLike[str], content: bytes) -> bytes:
    """Unpack the content of a file whose name ends in ``.gz``; give any other as it is."""
    return gunzip(path, content) if Path(path).suffix == ".gz" else content


def gunzip(path: str | os.PathLike[str], content: bytes) -> bytes:
    """Unpack packed content, no more of it than ``MAX_BYTES``.

    Parameters
    ----------
    path : path-like
        Where it came from, for the message.
    content : bytes
        Of a gzip file.

    Returns
    -------
    bytes
        What was packed.

    Raises
    ------
    ValueError
        It is cut short or damaged, or unpacks to more.
    """
    try:
        with gzip.open(io.BytesIO(content)) as file:
            data = file.read(MAX_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: not a whole gzip file ({error})") from None
    if len(data) > MAX_BYTES:
        raise ValueError(f"{path}: unpacks to more than {MAX_BYTES} bytes")
    return data


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes its name only when all of it is on disk, and else is removed."""
    # Several machines may write to one folder: a process and a thread are no name for a writer.
    writer = f"{os.getpid()}-{get_ident()}-{token_hex(4)}"
    temporary = path.with_name(f"{path.name}.{writer}{_PARTIAL}")
    try:
        with temporary.open("wb", buffering=1 << 20) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = os.fspath(path)  # a full disk does not say which file it was
        raise


@contextmanager
def sole_writer(folder: Path, name: str) -> Iterator[None]:
    """Hold a folder that only one call at a time may write to; any other is refused.

    The lock is the system's and goes with the process, however that ends. Where the file system
    knows no locks there is none.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise BlockingIOError(
                    f"{name}: {folder} is being written to by another call, takes one at a time"
                ) from None
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EBADF, errno.EOPNOTSUPP):
                raise
        yield
    finally:
        os.close(handle)


def remove_partial_files(folder: Path) -> None:
    """Remove what a writer that was killed has left."""
    for path in folder.glob(f"*{_PARTIAL}"):
        path.unlink(missing_ok=True)


class HashedFile:
    """A file whose content is hashed as it is written."""

    def __init__(self, file: IO[bytes], digest: Any) -> None:
        self._file = file
        self._digest = digest

    def write(self, data: bytes | memoryview) -> None:
        """Write and hash."""
        self._file.write(data)
        self._digest.update(data)


def check_new(path: str | os.PathLike[str], *, force: bool) -> None:
    """Refuse, before any work is done, a path that could not be written afterwards.

    Parameters
    ----------
    path : path-like
        Of a file that is to be written.
    force : bool
        Take one that exists.

    Raises
    ------
    IsADirectoryError, FileExistsError, FileNotFoundError
        A folder; a file that is there, without ``force``; a folder that is not.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target}: is a folder")
    if target.exists() and not force:
        raise FileExistsError(f"{target}: exists already; --force (force=True) replaces it")
    if not target.absolute().parent.is_dir():
        raise FileNotFoundError(f"{target}: its folder does not exist")


def write_new(path: str | os.PathLike[str], data: bytes, *, force: bool) -> None:
    """Write a file whole or not at all, after :func:`check_new`.

    Parameters
    ----------
    path : path-like
        The file; with ``force`` it may exist.
    data : bytes
        All of its content.
    force : bool
        Replace a file that exists.

    Raises
    ------
    OSError
        As :func:`check_new` says.
    """
    check_new(path, force=force)
    with whole_file(Path(path)) as file:
        file.write(data)
