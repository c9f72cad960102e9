"""What a network must learn from pieces, and how its answers are judged.

A score is always told in units of the data (samples, values, bytes of text), never of pieces: a
loss per token cannot be compared between tokenizers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tokfrag.compare.body import Body, EmbedIds, Network
from tokfrag.compare.contracts import FittedCut, Floor, Model, Pieces, PieceSpec, Samples
from tokfrag.compare.floors import count_bits, ridge
from tokfrag.compare.metric import ACCURACY, BITS_PER_BYTE, MSE, Metric

_Items = tuple[NDArray[np.float64], NDArray[np.float64]]


def weighted_mean(items: _Items) -> float:
    """The score that parts of the data make together."""
    values, weights = items
    return float(values @ weights / weights.sum())


def _by_group(
    values: NDArray[np.float64], weights: NDArray[np.float64], samples: Samples
) -> _Items:
    """Parts of the data from single samples: those of one group are one part."""
    if samples.groups is None:
        return values, weights
    _, which = np.unique(samples.groups, return_inverse=True)
    total = np.bincount(which, weights).astype(np.float64)
    return np.bincount(which, values * weights) / total, total


@dataclass(frozen=True)
class Classify:
    """One of ``classes`` labels a sample; judged by accuracy."""

    classes: int

    @property
    def metric(self) -> Metric:
        """Accuracy."""
        return ACCURACY

    def network(self, spec: PieceSpec, model: Model) -> nn.Module:
        """The model with one output a class."""
        return model(spec, self.classes)

    def tensors(self, pieces: Pieces, samples: Samples, fitted: FittedCut) -> tuple[Tensor, Tensor]:
        """Pieces, and a class a sample."""
        return torch.from_numpy(pieces.values), torch.from_numpy(samples.y.astype(np.int64))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy, in nats."""
        return functional.cross_entropy(output, target)

    def summary(self, output: Tensor, target: Tensor) -> Tensor:
        """Whether each answer is right."""
        return output.argmax(-1) == target

    def items(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> _Items:
        """One or zero a sample; the mean where samples form groups."""
        right = outputs.double().numpy()
        return _by_group(right, np.ones(len(right)), samples)

    def score(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> float:
        """The share of samples told right."""
        return weighted_mean(self.items(outputs, samples, fitted))

    def floors(
        self, train: tuple[Pieces, Samples], test: tuple[Pieces, Samples], fitted: FittedCut
    ) -> tuple[Floor, ...]:
        """The most frequent label, and ridge regression on the pieces."""
        labels, counts = np.unique(train[1].y, return_counts=True)
        most = float(np.mean(test[1].y == labels[counts.argmax()]))
        wanted = np.eye(self.classes)[train[1].y]
        found = ridge(train[0], wanted, test[0], fitted.spec).argmax(1)
        return (
            Floor("the majority class", most),
            Floor("ridge on its pieces", float(np.mean(found == test[1].y))),
        )


@dataclass(frozen=True)
class Forecast:
    """``horizon`` numbers a sample; judged by the mean squared error."""

    horizon: int

    @property
    def metric(self) -> Metric:
        """The mean squared error."""
        return MSE

    def network(self, spec: PieceSpec, model: Model) -> nn.Module:
        """The model with one output a number."""
        return model(spec, self.horizon)

    def tensors(self, pieces: Pieces, samples: Samples, fitted: FittedCut) -> tuple[Tensor, Tensor]:
        """Pieces, and ``(samples, horizon)`` float32 numbers."""
        target = samples.y.reshape(len(samples), -1).astype(np.float32)
        return torch.from_numpy(pieces.values), torch.from_numpy(target)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The mean squared error."""
        return functional.mse_loss(output, target)

    def summary(self, output: Tensor, target: Tensor) -> Tensor:
        """The mean squared error of each sample."""
        return (output - target).square().mean(-1)

    def items(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> _Items:
        """A squared error a sample; the mean where samples form groups."""
        errors = outputs.double().numpy()
        return _by_group(errors, np.ones(len(errors)), samples)

    def score(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> float:
        """The mean over samples and numbers."""
        return weighted_mean(self.items(outputs, samples, fitted))

    def floors(
        self, train: tuple[Pieces, Samples], test: tuple[Pieces, Samples], fitted: FittedCut
    ) -> tuple[Floor, ...]:
        """The mean of the training part, and ridge regression on the pieces."""
        wanted = train[1].y.reshape(len(train[1]), -1).astype(np.float64)
        truth = test[1].y.reshape(len(test[1]), -1).astype(np.float64)
        found = ridge(train[0], wanted, test[0], fitted.spec)
        return (
            Floor("the training mean", float(np.mean((truth - wanted.mean(0)) ** 2))),
            Floor("ridge on its pieces", float(np.mean((truth - found) ** 2))),
        )


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
    """Every piece of a text from those before it; judged in bits per byte of the text."""

    #: What the network is shown is what it must tell, so nothing of it may get lost or be seen.
    predicts_input = True

    @property
    def metric(self) -> Metric:
        """Bits per byte."""
        return BITS_PER_BYTE

    def network(self, spec: PieceSpec, model: Model) -> nn.Module:
        """The model with the probabilities of the next piece's units above it."""
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
        values = torch.from_numpy(pieces.values)
        new = values if values.dim() == 2 else values[..., -fitted.spec.fresh :].flatten(1)
        return values, new.long()

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

    def items(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> _Items:
        """Bits per byte of each text, weighed by its bytes."""
        size = np.array([len(text) for text in samples.x], np.float64)
        bits = outputs.numpy() / math.log(2)
        # An empty text has no bytes to share its bits out to; its bits count all the same.
        return _by_group(bits / np.maximum(size, 1), np.maximum(size, 1e-12), samples)

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


class DenseNetwork(nn.Module):
    """Convolutions that keep the size: an answer for every position of a fragment."""

    def __init__(self, channels: int, classes: int, axes: int, width: int, depth: int):
        super().__init__()
        if not 1 <= axes <= 3:
            raise ValueError(f"segmenting takes 1 to 3 space-time axes, got {axes}")
        conv: type[nn.Module] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
        layers: list[nn.Module] = []
        before = channels
        for _ in range(depth):
            layers += [conv(before, width, 3, padding=1), nn.ReLU()]
            before = width
        self.layers = nn.Sequential(*layers, conv(before, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, channels, *size)`` to ``(batch, classes, *size)``."""
        answer: Tensor = self.layers(x)
        return answer


@dataclass(frozen=True)
class Segment:
    """One of ``classes`` labels a position; judged by the accuracy after fragments are merged."""

    classes: int
    depth: int = 3

    @property
    def metric(self) -> Metric:
        """Accuracy."""
        return ACCURACY

    def network(self, spec: PieceSpec, model: Model) -> nn.Module:
        """Convolutions that keep the size, or the user's model."""
        if spec.vocabulary is not None or len(spec.shape) < 2:
            raise ValueError("segmenting takes fragments; tokens have no positions inside")
        if isinstance(model, Body):
            width = max(4, model.width // 8)
            return DenseNetwork(spec.shape[0], self.classes, len(spec.shape) - 1, width, self.depth)
        return model(spec, self.classes)

    def tensors(self, pieces: Pieces, samples: Samples, fitted: FittedCut) -> tuple[Tensor, Tensor]:
        """Windows, and a label for each of their positions; -1 beyond the edge."""
        if fitted.split is None:
            raise ValueError("segmenting takes a cut that can cut labels too (FittedCut.split)")
        # Items are windows, not samples. Where a window hangs over the edge, nothing is asked.
        labels = fitted.split(samples.y.astype(np.int64), -1)[:, :, 0]
        return (
            torch.from_numpy(pieces.values).flatten(0, 1),
            torch.from_numpy(np.ascontiguousarray(labels)).flatten(0, 1),
        )

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy a position, in nats; nothing is asked beyond the edge."""
        return functional.cross_entropy(output, target, ignore_index=-1)

    def summary(self, output: Tensor, target: Tensor) -> Tensor:
        """Probabilities of the classes at each position."""
        return output.softmax(1)

    def items(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> _Items:
        """Each sample in halves along every axis: a few volumes are too few parts to judge by."""
        right = self.merged(outputs, samples, fitted).argmax(1) == samples.y[:, 0]
        halves = [(slice(0, n // 2), slice(n // 2, n)) for n in right.shape[1:]]
        blocks = [(slice(None), *block) for block in product(*halves)]
        parts = [right[block] for block in blocks]
        parts = [part.reshape(len(right), -1) for part in parts if part.size]
        values = np.concatenate([part.mean(1) for part in parts])
        return values, np.concatenate([np.full(len(p), float(p.shape[1])) for p in parts])

    def score(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> float:
        """The share of positions told right, after windows are merged."""
        return weighted_mean(self.items(outputs, samples, fitted))

    def floors(
        self, train: tuple[Pieces, Samples], test: tuple[Pieces, Samples], fitted: FittedCut
    ) -> tuple[Floor, ...]:
        """The most frequent label."""
        labels, counts = np.unique(train[1].y, return_counts=True)
        return (Floor("the largest class", float(np.mean(test[1].y == labels[counts.argmax()]))),)

    def merged(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> NDArray[Any]:
        """Probabilities ``(samples, classes, *space)`` from those of all windows."""
        if fitted.join is None:
            raise ValueError("segmenting takes a cut that can merge answers (FittedCut.join)")
        return fitted.join(outputs.numpy().reshape(len(samples), -1, *outputs.shape[1:]))

    def seam_error(
        self, network: nn.Module, outputs: Tensor, samples: Samples, fitted: FittedCut
    ) -> float:
        """Accuracy of the uncut answer less that of the merged one, at positions next to borders.

        Both are of the same network and the same positions. Above zero, borders cost something.
        """
        if fitted.whole is None or fitted.borders is None or not fitted.borders.any():
            return 0.0
        with torch.no_grad():
            uncut = torch.cat(
                [network(x[None]).argmax(1) for x in torch.from_numpy(fitted.whole(samples.x))]
            )
        truth = samples.y[:, 0][..., fitted.borders]
        merged = self.merged(outputs, samples, fitted).argmax(1)[..., fitted.borders]
        return float(
            np.mean(uncut.numpy()[..., fitted.borders] == truth) - np.mean(merged == truth)
        )
