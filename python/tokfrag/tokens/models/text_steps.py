"""How SentencePiece-like models write a text before they cut it: steps, each exact and aligned.

A step turns a text into another; for offsets, it also says of each new character which stretch of
the text it stands for, as Hugging Face's normalisers do. The models' own text has a blank where
theirs have the metaspace U+2581.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Literal, Protocol

import regex

from tokfrag import _bert_characters as tables
from tokfrag._bert_tables import replacements
from tokfrag._core import writing as _native
from tokfrag.tokens.models.graphemes import grapheme_table

METASPACE = "\u2581"
Sources = list[tuple[int, int]]  # of each character: begin and end in the text of the beginning


class TextStep(Protocol):
    """One step; ``first`` says whether the text begins its document."""

    def apply(self, text: str, first: bool) -> str:
        """Return the text as the step writes it."""

    def align(self, text: str, sources: Sources, first: bool) -> tuple[str, Sources]:
        """Return the same and where its characters come from."""


def _rewrite(
    text: str, sources: Sources, pieces: list[tuple[int, int, str]]
) -> tuple[str, Sources]:
    """Replace stretches (begin, end, new): what is new comes from the stretch's last character."""
    out: list[str] = []
    places: Sources = []
    at = 0
    for begin, end, new in pieces:
        out += [text[at:begin], new]
        places += sources[at:begin]
        places += [sources[end - 1]] * len(new)
        at = end
    out.append(text[at:])
    return "".join(out), places + sources[at:]


@dataclass(frozen=True)
class Replace:
    """Every ``old`` becomes ``new``."""

    old: str
    new: str

    def apply(self, text: str, first: bool) -> str:
        """Return the text with ``new`` for ``old``."""
        return text.replace(self.old, self.new) if self.old else text

    def align(self, text: str, sources: Sources, first: bool) -> tuple[str, Sources]:
        """Return the same; each ``new`` comes from the last character of its ``old``."""
        found: list[tuple[int, int, str]] = []
        at = text.find(self.old) if self.old else -1
        while at >= 0:
            found.append((at, at + len(self.old), self.new))
            at = text.find(self.old, at + len(self.old))
        return _rewrite(text, sources, found)


@dataclass(frozen=True)
class ReplacePattern:
    """Every match of a pattern of Python's ``regex`` becomes ``new``, taken as it is."""

    pattern: str
    new: str

    @cached_property
    def _compiled(self) -> regex.Pattern[str]:
        return regex.compile(self.pattern)

    def apply(self, text: str, first: bool) -> str:
        """Return the text with ``new`` for every match."""
        if (self.pattern, self.new) == (" {2,}", " "):
            # T5's and XLM-R's: quicker without an expression.
            while "  " in text:
                text = text.replace("  ", " ")
            return text
        written: str = self._compiled.sub(lambda _: self.new, text)
        return written

    def align(self, text: str, sources: Sources, first: bool) -> tuple[str, Sources]:
        """Return the same; each ``new`` comes from the last character of its match."""
        spans = [match.span() for match in self._compiled.finditer(text)]
        return _rewrite(text, sources, [(a, b, self.new) for a, b in spans if a < b])


@dataclass(frozen=True)
class Prepend:
    """A text that is not empty begins with ``new``."""

    new: str

    def apply(self, text: str, first: bool) -> str:
        """Return the text with ``new`` before it."""
        return self.new + text if text else text

    def align(self, text: str, sources: Sources, first: bool) -> tuple[str, Sources]:
        """Return the same; ``new`` comes from the first character."""
        return self.apply(text, first), sources[:1] * len(self.new) + sources


@dataclass(frozen=True)
class Strip:
    """White space (``White_Space`` of Unicode) goes from the ends."""

    left: bool = True
    right: bool = True

    def _bounds(self, text: str) -> tuple[int, int]:
        begin, end = 0, len(text)
        while self.left and begin < end and _SPACE.match(text, begin):
            begin += 1
        while self.right and begin < end and _SPACE.match(text, end - 1):
            end -= 1
        return begin, end

    def apply(self, text: str, first: bool) -> str:
        """Return the text without white space at its ends."""
        begin, end = self._bounds(text)
        return text[begin:end]

    def align(self, text: str, sources: Sources, first: bool) -> tuple[str, Sources]:
        """Return the same; the characters that stay keep their places."""
        begin, end = self._bounds(text)
        return text[begin:end], sources[begin:end]


_SPACE = regex.compile(r"\p{White_Space}")
_WORD = regex.compile(r"[^\p{White_Space}]+")
MARK = regex.compile(r"\p{M}")


class _EachCharacter(ABC):
    """Steps that rewrite every character by itself."""

    @abstractmethod
    def write(self, char: str) -> str:
        """Return what the character becomes, perhaps nothing."""

    def apply(self, text: str, first: bool) -> str:
        """Return the text, every character rewritten."""
        return "".join(map(self.write, text))

    def align(self, text: str, sources: Sources, first: bool) -> tuple[str, Sources]:
        """Return the same; what a character becomes comes from it."""
        written = [self.write(char) for char in text]
        places = [
            source for new, source in zip(written, sources, strict=True) for _ in range(len(new))
        ]
        return "".join(written), places


@dataclass(frozen=True)
class Lowercase(_EachCharacter):
    """Every character by itself in lower case: no final sigma."""

    def write(self, char: str) -> str:
        """Return the character in lower case."""
        return char.lower() if char.isascii() else lowered().get(ord(char), char)

    def apply(self, text: str, first: bool) -> str:
        """Return the text in lower case."""
        return text.lower() if text.isascii() else text.translate(lowered())


@dataclass(frozen=True)
class StripAccents(_EachCharacter):
    """Marks (categories Mn, Mc, Me) go."""

    def write(self, char: str) -> str:
        """Return the character, or nothing for a mark."""
        return "" if MARK.match(char) else char

    def apply(self, text: str, first: bool) -> str:
        """Return the text without marks."""
        return text if text.isascii() else MARK.sub("", text)


_NMT_DROPPED = [*range(1, 9), 0x0B, *range(0x0E, 0x20), 0x7F, 0x8F, 0x9F]
_NMT_BLANK = [9, 10, 12, 13, 0x1680, *range(0x200B, 0x2010), 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD]
NMT: dict[int, str] = {**dict.fromkeys(_NMT_DROPPED, ""), **dict.fromkeys(_NMT_BLANK, " ")}


@dataclass(frozen=True)
class Nmt(_EachCharacter):
    """Control characters go, other kinds of white space become blanks."""

    def write(self, char: str) -> str:
        """Return the character, a blank, or nothing."""
        return NMT.get(ord(char), char)

    def apply(self, text: str, first: bool) -> str:
        """Return the text with blanks for white space and without control characters."""
        return text.translate(NMT)


@dataclass(frozen=True)
class Precompiled:
    """SentencePiece's map of characters, grapheme by grapheme as Hugging Face applies it."""

    blob: bytes = field(repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return Precompiled, (self.blob,)

    @cached_property
    def native(self) -> _native.Charsmap:
        """The native map."""
        return _native.Charsmap(self.blob)

    def _replace(self, text: str) -> tuple[str, list[int]]:
        new, sources = self.native.replace(well_formed(text), grapheme_table())
        return new.decode(), sources.tolist()

    def apply(self, text: str, first: bool) -> str:
        """Return the text, every grapheme replaced as the map says."""
        return self._replace(text)[0]

    def align(self, text: str, sources: Sources, first: bool) -> tuple[str, Sources]:
        """Return the same and where its characters come from, as the map says."""
        new, places = self._replace(text)
        return new, [sources[place] for place in places]


@dataclass(frozen=True)
class Metaspace:
    """Blanks are metaspaces; a text begins with one ("first": only where its document begins).

    With ``words``, text is first cut at white space, which goes, and each word begins with one.
    """

    prepend: Literal["always", "first", "never"] = "always"
    words: bool = False

    def apply(self, text: str, first: bool) -> str:
        """Return the text with the blanks that it, or each of its words, begins with."""
        if not self.words:
            return self._begin(text.replace(METASPACE, " "), first)
        return "".join(
            self._begin(match[0].replace(METASPACE, " "), first and match.start() == 0)
            for match in _WORD.finditer(text)
        )

    def _begin(self, text: str, first: bool) -> str:
        wanted = self.prepend == "always" or (self.prepend == "first" and first)
        return " " + text if wanted and text and text[0] != " " else text

    def align(self, text: str, sources: Sources, first: bool) -> tuple[str, Sources]:
        """Return the same; a blank that was added comes from the character after it."""
        spans = [match.span() for match in _WORD.finditer(text)] if self.words else [(0, len(text))]
        out: list[str] = []
        places: Sources = []
        for begin, end in spans:
            part = text[begin:end].replace(METASPACE, " ")
            written = self._begin(part, first and begin == 0)
            out.append(written)
            places += sources[begin : begin + len(written) - len(part)]
            places += sources[begin:end]
        return "".join(out), places


@cache
def lowered() -> dict[int, str]:
    """Return lower case by one version of Unicode, whatever Python's is."""
    return replacements(tables.LOWERED)


def well_formed(text: str) -> str:
    """Return the text with a pair of surrogates as its character, and one alone as U+FFFD.

    >>> well_formed("a\\ud800b")
    'a\ufffdb'
    """
    try:
        _ = text.isascii() or text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def without_metaspaces(steps: tuple[TextStep, ...]) -> tuple[TextStep, ...]:
    """Return steps that give :func:`apply_steps` the same, without writing blanks twice.

    >>> without_metaspaces((Prepend(METASPACE), Replace(" ", METASPACE)))
    (Prepend(new=' '),)
    """
    while steps and steps[-1] == Replace(" ", METASPACE):
        steps = steps[:-1]
    if steps and isinstance(steps[-1], Prepend):
        steps = (*steps[:-1], Prepend(steps[-1].new.replace(METASPACE, " ")))
    return steps


def apply_steps(steps: tuple[TextStep, ...], text: str, first: bool = True) -> str:
    """Write a text as a model cuts it.

    >>> apply_steps((Prepend(METASPACE), Replace(" ", METASPACE)), "a b")
    ' a b'
    """
    for step in steps:
        text = step.apply(text, first)
    return text.replace(METASPACE, " ")


def align_steps(steps: tuple[TextStep, ...], text: str, first: bool = True) -> tuple[str, Sources]:
    """Write a text as a model cuts it, and say where each of its characters comes from.

    >>> align_steps((Prepend(METASPACE),), "ab")
    (' ab', [(0, 1), (0, 1), (1, 2)])
    """
    sources: Sources = [(i, i + 1) for i in range(len(text))]
    for step in steps:
        text, sources = step.align(text, sources, first)
    return text.replace(METASPACE, " "), sources
