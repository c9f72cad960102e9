"""How a word becomes tokens: whole, by the longest match, or by merging its characters."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

#: ``(id, begin, end)`` of each token: bytes of the word's UTF-8.
Spans = list[tuple[int, int, int]]


class WordRule(Protocol):
    """A rule, as plain values."""

    def encoder(self, ids: Mapping[str, int]) -> Callable[[str], Spans]:
        """Return what turns a word into tokens of a vocabulary."""


@dataclass(frozen=True)
class WholeWords:
    """A word is a token, or unknown.

    >>> WholeWords("?").encoder({"?": 0, "cat": 1})("cat")
    [(1, 0, 3)]
    """

    unknown: str

    def encoder(self, ids: Mapping[str, int]) -> Callable[[str], Spans]:
        """Return what turns a word into tokens of a vocabulary."""
        unknown = ids[self.unknown]
        return lambda word: [(ids.get(word, unknown), 0, len(word.encode()))]


@dataclass(frozen=True)
class LongestMatches:
    """A word is cut into the longest tokens from the left, or is unknown (WordPiece).

    Parameters
    ----------
    unknown
        The token for words that cannot be cut so, or that are too long.
    prefix
        What a token begins with that does not begin a word.
    max_word_length
        In characters.

    Examples
    --------
    >>> LongestMatches("?").encoder({"?": 0, "un": 1, "##do": 2})("undo")
    [(1, 0, 2), (2, 2, 4)]
    """

    unknown: str
    prefix: str = "##"
    max_word_length: int = 100

    def encoder(self, ids: Mapping[str, int]) -> Callable[[str], Spans]:
        """Return what turns a word into tokens of a vocabulary."""
        longest = max(map(len, ids), default=0)
        return partial(self._encode, ids, longest, ids[self.unknown])

    def _encode(self, ids: Mapping[str, int], longest: int, unknown: int, word: str) -> Spans:
        whole = [(unknown, 0, len(word.encode()))]
        if len(word) > self.max_word_length:
            return whole
        spans: Spans = []
        at = byte = 0
        while at < len(word):
            prefix = self.prefix if at else ""
            for end in range(min(len(word), at + longest), at, -1):
                id = ids.get(prefix + word[at:end])
                if id is not None:
                    break
            else:
                return whole
            begin, byte = byte, byte + len(word[at:end].encode())
            spans.append((id, begin, byte))
            at = end
        return spans


@dataclass(frozen=True)
class Merges:
    """The characters of a word merge pair by pair, the first pair of the list first.

    Parameters
    ----------
    merges
        The pairs.
    unknown
        The token for characters that are none; without, they are dropped.
    prefix, suffix
        What the tokens of characters begin with that do not begin a word, and end with that end it.
    fuse_unknown
        Unknown characters side by side are one token.
    byte_fallback
        Unknown characters are the tokens of their bytes, where those are there.
    whole_words
        A word that is a token is that token.

    Examples
    --------
    >>> rule = Merges((("a", "b</w>"),), suffix="</w>")
    >>> rule.encoder({"a": 0, "b</w>": 1, "ab</w>": 2})("aab")
    [(0, 0, 1), (2, 1, 3)]
    """

    merges: tuple[tuple[str, str], ...] = field(repr=False)
    unknown: str | None = None
    prefix: str = ""
    suffix: str = ""
    fuse_unknown: bool = False
    byte_fallback: bool = False
    whole_words: bool = False

    def encoder(self, ids: Mapping[str, int]) -> Callable[[str], Spans]:
        """Return what turns a word into tokens of a vocabulary."""
        cut = len(self.prefix)
        ranks = {
            (ids[left], ids[right]): (rank, ids[left + right[cut:]])
            for rank, (left, right) in enumerate(self.merges)
        }
        return partial(self._encode, ids, ranks)

    def _encode(
        self,
        ids: Mapping[str, int],
        ranks: Mapping[tuple[int, int], tuple[int, int]],
        word: str,
    ) -> Spans:
        if self.whole_words and word in ids:
            return [(ids[word], 0, len(word.encode()))]
        parts = self._characters(ids, word)
        return _merged(parts, ranks)

    def _characters(self, ids: Mapping[str, int], word: str) -> list[tuple[int, int]]:
        """The ids that the characters have, and how many bytes each stands for."""
        parts: list[tuple[int, int]] = []
        waiting: tuple[int, int] | None = None
        for i, char in enumerate(word):
            size = len(char.encode())
            token = char
            if i:
                token = self.prefix + token
            if i == len(word) - 1:
                token += self.suffix
            if token in ids:
                if waiting is not None:
                    parts.append(waiting)
                    waiting = None
                parts.append((ids[token], size))
                continue
            if self.byte_fallback:
                found = [ids.get(f"<0x{byte:02X}>") for byte in token.encode()]
                known = [id for id in found if id is not None]
                if len(known) == len(found):
                    parts += [(id, 1) for id in known]
                    continue
            if self.unknown is None:
                continue
            if waiting is not None and self.fuse_unknown:
                waiting = waiting[0], waiting[1] + size
            else:
                if waiting is not None:
                    parts.append(waiting)
                waiting = ids[self.unknown], size
        if waiting is not None:
            parts.append(waiting)
        return parts


def _merged(
    parts: list[tuple[int, int]], ranks: Mapping[tuple[int, int], tuple[int, int]]
) -> Spans:
    ids = [id for id, _ in parts]
    sizes = [size for _, size in parts]
    after = [*range(1, len(parts)), -1]
    before = list(range(-1, len(parts) - 1))
    queue: list[tuple[int, int, int]] = []

    def offer(left: int, right: int) -> None:
        found = ranks.get((ids[left], ids[right]))
        if found is not None:
            heapq.heappush(queue, (found[0], left, found[1]))

    for left in range(len(parts) - 1):
        offer(left, left + 1)
    while queue:
        _, left, made = heapq.heappop(queue)
        right = after[left]
        # What has merged with something else meanwhile is passed over.
        if not sizes[left] or right < 0:
            continue
        found = ranks.get((ids[left], ids[right]))
        if found is None or found[1] != made:
            continue
        ids[left] = made
        sizes[left] += sizes[right]
        sizes[right] = 0
        after[left] = after[right]
        if after[left] >= 0:
            before[after[left]] = left
            offer(left, after[left])
        if before[left] >= 0:
            offer(before[left], left)
    spans: Spans = []
    end = 0
    for id, size in zip(ids, sizes, strict=True):
        if size:
            spans.append((id, end, end + size))
            end += size
    return spans
