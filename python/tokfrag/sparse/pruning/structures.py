"""Shapes that a mask may be bound to: n of every m along a row, blocks that stay or go together."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

_FORM = re.compile(r"(\d+)([:x])(\d+)")
#: SparseGPT works on this many columns at once, and a structure has to fit into them.
LARGEST = 128


@dataclass(frozen=True)
class Grouped:
    """``"n:m"``: of every m weights along a row the n best are kept."""

    n: int
    m: int

    @property
    def sparsity(self) -> float:
        """The share of zeros, which the structure itself fixes."""
        return 1 - self.n / self.m

    def select(self, scores: Tensor) -> Tensor:
        """The mask that keeps the best n of every m; columns are a multiple of m."""
        groups = scores.reshape(len(scores), -1, self.m)
        best = groups.topk(self.n, -1).indices
        return torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, best, True).view_as(scores)


@dataclass(frozen=True)
class Blocks:
    """``"rxc"``: r rows of c columns are kept or dropped together."""

    rows: int
    columns: int

    def sums(self, scores: Tensor) -> Tensor:
        """The score of each block: the sum over what the matrix has of it."""
        rows, columns = (-(-n // b) for n, b in zip(scores.shape, self._sizes, strict=True))
        padded = scores.new_zeros((rows * self.rows, columns * self.columns))
        padded[: scores.shape[0], : scores.shape[1]] = scores
        return padded.view(rows, self.rows, columns, self.columns).sum((1, 3))

    def spread(self, mask: Tensor, shape: torch.Size) -> Tensor:
        """A mask of blocks as one of weights of ``shape``."""
        wide = mask.repeat_interleave(self.rows, 0).repeat_interleave(self.columns, 1)
        return wide[: shape[0], : shape[1]]

    @property
    def _sizes(self) -> tuple[int, int]:
        return self.rows, self.columns


Structure = Grouped | Blocks


def parse(structure: object) -> Structure | None:
    """The structure that a name stands for.

    >>> parse("2:4")
    Grouped(n=2, m=4)
    >>> parse("8x1")
    Blocks(rows=8, columns=1)
    """
    if structure is None:
        return None
    found = _FORM.fullmatch(structure) if isinstance(structure, str) else None
    if found is not None:
        first, last = int(found[1]), int(found[3])
        if found[2] == ":" and 1 <= first < last <= LARGEST:
            return Grouped(first, last)
        if found[2] == "x" and min(first, last) >= 1 and max(first, last) <= LARGEST:
            return Blocks(first, last)
    raise ValueError(
        f"structure: got {structure!r}, takes None, 'n:m' (n of every m along a row, n < m) or "
        f"'rxc' (r rows of c columns together), numbers up to {LARGEST}"
    )
