"""Byte-pair encoding and decoding by plain loops: the definition of the native encoder."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

from tokfrag.reference.scanning import scan


def merge(piece: bytes, ranks: Mapping[bytes, int]) -> list[bytes]:
    """The parts of a piece: the pair whose join has the lowest rank merges, leftmost first.

    >>> merge(b"aab", {b"a": 0, b"b": 1, b"ab": 2, b"aa": 3})
    [b'a', b'ab']
    """
    parts = [piece[i : i + 1] for i in range(len(piece))]
    while True:
        best = min(
            (
                (ranks[left + right], i)
                for i, (left, right) in enumerate(itertools.pairwise(parts))
                if left + right in ranks
            ),
            default=None,
        )
        if best is None:
            return parts
        i = best[1]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def merge_listed(piece: bytes, merges: Mapping[tuple[bytes, bytes], int]) -> list[bytes]:
    """The same where only listed pairs merge, by their place in the list."""
    parts = [piece[i : i + 1] for i in range(len(piece))]
    while True:
        pairs = list(itertools.pairwise(parts))
        best = min(
            ((merges[pair], i) for i, pair in enumerate(pairs) if pair in merges), default=None
        )
        if best is None:
            return parts
        i = best[1]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def encode(text: bytes, ranks: Mapping[bytes, int], family: str | None) -> list[int]:
    """The ids of a text: a piece that is a token becomes it, the others merge.

    >>> encode(b"ab ab", {b"a": 0, b"b": 1, b" ": 2, b"ab": 3}, "gpt2")
    [3, 2, 3]
    """
    ids: list[int] = []
    begin = 0
    ends = scan(text, family) if family else [len(text)] if text else []
    for end in ends:
        piece = text[begin:end]
        begin = end
        ids += [ranks[piece]] if piece in ranks else [ranks[part] for part in merge(piece, ranks)]
    return ids


def decode(ids: Iterable[int], tokens: Mapping[int, bytes]) -> bytes:
    """The bytes of ids.

    >>> decode([3, 2], {2: b" ", 3: b"ab"})
    b'ab '
    """
    return b"".join(tokens[id] for id in ids)
