"""Pre-tokenisation by plain loops: the definition of ``csrc/tokens/scan/advance.hpp``.

At each place the alternatives of the pattern are tried in order, as a regular expression engine
would; ``patterns.py`` has the expressions themselves. What a file cuts in several steps is cut in
several here: first what is cut off, then the pattern on each of the parts, as texts of their own,
then the bytes. A byte outside well-formed UTF-8 is one character as U+FFFD is.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from tokfrag.reference import unicode_traits
from tokfrag.reference.unicode_classes import RUNS

_STARTS: list[int] = []
_KINDS: list[str] = []
_at = 0
for _run in RUNS.split():
    _STARTS.append(_at)
    _KINDS.append(_run[-1])
    _at += int(_run[:-1], 16)


_TRAIT_STARTS: list[int] = []
_TRAITS: list[int] = []
_at = 0
for _run in unicode_traits.RUNS.split():
    _length, _, _trait = _run.partition(":")
    _TRAIT_STARTS.append(_at)
    _TRAITS.append(int(_trait))
    _at += int(_length, 16)


def has_trait(character: str, trait: int) -> bool:
    """Whether a character has one of the traits of ``unicode_traits``.

    >>> [has_trait(c, 1) for c in "中の〇"]
    [True, False, True]
    """
    code = 0xFFFD if 0xD800 <= ord(character) < 0xE000 else ord(character)
    return bool(_TRAITS[bisect_right(_TRAIT_STARTS, code) - 1] & trait)


def character_class(character: str) -> str:
    """o other, u upper or title, l lower, x other letter, m mark, n number, s space.

    >>> [character_class(c) for c in "aA1 é中!"]
    ['l', 'u', 'n', 's', 'l', 'x', 'o']
    """
    if 0xD800 <= ord(character) < 0xE000:  # a byte that is not UTF-8
        return "o"
    return _KINDS[bisect_right(_STARTS, ord(character)) - 1]


@dataclass(frozen=True)
class Rules:
    """The facts that tell pattern families apart: the row of ``csrc/tokens/scan/patterns.hpp``."""

    contraction_is_suffix: bool = False
    contraction_any_case: bool = True
    words_by_case: bool = False
    any_prefix: bool = True
    number_prefix: bool = False
    max_digits: int = 3
    tail: str = "\r\n"
    newline_piece: bool = True
    trailing_space_first: bool = False
    contractions: bool = True
    letters: str = "ulx"
    others: str = "om"
    # Pieces by themselves: what is cut off before, and what the pattern tries first.
    cut_first: tuple[str, ...] = ()
    tried_first: str = ""
    punctuation_before_ascii: bool = False
    numeric_bytes: bool = False
    blank_prefix: bool = True
    space_alone: bool = False


FAMILIES = {
    "gpt2": Rules(
        contraction_any_case=False,
        any_prefix=False,
        number_prefix=True,
        max_digits=0,
        tail="",
        newline_piece=False,
    ),
    "cl100k": Rules(trailing_space_first=True),
    "o200k": Rules(contraction_is_suffix=True, words_by_case=True, tail="\r\n/"),
    "llama3": Rules(),
    "qwen2": Rules(max_digits=1),
    "tekken": Rules(contractions=False, words_by_case=True, max_digits=1, tail="\r\n/"),
    "qwen35": Rules(max_digits=1, letters="ulxm", others="o"),
    "kimi": Rules(contraction_is_suffix=True, words_by_case=True, tried_first="han"),
    "deepseek3": Rules(
        contractions=False,
        letters="ulxm",
        others="o",
        cut_first=("numbers", "chinese"),
        punctuation_before_ascii=True,
    ),
}
FAMILIES["starcoder"] = replace(FAMILIES["gpt2"], cut_first=("number",))
FAMILIES["falcon"] = replace(FAMILIES["gpt2"], cut_first=("punctuation",), numeric_bytes=True)
FAMILIES["clip"] = replace(
    FAMILIES["starcoder"], cut_first=(), blank_prefix=False, number_prefix=False, max_digits=1
)
_ALONE = Rules(contractions=False, newline_piece=False, tail="", any_prefix=False)
_ALONE = replace(_ALONE, blank_prefix=False, space_alone=True)
FAMILIES["whitespace"] = replace(_ALONE, cut_first=("words",))
FAMILIES["bert"] = replace(_ALONE, cut_first=("mark",))

# What may be set apart, and how much of it is a piece.
_APART: dict[str, tuple[Callable[[str], bool], int]] = {
    "number": (lambda c: character_class(c) == "n", 1),
    "numbers": (lambda c: character_class(c) == "n", 3),
    "chinese": (lambda c: "\u4e00" <= c <= "\u9fa5" or "\u3040" <= c <= "\u30ff", 0),
    "punctuation": (lambda c: has_trait(c, unicode_traits.PUNCTUATION), 0),
    "mark": (lambda c: has_trait(c, unicode_traits.PUNCTUATION), 1),
    "words": (lambda c: has_trait(c, unicode_traits.WORD), 0),
    "han": (lambda c: has_trait(c, unicode_traits.HAN), 0),
}


class _Scan:
    def __init__(self, text: str, rules: Rules) -> None:
        self.text = text
        self.kinds = [character_class(character) for character in text]
        self.rules = rules
        self.first = [bool(rules.tried_first) and _is(rules.tried_first, c) for c in text]
        if rules.space_alone:
            self.kinds = [kind if kind == "s" else "o" for kind in self.kinds]
        for at, (kind, character) in enumerate(zip(self.kinds, text, strict=True)):
            if self.first[at] and kind in "ulxm":
                # A letter or mark that words do not have; no letter is punctuation.
                self.kinds[at] = "o" if kind == "m" else "X"
            if rules.punctuation_before_ascii and kind == "o":
                self.kinds[at] = kind if has_trait(character, unicode_traits.SYMBOL) else "c"

    def run(self, at: int, kinds: str) -> int:
        while at < len(self.text) and self.kinds[at] in kinds:
            at += 1
        return at

    def contraction(self, at: int) -> int | None:
        flags = re.IGNORECASE if self.rules.contraction_any_case else 0
        found = re.compile(r"'(?:[sdmt]|ll|ve|re)", flags).match(self.text, at)
        return found.end() if found else None

    def cased_word(self, at: int) -> int | None:
        """``[u x m]* [l x m]+``: the star gives back until the plus has something."""
        for cut in range(self.run(at, "uxm"), at - 1, -1):
            end = self.run(cut, "lxm")
            if end > cut:
                return end
        return None

    def upper_word(self, at: int) -> int | None:
        """``[u x m]+ [l x m]*``."""
        end = self.run(at, "uxm")
        return self.run(end, "lxm") if end > at else None

    def word(self, at: int) -> int | None:
        first, kind = self.text[at], self.kinds[at]
        prefix = self.rules.blank_prefix and first == " "
        if self.rules.any_prefix:
            prefix = kind not in "ulxn" and first not in "\r\n"
        if self.rules.punctuation_before_ascii and kind == "o":
            found = re.compile(r"[!-/:-@\[-`{-~][A-Za-z]+").match(self.text, at)
            return found.end() if found else None
        starts = [at + 1, at] if prefix else [at]
        if not self.rules.words_by_case:
            ends = (self.run(start, self.rules.letters) for start in starts)
            return next((end for start, end in zip(starts, ends, strict=True) if end > start), None)
        for match in (self.cased_word, self.upper_word):
            for start in starts:
                end = match(start)
                if end is not None:
                    return (self.rules.contractions and self.contraction(end)) or end
        return None

    def number(self, at: int) -> int | None:
        begin = at + 1 if self.rules.number_prefix and self.text[at] == " " else at
        end = self.run(begin, "n")
        if self.rules.max_digits:
            end = min(end, begin + self.rules.max_digits)
        return end if end > begin else None

    def punctuation(self, at: int) -> int | None:
        begin = at + 1 if self.rules.blank_prefix and self.text[at] == " " else at
        end = self.run(begin, self.rules.others)
        if end == begin:
            return None
        while end < len(self.text) and self.text[end] in self.rules.tail:
            end += 1
        return end

    def space(self, at: int) -> int | None:
        end = self.run(at, "s")
        if end == at:
            return None
        if self.rules.trailing_space_first and end == len(self.text):
            return end
        if self.rules.newline_piece:
            for cut in range(end, at, -1):
                if self.text[cut - 1] in "\r\n":
                    return cut
        if end == len(self.text) or end == at + 1:
            return end
        return end - 1

    def apart(self, at: int) -> int | None:
        end = at
        while end < len(self.text) and self.first[end]:
            end += 1
        return end if end > at else None

    def match(self, at: int) -> int | None:
        """Where what the alternatives match at a place ends."""
        if self.rules.contractions and not self.rules.contraction_is_suffix:
            end = self.contraction(at)
            if end is not None:
                return end
        for match in (self.apart, self.word, self.number, self.punctuation, self.space):
            end = match(at)
            if end is not None:
                return end
        return None

    def piece_end(self, at: int) -> int:
        """The same; what nothing matches is a piece up to where something does."""
        end = self.match(at)
        if end is not None:
            return end
        end = at + 1
        while end < len(self.text) and self.match(end) is None:
            end += 1
        return end


def _is(name: str, character: str) -> bool:
    return _APART[name][0](character)


def _cut_off(name: str, text: str) -> Iterator[str]:
    """The parts of a text: what is cut off, and what is between."""
    longest = _APART[name][1]
    for apart, run in groupby(text, lambda character: _is(name, character)):
        part = "".join(run)
        step = longest if apart and longest else len(part)
        for at in range(0, len(part), step):
            yield part[at : at + step]


def _pieces(text: str, rules: Rules, cut_first: tuple[str, ...]) -> Iterator[str]:
    if cut_first:
        for part in _cut_off(cut_first[0], text):
            yield from _pieces(part, rules, cut_first[1:])
        return
    walk = _Scan(text, rules)
    at = 0
    while at < len(text):
        end = walk.piece_end(at)
        yield text[at:end]
        at = end


def _parts_of_bytes(piece: bytes) -> Iterator[int]:
    """The lengths of what is left of a piece where GPT-2's signs for bytes are numbers.

    Those among its signs are the characters of Latin-1 that stand for themselves.
    """
    for numeric, run in groupby(piece.decode("latin-1"), lambda c: character_class(c) == "n"):
        part = "".join(run)
        cuts = re.split("([0-9]{3})", part) if numeric else [part]
        yield from (len(cut) for cut in cuts if cut)


def scan(text: bytes, family: str) -> list[int]:
    """Where the pieces of a text end, in bytes.

    >>> scan(b"it's 2024!", "cl100k")
    [2, 4, 5, 8, 9, 10]
    """
    rules = FAMILIES[family]
    ends: list[int] = []
    size = 0
    for piece in _pieces(text.decode("utf-8", "surrogateescape"), rules, rules.cut_first):
        given = piece.encode("utf-8", "surrogateescape")
        for length in _parts_of_bytes(given) if rules.numeric_bytes else (len(given),):
            size += length
            ends.append(size)
    return ends
