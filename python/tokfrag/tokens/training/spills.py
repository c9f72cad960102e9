"""Packed word counts that do not fit in memory: sorted runs in files without a name."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator, Sequence

from tokfrag._core import training as _native

#: A run keeps a file descriptor, so there are never more.
MOST_RUNS = 32
_BLOCK_BYTES = 1 << 20


def spilled(table: _native.WordTable) -> mmap.mmap:
    """The table's words in a file of no name, gone with the map."""
    return _mapped(iter([table.pack()]))


def compacted(runs: Sequence[mmap.mmap]) -> tuple[mmap.mmap, ...]:
    """The same words in fewer runs, where there are too many: the shortest become one."""
    if len(runs) < MOST_RUNS:
        return tuple(runs)
    by_size = sorted(runs, key=len)
    half = MOST_RUNS // 2
    return (*by_size[half:], _mapped(_blocks(by_size[:half])))


def _blocks(runs: list[mmap.mmap]) -> Iterator[bytes]:
    merged = _native.MergedRuns([*runs])
    while block := merged.read(_BLOCK_BYTES):
        yield block


def _mapped(blocks: Iterator[bytes]) -> mmap.mmap:
    with tempfile.TemporaryFile(prefix="tokfrag-") as file:
        for block in blocks:
            file.write(block)
        file.flush()
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
