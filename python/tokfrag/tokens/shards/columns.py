"""Columns of strings in Parquet and Arrow files, as Arrow arrays, never as Python strings."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from tokfrag._core.arrow import ArrowTexts
from tokfrag.tokens.shards.opening import BrokenFileError, needed, opened
from tokfrag.tokens.shards.skips import Skips
from tokfrag.tokens.shards.sources import Source, is_url, kind_of

_MOST_ROWS = 1 << 16


def read_column(
    source: Source, column: str, skips: Skips, batch_bytes: int
) -> Iterator[tuple[ArrowTexts, int]]:
    """The texts of a column, and how far the file is read, about ``batch_bytes`` at a time.

    Raises
    ------
    BrokenFileError
        The file is cut short or damaged, or has no such column of strings.
    ValueError
        A row is null.
    """
    pyarrow = needed("pyarrow", source.path)
    form = kind_of(source.path).form
    read = _parquet if form == "parquet" else _ipc
    try:
        for rows, first, position in read(source, column, batch_bytes):
            yield _texts(pyarrow, rows, first, column, source.path, skips), position
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError, EOFError) as error:
        raise BrokenFileError(f"{source.path}: not a whole {form} file ({error})") from None
    except OSError as error:
        # Arrow's own complaints about a file's content come without a number.
        if error.errno is not None:
            raise
        raise BrokenFileError(f"{source.path}: not a whole {form} file ({error})") from None


def _texts(pyarrow: Any, rows: Any, first: int, column: str, path: str, skips: Skips) -> ArrowTexts:
    if pyarrow.types.is_dictionary(rows.type):
        rows = rows.dictionary_decode()  # first: what an index points to may be null too
    if rows.null_count:
        places = rows.is_null().to_numpy(zero_copy_only=False).nonzero()[0]
        for place in places.tolist():
            skips.add(f"{path}: row {first + place} of column {column!r} is null")
        rows = rows.drop_null()
    return ArrowTexts(rows)


def _parquet(source: Source, column: str, batch_bytes: int) -> Iterator[tuple[Any, int, int]]:
    parquet = needed("pyarrow.parquet", source.path)
    with ExitStack() as stack:
        helper = stack.enter_context(ThreadPoolExecutor(1))
        # Arrow reads local files itself, without Python between.
        given = stack.enter_context(opened(source.path)) if is_url(source.path) else source.path
        file = stack.enter_context(parquet.ParquetFile(given))
        _check_column(source.path, column, file.schema_arrow)
        place = file.schema_arrow.get_field_index(column)
        groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
        total = max(1, file.metadata.num_rows)
        first = 0
        for number, group in enumerate(groups):
            # A group belongs to the part in which its share of the file begins.
            begin = source.bytes * number // len(groups)
            if source.whole or source.begin <= begin < source.end:
                size = _column_bytes(group, column, place)
                done = first
                batches = file.iter_batches(
                    min(_MOST_ROWS, max(1, group.num_rows * batch_bytes // max(1, size))),
                    row_groups=[number],
                    columns=[column],
                    use_threads=False,
                )
                for batch in _ahead(batches, helper):
                    position = source.bytes * (done + len(batch)) // total
                    yield batch.column(0), done, min(position, source.bytes)
                    done += len(batch)
            first += group.num_rows


def _ahead(batches: Iterator[Any], helper: ThreadPoolExecutor) -> Iterator[Any]:
    """The same batches, each unpacked while the one before is in use: Arrow lets go of the GIL."""
    coming = helper.submit(next, batches, None)
    while (batch := coming.result()) is not None:
        coming = helper.submit(next, batches, None)
        yield batch


def _column_bytes(group: Any, column: str, place: int) -> int:
    """How large a column of a row group is, unpacked, as far as the file says."""
    for number in range(place, group.num_columns):  # nested columns before it take several
        chunk = group.column(number)
        if chunk.path_in_schema == column:
            # A page of a dictionary is small for what it stands for.
            return max(int(chunk.total_uncompressed_size), int(group.num_rows))
    return int(group.total_byte_size)


def _ipc(source: Source, column: str, batch_bytes: int) -> Iterator[tuple[Any, int, int]]:
    pyarrow = needed("pyarrow", source.path)
    with ExitStack() as stack:
        if is_url(source.path):
            file = pyarrow.PythonFile(stack.enter_context(opened(source.path)), mode="r")
        else:
            file = stack.enter_context(pyarrow.memory_map(source.path))
        is_file = file.read(6) == b"ARROW1"
        file.seek(0)
        if is_file:
            reader = stack.enter_context(pyarrow.ipc.open_file(file))
            batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
        else:
            reader = batches = stack.enter_context(pyarrow.ipc.open_stream(file))
        _check_column(source.path, column, reader.schema)
        first = 0
        for batch in batches:
            rows = batch.column(reader.schema.get_field_index(column))
            step = max(1, len(rows) * batch_bytes // max(1, rows.nbytes))
            for at in range(0, len(rows), step):
                part = rows.slice(at, step)
                yield part, first + at, min(file.tell(), source.bytes)
            first += len(rows)


def _check_column(path: str, column: str, schema: Any) -> None:
    from pyarrow import types

    if schema.names.count(column) > 1:
        raise BrokenFileError(f"{path}: has {schema.names.count(column)} columns {column!r}")
    if schema.get_field_index(column) < 0:
        raise BrokenFileError(f"{path}: has no column {column!r}, but {schema.names}")
    kind = schema.field(column).type
    values = kind.value_type if types.is_dictionary(kind) else kind
    tests = [f"is_{large}{name}" for name in ("string", "binary") for large in ("", "large_")]
    tests += ["is_string_view", "is_binary_view"]
    if not any(getattr(types, test)(values) for test in tests if hasattr(types, test)):
        raise BrokenFileError(f"{path}: column {column!r} is {kind}, takes strings")


__all__ = ["read_column"]
