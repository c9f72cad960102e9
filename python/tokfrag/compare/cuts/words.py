"""Cuts of text into words, and the pairs of neighbours that any cut into tokens can be shown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import Cut, FittedCut, Pieces, Samples, check_merge
from tokfrag.compare.cuts.arguments import read_number, refuse_flags
from tokfrag.compare.cuts.tokenizers import check_texts, fit_ids

_BYTES = 256
#: Pairs of neighbours share this many rows of a table.
PAIR_BUCKETS = 1 << 16
# With the blank before it, so that words put together are the text again.
_WORD = re.compile(rb" ?[0-9A-Za-z_\x80-\xff]+| ?[^\s0-9A-Za-z_\x80-\xff]|\s")


@dataclass(frozen=True)
class Words:
    """The ``size`` most frequent words of the training part; any other one is spelt in bytes.

    Examples
    --------
    >>> from tokfrag.compare import Samples
    >>> fitted = Words(2).fit(Samples([b"to be or to be"]))
    >>> fitted.cut([b" be to"]).lengths.tolist()
    [4]
    """

    size: int
    merge: str = "attention"

    def __post_init__(self) -> None:
        check_merge(self.merge)
        if not 1 <= self.size <= 1 << 20:
            raise ValueError(f"words: got {self.size}; it takes 1 to {1 << 20}")

    @classmethod
    def read(cls, args: str, flags: Sequence[str], merge: str | None) -> Words:
        """From a short name: ``words:SIZE``."""
        refuse_flags(flags)
        return cls(read_number(args), merge or "attention")

    @property
    def name(self) -> str:
        """The short name that stands for this cut, and names its row."""
        return f"words:{self.size}" + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        """Always ``"tokens"``."""
        return "tokens"

    def fit(self, train: Samples) -> FittedCut:
        """Count the words of the training part."""
        counts = Counter(
            word for text in check_texts(train, self.name) for word in _WORD.findall(text)
        )
        # By their spelling where they are equally frequent, so that the order is always the same.
        seen = sorted(counts, key=lambda word: (-counts[word], word))[: self.size]
        first = {word: _BYTES + i for i, word in enumerate(seen)}

        def encode_one(text: bytes) -> NDArray[Any]:
            ids: list[int] = []
            for word in _WORD.findall(text):
                known = first.get(word)
                ids.extend(word if known is None else (known,))
            return np.array(ids, dtype=np.int32)

        def encode(texts: Sequence[bytes]) -> list[NDArray[Any]]:
            return [encode_one(text) for text in texts]

        def decode(ids: NDArray[Any]) -> bytes:
            return b"".join(bytes([i]) if i < _BYTES else seen[i - _BYTES] for i in ids.tolist())

        def unknown(rows: Sequence[NDArray[Any]]) -> float:
            ids = np.concatenate(rows) if rows else np.empty(0, np.int32)
            return float(np.mean(ids < _BYTES)) if len(ids) else 0.0

        size = _BYTES + len(seen)
        return fit_ids(train, encode, size, self.merge, decode=decode, unknown=unknown)


@dataclass(frozen=True)
class WithPairs:
    """Any cut into tokens, where each token shows the pair with the one before it too.

    A pair is one of 65,536 rows of the same table, by a hash of its two ids.

    Examples
    --------
    >>> from tokfrag.compare import RawBytes, Samples
    >>> fitted = WithPairs(RawBytes()).fit(Samples([b"aba"]))
    >>> fitted.cut([b"aba"]).values[0, :, 1].tolist(), fitted.spec.shape
    ([97, 98, 97], (2,))
    """

    inner: Cut

    @property
    def name(self) -> str:
        """The inner cut's name with ``+pairs`` before the way to join."""
        head, at, merge = self.inner.name.partition("@")
        return f"{head}+pairs{at}{merge}"

    @property
    def family(self) -> str:
        """Always ``"tokens"``."""
        return "tokens"

    def fit(self, train: Samples) -> FittedCut:
        """Fit the inner cut.

        Raises
        ------
        ValueError
            For a cut into anything but single tokens.
        """
        inner = self.inner.fit(train)
        spec = inner.spec
        if spec.vocabulary is None or spec.shape or spec.chunk:
            raise ValueError("pairs are of single tokens")
        tokens = spec.vocabulary
        nothing = tokens + PAIR_BUCKETS

        def cut(texts: Any) -> Pieces:
            pieces = inner.cut(texts)
            ids = pieces.values.astype(np.int64)
            held = ids < tokens
            before = np.concatenate((np.full_like(ids[:, :1], tokens), ids[:, :-1]), 1)
            mixed = (before * 0x9E3779B1 + ids * 0x85EBCA6B) >> 7
            pairs = tokens + mixed % PAIR_BUCKETS
            values = np.stack((pairs, ids), -1)
            values[~held] = nothing
            return Pieces(values.astype(np.int32), pieces.lengths, pieces.unknown)

        decode = inner.decode
        return replace(
            inner,
            spec=replace(spec, shape=(2,), vocabulary=nothing, adds=True),
            cut=cut,
            decode=None if decode is None else lambda values: decode(values[:, 1]),
        )
