"""Inputs and targets of one part of the data, drawn in batches that hold next to no padding.

Where samples have different numbers of pieces, a batch is drawn from samples of like length and
trimmed to its longest. Networks pay for what they are shown, so padding would be charged to the
cuts that make fewer pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tokfrag.compare.contracts import AsksPieces, FittedCut, Pieces, PieceSpec, Problem, Samples

# Batches whose samples are sorted by length together: enough that neighbours are alike, few enough
# that a batch is still drawn from all lengths.
_TOGETHER = 64


@dataclass(frozen=True)
class Part:
    """Items of a part: ``inputs (items, n, ...)``, ``targets (items, ...)`` and their lengths.

    ``lengths`` is None where all items are equally long. ``per_piece`` counts the targets of a
    piece, where targets follow the pieces; 0 where they do not.
    """

    inputs: Tensor
    targets: Tensor
    lengths: Tensor | None = None
    per_piece: int = 0

    @classmethod
    def of(cls, problem: Problem, pieces: Pieces, samples: Samples, fitted: FittedCut) -> Part:
        """The items that a problem makes of a part's pieces."""
        inputs, targets = problem.tensors(pieces, samples, fitted)
        spec: PieceSpec = fitted.spec
        lengths = problem.lengths(pieces) if isinstance(problem, AsksPieces) else pieces.lengths
        # Side by side, every place has weights of its own: nothing can be trimmed.
        if not spec.padded or spec.merge == "concat" or len(inputs) != len(lengths):
            return cls(inputs, targets)
        follows = problem.targets_per_piece(spec) if isinstance(problem, AsksPieces) else 0
        return cls(inputs, targets, torch.from_numpy(np.maximum(lengths, 1)), follows)

    def to(self, device: torch.device) -> Part:
        """The same items on a device; lengths stay where batches are drawn."""
        return replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device))

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def ragged(self) -> bool:
        """Whether batches are trimmed."""
        return self.lengths is not None

    @property
    def longest(self) -> int:
        """Pieces of the longest item."""
        return int(self.inputs.shape[1] if self.lengths is None else self.lengths.max())

    def first(self, items: int, length: int) -> tuple[Tensor, Tensor]:
        """The first items cut to ``length``, as copies: a slice would keep, and count, all."""
        x, y = self._trim(self.inputs[:items], self.targets[:items], length)
        return x.clone(), y.clone()

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The items at ``index``, trimmed to the longest of them."""
        x, y = self.inputs[index], self.targets[index]
        if self.lengths is None:
            return x, y
        return self._trim(x, y, int(self.lengths[index].max()))

    def by_length(self) -> Tensor:
        """All items, the shortest first; in their own order where they are equally long."""
        if self.lengths is None:
            return torch.arange(len(self))
        return torch.argsort(self.lengths, stable=True)

    def passes(self, batch: int, rng: np.random.Generator) -> Iterator[Tensor]:
        """Indices of batches without end: every pass in another order, a last rest left out."""
        while True:
            order = rng.permutation(len(self))
            if self.lengths is not None:
                order = self._alike(order, batch, rng)
            for begin in range(0, len(order) - batch + 1, batch):
                yield torch.from_numpy(order[begin : begin + batch])

    def padding(self, batch: int) -> float:
        """The share of the places in the batches of one pass that hold nothing."""
        if self.lengths is None:
            return 0.0
        batch = min(batch, len(self))
        drawn = self.passes(batch, np.random.default_rng(0))
        held = places = 0
        for _ in range(len(self) // batch):
            lengths = self.lengths[next(drawn)]
            held += int(lengths.sum())
            places += int(lengths.max()) * batch
        return 1 - held / places

    def _alike(
        self, order: NDArray[np.int64], batch: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        assert self.lengths is not None
        lengths = self.lengths.numpy()
        whole = len(order) // batch * batch
        order = order[:whole]
        sorted_parts = []
        for begin in range(0, whole, batch * _TOGETHER):
            part = order[begin : begin + batch * _TOGETHER]
            sorted_parts.append(part[np.argsort(lengths[part], kind="stable")])
        batches = np.concatenate(sorted_parts).reshape(-1, batch)
        return batches[rng.permutation(len(batches))].reshape(-1)

    def _trim(self, x: Tensor, y: Tensor, length: int) -> tuple[Tensor, Tensor]:
        if self.lengths is None:
            return x, y
        return x[:, :length], y[:, : length * self.per_piece] if self.per_piece else y
