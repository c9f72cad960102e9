"""How models write texts before they cut them: each step by a plain loop over characters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

METASPACE = "\u2581"
_SPACES = frozenset(
    "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000"
    "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
)


def squeeze_blanks(text: str) -> str:
    """Make every run of blanks one.

    >>> squeeze_blanks("a   b")
    'a b'
    """
    out = ""
    for char in text:
        if not (char == " " and out.endswith(" ")):
            out += char
    return out


def squeeze_spaces(text: str, new: str, *, alone: bool = False) -> str:
    """Write ``new`` for two spaces and more, and for a newline, carriage return or tab alone.

    With ``alone``, for one space of any kind too.

    >>> squeeze_spaces("a\\nb \\tc d", "_"), squeeze_spaces("a b", "_", alone=True)
    ('a_b_c d', 'a_b')
    """
    out = ""
    at = 0
    while at < len(text):
        end = at
        while end < len(text) and text[end] in _SPACES:
            end += 1
        if end - at > 1 or text[at] in "\n\r\t" or (alone and end > at):
            out += new
            at = end
        else:
            out += text[at]
            at += 1
    return out


def strip_spaces(text: str, *, left: bool, right: bool) -> str:
    """Take white space from the ends.

    >>> strip_spaces(" a ", left=True, right=False)
    'a '
    """
    while left and text and text[0] in _SPACES:
        text = text[1:]
    while right and text and text[-1] in _SPACES:
        text = text[:-1]
    return text


def map_characters(text: str, rules: Mapping[int, str]) -> str:
    """Write every character by itself.

    >>> map_characters("ab", {97: "x"})
    'xb'
    """
    return "".join(rules.get(ord(char), char) for char in text)


def mark_words(
    text: str, prepend: Literal["always", "first", "never"], *, words: bool, first: bool
) -> str:
    """Write blanks for metaspaces, and one before a text, or before each of its words.

    >>> mark_words("a  b", "always", words=True, first=True)
    ' a b'
    """
    parts = [(0, text)] if text else []
    if words:
        parts = []
        inside = False
        for at, char in enumerate(text):
            if char in _SPACES:
                inside = False
            elif inside:
                parts[-1] = parts[-1][0], parts[-1][1] + char
            else:
                parts.append((at, char))
                inside = True
    out = ""
    for begin, part in parts:
        wanted = prepend == "always" or (prepend == "first" and first and begin == 0)
        part = part.replace(METASPACE, " ")
        out += " " + part if wanted and not part.startswith(" ") else part
    return out
