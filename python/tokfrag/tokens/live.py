"""A text that changes, and its ids: every edit encodes again only what it touches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tokfrag._core.live import PartIndex, common_ids
from tokfrag._locks import fork_safe_lock
from tokfrag.tokens.arguments import check_count
from tokfrag.tokens.contracts import Ids, Offsets
from tokfrag.tokens.edit import ID_BYTES, Edit, common_beginning, common_ending
from tokfrag.tokens.live_parts import LiveParts
from tokfrag.tokens.pipeline import Names, Sought, TextPipeline
from tokfrag.tokens.safe_cuts import MARGIN

# What an edit leaves shorter than this goes together with its neighbour.
_SHORTEST = 48


class Truncating(Protocol):
    """A tokenizer, for what stands below it."""

    @property
    def text_pipeline(self) -> TextPipeline:
        """The whole way from text to ids."""

    def truncate(self, text: str, max_tokens: int, *, allowed_special: Names = ()) -> Any:
        """The longest beginning of a text found to have so few tokens."""


class LiveTokens:
    """A text that changes, and its ids: always exactly those of a full encode.

    The text is held in parts of some hundred characters that end at safe cuts, places where every
    text falls apart whatever surrounds them. An edit encodes the parts it touches, and those whose
    cut it comes within two characters of; the others stand by proof (docs/live.md). Where there is
    no cut for long (a million digits, blanks or letters in one run) the run is one part; without a
    pattern, with an expression of one's own, or with a model that names no cuts (Unigram that does
    not cut words), the whole text is.

    Positions count characters. Threads may read and edit one object; edits take turns. An edit
    that raises has changed nothing (one that Ctrl-C ends: all or nothing). Pickles hold the text,
    and encode it where they are read.

    Made by :meth:`tokfrag.Tokenizer.live`.
    """

    __slots__ = (
        "_ids",
        "_index",
        "_joined",
        "_lock",
        "_make",
        "_parts",
        "_tokenizer",
    )

    def __init__(
        self, tokenizer: Truncating, text: str, allowed_special: Names, disallowed_special: Names
    ) -> None:
        self._tokenizer = tokenizer
        self._make = LiveParts(tokenizer.text_pipeline, allowed_special, disallowed_special)
        self._lock = fork_safe_lock()
        self._joined: Ids | None = None
        _check_text(text)
        self._parts = self._make.cut(text)
        self._ids = self._make.encode(self._parts, True)
        self._index = PartIndex(*_sizes(self._parts, self._ids))

    # What it holds.

    @property
    def text(self) -> str:
        """The text."""
        with self._lock:
            return "".join(self._parts)

    @property
    def ids(self) -> Ids:
        """The ids of the text: (tokens,), uint32, read-only; joined at the first look."""
        with self._lock:
            if self._joined is None:
                self._joined = np.frombuffer(b"".join(self._ids), np.uint32)
            return self._joined

    def __len__(self) -> int:
        """How many tokens the text has."""
        with self._lock:
            return self._index.tokens

    def __iter__(self) -> Iterator[int]:
        return iter(self.ids.tolist())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        ids = self.ids
        if dtype is not None and np.dtype(dtype) != ids.dtype:
            if copy is False:
                raise ValueError(f"copy: got False, takes True for ids as {np.dtype(dtype)}")
            return ids.astype(dtype)
        return ids.copy() if copy else ids

    def __repr__(self) -> str:
        with self._lock:
            return f"LiveTokens(characters={self._index.characters}, tokens={len(self)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return LiveTokens, (
            self._tokenizer,
            self.text,
            self._make.allowed,
            self._make.disallowed,
        )

    def fork(self) -> LiveTokens:
        """Another one that begins from here; both go their own ways.

        Text and ids are shared; only the list of parts is copied, an entry for some two hundred
        characters.

        Examples
        --------
        >>> from tokfrag import Tokenizer
        >>> live = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2").live("ab")
        >>> other = live.fork()
        >>> _ = other.append("c")
        >>> live.text, other.text
        ('ab', 'abc')
        """
        other = LiveTokens.__new__(LiveTokens)
        with self._lock:
            other._tokenizer, other._make = self._tokenizer, self._make
            other._lock = fork_safe_lock()
            other._joined = self._joined
            other._parts, other._ids = self._parts.copy(), self._ids.copy()
            other._index = self._index.copy()
        return other

    # Edits.

    def append(self, text: str) -> Edit:
        """Put text at the end.

        Parameters
        ----------
        text : str

        Returns
        -------
        Edit

        Raises
        ------
        ValueError
            As in :meth:`replace`.

        Examples
        --------
        >>> from tokfrag import Tokenizer
        >>> tok = Tokenizer([bytes([b]) for b in range(256)] + [b"ab"], pattern="gpt2")
        >>> live = tok.live("xa")
        >>> first, removed, ids = live.append("b")
        >>> first, removed, ids.tolist()
        (1, 1, [256])
        """
        with self._lock:
            size = self._index.characters
            return self._replace(size, size, text)

    def truncate(self, length: int) -> Edit:
        """Keep the first ``length`` characters.

        Parameters
        ----------
        length : int
            0 to as many as there are.

        Returns
        -------
        Edit

        Raises
        ------
        ValueError
            The text has fewer.

        Examples
        --------
        >>> from tokfrag import Tokenizer
        >>> live = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2").live("abc")
        >>> live.truncate(1).removed, live.text
        (2, 'a')
        """
        with self._lock:
            size = self._index.characters
            return self._replace(check_count("length", length, 0, size), size, "")

    def replace(self, start: int, stop: int, text: str) -> Edit:
        """Put text in the place of the characters from ``start`` to ``stop``.

        Parameters
        ----------
        start, stop : int
            Of the characters that go, 0 to the text's length; equal: text is put in between.
        text : str
            What comes, or nothing.

        Returns
        -------
        Edit
            What this did to the ids.

        Raises
        ------
        ValueError
            There are no such characters; the text holds half of a surrogate pair; with it, the
            whole would hold a special token that is disallowed. Nothing has changed then.

        Examples
        --------
        >>> from tokfrag import Tokenizer
        >>> live = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2").live("a cat sat")
        >>> edit = live.replace(2, 5, "dog")
        >>> live.text, edit.first, edit.removed, bytes(edit.ids.tolist())
        ('a dog sat', 2, 3, b'dog')
        """
        with self._lock:
            size = self._index.characters
            stop = check_count("stop", stop, 0, size)
            return self._replace(check_count("start", start, 0, stop), stop, text)

    def rewrite(self, text: str) -> Edit:
        """Make this the text; only what differs from what was there is encoded.

        Parameters
        ----------
        text : str
            The whole; what it begins and ends with in common with the old one stays.

        Returns
        -------
        Edit

        Raises
        ------
        ValueError
            As in :meth:`replace`.

        Examples
        --------
        >>> from tokfrag import Tokenizer
        >>> live = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2").live("a cat sat")
        >>> edit = live.rewrite("a cow sat")
        >>> edit.first, edit.removed, live.text
        (3, 2, 'a cow sat')
        """
        _check_text(text)
        with self._lock:
            old = self.text
            begin = common_beginning(old, text)
            end = common_ending(old[begin:], text[begin:])
            return self._replace(begin, len(old) - end, text[begin : len(text) - end])

    def _replace(self, start: int, stop: int, text: str) -> Edit:
        _check_text(text)
        count = len(self._parts)
        # Cuts left and right of it whose characters it leaves as they are; or the text's ends.
        left, right, begin, end, first = self._index.around(start, stop, MARGIN)
        length = end - begin - (stop - start) + len(text)
        if length < _SHORTEST and right < count:
            right += 1
        elif length < _SHORTEST and left > 0:
            left -= 1
            begin, first = self._index.boundary(left)
        if right == left + 1:
            old, before = self._parts[left], self._ids[left]
        else:
            old, before = "".join(self._parts[left:right]), b"".join(self._ids[left:right])
        parts = self._make.cut(old[: start - begin] + text + old[stop - begin :])
        new_ids = self._make.encode(parts, left == 0)

        after = new_ids[0] if len(new_ids) == 1 else b"".join(new_ids)
        same, same_at_end = common_ids(before, after)
        edit = Edit(
            first + same,
            len(before) // ID_BYTES - same - same_at_end,
            np.frombuffer(after, np.uint32)[same : len(after) // ID_BYTES - same_at_end],
        )
        lengths, counts = _sizes(parts, new_ids)
        # Ctrl-C comes between calls: the only one stands last, so that all has changed or nothing.
        change = self._index.replace
        self._joined = None
        self._parts[left:right] = parts
        self._ids[left:right] = new_ids
        change(left, right, lengths, counts)
        return edit

    # What they are ids of.

    def encodes_as(self, way: TextPipeline, sought: Sought) -> bool:
        """Whether a pipeline is its own, and looks for the same added tokens."""
        return self._tokenizer.text_pipeline is way and self._make.sought == sought

    # Where tokens are.

    def token_at(self, position: int) -> int:
        """The first token that holds a character.

        Parameters
        ----------
        position : int
            Of the character; the text's length stands for the number of tokens.

        Returns
        -------
        int

        Raises
        ------
        ValueError
            There is no such character, or none has offsets, as Unicode normalisation changes it.

        Examples
        --------
        >>> from tokfrag import Tokenizer
        >>> tok = Tokenizer([bytes([b]) for b in range(256)] + [b"ab"], pattern="gpt2")
        >>> tok.live("abc").token_at(2)
        1
        """
        with self._lock:
            size = self._index.characters
            position = check_count("position", position, 0, size)
            if position == size:
                return len(self)
            part = self._index.last_at_character(position)
            ends = self._offsets_of(part)[:, 1]
            return self._index.boundary(part)[1] + int(np.count_nonzero(ends <= position))

    def offsets(self, first: int = 0, stop: int | None = None) -> Offsets:
        """Where tokens lie in the text; only the parts that hold them are looked at.

        Parameters
        ----------
        first, stop : int
            Of the tokens; by default all.

        Returns
        -------
        array (tokens, 2), int64
            Begin and end of each, in characters, as `Tokenizer.encode_with_offsets` has them.

        Raises
        ------
        ValueError
            There are no such tokens, or Unicode normalisation changes their text.

        Examples
        --------
        >>> from tokfrag import Tokenizer
        >>> tok = Tokenizer([bytes([b]) for b in range(256)] + [b"ab"], pattern="gpt2")
        >>> tok.live("abc").offsets().tolist()
        [[0, 2], [2, 3]]
        """
        with self._lock:
            stop = len(self) if stop is None else check_count("stop", stop, 0, len(self))
            first = check_count("first", first, 0, stop)
            if first == stop:
                return np.empty((0, 2), np.int64)
            begin = self._index.last_at_token(first)
            end = self._index.last_at_token(stop - 1) + 1
            spans = np.concatenate([self._offsets_of(part) for part in range(begin, end)])
            shift = self._index.boundary(begin)[1]
            return spans[first - shift : stop - shift]

    def fit(self, max_tokens: int) -> int:
        """How many characters the longest beginning found to have at most ``max_tokens`` has.

        Parameters
        ----------
        max_tokens : int
            0 or more.

        Returns
        -------
        int
            Of `Tokenizer.truncate`'s kind: the beginning ends with a token and a character.

        Raises
        ------
        ValueError
            ``max_tokens`` is below 0.

        Examples
        --------
        >>> from tokfrag import Tokenizer
        >>> live = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2").live("abcdef")
        >>> live.fit(4)
        4
        """
        with self._lock:
            max_tokens = check_count("max_tokens", max_tokens, 0, 2**62)
            if max_tokens >= len(self):
                return self._index.characters
            end = self._index.last_at_token(max_tokens) + 1
            # What follows a cut may be no text by itself: then all that is before it is looked at.
            part = 0 if self._make.has_rests else end - 1
            while True:
                begin, first = self._index.boundary(part)
                text = "".join(self._parts[part:end])
                room = max_tokens - first
                kept = len(self._tokenizer.truncate(text, room, allowed_special=self._make.allowed))
                # The cut before holds only with its two characters after it.
                if kept >= MARGIN or part == 0:
                    return begin + kept
                part -= 1

    def _offsets_of(self, part: int) -> Offsets:
        return self._make.offsets(self._parts[part], part == 0) + self._index.boundary(part)[0]


def live(
    tokenizer: Truncating,
    text: str = "",
    *,
    allowed_special: Names = (),
    disallowed_special: Names = (),
) -> LiveTokens:
    """A text that changes, and its ids, exact after every edit without encoding it again.

    Parameters
    ----------
    text : str
        What it begins with.
    allowed_special, disallowed_special : "all" or collection of str
        As in :meth:`encode`; they hold for every edit.

    Returns
    -------
    LiveTokens

    Raises
    ------
    ValueError
        The text holds a disallowed special token or half of a surrogate pair.

    Examples
    --------
    >>> from tokfrag import Tokenizer
    >>> tok = Tokenizer([bytes([b]) for b in range(256)] + [b" c"], pattern="gpt2")
    >>> live = tok.live("a cat")
    >>> live.replace(1, 2, "").ids.tolist(), live.text, len(live)
    ([99], 'acat', 4)
    """
    return LiveTokens(tokenizer, text, allowed_special, disallowed_special)


def _check_text(text: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"text: got {type(text).__name__}, takes str")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"text: got half of a surrogate pair at character {error.start}, takes whole ones"
            ) from None


def _sizes(parts: list[str], ids: list[bytes]) -> tuple[list[int], list[int]]:
    """How many characters and tokens each part has."""
    return [len(part) for part in parts], [len(row) // ID_BYTES for row in ids]


__all__ = ["LiveTokens", "live"]
