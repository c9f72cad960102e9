"""Encode files to token shards: constant memory, whole files or none, resumable."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokfrag._files import HashedFile, remove_partial_files, sole_writer, whole_file
from tokfrag._progress import progress_bar
from tokfrag.tokens.pipeline import Piped, TextPipeline
from tokfrag.tokens.shards.fingerprint import earlier_fingerprints, fingerprint, is_fingerprint
from tokfrag.tokens.shards.index import INDEX, Shard, ShardIndex, Source
from tokfrag.tokens.shards.pieces import Piece, cut_rule, read_pieces
from tokfrag.tokens.standins.huggingface_tokens import token_of_role

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]

_BATCH = 16 << 20


def encode_files(
    tokenizer: Piped,
    paths: Paths,
    out: str | os.PathLike[str],
    *,
    begin_of_text: bool | str | int | None = None,
    end_of_text: bool | str | int | None = None,
    dtype: str = "auto",
    field: str = "text",
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
        A file or several: ``.jsonl`` and ``.ndjson`` hold a document a line, in a field of a JSON
        object; any other file is one document. With ``.gz`` at the end they are unpacked.
    out : str or os.PathLike
        With ``layout="tokfrag"`` a folder for :class:`TokenShards`; with ``"bin"`` one file of bare
        ids, which plain-``.bin`` trainers read.
    begin_of_text, end_of_text : str, int or True, optional
        A token, by text or id, put before, or after, every document; True for the tokenizer's own
        ``bos`` or ``eos``.
    dtype : "auto", "uint16" or "uint32"
        Of the ids on disk; "auto": 16 bits where every id fits.
    field : str
        The field that holds the text.
    layout : "tokfrag" or "bin"
        A folder of shards, or one bare file; see ``out``.
    shard_bytes : int
        Inputs are grouped into shards of about this many bytes of input; a file is never divided.
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
        An argument is out of range; a file is malformed (names the line), changes while it is read,
        or ``out`` holds shards of other inputs or settings.

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
    sources = [Source.of(path) for path in _path_list(paths)]
    out = Path(out)
    kind = _id_type(tokenizer.text_pipeline, dtype)
    begin = _edge_id(tokenizer.text_pipeline, "begin_of_text", begin_of_text)
    end = _edge_id(tokenizer.text_pipeline, "end_of_text", end_of_text)
    if shard_bytes < 1:
        raise ValueError(f"shard_bytes: got {shard_bytes}, takes 1 or more")
    encode = _Encoder(tokenizer, begin, end, field, threads)
    total = sum(source.bytes for source in sources)
    with progress_bar(total, "encoding", "B", progress, scale=True) as advance:
        if layout == "bin":
            _write_bin(encode, sources, out, kind, advance)
        elif layout == "tokfrag":
            index = ShardIndex(
                kind.name,
                tokenizer.text_pipeline.id_count,
                fingerprint(tokenizer.text_pipeline),
                end,
                field,
                tuple(_plan(sources, shard_bytes)),
                begin,
            )
            _write_shards(encode, index, out, advance)
        else:
            raise ValueError(f"layout: got {layout!r}, takes 'tokfrag' or 'bin'")
    return out


class _Encoder:
    """Documents to arrays of ids, some megabytes of text at a time."""

    def __init__(
        self,
        tokenizer: Piped,
        begin: int | None,
        end: int | None,
        field: str,
        threads: int | None,
    ) -> None:
        self.way = tokenizer.text_pipeline
        self._begin = begin
        self._end = end
        self._field = field
        self._threads = threads
        self._rule = cut_rule(tokenizer)

    def file(
        self, path: Path, advance: Callable[[int], object]
    ) -> Iterator[tuple[NDArray[np.uint32], NDArray[np.int64]]]:
        """The ids of a file and where documents end in them, batch by batch."""
        batch: list[Piece] = []
        size = 0
        before = 0
        begins = True  # whether the batch begins with a document
        for piece in read_pieces(path, field=self._field, rule=self._rule):
            batch.append(piece)
            size += len(piece.text)
            if size >= _BATCH:
                yield self._encode(batch, begins)
                begins = batch[-1].is_last
                batch, size = [], 0
                advance(piece.position - before)
                before = piece.position
        if batch:
            yield self._encode(batch, begins)
            advance(batch[-1].position - before)

    def _encode(
        self, pieces: list[Piece], begins: bool
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        encoded = self.way.encode_batch(
            [piece.text for piece in pieces], self.way.sought(()), self._threads
        )
        last = np.array([piece.is_last for piece in pieces])
        ends = encoded.offsets[1:][last]
        if self._begin is None and self._end is None:
            return encoded.ids, ends
        first = np.concatenate([[begins], last[:-1]])
        # Piece by piece what comes before it and after it: of two at one place the earlier first.
        put = np.stack([first & (self._begin is not None), last & (self._end is not None)], 1)
        places = np.stack([encoded.offsets[:-1], encoded.offsets[1:]], 1)[put]
        tokens = np.array([self._begin or 0, self._end or 0], np.uint32)
        ids = np.insert(encoded.ids, places, np.broadcast_to(tokens, put.shape)[put])
        return ids, ends + np.cumsum(put.sum(axis=1))[last]


def _write_shards(
    encode: _Encoder, index: ShardIndex, out: Path, advance: Callable[[int], object]
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with sole_writer(out, "out"):
        remove_partial_files(out)
        if (out / INDEX).exists():
            index = _resumed(index, _renewed(ShardIndex.read(out), index, encode.way), out)
        index.write(out)
        for number, shard in enumerate(index.shards):
            if shard.done:
                advance(sum(source.bytes for source in shard.sources))
                continue
            written = _write_shard(encode, shard, out, index.dtype, advance)
            index = index.with_shard(number, written)
            index.write(out)


def _write_shard(
    encode: _Encoder, shard: Shard, out: Path, dtype: str, advance: Callable[[int], object]
) -> Shard:
    tokens = 0
    all_ends = [np.empty(0, np.int64)]
    digest = hashlib.sha256()
    with whole_file(out / f"{shard.name}.bin") as bare:
        file = HashedFile(bare, digest)
        for source in shard.sources:
            for ids, ends in encode.file(Path(source.path), advance):
                file.write(ids.astype(dtype).data)
                all_ends.append(ends + tokens)
                tokens += len(ids)
            _check_unchanged(source)
    ends = np.concatenate(all_ends)
    with whole_file(out / f"{shard.name}.ends") as bare:
        HashedFile(bare, digest).write(ends.data)
    return replace(shard, tokens=tokens, documents=len(ends), sha256=digest.hexdigest())


def _write_bin(
    encode: _Encoder,
    sources: list[Source],
    out: Path,
    kind: np.dtype[np.unsignedinteger],
    advance: Callable[[int], object],
) -> None:
    with whole_file(out) as file:
        for source in sources:
            for ids, _ in encode.file(Path(source.path), advance):
                file.write(ids.astype(kind).data)
            _check_unchanged(source)


def _check_unchanged(source: Source) -> None:
    if Source.of(Path(source.path)) != source:
        raise ValueError(f"{source.path}: has changed while it was read")


def _plan(sources: list[Source], shard_bytes: int) -> Iterator[Shard]:
    """Group the inputs, in order, into shards."""
    group: list[Source] = []
    size = number = 0
    for source in sources:
        if group and size + source.bytes > shard_bytes:
            yield Shard(f"{number:05d}", tuple(group))
            group, size, number = [], 0, number + 1
        group.append(source)
        size += source.bytes
    if group:
        yield Shard(f"{number:05d}", tuple(group))


def _renewed(before: ShardIndex, index: ShardIndex, way: TextPipeline) -> ShardIndex:
    """An index whose tokenizer an earlier release has hashed, with the hash of today."""
    earlier = not is_fingerprint(before.tokenizer)
    if earlier and before.tokenizer in earlier_fingerprints(way):
        return replace(before, tokenizer=index.tokenizer)
    return before


def _resumed(index: ShardIndex, before: ShardIndex, out: Path) -> ShardIndex:
    """The index with the shards that are there already, if they are of the same making."""
    for setting in ("tokenizer", "dtype", "begin_of_text", "end_of_text", "field"):
        new, old = getattr(index, setting), getattr(before, setting)
        if new != old:
            raise ValueError(f"out: {out} holds shards with {setting} {old!r}, not {new!r}")
    for new, old in zip(index.shards, before.shards, strict=False):
        if [source.path for source in new.sources] != [source.path for source in old.sources]:
            raise ValueError(
                f"out: {out} holds a shard {old.name} of {[s.path for s in old.sources]}, not of"
                f" {[s.path for s in new.sources]}"
            )
    if len(index.shards) < len(before.shards):
        raise ValueError(
            f"out: {out} holds {len(before.shards)} shards, more than these inputs give"
        )
    for number, old in enumerate(before.shards):
        if old.done and old.sources == index.shards[number].sources and _there(old, out, index):
            index = index.with_shard(number, old)
    return index


def _there(shard: Shard, out: Path, index: ShardIndex) -> bool:
    ids, ends = out / f"{shard.name}.bin", out / f"{shard.name}.ends"
    if not (ids.exists() and ends.exists()):
        return False
    size = np.dtype(index.dtype).itemsize * shard.tokens
    return ids.stat().st_size == size and ends.stat().st_size == 8 * shard.documents


def _path_list(paths: Paths) -> list[Path]:
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    listed = [Path(path) for path in paths]
    if not listed:
        raise ValueError("paths: got none, takes a path or several")
    for path in listed:
        if path.is_dir():
            raise ValueError(f"paths: {path} is a folder, takes files")
    return listed


def _id_type(way: TextPipeline, dtype: str) -> np.dtype[np.unsignedinteger]:
    fits = way.id_count <= 1 << 16
    if dtype not in ("auto", "uint16", "uint32"):
        raise ValueError(f"dtype: got {dtype!r}, takes 'auto', 'uint16' or 'uint32'")
    if dtype == "uint16" and not fits:
        raise ValueError(f"dtype: 'uint16' has no room for {way.id_count} ids")
    return np.dtype(np.uint16 if dtype == "uint16" or (dtype == "auto" and fits) else np.uint32)


def _edge_id(way: TextPipeline, argument: str, token: bool | str | int | None) -> int | None:
    """The id of what is put before every document, or after it."""
    if token is None or token is False:
        return None
    if token is True:
        role = "bos" if argument == "begin_of_text" else "eos"
        token = token_of_role(way, role)
        if token is None:
            raise ValueError(f"{argument}: the tokenizer names no {role} token")
    if isinstance(token, str):
        found = way.id_of(token)
        if found is None:
            raise ValueError(f"{argument}: {token!r} is no token")
        return found
    if way.model.token_bytes(token) is None:
        raise ValueError(f"{argument}: {token!r} is the id of no token")
    return int(token)


__all__ = ["encode_files"]
