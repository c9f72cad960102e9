"""An answer for every position, merged into whole arrays again."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tokfrag.compare.body import Body
from tokfrag.compare.contracts import FittedCut, Floor, Model, Pieces, PieceSpec, Samples
from tokfrag.compare.metric import ACCURACY, Metric
from tokfrag.compare.problems.items import Items, weighted_mean


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

    def items(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> Items:
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
        device = next(network.parameters()).device
        whole = torch.from_numpy(fitted.whole(samples.x)).to(device)
        with torch.no_grad():
            uncut = torch.cat([network(x[None]).argmax(1).cpu() for x in whole])
        truth = samples.y[:, 0][..., fitted.borders]
        merged = self.merged(outputs, samples, fitted).argmax(1)[..., fitted.borders]
        return float(
            np.mean(uncut.numpy()[..., fitted.borders] == truth) - np.mean(merged == truth)
        )
