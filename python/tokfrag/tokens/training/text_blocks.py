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


def blocks_of_lines(path: str | os.PathLike[str]) -> Iterator[tuple[bytes, int]]:
    """Give whole lines, about 16 MB at a time, and how far the file was read for them."""
    with ExitStack() as stack:
        raw = stack.enter_context(open(path, "rb"))
        packed = os.fspath(path).endswith(".gz")
        file = stack.enter_context(gzip.open(raw)) if packed else raw
        rest: list[bytes] = []
        at = 0
        while block := file.read(_BATCH_BYTES):
            end = block.rfind(b"\n") + 1
            before, at = at, raw.tell()
            if end == 0:
                rest.append(block)
                yield b"", at - before
                continue
            yield b"".join([*rest, block[:end]]), at - before
            rest = [block[end:]]
        yield b"".join(rest), 0


def lines_of(block: bytes) -> list[bytes]:
    """Give the lines, each with its newline; the last may have none."""
    lines = block.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + [line for line in lines[-1:] if line]
