"""How a text is cut into pieces before a model sees it, as Hugging Face's pre-tokenizers cut it.

Each step cuts every piece that the step before has left, looking at nothing beside it, or writes
it in another way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import regex

from tokfrag.tokens import byte_alphabet
from tokfrag.tokens.models.text_steps import METASPACE, Sources

Behavior = Literal["Removed", "Isolated", "Contiguous", "MergedWithPrevious", "MergedWithNext"]
#: Longer searches are stopped: seconds, and seconds a character.
_PATIENCE = (5.0, 1e-5)
_SHORT = 24
_MOST_REMEMBERED = 1 << 15


class CutStep(Protocol):
    """One step; ``first`` says whether a piece begins its document."""

    def pieces(self, text: str, first: bool) -> list[str]:
        """Return what a piece becomes."""

    def aligned(self, text: str, sources: Sources, first: bool) -> list[tuple[str, Sources]]:
        """Return the same and where the characters come from."""


@dataclass(frozen=True)
class Split:
    """Cuts at the matches of a pattern of Python's ``regex``, which matches no empty text.

    Parameters
    ----------
    pattern
        What is looked for.
    behavior
        What becomes of a match: a piece of its own (``"Isolated"``; ``"Contiguous"``: with the
        matches beside it), dropped, or a part of the piece before or behind it.
    invert
        What is between matches counts as a match, and matches do not.

    Examples
    --------
    >>> Split("[0-9]", "MergedWithPrevious").pieces("a1bc22", True)
    ['a1', 'bc2', '2']
    """

    pattern: str
    behavior: Behavior = "Isolated"
    invert: bool = False

    @cached_property
    def _compiled(self) -> regex.Pattern[str]:
        return regex.compile(self.pattern)

    @cached_property
    def _dividing(self) -> regex.Pattern[str] | None:
        """What gives the pieces in one call; None where there is no such thing."""
        if self._compiled.groups:
            return None
        if self.behavior == "Isolated":
            # A flag for the whole expression stands before it.
            flag = "(?V1)" if self.pattern.startswith("(?V1)") else ""
            return regex.compile(f"{flag}({self.pattern.removeprefix(flag)})")
        return self._compiled if self.behavior == "Removed" else None

    @cached_property
    def _remembered(self) -> dict[str, list[str]]:
        """What short texts were cut into: words come again."""
        return {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Split, (self.pattern, self.behavior, self.invert)

    def pieces(self, text: str, first: bool) -> list[str]:
        """Return what a piece is cut into; short ones are remembered."""
        if len(text) > _SHORT:
            return self._cut(text)
        remembered = self._remembered
        found = remembered.get(text)
        if found is None:
            if len(remembered) >= _MOST_REMEMBERED:
                remembered.clear()
            found = remembered[text] = self._cut(text)
        return found

    def _cut(self, text: str) -> list[str]:
        if self._dividing is None:
            return [text[begin:end] for begin, end in self._spans(text)]
        timeout = _PATIENCE[0] + _PATIENCE[1] * len(text)
        try:
            if self.behavior == "Removed" and self.invert:
                found: list[str] = self._dividing.findall(text, timeout=timeout)
                return found
            return [piece for piece in self._dividing.split(text, timeout=timeout) if piece]
        except TimeoutError:
            raise self._too_long(text) from None

    def aligned(self, text: str, sources: Sources, first: bool) -> list[tuple[str, Sources]]:
        """Return the same and where the characters come from."""
        return [(text[begin:end], sources[begin:end]) for begin, end in self._spans(text)]

    def _spans(self, text: str) -> list[tuple[int, int]]:
        parts = list(self._parts(text))
        match self.behavior:
            case "Removed":
                return [(begin, end) for begin, end, found in parts if not found]
            case "Isolated":
                return [(begin, end) for begin, end, _ in parts]
            case "Contiguous":
                return _joined(parts, lambda before, found: before == found)
            case "MergedWithPrevious":
                return _joined(parts, lambda before, found: found and not before)
        back = [(-end, -begin, found) for begin, end, found in reversed(parts)]
        spans = _joined(back, lambda before, found: found and not before)
        return [(-end, -begin) for begin, end in reversed(spans)]

    def _parts(self, text: str) -> Iterator[tuple[int, int, bool]]:
        """Matches and what is between them."""
        at = 0
        base, each = _PATIENCE
        try:
            for match in self._compiled.finditer(text, timeout=base + each * len(text)):
                begin, end = match.span()
                if at < begin:
                    yield at, begin, self.invert
                yield begin, end, not self.invert
                at = end
        except TimeoutError:
            raise self._too_long(text) from None
        if at < len(text):
            yield at, len(text), self.invert

    def _too_long(self, text: str) -> ValueError:
        return ValueError(
            f"pattern: {self.pattern!r} takes too long on a text of {len(text)} characters"
        )


@dataclass(frozen=True)
class PrefixSpace:
    """A piece begins with a blank."""

    def pieces(self, text: str, first: bool) -> list[str]:
        """Return the piece, with a blank before it where it had none."""
        return [text if text.startswith(" ") else " " + text]

    def aligned(self, text: str, sources: Sources, first: bool) -> list[tuple[str, Sources]]:
        """Return the same and where the characters come from; a new blank comes from the first."""
        (written,) = self.pieces(text, first)
        return [(written, sources[: len(written) - len(text)] + sources)]


@dataclass(frozen=True)
class SpellBytes:
    """A piece is the characters that stand for its bytes (GPT-2's alphabet)."""

    def pieces(self, text: str, first: bool) -> list[str]:
        """Return the piece, a character for each of its bytes."""
        return [byte_alphabet.to_text(text.encode("utf-8", "surrogateescape"))]

    def aligned(self, text: str, sources: Sources, first: bool) -> list[tuple[str, Sources]]:
        """Return the same and where the characters come from."""
        sizes = (len(char.encode("utf-8", "surrogateescape")) for char in text)
        places = [source for source, size in zip(sources, sizes, strict=True) for _ in range(size)]
        return [(self.pieces(text, first)[0], places)]


@dataclass(frozen=True)
class MarkBlanks:
    """Blanks are metaspaces; a piece begins with one ("first": where its document begins)."""

    prepend: Literal["always", "first", "never"] = "always"

    def pieces(self, text: str, first: bool) -> list[str]:
        """Return the piece with metaspaces for blanks, and one before it where that is wanted."""
        text = text.replace(" ", METASPACE)
        wanted = self.prepend == "always" or (self.prepend == "first" and first)
        return [METASPACE + text if wanted and not text.startswith(METASPACE) else text]

    def aligned(self, text: str, sources: Sources, first: bool) -> list[tuple[str, Sources]]:
        """Return the same and where the characters come from; a new one comes from the first."""
        (written,) = self.pieces(text, first)
        return [(written, sources[: len(written) - len(text)] + sources)]


def cut(steps: tuple[CutStep, ...], text: str, first: bool = True) -> list[str]:
    """Cut a text by each of the steps in turn.

    >>> cut((Split(" ", "MergedWithNext"), Split("[0-9]")), "a 12")
    ['a', ' ', '1', '2']
    """
    if first and MarkBlanks("first") in steps:
        sources = [(i, i + 1) for i in range(len(text))]
        return [piece for piece, _ in cut_aligned(steps, text, sources, first)]
    pieces = [text] if text else []
    for step in steps:
        pieces = [made for piece in pieces for made in step.pieces(piece, False)]
    return pieces


def cut_aligned(
    steps: tuple[CutStep, ...], text: str, sources: Sources, first: bool = True
) -> list[tuple[str, Sources]]:
    """Cut a text, and say where the characters of each piece come from.

    >>> cut_aligned((SpellBytes(),), "é", [(0, 1)])
    [('Ã©', [(0, 1), (0, 1)])]
    """
    pieces = [(text, sources)] if text else []
    for step in steps:
        pieces = [
            made
            for piece, places in pieces
            for made in step.aligned(piece, places, first and places[0][0] == 0)
        ]
    return pieces


def _joined(
    parts: list[tuple[int, int, bool]], joins: Callable[[bool, bool], bool]
) -> list[tuple[int, int]]:
    """The parts, some put to the one before them."""
    spans: list[tuple[int, int]] = []
    before = False
    for begin, end, found in parts:
        if spans and joins(before, found):
            spans[-1] = spans[-1][0], end
        else:
            spans.append((begin, end))
        before = found
    return spans
