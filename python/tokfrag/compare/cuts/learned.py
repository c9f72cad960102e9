"""Boundaries that are learnt with the network: ``hnet:`` marks any cut into tokens as such."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tokfrag.compare.contracts import FittedCut, Samples, check_merge
from tokfrag.compare.cuts.arguments import read_number, refuse_flags
from tokfrag.compare.cuts.texts import RawBytes


@dataclass(frozen=True)
class LearnedChunks:
    """Bytes that the network itself joins into chunks of about ``size``, as in H-Net (2507.07955).

    The cut is that into bytes; where chunks begin is a part of the network, in
    :mod:`tokfrag.compare.chunks`.

    Examples
    --------
    >>> from tokfrag.compare import Samples
    >>> LearnedChunks(4).fit(Samples([b"to be"])).spec.chunk
    4
    """

    size: int
    merge: str = "attention"

    def __post_init__(self) -> None:
        check_merge(self.merge)
        if not 2 <= self.size <= 64:
            raise ValueError(f"hnet: got chunks of {self.size}; it takes 2 to 64")

    @classmethod
    def read(cls, args: str, flags: Sequence[str], merge: str | None) -> LearnedChunks:
        """From a short name: ``hnet:SIZE``, in bytes a chunk."""
        refuse_flags(flags)
        return cls(read_number(args), merge or "attention")

    @property
    def name(self) -> str:
        """The short name that stands for this cut, and names its row."""
        return f"hnet:{self.size}" + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        """Always ``"fragments"``."""
        return "fragments"

    def fit(self, train: Samples) -> FittedCut:
        """Take every byte as it is."""
        fitted = RawBytes(self.merge).fit(train)
        return replace(
            fitted,
            spec=replace(fitted.spec, chunk=self.size),
            notes=(f"chunks of about {self.size} bytes, learnt with the network",),
        )
