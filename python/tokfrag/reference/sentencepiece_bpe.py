"""Byte-pair encoding that begins at characters, by plain loops: the definition of the native."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping


def merge_characters(text: str, rank: Callable[[str, str], float | None]) -> list[str]:
    """Merge neighbours, from characters on: the pair of the lowest rank first, leftmost of equals.

    >>> merges = {("a", "b"): 0, ("ab", "ab"): 1}
    >>> merge_characters("ababa", lambda left, right: merges.get((left, right)))
    ['abab', 'a']
    """
    parts = list(text)
    while True:
        ranked = [
            (order, i)
            for i, (left, right) in enumerate(itertools.pairwise(parts))
            if (order := rank(left, right)) is not None
        ]
        if not ranked:
            return parts
        i = min(ranked)[1]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def encode(
    text: str,
    ids: Mapping[str, int],
    rank: Callable[[str, str], float | None],
    *,
    unknown: int | None,
    byte_fallback: bool = False,
    fuse_unknown: bool = False,
) -> list[int]:
    """Return the ids of a text that is merged as a whole.

    A character that no token holds becomes the tokens of its bytes (``byte_fallback``), or the
    unknown one, of which a run is one with ``fuse_unknown``.

    >>> encode("ab?", {"<unk>": 0, "a": 1, "b": 2}, lambda left, right: None, unknown=0)
    [1, 2, 0]
    """
    found: list[int] = []
    after_unknown = False
    for part in merge_characters(text, rank):
        for piece in [part] if part in ids else part:
            names = [f"<0x{byte:02X}>" for byte in piece.encode()]
            if piece in ids:
                found.append(ids[piece])
                after_unknown = False
            elif byte_fallback and all(name in ids for name in names):
                found.extend(ids[name] for name in names)
                after_unknown = False
            else:
                if unknown is None:
                    raise ValueError(f"unknown: got None, takes an id: no token holds {piece!r}")
                if not (after_unknown and fuse_unknown):
                    found.append(unknown)
                after_unknown = True
    return found
