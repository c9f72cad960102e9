"""The rows of a call: texts as ids, cut to windows, with the template around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.tokens.offsets import encode_batch_with_offsets
from tokfrag.tokens.pipeline import Sought, TextPipeline
from tokfrag.tokens.spans import trim_spans
from tokfrag.tokens.words import word_indices

Array = NDArray[Any]
Items = tuple[tuple[int | str, int], ...]

_NAMES = ("A", "B")


class TextColumn:
    """The first texts of all samples, or the second: their ids, and what else is asked for.

    Parameters
    ----------
    way
        What encodes.
    texts
        The text of each sample; where samples are words, the words of all of them.
    bounds : (samples + 1,) array, int64, or None
        Where the words of each sample begin among the texts; None: a sample is one text.
    threads
        As in a call.
    with_spans
        Whether spans will be asked for.
    """

    def __init__(
        self,
        way: TextPipeline,
        texts: list[str],
        bounds: NDArray[np.int64] | None,
        *,
        threads: int | None,
        with_spans: bool,
    ) -> None:
        self.way = way
        self.texts = texts
        self.bounds = bounds
        self._sought = call_sought(way)
        if with_spans:
            batch, self.spans = encode_batch_with_offsets(
                way, [*texts], self._sought, "char", threads
            )
        else:
            batch = way.encode_batch([*texts], self._sought, threads)
        self.ids, self.text_offsets = batch.ids, batch.offsets
        self.offsets = self.text_offsets if bounds is None else self.text_offsets[bounds]

    @cached_property
    def spans(self) -> NDArray[np.int64]:
        """The characters of its text that each token stands for: (tokens, 2)."""
        return encode_batch_with_offsets(self.way, [*self.texts], self._sought, "char")[1]

    @cached_property
    def text_of_token(self) -> NDArray[np.int64]:
        """Which of the texts each token is of."""
        return np.repeat(np.arange(len(self.texts)), np.diff(self.text_offsets))

    @cached_property
    def words(self) -> NDArray[np.int64]:
        """The number of the word that each token is in, among those of its sample."""
        if self.bounds is not None:
            first = np.repeat(self.bounds[:-1], np.diff(self.bounds))
            return self.text_of_token - first[self.text_of_token]
        parts = [word_indices(self.way, text, self._sought) for text in self.texts]
        return np.concatenate([np.empty(0, np.int64), *parts])


def call_sought(way: TextPipeline) -> Sought:
    """The added tokens that a call finds in its texts."""
    return way.sought("all" if way.values.call.special_in_text else ())


@dataclass(frozen=True)
class Rows:
    """What the rows of a call are made of.

    Attributes
    ----------
    way
        What encodes.
    items
        The template: ``(id, "A" or "B"; type)``.
    columns
        The first texts, and the second if there are any.
    samples : (rows,) array, int64
        Which sample each row is of.
    begins, lengths : (columns, rows) arrays, int64
        The window of each column's ids that each row has.
    """

    way: TextPipeline
    items: Items
    columns: tuple[TextColumn, ...]
    samples: NDArray[np.int64]
    begins: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """How many ids each row has."""
        fixed = sum(isinstance(item, int) for item, _ in self.items)
        used = [_NAMES.index(item) for item, _ in self.items if isinstance(item, str)]
        counts: NDArray[np.int64] = fixed + sum(
            (self.lengths[column] for column in used), np.zeros(len(self.samples), np.int64)
        )
        return counts

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Where rows begin, end to end."""
        return np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)

    @cached_property
    def _sources(self) -> list[Any]:
        """The places in each column that the rows take, one after the other."""
        sources: list[Any] = []
        for column, begins, lengths in zip(self.columns, self.begins, self.lengths, strict=True):
            ends = np.cumsum(lengths)
            if np.array_equal(begins, column.offsets[:-1]) and ends[-1:].sum() == len(column.ids):
                sources.append(slice(None))
            else:
                sources.append(
                    np.arange(ends[-1:].sum()) + np.repeat(begins - ends + lengths, lengths)
                )
        return sources

    def _taken(self, values: Sequence[Array]) -> list[Array]:
        """Of values of all the columns' tokens those that the rows have."""
        return [part[source] for part, source in zip(values, self._sources, strict=True)]

    def _laid(self, columns: Sequence[Array | int], fixed: Sequence[Any], dtype: Any) -> Array:
        """Values of the rows' tokens as they lie in the rows; of a column, or one for all of it.

        ``fixed`` has a value for each item of the template; those of its texts do not count.
        """
        first = columns[0]
        if len(self.items) == 1 and isinstance(first, np.ndarray):
            return first.astype(dtype, copy=False)
        shape = first.shape[1:] if isinstance(first, np.ndarray) else ()
        laid = np.empty((self.offsets[-1], *shape), dtype)
        cursor = self.offsets[:-1].copy()
        for (item, _), value in zip(self.items, fixed, strict=True):
            if isinstance(item, int):
                laid[cursor] = value
                cursor += 1
                continue
            lengths = self.lengths[_NAMES.index(item)]
            ends = np.cumsum(lengths)
            target = np.arange(ends[-1:].sum()) + np.repeat(cursor - ends + lengths, lengths)
            laid[target] = columns[_NAMES.index(item)]
            cursor += lengths
        return laid

    @cached_property
    def ids(self) -> NDArray[np.uint32]:
        """The ids of all rows."""
        return self._laid(
            self._taken([column.ids for column in self.columns]),
            [item if isinstance(item, int) else 0 for item, _ in self.items],
            np.uint32,
        )

    @cached_property
    def types(self) -> NDArray[np.int64]:
        """The type of each token: what its text, or its item of the template, has."""
        kinds = {item: kind for item, kind in self.items if isinstance(item, str)}
        of_columns = [kinds.get(name, 0) for name in _NAMES[: len(self.columns)]]
        return self._laid(of_columns, [kind for _, kind in self.items], np.int64)

    @cached_property
    def sequences(self) -> NDArray[np.int64]:
        """0 for tokens of first texts, 1 for those of second ones, -1 for the template's."""
        return self._laid(range(len(self.columns)), self._none, np.int64)

    @cached_property
    def words(self) -> NDArray[np.int64]:
        """The word of each token in its text, -1 for the template's."""
        return self._laid(
            self._taken([column.words for column in self.columns]), self._none, np.int64
        )

    @cached_property
    def spans(self) -> NDArray[np.int64]:
        """The characters that each token stands for, (0, 0) for the template's: (tokens, 2)."""
        spans = self._taken([column.spans for column in self.columns])
        if self.way.values.trim_offsets:
            for number, part in enumerate(spans):
                spans[number] = self._trimmed(number, part)
        return self._laid(spans, [0] * len(self.items), np.int64)

    @property
    def ones(self) -> NDArray[np.int64]:
        """1 for every token."""
        return np.ones(self.offsets[-1], np.int64)

    @property
    def fixed(self) -> NDArray[np.int64]:
        """1 for the template's tokens, 0 for those of texts."""
        return (self.sequences < 0).astype(np.int64)

    @property
    def _none(self) -> list[int]:
        return [-1] * len(self.items)

    def _trimmed(self, number: int, spans: Array) -> NDArray[np.int64]:
        """The spans of a column without the blanks at their ends; that depends on the windows."""
        column, source = self.columns[number], self._sources[number]
        spans = spans.copy()
        ids = column.ids[source]
        texts = column.text_of_token[source]
        rows = np.repeat(np.arange(len(self.samples)), self.lengths[number])
        new = np.flatnonzero((np.diff(texts) != 0) | (np.diff(rows) != 0)) + 1
        offsets = np.concatenate([[0], new, [len(ids)]]) if len(ids) else np.zeros(1, np.int64)
        trim_spans(
            self.way.model,
            [column.texts[index] for index in texts[offsets[:-1]].tolist()],
            ids,
            spans,
            offsets,
            self.way.values,
        )
        return spans


__all__ = ["Items", "Rows", "TextColumn", "call_sought"]
