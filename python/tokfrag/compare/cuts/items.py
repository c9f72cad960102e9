"""Cuts of sequences of items: an id each, two hashes each, windows of ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import FittedCut, Pieces, PieceSpec, Samples, check_merge
from tokfrag.compare.cuts.arguments import read_geometry, refuse_flags
from tokfrag.fragments import FragmentGrid, extract

_FACTORS = (0x9E3779B1, 0x85EBCA6B)


@dataclass(frozen=True)
class Items:
    """Items of a history as tokens, or in windows of ``size`` items every ``stride``.

    With ``buckets``, an item is two of so many ids, by two hashes: a table that does not grow with
    the items (Svenstrup et al., 2017).

    Examples
    --------
    >>> import numpy as np
    >>> from tokfrag.compare import Samples
    >>> x = np.array([[[-1, 0, 1, 2]]])
    >>> Items().fit(Samples(x)).cut(x).values.tolist()
    [[0, 1, 2, 3]]
    """

    size: int = 1
    stride: int = 1
    buckets: int | None = None
    merge: str = "attention"

    def __post_init__(self) -> None:
        check_merge(self.merge)
        if not 1 <= self.stride <= self.size or (self.buckets is not None and self.buckets < 2):
            raise ValueError(f"{self.name}: takes items, items:SIZE/STRIDE, or hashes:BUCKETS")

    @classmethod
    def read(cls, args: str, flags: Sequence[str], merge: str | None) -> Items:
        """From a short name: ``items`` or ``items:SIZE/STRIDE``."""
        refuse_flags(flags)
        size, stride = read_geometry(args or "1")
        return cls(size[0], stride[0] if stride else size[0], merge=merge or "attention")

    @classmethod
    def read_hashes(cls, args: str, flags: Sequence[str], merge: str | None) -> Items:
        """From a short name: ``hashes:BUCKETS``."""
        refuse_flags(flags)
        return cls(buckets=read_geometry(args)[0][0], merge=merge or "attention")

    @property
    def name(self) -> str:
        """The short name that stands for this cut, and names its row."""
        if self.buckets is not None:
            text = f"hashes:{self.buckets}"
        else:
            text = "items" if self.size == 1 else f"items:{self.size}"
            text += "" if self.stride == self.size else f"/{self.stride}"
        return text + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        """``"fragments"`` for windows, else ``"tokens"``."""
        return "tokens" if self.size == 1 else "fragments"

    def fit(self, train: Samples) -> FittedCut:
        """Find the largest id.

        Raises
        ------
        ValueError
            For anything but histories of ids.
        """
        x = train.x
        if not isinstance(x, np.ndarray) or x.ndim != 3 or x.dtype.kind not in "iu":
            raise ValueError("takes histories of ids, (samples, 1, length)")
        length = x.shape[2]
        if self.size > length:
            raise ValueError(f"does not fit histories of {length}")
        # The id 0 is "no item": items of the histories count from there.
        most = int(x.max()) + 2
        grid = FragmentGrid((length,), self.size, self.stride, edge="shift")
        tokens = self.buckets or most

        def cut(samples: NDArray[Any]) -> Pieces:
            known = np.where(samples[:, 0] < most - 1, samples[:, 0] + 1, 0)
            if self.buckets is not None:
                ids = np.stack(
                    [np.where(known > 0, (known * f >> 8) % tokens, tokens) for f in _FACTORS], -1
                )
            elif self.size > 1:
                ids = np.asarray(extract(known[:, None], grid))[:, :, 0]
            else:
                ids = known
            outside = float(np.mean(samples[:, 0] >= most - 1))
            rows = ids.astype(np.int32)
            return Pieces(rows, np.full(len(rows), rows.shape[1], np.int64), outside)

        n = grid.n if self.size > 1 else length
        shape = (2,) if self.buckets is not None else () if self.size == 1 else (self.size,)
        return FittedCut(
            PieceSpec(n, shape, tokens, self.merge), cut, overlap=self.size / self.stride
        )
