"""Public functions have whole docstrings, but for a list that may only become shorter."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

import docstrings

LISTED = Path(__file__).with_name("docstrings_missing.txt")


def test_nothing_new_is_missing() -> None:
    """A fault that is mended leaves the list, which ``docstrings.py`` prints anew."""
    listed = LISTED.read_text(encoding="utf-8").splitlines()
    found = docstrings.faults()
    assert sorted(set(found) - set(listed)) == [], "new faults"
    assert sorted(set(listed) - set(found)) == [], f"mended: take these out of {LISTED.name}"


@pytest.mark.parametrize(
    ("text", "good"),
    [("Cut it.", True), ("Cut it.\n\nMore", True), ("Cut it", False), ("", False), (None, False)],
)
def test_sentences(text: str | None, good: bool) -> None:
    assert docstrings.is_sentence(text) is good


def test_what_is_lacking_is_named() -> None:
    def whole(x: int) -> int:
        """Double it.

        Parameters
        ----------
        x : int
            Any.

        Returns
        -------
        int
            Twice as much.

        Raises
        ------
        ValueError
            Below zero.

        Examples
        --------
        >>> whole(2)
        4
        """
        if x < 0:
            raise ValueError("x: below zero")
        return 2 * x

    def bare(x: int) -> int:
        """Double it."""
        if x < 0:
            raise ValueError("x: below zero")
        return 2 * x

    whole.__qualname__, bare.__qualname__ = "whole", "bare"
    assert list(docstrings.lacking("f", whole)) == []
    wanted = ["f: Parameters", "f: Returns", "f: Raises", "f: Examples"]
    assert list(docstrings.lacking("f", bare)) == wanted
