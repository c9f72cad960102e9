"""Packing in plain Python: which documents share a row, one obvious loop a method."""

from __future__ import annotations

from collections.abc import Sequence

Piece = tuple[int, int, int]  # document, first id, how many


def best_fit(lengths: Sequence[int], length: int) -> list[list[Piece]]:
    """Longest first, each into the fullest row that still holds it, the oldest of equals.

    Examples
    --------
    >>> best_fit([3, 2, 4], 5)
    [[(2, 0, 4)], [(0, 0, 3), (1, 0, 2)]]
    """
    rows: list[list[Piece]] = []
    room: list[int] = []
    for document in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        size = lengths[document]
        if size == 0:
            continue
        fitting = [row for row in range(len(rows)) if room[row] >= size]
        if not fitting:
            rows.append([])
            room.append(length)
            fitting = [len(rows) - 1]
        row = min(fitting, key=lambda row: room[row])
        rows[row].append((document, 0, size))
        room[row] -= size
    return [sorted(row) for row in rows]


def first_fit(lengths: Sequence[int], length: int) -> list[list[Piece]]:
    """Longest first, each into the oldest row that holds it."""
    rows: list[list[Piece]] = []
    room: list[int] = []
    for document in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        size = lengths[document]
        if size == 0:
            continue
        row = next((row for row in range(len(rows)) if room[row] >= size), len(rows))
        if row == len(rows):
            rows.append([])
            room.append(length)
        rows[row].append((document, 0, size))
        room[row] -= size
    return [sorted(row) for row in rows]


def in_order(lengths: Sequence[int], length: int) -> list[list[Piece]]:
    """Documents end to end, cut at every ``length``.

    Examples
    --------
    >>> in_order([3, 2, 4], 5)
    [[(0, 0, 3), (1, 0, 2)], [(2, 0, 4)]]
    """
    rows: list[list[Piece]] = []
    room = 0
    for document, size in enumerate(lengths):
        begin = 0
        while begin < size:
            if room == 0:
                rows.append([])
                room = length
            taken = min(room, size - begin)
            rows[-1].append((document, begin, taken))
            begin += taken
            room -= taken
    return rows
