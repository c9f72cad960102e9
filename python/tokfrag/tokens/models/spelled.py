"""Decoding without a decoder: tokens as they are spelled, parted by blanks."""

from __future__ import annotations

from collections.abc import Callable


class Spelled:
    """A joiner that does what Hugging Face does with a file that names no decoder."""

    __slots__ = ("_begun", "_spelling")

    def __init__(self, spelling: Callable[[int], str | None]) -> None:
        self._spelling = spelling
        self._begun = False

    def push(self, id: int) -> bytes:
        """The token of an id, after a blank if it is not the first."""
        token = self._spelling(id)
        if token is None:
            raise IndexError(f"id: no token has id {id}")
        blank = " " if self._begun else ""
        self._begun = True
        return f"{blank}{token}".encode()

    def finish(self) -> bytes:
        """Nothing is ever left."""
        self._begun = False
        return b""


__all__ = ["Spelled"]
