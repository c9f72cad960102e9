"""Encode files to token shards: constant memory, whole files or none, resumable."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

from tokfrag._files import remove_partial_files, sole_writer
from tokfrag._progress import progress_bar
from tokfrag.tokens.pipeline import Piped
from tokfrag.tokens.shards.encoding import Edges, Encoder, id_type
from tokfrag.tokens.shards.fingerprint import fingerprint
from tokfrag.tokens.shards.index import INDEX, ShardIndex
from tokfrag.tokens.shards.layouts import LAYOUTS, layout_writer
from tokfrag.tokens.shards.plan import resumed, shards_of
from tokfrag.tokens.shards.shard_writer import encode_source, write_shard
from tokfrag.tokens.shards.skips import Skips
from tokfrag.tokens.shards.sources import Paths, check_local, source_list


def encode_files(
    tokenizer: Piped,
    paths: Paths,
    out: str | os.PathLike[str],
    *,
    begin_of_text: bool | str | int | None = None,
    end_of_text: bool | str | int | None = None,
    dtype: str = "auto",
    field: str = "text",
    column: str = "text",
    on_error: str = "raise",
    layout: str = "tokfrag",
    shard_bytes: int = 1 << 30,
    threads: int | None = None,
    progress: bool = False,
) -> Path:
    """Encode text files to token ids on disk.

    Parameters
    ----------
    tokenizer : Tokenizer
        Special tokens in the text are plain text to it.
    paths : path or iterable of paths
        A file or several, local or by a URL that fsspec opens (``s3://``, ``hf://``):
        ``.parquet``, ``.arrow`` and ``.feather`` hold a document a row, in a column of strings;
        ``.jsonl`` and ``.ndjson`` a document a line, in a field of a JSON object; any other file
        is one document. The last two also packed: ``.gz``, ``.bz2``, ``.xz``, ``.zst``. Archives
        and other files that are no text are refused.
    out : str or os.PathLike
        With ``layout="tokfrag"`` a folder for :class:`TokenShards`; with ``"bin"`` one file of bare
        ids, which plain-``.bin`` trainers read; with ``"megatron"`` what stands before ``.bin`` and
        ``.idx``; else a folder.
    begin_of_text, end_of_text : str, int or True, optional
        A token, by text or id, put before, or after, every document; True for the tokenizer's own
        ``bos`` or ``eos``.
    dtype : "auto", "uint16" or "uint32"
        Of the ids on disk; "auto": 16 bits where every id fits.
    field : str
        The field of JSON lines that holds the text.
    column : str
        The column of Parquet and Arrow files that holds it.
    on_error : "raise" or "skip"
        What happens to a bad line, a null row, a file that is cut short: an error that names it, or
        it is left out, whole, with a warning; ``TokenShards.skipped`` then tells what and where.
        Of a file that is divided, the part that is damaged.
        With the layouts of others a file that is cut short is always an error.
    layout : "tokfrag", "bin", "megatron", "mds" or "litdata"
        A folder of shards, one bare file, Megatron's pair of files, or the folders that MosaicML's
        ``streaming`` and ``litdata`` read; see ``out``.
    shard_bytes : int
        Inputs are grouped into shards of about this many bytes of input. A file that is larger, and
        of 1 MiB at least, is divided: JSON lines between lines, Parquet between row groups, text
        where a cut changes no id; what is packed is not.
    threads : int, optional
        By default as many as there are processors.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Path
        ``out``.

    Raises
    ------
    ValueError
        An argument is out of range; a file is malformed (names the place), changes while it is
        read, or ``out`` holds shards of other inputs or settings.
    ModuleNotFoundError
        A file asks for pyarrow, zstandard or fsspec, and it is not installed.

    Notes
    -----
    Each document gets the ids it has as a whole, though memory stays constant: long documents are
    cut where every pattern begins a new piece. A document without such a place is held in memory,
    and so is any that is encoded by an expression of one's own. Files take their names only when
    complete; after an interruption the same call goes on with the first shard that is not there.
    One call may write to a folder at a time; a second raises ``BlockingIOError``.

    Examples
    --------
    >>> import tempfile
    >>> from tokfrag import Tokenizer, TokenShards
    >>> tok = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2")
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.txt").write_text("ab")
    >>> shards = TokenShards(encode_files(tok, folder / "a.txt", folder / "ids", end_of_text=0))
    >>> shards[:].tolist()
    [97, 98, 0]
    """
    check_local(out)
    sources = source_list(paths)
    out = Path(out)
    way = tokenizer.text_pipeline
    kind = id_type(way, dtype)
    edges = Edges.of(way, begin_of_text, end_of_text)
    skips = Skips(on_error)
    if shard_bytes < 1:
        raise ValueError(f"shard_bytes: got {shard_bytes}, takes 1 or more")
    if layout not in LAYOUTS:
        raise ValueError(f"layout: got {layout!r}, takes {', '.join(map(repr, LAYOUTS))}")
    encode = Encoder(tokenizer, edges, field, column, threads)
    total = sum(source.bytes for source in sources)
    with progress_bar(total, "encoding", "B", progress, scale=True) as advance:
        if layout == "tokfrag":
            index = ShardIndex(
                kind.name,
                way.id_count,
                fingerprint(way),
                edges.end,
                field,
                shards_of(sources, shard_bytes, text=encode.reading.rule is not None),
                edges.begin,
                column,
            )
            _write_shards(encode, index, out, on_error, shard_bytes, advance)
        else:
            with layout_writer(layout, out, kind) as writer:
                marks = writer if layout == "bin" else None
                for source in sources:
                    encode_source(encode, source, writer.write, skips, advance, marks)
            warn_of_skips(skips.count, skips.places)
    return out


def _write_shards(
    encode: Encoder,
    index: ShardIndex,
    out: Path,
    on_error: str,
    shard_bytes: int,
    advance: Callable[[int], object],
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with sole_writer(out, "out"):
        remove_partial_files(out)
        if (out / INDEX).exists():
            index = resumed(index, ShardIndex.read(out), out, encode.way, shard_bytes)
        index.write(out)
        for number, shard in enumerate(index.shards):
            if shard.done:
                advance(sum(source.size for source in shard.sources))
                continue
            written = write_shard(encode, shard, out, index.dtype, Skips(on_error), advance)
            index = index.with_shard(number, written)
            index.write(out)
    warn_of_skips(
        sum(shard.skipped for shard in index.shards),
        [place for shard in index.shards for place in shard.places],
    )


def warn_of_skips(count: int, places: list[str]) -> None:
    """Say how much was left out, and where the first of it stood."""
    if count:
        warnings.warn(
            f"{count} documents or files were skipped; the first: {places[0]}", stacklevel=4
        )


__all__ = ["encode_files", "warn_of_skips"]
