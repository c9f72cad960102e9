"""Cuts of molecules: the tokens of SMILES, and fragments of the graph around each atom."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import FittedCut, Pieces, PieceSpec, Samples, check_merge
from tokfrag.compare.cuts.arguments import read_number, refuse_flags
from tokfrag.compare.cuts.tokenizers import check_texts, fit_ids
from tokfrag.compare.readers.smiles import TOKEN, environments, read_smiles

_BYTES = 256
# Fragments that training has not shown share these ids by a hash.
_STRANGE = 64


@dataclass(frozen=True)
class SmilesTokens:
    """Atoms, bonds, branches and ring numbers of a SMILES string, a token each.

    Examples
    --------
    >>> from tokfrag.compare import Samples
    >>> fitted = SmilesTokens().fit(Samples([b"CC(=O)[O-]"]))
    >>> fitted.cut([b"C[O-]"]).lengths.tolist()
    [2]
    """

    merge: str = "attention"

    @classmethod
    def read(cls, args: str, flags: Sequence[str], merge: str | None) -> SmilesTokens:
        """From a short name: ``smiles``."""
        refuse_flags(flags)
        return cls(check_merge(merge or "attention"))

    @property
    def name(self) -> str:
        """The short name that stands for this cut, and names its row."""
        return "smiles" + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        """Always ``"tokens"``."""
        return "tokens"

    def fit(self, train: Samples) -> FittedCut:
        """Number the tokens of the training part; any other one is spelt in bytes."""
        texts = check_texts(train, self.name)
        seen = sorted({token for text in texts for token in TOKEN.findall(text.decode())})
        first = {token: _BYTES + i for i, token in enumerate(seen)}

        def encode(given: Sequence[bytes]) -> list[NDArray[Any]]:
            rows = []
            for text in given:
                ids: list[int] = []
                for token in TOKEN.findall(text.decode()):
                    known = first.get(token)
                    ids.extend(token.encode() if known is None else (known,))
                rows.append(np.array(ids, np.int32))
            return rows

        def decode(ids: NDArray[Any]) -> bytes:
            return b"".join(
                bytes([i]) if i < _BYTES else seen[i - _BYTES].encode() for i in ids.tolist()
            )

        return fit_ids(train, encode, _BYTES + len(seen), self.merge, decode=decode)


@dataclass(frozen=True)
class AtomFragments:
    """The molecular graph around each atom, one piece an atom: what is up to ``radius`` away.

    A piece is the atom and its surroundings at each radius, an id each. Nothing tells where an atom
    stands in the string, so another way to write the same molecule gives the same pieces.

    Examples
    --------
    >>> from tokfrag.compare import Samples
    >>> fitted = AtomFragments(1).fit(Samples([b"CCO", b"CO"]))
    >>> fitted.cut([b"CCO", b"OCC"]).lengths.tolist()
    [3, 3]
    """

    radius: int = 1
    merge: str = "mean"

    def __post_init__(self) -> None:
        check_merge(self.merge)
        if not 0 <= self.radius <= 4:
            raise ValueError(f"atoms: got a radius of {self.radius}; it takes 0 to 4 bonds")

    @classmethod
    def read(cls, args: str, flags: Sequence[str], merge: str | None) -> AtomFragments:
        """From a short name: ``atoms:RADIUS``, in bonds."""
        refuse_flags(flags)
        return cls(read_number(args, 1), merge or "mean")

    @property
    def name(self) -> str:
        """The short name that stands for this cut, and names its row."""
        return f"atoms:{self.radius}" + ("" if self.merge == "mean" else f"@{self.merge}")

    @property
    def family(self) -> str:
        """Always ``"fragments"``."""
        return "fragments"

    def fit(self, train: Samples) -> FittedCut:
        """Number the fragments that two atoms of the training part or more have.

        Raises
        ------
        ValueError
            For arrays, and for texts that are no SMILES.
        """
        texts = check_texts(train, self.name)
        counts = Counter(text for row in texts for atom in self._atoms(row) for text in atom)
        seen = sorted(text for text, count in counts.items() if count > 1)
        first = {text: i for i, text in enumerate(seen)}
        tokens = len(seen) + _STRANGE

        def number(text: str) -> int:
            known = first.get(text)
            return len(seen) + zlib.crc32(text.encode()) % _STRANGE if known is None else known

        def cut(given: Sequence[bytes]) -> Pieces:
            rows = [[[number(t) for t in atom] for atom in self._atoms(text)] for text in given]
            width = room if self.merge == "concat" else max(1, max(map(len, rows)))
            values = np.full((len(rows), width, self.radius + 1), tokens, np.int32)
            for target, row in zip(values, rows, strict=True):
                kept = row[:width]
                target[: len(kept)] = kept
            lengths = np.array([min(width, len(row)) for row in rows], np.int64)
            outside = np.concatenate([np.ravel(row) for row in rows]) >= len(seen)
            return Pieces(values, lengths, float(outside.mean()))

        room = max(len(self._atoms(text)) for text in texts)
        room = room if self.merge == "concat" else max(room, *map(len, texts))
        spec = PieceSpec(room, (self.radius + 1,), tokens, self.merge, padded=True)
        return FittedCut(spec, cut, overlap=float(self.radius + 1))

    def _atoms(self, text: bytes) -> list[list[str]]:
        return environments(read_smiles(text.decode()), self.radius)
