"""Numbers on the command line, refused with what they take; options that are given once."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Any


class _Once(argparse.Action):
    """Stores a value, and refuses a second one, which would silently drop the first."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        if getattr(namespace, self.dest, self.default) is not self.default:
            raise argparse.ArgumentError(self, "given twice; it takes one")
        setattr(namespace, self.dest, values)


def given_once(parser: argparse.ArgumentParser) -> None:
    """Make options of a parser that store one value refuse a second.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Whose options are added afterwards.
    """
    for name in (None, "store"):
        parser.register("action", name, _Once)


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


def seeds(text: str) -> int | tuple[int, ...]:
    """Read how many seeds, or the seeds themselves.

    Parameters
    ----------
    text : str
        What the user wrote.

    Returns
    -------
    int or tuple of int
        Their number, or them.

    Raises
    ------
    argparse.ArgumentTypeError
        It is neither; says what it takes.

    Examples
    --------
    >>> seeds("3"), seeds("7,8"), seeds("7,")
    (3, (7, 8), (7,))
    """
    if "," not in text:
        return positive(text)
    parts = [part.strip() for part in text.rstrip(", ").split(",")]
    if not all(part.isdecimal() for part in parts) or len(set(map(int, parts))) < len(parts):
        raise argparse.ArgumentTypeError(f"got {text!r}; it takes a number, or seeds such as 7,8,9")
    return tuple(map(int, parts))


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
