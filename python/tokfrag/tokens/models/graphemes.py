"""What characters are to their neighbours in a grapheme, by one version of Unicode: ``regex``'s."""

from __future__ import annotations

from functools import cache

import numpy as np
import regex

from tokfrag._core import writing as _native

# In the order of GraphemeClass (csrc/tokens/text/graphemes.hpp).
_BREAKS = (
    *("CR", "LF", "Control", "Extend", "ZWJ", "Regional_Indicator", "Prepend", "SpacingMark"),
    *("L", "V", "T", "LV", "LVT"),
)
_BESIDE = {
    r"\p{Extended_Pictographic}": 0x10,
    r"\p{InCB=Consonant}": 0x20,
    r"\p{InCB=Linker}": 0x40,
    r"\p{InCB=Extend}": 0x80,
}


@cache
def grapheme_table() -> _native.GraphemeTable:
    r"""Return the table by which graphemes are those of ``\X``."""
    every = np.arange(0x110000, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")
    classes = np.zeros(0x110000, np.uint8)
    for value, name in enumerate(_BREAKS, 1):
        for begin, end in _runs(rf"\p{{GCB={name}}}", every):
            classes[begin:end] = value
    for pattern, bit in _BESIDE.items():
        for begin, end in _runs(pattern, every):
            classes[begin:end] |= bit
    return _native.GraphemeTable(classes.tobytes())


def _runs(pattern: str, text: str) -> list[tuple[int, int]]:
    try:
        found = regex.compile(f"{pattern}+")
    except regex.error:
        # A version that does not know the property does not go by it either.
        return []
    return [match.span() for match in found.finditer(text)]


__all__ = ["grapheme_table"]
