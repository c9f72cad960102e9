"""Two cuts in one row: ``bpe:512++window:8`` shows the network the pieces of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tokfrag.compare.contracts import Cut, FittedCut, Pieces, PieceSpec, Samples

# Ids are carried as float32, which holds whole numbers up to here.
_LARGEST_ID = 1 << 24


@dataclass(frozen=True)
class Fused:
    """The pieces of two or more cuts of the same samples, side by side.

    Examples
    --------
    >>> import numpy as np
    >>> from tokfrag.compare import Samples, parse_cut
    >>> x = np.random.default_rng(0).normal(size=(5, 1, 8, 8))
    >>> fused = Fused((parse_cut("pixels:16"), parse_cut("patch:4")))
    >>> fused.name, fused.fit(Samples(x)).cut(x).values.shape
    ('pixels:16++patch:4', (5, 1, 128))
    """

    parts: tuple[Cut, ...]

    def __post_init__(self) -> None:
        if len(self.parts) < 2:
            raise ValueError("takes two cuts or more")

    @property
    def name(self) -> str:
        """The names of its cuts with two plus signs between them."""
        return "++".join(part.name for part in self.parts)

    @property
    def family(self) -> str:
        """``"tokens"`` where all are, else ``"fragments"``."""
        return "tokens" if all(p.family == "tokens" for p in self.parts) else "fragments"

    def fit(self, train: Samples) -> FittedCut:
        """Fit each cut.

        Raises
        ------
        ValueError
            Where a vocabulary is past 2^24.
        """
        fitted = [part.fit(train) for part in self.parts]
        branches = tuple(f.spec for f in fitted)
        if any((branch.vocabulary or 0) >= _LARGEST_ID for branch in branches):
            raise ValueError(f"a fused cut takes vocabularies below {_LARGEST_ID}")
        numbers = [branch.n * branch.units for branch in branches]

        def cut(samples: Any) -> Pieces:
            made = [f.cut(samples) for f in fitted]
            values = np.empty((len(made[0].values), 1, sum(numbers)), np.float32)
            begin = 0
            for pieces, branch, size in zip(made, branches, numbers, strict=True):
                held = values[:, 0, begin : begin + size]
                held[:] = branch.vocabulary or 0
                rows = pieces.values.reshape(len(held), -1)
                held[:, : rows.shape[1]] = rows
                begin += size
            unknown = [p.unknown for p in made if p.unknown is not None]
            lengths = np.ones(len(values), np.int64)
            return Pieces(values, lengths, max(unknown) if unknown else None)

        spec = PieceSpec(1, (sum(numbers),), None, branches[0].merge, branches=branches)
        # One branch that keeps all of a text is enough, but pieces of both lie in one row.
        inner = fitted[0]

        def decode(values: Any) -> bytes:
            assert inner.decode is not None
            rows = values.reshape(-1)[: numbers[0]].astype(np.int64)
            ids = rows.reshape(branches[0].n, *branches[0].shape)
            real = ids != branches[0].vocabulary
            return inner.decode(ids[real if real.ndim == 1 else real.any(-1)])

        return FittedCut(
            spec,
            cut,
            coverage=max(f.coverage for f in fitted),
            overlap=sum(f.overlap for f in fitted),
            decode=None if inner.decode is None else decode,
            notes=("two branches in one network", *(n for f in fitted for n in f.notes)),
        )
