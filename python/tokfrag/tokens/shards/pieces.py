"""Read documents from files piece by piece, cut where cutting changes no id."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokfrag.tokens.shards.columns import read_column
from tokfrag.tokens.shards.cuts import first_cut, last_cut
from tokfrag.tokens.shards.opening import refuse_binary, unpacked
from tokfrag.tokens.shards.skips import Skips
from tokfrag.tokens.shards.sources import Source, kind_of

_READ = 1 << 20
MOST_BATCH_BYTES = 16 << 20
_BEFORE = 64  # bytes read before a place that is asked for a cut
_SOUGHT = 1 << 16  # bytes first read after it

Rule = re.Pattern[bytes] | None


@dataclass(frozen=True)
class Reading:
    """How documents are read.

    Attributes
    ----------
    field, column
        What holds the text: of JSON lines, of tables.
    rule
        Where a text may be cut; None: nowhere.
    batch_bytes
        Of text that is taken at a time, about.
    """

    field: str
    column: str
    rule: Rule
    batch_bytes: int = MOST_BATCH_BYTES


class Piece(NamedTuple):
    """A part of a document: its text, whether it is the last, and how far the file is read."""

    text: str | bytes
    is_last: bool
    position: int


class Block(NamedTuple):
    """Some megabytes of text: pieces, which of them end a document, how far the file is read."""

    texts: Sequence[str | bytes]
    last: NDArray[np.bool_]
    position: int


def read_blocks(source: Source, reading: Reading, skips: Skips) -> Iterator[Block]:
    """Read the documents of a file, or of a part of it.

    Raises
    ------
    BrokenFileError
        The file cannot be read to its end.
    ValueError
        A document cannot be read, with ``skips`` that raise.
    """
    if kind_of(source.path).form in ("parquet", "arrow"):
        for rows, position in read_column(source, reading.column, skips, reading.batch_bytes):
            yield Block(rows, np.ones(len(rows), np.bool_), position)
        return
    batch: list[Piece] = []
    size = 0
    for piece in read_pieces(source, field=reading.field, rule=reading.rule, skips=skips):
        batch.append(piece)
        size += len(piece.text)
        if size >= reading.batch_bytes:
            yield _block(batch)
            batch, size = [], 0
    if batch:
        yield _block(batch)


def _block(pieces: list[Piece]) -> Block:
    last = np.array([piece.is_last for piece in pieces])
    return Block([piece.text for piece in pieces], last, pieces[-1].position)


def read_pieces(
    source: Source | str | os.PathLike[str],
    *,
    field: str,
    rule: Rule,
    piece_bytes: int = _READ,
    skips: Skips | None = None,
) -> Iterator[Piece]:
    """Read the documents of a text file: the lines of ``.jsonl``, else its text; unpacked.

    Raises
    ------
    BrokenFileError
        The file cannot be read to its end.
    ValueError
        A line holds no text, with ``skips`` that raise.
    """
    if not isinstance(source, Source):
        source = Source.of(source)
    skips = skips or Skips("raise")
    form, packing = kind_of(source.path)
    with unpacked(source.path, packing) as (file, position):
        if form == "lines":
            yield from _read_lines(file, position, source, field, skips)
        else:
            yield from _read_text(file, position, source, rule, piece_bytes)


def _read_lines(
    file: IO[bytes], position: Callable[[], int], source: Source, field: str, skips: Skips
) -> Iterator[Piece]:
    begin = end = 0
    where = source.path
    if not source.whole:
        begin, end = (_line_at(file, place, source) for place in (source.begin, source.end))
        file.seek(begin)
        where += f", from byte {begin} on" if begin else ""
    at = begin
    for number, line in enumerate(file, start=1):
        if not source.whole and at >= end:
            break
        at += len(line)
        if number == 1:
            refuse_binary(source.path, line)
        if line.isspace():
            continue
        try:
            text = _field_of(line, field)
        except ValueError as error:
            skips.add(f"{where}: line {number}: {error}")
            continue
        yield Piece(text, True, position() if source.whole else at - begin)


def _field_of(line: bytes, field: str) -> str:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from None
    if not isinstance(record, dict) or field not in record:
        raise ValueError(f"has no field {field!r}")
    text = record[field]
    if not isinstance(text, str):
        raise ValueError(f"field {field!r} is a {type(text).__name__}, takes a string")
    try:
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        # JSON may hold half of a character: U+FFFD, as everywhere in encoding.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _read_text(
    file: IO[bytes], position: Callable[[], int], source: Source, rule: Rule, size: int
) -> Iterator[Piece]:
    left = None
    if not source.whole:
        begin, end = (_cut_at(file, place, source, rule) for place in (source.begin, source.end))
        if begin >= end and begin < source.bytes:
            return
        file.seek(begin)
        left, start = end - begin, begin
    ends = source.whole or source.end >= source.bytes
    chunks: list[bytes] = []
    held = 0
    wanted = size
    first = source.whole or source.begin == 0
    while chunk := file.read(size if left is None else min(size, left)):
        if first:
            refuse_binary(source.path, chunk)
            first = False
        if left is not None:
            left -= len(chunk)
        chunks.append(chunk)
        held += len(chunk)
        if rule is None or held < wanted:
            continue
        text = b"".join(chunks)
        cut = last_cut(text, rule)
        if cut:
            at = position() if source.whole else position() - start
            yield Piece(text[:cut], False, at)
        # Without a place to cut, look again once there is twice as much: the time stays linear.
        chunks, held = [text[cut:]], held - cut
        wanted = size if cut else 2 * held
    at = position() if source.whole else position() - start
    yield Piece(b"".join(chunks), ends, at)


# Where a part begins: told by the file and the place alone, so that neighbours agree.


def _line_at(file: IO[bytes], place: int, source: Source) -> int:
    """The first line that begins at or after a place."""
    if place <= 0 or place >= source.bytes:
        return min(max(place, 0), source.bytes)
    file.seek(place - 1)
    at = place - 1
    for line in iter(lambda: file.readline(_SOUGHT), b""):
        at += len(line)
        if line.endswith(b"\n"):
            break
    return at


def _cut_at(file: IO[bytes], place: int, source: Source, rule: Rule) -> int:
    """The first place from here on where the text may be cut."""
    if place <= 0 or place >= source.bytes:
        return min(max(place, 0), source.bytes)
    if rule is None:
        raise ValueError(f"{source.path}: is divided, and its text may not be cut")
    from_ = max(0, place - _BEFORE)
    file.seek(from_)
    text = b""
    for size in chain([_BEFORE + _SOUGHT], (_SOUGHT << doubling for doubling in range(1, 48))):
        chunk = file.read(size)
        text += chunk
        cut = first_cut(text, rule, place - from_)
        if cut >= 0 or not chunk:
            break
    return source.bytes if cut < 0 else from_ + cut


__all__ = ["MOST_BATCH_BYTES", "Block", "Piece", "Reading", "read_blocks", "read_pieces"]
