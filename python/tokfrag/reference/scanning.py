"""Pre-tokenisation by plain loops: the definition of ``csrc/tokens/scan/advance.hpp``.

At each place the alternatives of the pattern are tried in order, as a regular expression engine
would; ``patterns.py`` has the expressions themselves. A byte outside well-formed UTF-8 is one
character of class other.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

from tokfrag.reference.unicode_classes import RUNS

_STARTS: list[int] = []
_KINDS: list[str] = []
_at = 0
for _run in RUNS.split():
    _STARTS.append(_at)
    _KINDS.append(_run[-1])
    _at += int(_run[:-1], 16)


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
}


class _Scan:
    def __init__(self, text: str, rules: Rules) -> None:
        self.text = text
        self.kinds = [character_class(character) for character in text]
        self.rules = rules

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
        prefix = first == " "
        if self.rules.any_prefix:
            prefix = kind not in "ulxn" and first not in "\r\n"
        starts = [at + 1, at] if prefix else [at]
        if not self.rules.words_by_case:
            ends = (self.run(start, "ulx") for start in starts)
            return next((end for start, end in zip(starts, ends, strict=True) if end > start), None)
        for match in (self.cased_word, self.upper_word):
            for start in starts:
                end = match(start)
                if end is not None:
                    return self.contraction(end) or end
        return None

    def number(self, at: int) -> int | None:
        begin = at + 1 if self.rules.number_prefix and self.text[at] == " " else at
        end = self.run(begin, "n")
        if self.rules.max_digits:
            end = min(end, begin + self.rules.max_digits)
        return end if end > begin else None

    def punctuation(self, at: int) -> int | None:
        begin = at + 1 if self.text[at] == " " else at
        end = self.run(begin, "om")
        if end == begin:
            return None
        while end < len(self.text) and self.text[end] in self.rules.tail:
            end += 1
        return end

    def space(self, at: int) -> int:
        end = self.run(at, "s")
        if self.rules.trailing_space_first and end == len(self.text):
            return end
        if self.rules.newline_piece:
            for cut in range(end, at, -1):
                if self.text[cut - 1] in "\r\n":
                    return cut
        if end == len(self.text) or end == at + 1:
            return end
        return end - 1

    def piece_end(self, at: int) -> int:
        if not self.rules.contraction_is_suffix:
            end = self.contraction(at)
            if end is not None:
                return end
        for match in (self.word, self.number, self.punctuation):
            end = match(at)
            if end is not None:
                return end
        return self.space(at)


def scan(text: bytes, family: str) -> list[int]:
    """Where the pieces of a text end, in bytes.

    >>> scan(b"it's 2024!", "cl100k")
    [2, 4, 5, 8, 9, 10]
    """
    characters = text.decode("utf-8", "surrogateescape")
    sizes = [len(c.encode("utf-8", "surrogateescape")) for c in characters]
    walk = _Scan(characters, FAMILIES[family])
    ends: list[int] = []
    at = size = 0
    while at < len(characters):
        end = walk.piece_end(at)
        size += sum(sizes[at:end])
        ends.append(size)
        at = end
    return ends
