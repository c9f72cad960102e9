"""Read a corpus in blocks of some megabytes, whatever the sizes of its texts and lines."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import TypeAlias

from tokfrag._core.arrow import ArrowTexts

Text: TypeAlias = str | bytes

_BATCH_BYTES = 1 << 24  # handed to the threads at a time
_BATCH_TEXTS = 1 << 15
_BLOCK_BYTES = 1 << 22  # of a file at a time


def batches(texts: Iterable[Text]) -> Iterator[Sequence[Text]]:
    """Give the texts in lists of about 16 MB, however long each of them is; a column at once."""
    if isinstance(texts, ArrowTexts):
        yield texts
        return
    iterator = iter(texts)
    batch: list[Text] = []
    size, step = 0, 1
    while taken := list(islice(iterator, step)):
        try:
            length = sum(map(len, taken))
        except TypeError:
            length = 0  # counting the batch reports an item that is no text, with its index
        step = min(step * 2, _BATCH_TEXTS) if length < _BATCH_BYTES // 16 else max(step // 2, 1)
        batch += taken
        size += length
        if size >= _BATCH_BYTES or len(batch) >= _BATCH_TEXTS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def blocks_of_lines(path: str | os.PathLike[str]) -> Iterator[tuple[memoryview, int]]:
    """Give whole lines, some megabytes at a time, and how far the file was read for them.

    A block is good until the next one is asked for: they share one buffer, whose pages the system
    gives once.
    """
    with ExitStack() as stack:
        raw = stack.enter_context(open(path, "rb"))
        packed = os.fspath(path).endswith(".gz")
        file = stack.enter_context(gzip.open(raw)) if packed else raw
        buffer = bytearray(_BLOCK_BYTES)
        kept = 0  # bytes of a line that has not ended
        at = 0
        while True:
            if kept == len(buffer):
                buffer = buffer + bytearray(len(buffer))
            read = file.readinto(memoryview(buffer)[kept:])
            if not read:
                break
            filled = kept + read
            end = buffer.rfind(b"\n", kept, filled) + 1
            before, at = at, raw.tell()
            yield memoryview(buffer)[:end], at - before
            buffer[: filled - end] = buffer[end:filled]
            kept = filled - end
        yield memoryview(buffer)[:kept], 0


def lines_of(block: memoryview) -> list[bytes]:
    """Give the lines, each with its newline; the last may have none."""
    lines = bytes(block).split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + [line for line in lines[-1:] if line]
