"""Unicode normalisation as Hugging Face's tokenizers do it."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Form = Literal["NFC", "NFD", "NFKC", "NFKD"]

# Their tables are those of Unicode 9. Characters that came later and reorder, decompose or compose
# are there what any other unknown character is: passed through, and a wall to what is around them.
_LATER = (
    (0x0558, 0x0558), (0x058B, 0x058C), (0x05C8, 0x05C9), (0x07FD, 0x07FD), (0x0897, 0x089F),
    (0x08CA, 0x08D3), (0x09FE, 0x09FE), (0x0C3C, 0x0C3C), (0x0D3B, 0x0D3C), (0x0EBA, 0x0EBA),
    (0x1715, 0x1715), (0x1ABF, 0x1AF0), (0x1DF6, 0x1DFA), (0x209D, 0x209F), (0x32FF, 0x32FF),
    (0xA7F1, 0xA7F4), (0xA82C, 0xA82C), (0xAB69, 0xAB69), (0x105C9, 0x105C9), (0x105D2, 0x105D2),
    (0x105DA, 0x105DA), (0x105E4, 0x105E4), (0x10781, 0x10785), (0x10787, 0x107B0),
    (0x107B2, 0x107BF), (0x10D24, 0x10D27), (0x10D69, 0x10D6D), (0x10EAB, 0x10EAC),
    (0x10ECB, 0x10ECF), (0x10EF0, 0x10EFB), (0x10EFD, 0x10EFF), (0x10F46, 0x10F50),
    (0x10F82, 0x10F85), (0x11070, 0x11070), (0x1133B, 0x1133B), (0x11383, 0x11383),
    (0x11385, 0x11385), (0x1138E, 0x1138E), (0x11391, 0x11391), (0x113B8, 0x113B8),
    (0x113BB, 0x113BB), (0x113C2, 0x113C2), (0x113C5, 0x113C5), (0x113C7, 0x113C9),
    (0x113CE, 0x113D0), (0x1145E, 0x1145E), (0x11839, 0x1183A), (0x11930, 0x11930),
    (0x11938, 0x11938), (0x1193D, 0x1193E), (0x11943, 0x11943), (0x119E0, 0x119E0),
    (0x11A34, 0x11A34), (0x11A47, 0x11A47), (0x11A99, 0x11A99), (0x11D42, 0x11D42),
    (0x11D44, 0x11D45), (0x11D97, 0x11D97), (0x11F41, 0x11F42), (0x1611E, 0x16129),
    (0x1612F, 0x1612F), (0x16D67, 0x16D6A), (0x16FF0, 0x16FF1), (0x1B123, 0x1B126),
    (0x1CCD6, 0x1CCF9), (0x1D127, 0x1D128), (0x1D250, 0x1D252), (0x1D25B, 0x1D25C),
    (0x1D25F, 0x1D25F), (0x1D280, 0x1D281), (0x1D6A6, 0x1D6A6), (0x1DF95, 0x1DF95),
    (0x1DFCD, 0x1DFFF), (0x1E030, 0x1E06D), (0x1E08F, 0x1E08F), (0x1E130, 0x1E136),
    (0x1E2AE, 0x1E2AE), (0x1E2EC, 0x1E2EF), (0x1E4EC, 0x1E4EF), (0x1E5EE, 0x1E5EF),
    (0x1E6E3, 0x1E6E3), (0x1E6E6, 0x1E6E6), (0x1E6EE, 0x1E6EF), (0x1E6F5, 0x1E6F5),
    (0x1F16C, 0x1F16C), (0x1FBF0, 0x1FBF9),
)  # fmt: skip
_WALL = re.compile("([" + "".join(f"{chr(a)}-{chr(b)}" for a, b in _LATER) + "]+)")


def is_normal(text: str, forms: tuple[Form, ...]) -> bool:
    """Whether normalising a text by these forms leaves it as it is.

    What is normal by newer tables is normal by older ones.

    Examples
    --------
    >>> is_normal("é", ("NFC",)), is_normal("é", ("NFD",))
    (True, False)
    """
    return all(unicodedata.is_normalized(form, text) for form in forms)


def normalize(text: str, forms: tuple[Form, ...]) -> str:
    """Normalise a text by each of the forms in turn.

    Examples
    --------
    >>> normalize("e\\u0301", ("NFC",))
    'é'
    """
    if text.isascii():
        return text
    for form in forms:
        # What is normal by newer tables is normal by older ones.
        if unicodedata.is_normalized(form, text):
            continue
        parts = _WALL.split(text)
        parts[::2] = [unicodedata.normalize(form, part) for part in parts[::2]]
        text = "".join(parts)
    return text


def combining_class(char: str) -> int:
    """Return by what normalising puts a mark in order: 0 for all that stays where it is.

    Examples
    --------
    >>> combining_class("\\u0301"), combining_class("a")
    (230, 0)
    """
    return 0 if _WALL.match(char) else unicodedata.combining(char)
