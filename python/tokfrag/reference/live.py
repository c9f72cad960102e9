"""How a live text finds the parts that an edit touches: plain lists of sizes."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate


class PartIndex:
    """Sizes of parts that lie end to end, in characters and in tokens.

    Boundary k has k parts before it; the last is the end.

    >>> index = PartIndex([5, 7], [2, 3])
    >>> index.around(8, 8, 2), index.boundary(1), index.last_at_token(4)
    ((1, 2, 5, 12, 2), (5, 2), 1)
    """

    def __init__(self, lengths: list[int], counts: list[int]) -> None:
        self.lengths = lengths.copy()
        self.counts = counts.copy()

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def characters(self) -> int:
        """How many characters all parts have."""
        return sum(self.lengths)

    @property
    def tokens(self) -> int:
        """How many tokens all parts have."""
        return sum(self.counts)

    def copy(self) -> PartIndex:
        """Return another of the same sizes."""
        return PartIndex(self.lengths, self.counts)

    def around(self, start: int, stop: int, margin: int) -> tuple[int, int, int, int, int]:
        """Return the parts that an edit of characters ``start`` to ``stop`` is encoded with.

        They end at the nearest boundaries that are ``margin`` characters away, or at the text's
        ends: first and end of the parts, where these begin and end in characters, and where they
        begin in tokens.
        """
        begins = _ends(self.lengths)
        first = bisect_right(begins, start - margin) - 1 if start > margin else 0
        end = min(bisect_left(begins, stop + margin), len(self))
        return first, end, begins[first], begins[end], _ends(self.counts)[first]

    def boundary(self, parts: int) -> tuple[int, int]:
        """Return how many characters and tokens are before a boundary."""
        return _ends(self.lengths)[parts], _ends(self.counts)[parts]

    def last_at_character(self, position: int) -> int:
        """Return the last boundary that lies before a character."""
        return bisect_right(_ends(self.lengths), position) - 1

    def last_at_token(self, position: int) -> int:
        """Return the last boundary that lies before a token."""
        return bisect_right(_ends(self.counts), position) - 1

    def replace(self, first: int, end: int, lengths: list[int], counts: list[int]) -> None:
        """Put other parts in the place of those from ``first`` to ``end``."""
        self.lengths[first:end] = lengths
        self.counts[first:end] = counts


def common_ids(before: Sequence[int], after: Sequence[int]) -> tuple[int, int]:
    """Return how many ids both begin with in common, and how many of the others they end with.

    >>> common_ids([1, 2, 3, 4], [1, 7, 4]), common_ids([1, 1], [1, 1, 1])
    ((1, 1), (2, 0))
    """
    shorter = min(len(before), len(after))
    first = 0
    while first < shorter and before[first] == after[first]:
        first += 1
    last = 0
    while last < shorter - first and before[-1 - last] == after[-1 - last]:
        last += 1
    return first, last


def _ends(sizes: list[int]) -> list[int]:
    return [*accumulate(sizes, initial=0)]
