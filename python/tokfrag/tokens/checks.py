"""Checks and habits that the training functions share."""

from __future__ import annotations

import operator
from typing import SupportsIndex


def check_count(name: str, value: SupportsIndex, least: int, most: int = 2**63 - 1) -> int:
    """Return ``value`` as an int in ``[least, most]``, or raise an error that names it."""
    if isinstance(value, bool):
        raise TypeError(f"{name}: got {value!r}, takes an int")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: got {value!r}, takes an int") from None
    if not least <= number <= most:
        raise ValueError(f"{name}: got {number}, takes {least} to {most}")
    return number


def check_threads(threads: SupportsIndex | None) -> int:
    """Return the number of threads, 0 standing for the default."""
    return 0 if threads is None else check_count("threads", threads, 1, 2**31 - 1)
