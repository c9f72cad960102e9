"""Read the tables of ``_bert_characters``: for WordPiece and for its twin."""

from __future__ import annotations

from functools import cache

from tokfrag import _bert_characters as tables

HANGUL = range(0xAC00, 0xD7A4)


def code_points(text: str) -> list[int]:
    """Read one of the tables' sets of code points: ``"9-a d"`` is 9, 10, 13."""
    found: list[int] = []
    for part in text.split():
        first, _, last = part.partition("-")
        found.extend(range(int(first, 16), int(last or first, 16) + 1))
    return found


def replacements(text: str) -> dict[int, str]:
    """Read one of the tables' mappings: ``"41:61"`` is ``{0x41: "a"}``."""
    parts = (part.split(":") for part in text.split())
    return {
        int(code, 16): "".join(chr(int(other, 16)) for other in others.split("+"))
        for code, others in parts
    }


@cache
def _stripped() -> dict[int, str]:
    return replacements(tables.STRIPPED)


def strip_char(char: str) -> str:
    """Return what ``strip_accents`` leaves of one character that stays."""
    code = ord(char)
    if code in HANGUL:
        lead, rest = divmod(code - HANGUL.start, 588)
        vowel, tail = divmod(rest, 28)
        return chr(0x1100 + lead) + chr(0x1161 + vowel) + (chr(0x11A7 + tail) if tail else "")
    return _stripped().get(code, char)
