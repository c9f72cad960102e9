"""What a cut makes of samples, and the shape of it that a network must know."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: How a network may join pieces into one answer. ``mean`` forgets where each piece was.
MERGES = ("concat", "mean", "attention")


@dataclass(frozen=True)
class PieceSpec:
    """The shape of one sample's pieces: all that a network has to know of a cut.

    ``n`` pieces, each of ``shape``: ``()`` for a token, ``(units,)`` for a window of tokens,
    ``(channels, *size)`` for a fragment of values. ``vocabulary`` is None for values; else ids lie
    below it and the id ``vocabulary`` itself means "nothing here". ``fresh`` is how many of a
    piece's units no earlier piece of the same sample holds, for windows over a sequence.
    """

    n: int
    shape: tuple[int, ...]
    vocabulary: int | None = None
    merge: str = "concat"
    fresh: int = 1
    padded: bool = False

    @property
    def units(self) -> int:
        """Numbers in one piece."""
        return math.prod(self.shape)

    @property
    def keeps_position(self) -> bool:
        """Whether the network is told where each piece was."""
        return self.merge != "mean"


@dataclass(frozen=True)
class Pieces:
    """Samples cut into pieces.

    ``values`` is ``(samples, n, *shape)``: ids (integers, filled up with ``vocabulary``) or values
    (float32). ``lengths`` counts each sample's real pieces. ``unknown`` is the share of units that
    the cut could not represent (a character never seen, a value outside the levels).
    """

    values: NDArray[Any]
    lengths: NDArray[np.int64]
    unknown: float | None = None


def pad_ids(rows: list[NDArray[Any]], pad_id: int, length: int) -> Pieces:
    """Stack rows of ids into one array, filled up with ``pad_id`` to ``length``."""
    values = np.full((len(rows), length), pad_id, dtype=np.int32)
    lengths = np.array([min(len(row), length) for row in rows], dtype=np.int64)
    for target, row, kept in zip(values, rows, lengths, strict=True):
        target[:kept] = row[:kept]
    return Pieces(values, lengths)
