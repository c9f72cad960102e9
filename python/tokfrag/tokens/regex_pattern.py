"""Cuts by regular expressions of one's own: the ``regex`` package's, on threads."""

from __future__ import annotations

from functools import partial
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.tokens.patterns import BYTE_PATTERNS, REGEX, replace_surrogates
from tokfrag.tokens.sharing import in_threads


class RegexPattern:
    """Cuts text by a regular expression that has no native scanner (the ``regex`` package's).

    The expression must match every text from end to end, never an empty string; text it does not
    cover is refused, not lost. A search that runs wild is stopped.

    Where the next piece ends follows from the text and the place alone. So a long text may be begun
    in several places at once: from the first end on that two of them share, they agree.
    """

    def __init__(self, pattern: str) -> None:
        import regex

        try:
            # Only its newer rules know intersections of sets.
            version = regex.V1 if "&&" in pattern else regex.V0
            self._regex: Any = regex.compile(pattern, version)
        except regex.error as error:
            known = ", ".join((*REGEX, *BYTE_PATTERNS))
            raise ValueError(
                f"pattern: {pattern!r} is neither a known name ({known}) "
                f"nor a regular expression: {error}"
            ) from None
        if self._regex.fullmatch("") is not None:
            raise ValueError(f"pattern: {pattern!r} matches the empty string")
        self._in_rows = _in_rows(self._regex, version)

    def ends(
        self, text: str | bytes, threads: int = 1, stop: Event | None = None
    ) -> tuple[bytes, NDArray[np.int64]]:
        """The text in UTF-8 and where its pieces end there.

        A byte outside well-formed UTF-8 is matched as one lone surrogate. Another thread may set
        ``stop``: what is returned is nothing then.
        """
        if isinstance(text, bytes):
            text = text.decode("utf-8", "surrogateescape")
        else:
            text = replace_surrogates(text)
        ends = self._fast_ends(text, threads, stop)
        if ends is None:
            ends = self._plain_ends(text)
        utf8 = text.encode("utf-8", "surrogateescape")
        return utf8, _byte_ends(text, ends)

    def _fast_ends(self, text: str, threads: int, stop: Event | None) -> NDArray[np.int64] | None:
        """Where pieces end, many found by one search; None where only the plain way can tell."""
        if self._in_rows is None:
            return None
        shares = min(threads, len(text) // _LONG)
        if shares < 2:
            ends = self._ends_from(text, 0, len(text), stop)
            return ends if ends[-1:].sum() == len(text) else None
        starts = [len(text) * share // shares for share in range(shares)]
        ends, *others = in_threads(
            [
                partial(self._ends_from, text, begin, end)
                for begin, end in zip(starts, [*starts[1:], len(text)], strict=True)
            ]
        )
        for begin, later in zip(starts[1:], others, strict=True):
            joined = _joined(ends, begin, later)
            if joined is None:
                return None
            ends = joined
        return ends if ends[-1] == len(text) else None

    def _ends_from(self, text: str, begin: int, end: int, stop: Event | None) -> NDArray[np.int64]:
        """The ends of pieces from a place on, until one lies at ``end`` or past it.

        Fewer where the expression does not match, or matches nothing.
        """
        found: list[int] = []
        at = begin
        try:
            # Others run while a search does: it has let go of the interpreter.
            for row in self._in_rows.finditer(text, begin, timeout=_seconds(text), concurrent=True):
                if row.start() != at or (stop is not None and stop.is_set()):
                    break
                at = row.end()
                found += row.ends(1)
                if at >= end:
                    break
        except TimeoutError:
            raise self._too_long(text, at) from None
        ends = np.array(found, np.int64)
        if len(found) < _FEW:
            distinct = len(set(found)) == len(found)
        else:
            distinct = bool((ends[1:] > ends[:-1]).all())
        return ends if distinct else ends[:0]

    def _plain_ends(self, text: str) -> NDArray[np.int64]:
        ends: list[int] = []
        at = 0
        try:
            for match in self._regex.finditer(text, timeout=_seconds(text)):
                begin, end = match.span()
                if begin != at or end == begin:
                    break
                at = end
                ends.append(end)
        except TimeoutError:
            raise self._too_long(text, at) from None
        if at != len(text):
            raise ValueError(
                f"pattern: {self._regex.pattern!r} does not match the text from character {at} on: "
                f"{text[at : at + 20]!r}"
            )
        return np.asarray(ends, dtype=np.int64)

    def _too_long(self, text: str, at: int) -> ValueError:
        return ValueError(
            f"pattern: {self._regex.pattern!r} takes too long on a text of {len(text)} "
            f"characters, at character {at}"
        )


def _seconds(text: str) -> float:
    return 5.0 + 1e-5 * len(text)


_FEW = 64  # pieces that Python looks through sooner than NumPy
_LONG = 1 << 16  # characters that are worth a thread: a few milliseconds


def _joined(
    ends: NDArray[np.int64], begin: int, later: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Ends that go past ``begin``, and then those found from there on; None if none is common."""
    past = ends[np.searchsorted(ends, begin) :]
    common = past[np.isin(past, later) | (past == begin)]
    if not len(common):
        return None
    first = common[0]
    before = ends[: np.searchsorted(ends, first, "right")]
    return np.concatenate([before, later[np.searchsorted(later, first, "right") :]])


def _in_rows(plain: Any, version: int) -> Any:
    """What finds up to 256 matches of an expression, one behind the other, by one search.

    The clock that ends a search that runs wild is asked once a search: of pieces found one by one
    it takes three quarters of the time. None for expressions that would not mean the same there:
    with groups (their numbers), with flags of their own kind, or that speak of the search itself.
    """
    import regex

    pattern = plain.pattern
    harmless = regex.I | regex.M | regex.S | regex.A | regex.U | regex.W | regex.F | version
    if plain.groups or plain.flags & ~harmless:
        return None
    if any(part in pattern for part in ("\\G", "\\K", "(?R", "(?0", "(*", "(?V", "#")):
        return None
    try:
        return regex.compile(rf"(?:((?>{pattern}))){{1,256}}+", plain.flags)
    except regex.error:
        return None


def _byte_ends(text: str, ends: NDArray[np.int64]) -> NDArray[np.int64]:
    if text.isascii():
        return ends
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    lengths = 1 + (codes >= 0x80).astype(np.int64) + (codes >= 0x800) + (codes >= 0x10000)
    lengths[(codes >= 0xD800) & (codes < 0xE000)] = 1
    totals = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    result: NDArray[np.int64] = totals[ends]
    return result
