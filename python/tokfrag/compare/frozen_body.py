"""Frozen features of a user's network as the body of all rows: each cut's pieces go through it.

Where a sample has one answer, the network's vectors take the place of the pieces, and a small head
is trained on them. Where a text predicts itself, its vectors of the pieces so far are asked for the
next one; that they know of no later piece is probed as of any other body.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tokfrag.compare.body import Body
from tokfrag.compare.contracts import Cut, PieceSpec
from tokfrag.compare.cuts.features import FrozenFeatures
from tokfrag.compare.encoder import Encoder


class FrozenVectors(nn.Module):
    """Ids to the vectors of a frozen network, ``(batch, n, width)``, at a mean of 0 and spread 1.

    Parameters
    ----------
    encoder
        The network with its answers so far.
    spec
        Of the pieces.
    nothing
        The id that it is shown where there is none.
    """

    def __init__(self, encoder: Encoder, spec: PieceSpec, nothing: int):
        super().__init__()
        self.encoder = encoder
        assert spec.vocabulary is not None
        self.absent = spec.vocabulary
        self.nothing = nothing
        shape = (2, min(2, spec.n), *spec.shape)
        found = encoder.ask(np.full(shape, nothing, np.int64))
        self.norm = nn.LayerNorm(found.shape[2])

    def forward(self, pieces: Tensor) -> Tensor:
        """``(batch, n)`` or ``(batch, n, units)`` ids to ``(batch, n, width)``."""
        ids = torch.where(pieces == self.absent, self.nothing, pieces)
        found = torch.from_numpy(self.encoder(ids.cpu().numpy()))
        answer: Tensor = self.norm(found.to(self.norm.weight.device))
        return answer


class FrozenBody:
    """A network that is not trained in the place of the shipped body.

    Parameters
    ----------
    network
        A module or a function of pieces: ``(batch, n, *shape)`` float32, or int64 ids, to
        ``(batch, n, width)``, or ``(batch, width)`` where a sample has one answer.
    name
        What reports call it.
    width
        Of the trained head.
    nothing
        The id that stands where there is no piece, at the beginning of a text: a network's own mark
        of the beginning.

    Examples
    --------
    >>> from tokfrag.compare import compare
    >>> from tokfrag.compare.frozen_body import FrozenBody
    >>> body = FrozenBody(lambda x: x.flatten(2), name="as it is")
    >>> report = compare("digits", ["patch:4"], model=body, budget="3 steps", seeds=1)
    >>> report.rows[0].facts.embedding_parameters
    1344
    """

    def __init__(self, network: Any, *, name: str | None = None, width: int = 64, nothing: int = 0):
        held = (
            network if isinstance(network, FrozenFeatures) else FrozenFeatures(network, name=name)
        )
        self.features = held
        self.width = width
        self.nothing = nothing

    @classmethod
    def read(cls, text: str, width: int = 64) -> FrozenBody:
        """From a short name, see :meth:`FrozenFeatures.read`."""
        return cls(FrozenFeatures.read(text), width=width)

    def __repr__(self) -> str:
        # Finished trainings count for the same weights only.
        digest = self.features.encoder.digest()
        return f"FrozenBody({self.features.name!r}, {digest!r}, {self.width}, {self.nothing})"

    @property
    def kind(self) -> str:
        """What reports call it."""
        return self.features.name

    def run_on(self, device: Any) -> None:
        """Run the network there, see :meth:`FrozenFeatures.run_on`."""
        self.features.run_on(device)

    def adapt(self, cut: Cut) -> Cut:
        """The cut with the network's vectors in the place of its pieces."""
        return self.features.over(cut)

    def __call__(self, spec: PieceSpec, outputs: int | None) -> nn.Module:
        if outputs is None:
            return FrozenVectors(self.features.encoder, spec, self.nothing)
        return Body("bag", self.width)(spec, outputs)
