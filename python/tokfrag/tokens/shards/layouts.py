"""Token files that other trainers read: bare ids, Megatron's pairs, MosaicML's and litdata's."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tokfrag._files import whole_file
from tokfrag.tokens.shards.opening import needed

LAYOUTS = ("tokfrag", "bin", "megatron", "mds", "litdata")

_LITDATA_CHUNK = 64 << 20
_MEGATRON_CODES = {"uint16": 8, "int32": 4}
_MEGATRON_LONGEST = 2**31 - 1  # tokens of a document


class Bare:
    """Ids end to end in one file: what nanoGPT reads."""

    def __init__(self, file: IO[bytes], dtype: np.dtype[Any]) -> None:
        self._file = file
        self._dtype = dtype

    def write(self, ids: NDArray[np.uint32], ends: NDArray[np.int64]) -> None:
        """Add ids."""
        self._file.write(ids.astype(self._dtype).data)

    def mark(self) -> int:
        """Where it stands, for :meth:`back_to`."""
        return self._file.tell()

    def back_to(self, mark: int) -> None:
        """Take back what came after."""
        self._file.seek(mark)
        self._file.truncate()


class Megatron:
    """Megatron's indexed dataset: ``.bin`` with the ids, ``.idx`` with where documents lie.

    The index: ``MMIDIDX``, version 1, a code for the type, how many sequences and documents there
    are, the length of each sequence (int32), its first byte (int64), and where documents begin
    among the sequences (int64). Here a document is a sequence.
    """

    def __init__(self, ids: IO[bytes], dtype: np.dtype[Any]) -> None:
        self._file = ids
        # Megatron knows no uint32.
        self._dtype = np.dtype(np.uint16 if dtype == np.uint16 else np.int32)
        self._lengths = [np.empty(0, np.int32)]
        self._open = 0  # ids of the document that has not ended

    def write(self, ids: NDArray[np.uint32], ends: NDArray[np.int64]) -> None:
        """Add ids, and where documents end among them."""
        self._file.write(ids.astype(self._dtype).data)
        if len(ends) == 0:
            self._open += len(ids)
            return
        lengths = np.diff(ends, prepend=0)
        lengths[0] += self._open
        if lengths.max() > _MEGATRON_LONGEST:
            raise ValueError(
                f"layout: a document has {lengths.max()} tokens, 'megatron' takes"
                f" {_MEGATRON_LONGEST}"
            )
        self._lengths.append(lengths.astype(np.int32))
        self._open = len(ids) - int(ends[-1])

    def index(self) -> bytes:
        """The content of the ``.idx`` file."""
        lengths = np.concatenate(self._lengths)
        begins = np.zeros(len(lengths), np.int64)
        np.cumsum(lengths[:-1], dtype=np.int64, out=begins[1:])
        begins *= self._dtype.itemsize
        head = struct.pack(
            "<9sQBQQ",
            b"MMIDIDX\x00\x00",
            1,
            _MEGATRON_CODES[self._dtype.name],
            len(lengths),
            len(lengths) + 1,
        )
        documents = np.arange(len(lengths) + 1, dtype=np.int64)
        return head + lengths.tobytes() + begins.tobytes() + documents.tobytes()


class Samples:
    """A document a sample, held in memory until it ends, for a writer of another library."""

    def __init__(self, add: Any) -> None:
        self._add = add
        self._open: list[NDArray[Any]] = []

    def write(self, ids: NDArray[np.uint32], ends: NDArray[np.int64]) -> None:
        """Add ids, and where documents end among them."""
        done = 0
        for end in ends.tolist():
            self._add(np.concatenate([*self._open, ids[done:end]]).astype(np.int32))
            self._open, done = [], end
        if done < len(ids):
            self._open.append(ids[done:])


@contextmanager
def layout_writer(layout: str, out: Path, dtype: np.dtype[Any]) -> Iterator[Any]:
    """Open the files of a layout; it has ``write(ids, ends)``.

    Of MDS and litdata, the folder must be empty: their own writers fill it, and what they left of
    a call that failed is not read, because their index is missing.
    """
    with ExitStack() as stack:
        if layout == "bin":
            yield Bare(stack.enter_context(whole_file(out)), dtype)
        elif layout == "megatron":
            with whole_file(out.with_name(f"{out.name}.bin")) as file:
                writer = Megatron(file, dtype)
                yield writer
                # That of an earlier call would belong to other ids.
                out.with_name(f"{out.name}.idx").unlink(missing_ok=True)
            with whole_file(out.with_name(f"{out.name}.idx")) as file:
                file.write(writer.index())
        elif layout == "mds":
            streaming = needed("streaming", "layout 'mds'")
            _check_empty(out)
            mds = stack.enter_context(
                streaming.MDSWriter(out=str(out), columns={"tokens": "ndarray:int32"})
            )
            try:
                yield Samples(lambda ids: mds.write({"tokens": ids}))
            except BaseException:
                mds.event.set()  # else its end writes an index, and what is there reads as whole
                raise
        else:
            writer_module = needed("litdata.streaming.writer", "layout 'litdata'")
            _check_empty(out)
            out.mkdir(parents=True, exist_ok=True)
            binary = writer_module.BinaryWriter(str(out), chunk_bytes=_LITDATA_CHUNK)
            count = iter(range(2**62))
            yield Samples(lambda ids: binary.add_item(next(count), ids))
            binary.done()
            binary.merge()


def _check_empty(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"out: {out} is there already and not an empty folder")


__all__ = ["LAYOUTS", "layout_writer"]
