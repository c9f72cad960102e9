"""What a call gives, and where in the texts its tokens are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tokfrag.tokens.call_rows import Rows


class Span(NamedTuple):
    """A stretch of a text, or of a row's tokens."""

    start: int
    end: int


class Layout(NamedTuple):
    """The rows of a call and how they are padded."""

    rows: Rows
    columns: int | None
    side: str
    pad_id: int


class BatchEncoding(dict[str, Any]):
    """What a call gives: ``input_ids``, ``attention_mask`` and what else was asked for.

    Lists of lists (of one text: a list), arrays or tensors; also as attributes. The methods tell
    where the tokens of a row come from, as those of ``transformers`` do; they are not pickled.
    """

    _layout: Layout | Callable[[], Layout] | None

    def __init__(self, *args: Any, layout: Layout | Callable[[], Layout] | None = None) -> None:
        super().__init__(*args)
        self.__dict__["_layout"] = layout

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __reduce__(self) -> tuple[Any, ...]:
        return BatchEncoding, (dict(self),)

    def to(self, device: Any) -> BatchEncoding:
        """The same with every tensor on a device."""
        return BatchEncoding(
            {
                key: value.to(device) if hasattr(value, "to") else value
                for key, value in self.items()
            },
            layout=self._layout,
        )

    # Where tokens come from. An index alone is of the first row.

    def tokens(self, batch_index: int = 0) -> list[str]:
        """The tokens of a row."""
        layout = self._known()
        way = layout.rows.way
        ids = self._row(layout.rows.ids, batch_index, layout.pad_id)
        return [way.model.spelling(id) or "" for id in ids]

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """0 for tokens of the first text, 1 for those of the second, None for all others."""
        found = self._row(self._known().rows.sequences, batch_index, -1)
        return [None if sequence < 0 else sequence for sequence in found]

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """The word of its text that each token of a row is in, None for the template's."""
        found = self._row(self._known().rows.words, batch_index, -1)
        return [None if word < 0 else word for word in found]

    def token_to_sequence(
        self, batch_or_token_index: int, token_index: int | None = None
    ) -> int | None:
        """Which text a token is of."""
        row, token = _row_and(batch_or_token_index, token_index)
        return self.sequence_ids(row)[token]

    def token_to_word(
        self, batch_or_token_index: int, token_index: int | None = None
    ) -> int | None:
        """The word that a token is in."""
        row, token = _row_and(batch_or_token_index, token_index)
        return self.word_ids(row)[token]

    def token_to_chars(
        self, batch_or_token_index: int, token_index: int | None = None
    ) -> Span | None:
        """The characters that a token stands for; None for the template's."""
        row, token = _row_and(batch_or_token_index, token_index)
        if self.sequence_ids(row)[token] is None:
            return None
        return Span(*self.spans(row)[token])

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The first token that a character of a text is in; None if there is none."""
        row, place = _row_and(batch_or_char_index, char_index)
        pairs = enumerate(zip(self.sequence_ids(row), self.spans(row), strict=True))
        return next(
            (
                token
                for token, (sequence, (begin, end)) in pairs
                if sequence == sequence_index and begin <= place < end
            ),
            None,
        )

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> Span | None:
        """The tokens of a word; None if it has none."""
        row, word = _row_and(batch_or_word_index, word_index)
        pairs = enumerate(zip(self.sequence_ids(row), self.word_ids(row), strict=True))
        found = [token for token, pair in pairs if pair == (sequence_index, word)]
        return Span(found[0], found[-1] + 1) if found else None

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> Span | None:
        """The characters of a word's tokens; None if it has none."""
        row, word = _row_and(batch_or_word_index, word_index)
        tokens = self.word_to_tokens(row, word, sequence_index)
        if tokens is None:
            return None
        spans = self.spans(row)
        return Span(spans[tokens.start][0], spans[tokens.end - 1][1])

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The word that a character is in; None if there is none."""
        row, place = _row_and(batch_or_char_index, char_index)
        token = self.char_to_token(row, place, sequence_index)
        return None if token is None else self.word_ids(row)[token]

    def _known(self) -> Layout:
        if self._layout is None:
            raise ValueError(
                "encoding: it does not know its texts: it was padded, pickled, or made by hand"
            )
        if not isinstance(self._layout, Layout):  # found out when it is asked for
            self.__dict__["_layout"] = self._layout()
        layout: Layout = self.__dict__["_layout"]
        return layout

    def spans(self, index: int = 0) -> list[Any]:
        """The characters that each token of a row stands for, (0, 0) for what was put in."""
        return self._row(self._known().rows.spans, index, 0)

    def _row(self, values: Any, index: int, filler: int) -> list[Any]:
        """A row of values that lie end to end, padded as the ids are."""
        layout = self._known()
        offsets = layout.rows.offsets
        row = range(len(offsets) - 1)[index]
        found = values[offsets[row] : offsets[row + 1]]
        missing = max(0, (layout.columns or 0) - len(found))
        padding = np.full((missing, *found.shape[1:]), filler, found.dtype)
        parts = [found, padding] if layout.side == "right" else [padding, found]
        listed: list[Any] = np.concatenate(parts).tolist()
        return listed


def _row_and(first: int, second: int | None) -> tuple[int, int]:
    """The row and the place in it that one index or two mean."""
    return (0, first) if second is None else (first, second)


__all__ = ["BatchEncoding", "Layout", "Span"]
