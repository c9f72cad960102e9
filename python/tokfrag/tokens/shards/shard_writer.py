"""One shard's files: ids, where documents end, and the hash of both."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tokfrag._files import HashedFile, whole_file
from tokfrag.tokens.shards.encoding import Encoder
from tokfrag.tokens.shards.index import Shard
from tokfrag.tokens.shards.opening import BrokenFileError
from tokfrag.tokens.shards.skips import Skips
from tokfrag.tokens.shards.sources import Source

Sink = Callable[[NDArray[np.uint32], NDArray[np.int64]], object]


class Marks(Protocol):
    """What takes back what was written after a mark."""

    def mark(self) -> Any:
        """Where it stands."""

    def back_to(self, mark: Any) -> None:
        """Take back what came after."""


class ShardWriter:
    """Writes a shard, batch by batch; made by :func:`shard_writer`.

    A batch is hashed and written by a helper while the next is encoded: both let go of the GIL.

    Parameters
    ----------
    file
        Takes the ids.
    helper
        A pool of one thread.
    name : str
        Of the shard.
    dtype : str
        Of the ids.
    """

    def __init__(self, file: IO[bytes], helper: ThreadPoolExecutor, name: str, dtype: str) -> None:
        self._bare = file
        self._helper = helper
        self._begun: Future[None] | None = None
        self._digest = hashlib.sha256()
        self._name = name
        self._dtype = dtype
        self._ends = [np.empty(0, np.int64)]
        self.tokens = 0

    def write(self, ids: NDArray[np.uint32], ends: NDArray[np.int64]) -> None:
        """Add ids, and where documents end among them."""
        self.settle()  # one batch at a time waits for the disk
        self._begun = self._helper.submit(self._write, ids)
        self._ends.append(ends + self.tokens)
        self.tokens += len(ids)

    def _write(self, ids: NDArray[np.uint32]) -> None:
        HashedFile(self._bare, self._digest).write(ids.astype(self._dtype).data)

    def settle(self) -> None:
        """Wait for the helper; raise what it has raised."""
        begun, self._begun = self._begun, None
        if begun is not None:
            begun.result()

    def mark(self) -> tuple[Any, int, int, int]:
        """Where it stands, for :meth:`back_to`."""
        self.settle()
        return self._digest.copy(), self._bare.tell(), self.tokens, len(self._ends)

    def back_to(self, mark: tuple[Any, int, int, int]) -> None:
        """Take back what came after."""
        self.settle()
        self._digest, place, self.tokens, count = mark
        self._bare.seek(place)
        self._bare.truncate()
        del self._ends[count:]

    def finish(self, folder: Path, sources: tuple[Source, ...], skips: Skips) -> Shard:
        """Write where documents end; give the shard."""
        ends = np.concatenate(self._ends)
        with whole_file(folder / f"{self._name}.ends") as bare:
            HashedFile(bare, self._digest).write(ends.data)
        return Shard(
            self._name,
            sources,
            self.tokens,
            len(ends),
            self._digest.hexdigest(),
            skips.count,
            tuple(skips.places),
        )


@contextmanager
def shard_writer(folder: Path, name: str, dtype: str) -> Iterator[ShardWriter]:
    """Open the files of a shard, which take their names only when whole."""
    with whole_file(folder / f"{name}.bin") as file, ThreadPoolExecutor(1) as helper:
        writer = ShardWriter(file, helper, name, dtype)
        yield writer
        writer.settle()


def encode_source(
    encode: Encoder,
    source: Source,
    sink: Sink,
    skips: Skips,
    advance: Callable[[int], object],
    marks: Marks | None,
) -> None:
    """Give the ids of a file to a sink; of one that breaks, none, if it may be skipped.

    ``marks``: what takes back what was written of it; None: a broken file is an error.
    """
    begun = skips.mark()
    mark = marks.mark() if marks is not None else None
    try:
        for ids, ends in encode.file(source, skips, advance):
            sink(ids, ends)
    except BrokenFileError as error:
        if marks is None or mark is None or skips.on_error == "raise":
            raise
        marks.back_to(mark)
        skips.back_to(begun)
        skips.add(str(error))
    source.check_unchanged()


def write_shard(
    encode: Encoder,
    shard: Shard,
    out: Path,
    dtype: str,
    skips: Skips,
    advance: Callable[[int], object],
) -> Shard:
    """Encode the inputs of a shard; give it with what it holds."""
    with shard_writer(out, shard.name, dtype) as writer:
        for source in shard.sources:
            encode_source(encode, source, writer.write, skips, advance, writer)
    return writer.finish(out, shard.sources, skips)


__all__ = ["ShardWriter", "encode_source", "shard_writer", "write_shard"]
