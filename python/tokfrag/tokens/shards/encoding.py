"""Documents to arrays of ids, some megabytes of text at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokfrag.tokens.pipeline import Piped, TextPipeline
from tokfrag.tokens.shards.cuts import cut_rule
from tokfrag.tokens.shards.pieces import MOST_BATCH_BYTES, Reading, read_blocks
from tokfrag.tokens.shards.skips import Skips
from tokfrag.tokens.shards.sources import Source, kind_of
from tokfrag.tokens.standins.huggingface_tokens import token_of_role

_THREAD_BYTES = 1 << 20


@dataclass(frozen=True)
class Edges:
    """What is put before every document, and after it: ids, or None."""

    begin: int | None
    end: int | None

    @classmethod
    def of(
        cls, way: TextPipeline, begin: bool | str | int | None, end: bool | str | int | None
    ) -> Edges:
        """The ids of what the caller names; ValueError if there is no such token."""
        return cls(_edge_id(way, "begin_of_text", begin), _edge_id(way, "end_of_text", end))


class Framing:
    """Texts to ids, with what is put before every document and after it.

    Parameters
    ----------
    way
        What encodes; special tokens in the text are plain text to it.
    edges, threads
        As in ``encode_files``.
    """

    def __init__(self, way: TextPipeline, edges: Edges, threads: int | None) -> None:
        self.way = way
        self._edges = edges
        self._threads = threads

    def encode(
        self, texts: Sequence[str | bytes], last: NDArray[np.bool_], *, begins: bool = True
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """The ids of texts, end to end, and where documents end in them.

        ``last``: which texts end a document; ``begins``: whether the first begins one.
        """
        encoded = self.way.encode_batch(texts, self.way.sought(()), self._threads)
        ends = encoded.offsets[1:][last]
        begin, end = self._edges.begin, self._edges.end
        if (begin is None and end is None) or len(last) == 0:
            return encoded.ids, ends
        first = np.concatenate([[begins], last[:-1]])
        # Piece by piece what comes before it and after it: of two at one place the earlier first.
        put = np.stack([first & (begin is not None), last & (end is not None)], 1)
        places = np.stack([encoded.offsets[:-1], encoded.offsets[1:]], 1)[put]
        tokens = np.array([begin or 0, end or 0], np.uint32)
        ids = np.insert(encoded.ids, places, np.broadcast_to(tokens, put.shape)[put])
        return ids, ends + np.cumsum(put.sum(axis=1))[last]


class Encoder:
    """Files to batches of ids.

    Parameters
    ----------
    tokenizer
        Special tokens in the text are plain text to it.
    edges, field, column, threads
        As in ``encode_files``.
    """

    def __init__(
        self, tokenizer: Piped, edges: Edges, field: str, column: str, threads: int | None
    ) -> None:
        self.way = tokenizer.text_pipeline
        # What one thread takes at a time stays in its cache on the way to the disk.
        batch = MOST_BATCH_BYTES if threads is None else _THREAD_BYTES * threads
        self.reading = Reading(field, column, cut_rule(tokenizer), min(batch, MOST_BATCH_BYTES))
        self._framing = Framing(self.way, edges, threads)

    def file(
        self, source: Source, skips: Skips, advance: Callable[[int], object]
    ) -> Iterator[tuple[NDArray[np.uint32], NDArray[np.int64]]]:
        """The ids of a file and where documents end in them, batch by batch."""
        before = 0
        # Whether the batch begins with a document: only a text is divided within one.
        begins = source.begin == 0 or kind_of(source.path).form != "text"
        for block in read_blocks(source, self.reading, skips):
            yield self._framing.encode(block.texts, block.last, begins=begins)
            begins = bool(block.last[-1]) if len(block.last) else begins
            advance(block.position - before)
            before = block.position
        advance(source.size - before)


def id_type(way: TextPipeline, dtype: str) -> np.dtype[np.unsignedinteger]:
    """How ids are stored; ValueError if they do not fit."""
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


__all__ = ["Edges", "Encoder", "Framing", "id_type"]
