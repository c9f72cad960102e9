"""Numbers on the command line, refused with what they take."""

from __future__ import annotations

import argparse
import math


def positive(text: str) -> int:
    """Read a whole number above zero.

    Parameters
    ----------
    text : str
        What the user wrote.

    Returns
    -------
    int
        The number.

    Raises
    ------
    argparse.ArgumentTypeError
        It is none; says what it takes.

    Examples
    --------
    >>> positive("12")
    12
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}; it takes a whole number above zero")
    return int(text)


def above_zero(text: str) -> float:
    """Read a finite number above zero.

    Parameters
    ----------
    text : str
        What the user wrote.

    Returns
    -------
    float
        The number.

    Raises
    ------
    argparse.ArgumentTypeError
        It is none; says what it takes.

    Examples
    --------
    >>> above_zero("1e-3")
    0.001
    """
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"got {text!r}; it takes a number above zero")
    return value


def from_zero(text: str) -> float:
    """Read a finite number that is not negative.

    Parameters
    ----------
    text : str
        What the user wrote.

    Returns
    -------
    float
        The number.

    Raises
    ------
    argparse.ArgumentTypeError
        It is none; says what it takes.

    Examples
    --------
    >>> from_zero("0")
    0.0
    """
    value = _number(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"got {text!r}; it takes a number from 0 up")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
