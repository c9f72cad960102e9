"""Every piece of a text from those before it, judged in bits per byte."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tokfrag.compare.body import Network
from tokfrag.compare.contracts import FittedCut, Floor, Model, Pieces, PieceSpec, Samples
from tokfrag.compare.floors import count_bits
from tokfrag.compare.layers import EmbedIds
from tokfrag.compare.metric import BITS_PER_BYTE, Metric
from tokfrag.compare.problems.items import Items, by_group


class NextPiece(nn.Module):
    """A causal body and, above it, the probabilities of the next piece's new units in turn.

    The answer is the body's own table of ids where it has one, so that a large vocabulary is paid
    for once. A window with several new bytes gets a small causal layer of its own: each new byte is
    told by the body's vector and the new bytes before it, so that the probabilities are proper
    ones.
    """

    def __init__(self, spec: PieceSpec, body: nn.Module, width: int):
        super().__init__()
        assert spec.vocabulary is not None
        self.body = body
        self.width = width
        self.nothing = spec.vocabulary
        self.fresh = spec.fresh
        embed = body.embed if isinstance(body, Network) else None
        self.tied = isinstance(embed, EmbedIds) and embed.table.embedding_dim == width
        if self.tied:
            self.bias = nn.Parameter(torch.zeros(spec.vocabulary))
        else:
            self.head = nn.Linear(width, spec.vocabulary)
        if self.fresh > 1:
            unit = max(8, width // 4)
            self.table = nn.Embedding(spec.vocabulary + 1, unit)
            self.above = nn.Linear(width, self.fresh * width)
            self.before = nn.Parameter(torch.randn(self.fresh, width, self.fresh, unit) * 0.05)
            # Unit i may see the new units before it, not itself.
            order = torch.ones(self.fresh, self.fresh).tril(-1)
            self.register_buffer("order", order[:, None, :, None], persistent=False)

    def forward(self, pieces: Tensor) -> Tensor:
        """``(batch, n)`` or ``(batch, n, units)`` ids to ``(batch, n * fresh, vocabulary)``."""
        start = torch.full_like(pieces[:, :1], self.nothing)
        x = self.body(torch.cat((start, pieces[:, :-1]), 1))
        if self.fresh > 1:
            batch, n, width = x.shape
            new = self.table(pieces[..., -self.fresh :].long()).flatten(2)
            weight = (self.before * self.order).flatten(2).flatten(0, 1)  # type: ignore[operator]
            x = self.above(x) + functional.linear(new, weight)
            x = functional.gelu(x).view(batch, n * self.fresh, width)
        logits: Tensor
        if self.tied:
            table: Tensor = self.body.embed.table.weight  # type: ignore[union-attr, assignment]
            logits = functional.linear(x, table[: self.nothing], self.bias)
        else:
            logits = self.head(x)
        return logits


@dataclass(frozen=True)
class PredictNext:
    """Every piece of a text from those before it; judged in bits per byte of the text.

    Parameters
    ----------
    window
        Where it is given, networks are shown so many pieces at a time, whatever the cut: a coarser
        one then sees more of the text. Each window begins from nothing.
    """

    window: int | None = None

    #: What the network is shown is what it must tell, so nothing of it may get lost or be seen.
    predicts_input = True

    @property
    def metric(self) -> Metric:
        """Bits per byte."""
        return BITS_PER_BYTE

    def network(self, spec: PieceSpec, model: Model) -> nn.Module:
        """The model with the probabilities of the next piece's units above it."""
        if self.window is not None:
            spec = replace(spec, n=min(spec.n, self.window))
        if spec.vocabulary is None:
            raise ValueError("predicting the next piece takes a cut into ids, got one into values")
        body = model(spec, None)
        with torch.no_grad():
            shape = (1, min(2, spec.n), *spec.shape)
            found = body(torch.zeros(shape, dtype=torch.int32))
        if not isinstance(found, Tensor) or found.dim() != 3 or found.shape[:2] != shape[:2]:
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise TypeError(
                f"model: got {got} for pieces of {shape}; predicting the next piece takes one "
                "vector a piece, (batch, n, width)"
            )
        return NextPiece(spec, body, found.shape[2])

    def tensors(self, pieces: Pieces, samples: Samples, fitted: FittedCut) -> tuple[Tensor, Tensor]:
        """Pieces, and the new units of each, ``(samples, n * fresh)``."""
        values = torch.from_numpy(self._windows(pieces, fitted.spec))
        new = values if values.dim() == 2 else values[..., -fitted.spec.fresh :].flatten(1)
        return values, new.long()

    def lengths(self, pieces: Pieces) -> NDArray[np.int64]:
        """Pieces of each item: of a text, or of its windows in turn."""
        if self.window is None:
            return pieces.lengths
        counts = self._counts(pieces.lengths)
        owners = np.repeat(np.arange(len(counts)), counts)
        first = np.cumsum(counts) - counts
        number = np.arange(len(owners)) - first[owners]
        left: NDArray[np.int64] = pieces.lengths[owners] - number * self.window
        return np.minimum(left, self.window)

    def _counts(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Windows of each text: at least one, which may be empty."""
        assert self.window is not None
        counts: NDArray[np.int64] = np.maximum(1, -(-lengths // self.window))
        return counts

    def _windows(self, pieces: Pieces, spec: PieceSpec) -> NDArray[Any]:
        values = pieces.values
        if self.window is None:
            return values
        counts = self._counts(pieces.lengths)
        most = int(counts.max(initial=1))
        shape = (len(values), most * self.window, *values.shape[2:])
        room = np.full(shape, spec.vocabulary, values.dtype)
        kept = min(values.shape[1], shape[1])
        room[:, :kept] = values[:, :kept]
        windows = room.reshape(len(values), most, self.window, *values.shape[2:])
        return windows[np.arange(most) < counts[:, None]]

    def targets_per_piece(self, spec: PieceSpec) -> int:
        """The new units of a piece."""
        return spec.fresh

    def weight(self, output: Tensor, target: Tensor) -> float:
        """Units that are asked for, not what only fills rows up."""
        return float((target < output.shape[-1]).sum())

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy a unit, in nats; what only fills rows up is not asked for."""
        return functional.cross_entropy(
            output.flatten(0, 1), target.flatten(), ignore_index=output.shape[-1]
        )

    def summary(self, output: Tensor, target: Tensor) -> Tensor:
        """Nats that each text takes."""
        nats = functional.cross_entropy(
            output.flatten(0, 1), target.flatten(), ignore_index=output.shape[-1], reduction="none"
        )
        return nats.view(target.shape).double().sum(1)

    def items(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> Items:
        """Bits per byte of each text, weighed by its bytes."""
        size = np.array([len(text) for text in samples.x], np.float64)
        bits = outputs.numpy() / math.log(2)
        if self.window is not None:
            counts = self._counts(fitted.cut(samples.x).lengths)
            owners = np.repeat(np.arange(len(counts)), counts)
            bits = np.bincount(owners, bits).astype(np.float64)
        # An empty text has no bytes to share its bits out to; its bits count all the same.
        return by_group(bits / np.maximum(size, 1), np.maximum(size, 1e-12), samples)

    def score(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> float:
        """Bits of all texts over their bytes."""
        return float(outputs.sum()) / math.log(2) / samples.raw_bytes

    def floors(
        self, train: tuple[Pieces, Samples], test: tuple[Pieces, Samples], fitted: FittedCut
    ) -> tuple[Floor, ...]:
        """How frequent each of its units is, and each pair of neighbours."""
        spec = fitted.spec

        def units(pieces: Pieces) -> NDArray[Any]:
            held = pieces.values
            return held if held.ndim == 2 else held[..., -spec.fresh :].reshape(len(held), -1)

        assert spec.vocabulary is not None
        alone, paired = count_bits(units(train[0]), units(test[0]), spec.vocabulary)
        size = test[1].raw_bytes
        return (
            Floor("counting its own tokens", alone / size),
            Floor("counting pairs of its tokens", paired / size),
        )
