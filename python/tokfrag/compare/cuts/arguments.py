"""The numbers in a cut's short name, refused with what they take."""

from __future__ import annotations

import re
from collections.abc import Sequence


def read_number(text: str, default: int | None = None) -> int:
    """The one number after the colon; ``default`` where nothing stands there."""
    if not text and default is not None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError(f"takes one number after the colon, got {text!r}")
    return int(text)


def read_geometry(text: str) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Size, and stride where there is a slash; one number for all axes, or one an axis.

    >>> read_geometry("2x8x8/1x4x4")
    ((2, 8, 8), (1, 4, 4))
    """
    if not re.fullmatch(r"[0-9]{1,9}(x[0-9]{1,9})*(/[0-9]{1,9}(x[0-9]{1,9})*)?", text):
        raise ValueError(f"takes SIZE or SIZE/STRIDE, such as 4/2 or 2x8x8/1x4x4, got {text!r}")
    size, _, stride = text.partition("/")
    steps = tuple(int(s) for s in stride.split("x")) if stride else None
    return tuple(int(s) for s in size.split("x")), steps


def refuse_flags(flags: Sequence[str]) -> None:
    """Only patches take words after plus signs."""
    if flags:
        raise ValueError(f"only patch takes flags, got +{flags[0]}")
