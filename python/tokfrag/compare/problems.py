"""What a network must learn from pieces, and how its answers are judged.

A score is always told in units of the data (samples, values, bytes of text), never of pieces: a
loss per token cannot be compared between tokenizers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tokfrag.compare.body import Body, Model
from tokfrag.compare.cut import FittedCut
from tokfrag.compare.metric import ACCURACY, BITS_PER_BYTE, MSE, Metric
from tokfrag.compare.pieces import Pieces, PieceSpec
from tokfrag.compare.task import Samples


class Problem(Protocol):
    """What the runner asks of a problem; it knows no more of a task than this."""

    @property
    def metric(self) -> Metric: ...
    def network(self, spec: PieceSpec, model: Model) -> nn.Module: ...
    def tensors(self, pieces: Pieces, samples: Samples, fitted: FittedCut) -> tuple[Tensor, Tensor]:
        """Inputs and targets, an item a row; items need not be samples."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The mean loss of a batch."""

    def score(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> float: ...
    def summary(self, output: Tensor, target: Tensor) -> Tensor:
        """What the score needs of a batch of answers, as small as can be."""


@dataclass(frozen=True)
class Classify:
    """One of ``classes`` labels a sample; judged by accuracy."""

    classes: int

    @property
    def metric(self) -> Metric:
        return ACCURACY

    def network(self, spec: PieceSpec, model: Model) -> nn.Module:
        return model(spec, self.classes)

    def tensors(self, pieces: Pieces, samples: Samples, fitted: FittedCut) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(pieces.values), torch.from_numpy(samples.y.astype(np.int64))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(output, target)

    def summary(self, output: Tensor, target: Tensor) -> Tensor:
        return output.argmax(-1) == target

    def score(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> float:
        return float(outputs.double().mean())


@dataclass(frozen=True)
class Forecast:
    """``horizon`` numbers a sample; judged by the mean squared error."""

    horizon: int

    @property
    def metric(self) -> Metric:
        return MSE

    def network(self, spec: PieceSpec, model: Model) -> nn.Module:
        return model(spec, self.horizon)

    def tensors(self, pieces: Pieces, samples: Samples, fitted: FittedCut) -> tuple[Tensor, Tensor]:
        target = samples.y.reshape(len(samples), -1).astype(np.float32)
        return torch.from_numpy(pieces.values), torch.from_numpy(target)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return functional.mse_loss(output, target)

    def summary(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).square().mean(-1)

    def score(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> float:
        return float(outputs.double().mean())


class NextPiece(nn.Module):
    """A causal body and, above it, the probabilities of the next piece's new units in turn.

    A window with several new bytes gets a small causal layer of its own: each new byte is told by
    the body's vector and the new bytes before it, so that the probabilities are proper ones.
    """

    def __init__(self, spec: PieceSpec, body: nn.Module, width: int):
        super().__init__()
        assert spec.vocabulary is not None
        self.body = body
        self.nothing = spec.vocabulary
        self.fresh = spec.fresh
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
        logits: Tensor = self.head(x)
        return logits


@dataclass(frozen=True)
class PredictNext:
    """Every piece of a text from those before it; judged in bits per byte of the text."""

    @property
    def metric(self) -> Metric:
        return BITS_PER_BYTE

    def network(self, spec: PieceSpec, model: Model) -> nn.Module:
        if spec.vocabulary is None:
            raise ValueError("predicting the next piece takes a cut into ids, got one into values")
        body = model(spec, None)
        width = getattr(body, "norm", None)
        if not isinstance(width, nn.LayerNorm):
            raise TypeError("model: predicting the next piece takes a Body, got another network")
        return NextPiece(spec, body, width.normalized_shape[0])

    def tensors(self, pieces: Pieces, samples: Samples, fitted: FittedCut) -> tuple[Tensor, Tensor]:
        values = torch.from_numpy(pieces.values)
        new = values if values.dim() == 2 else values[..., -fitted.spec.fresh :].flatten(1)
        return values, new.long()

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(
            output.flatten(0, 1), target.flatten(), ignore_index=output.shape[-1]
        )

    def summary(self, output: Tensor, target: Tensor) -> Tensor:
        nats = functional.cross_entropy(
            output.flatten(0, 1), target.flatten(), ignore_index=output.shape[-1], reduction="none"
        )
        return nats.view(target.shape).double().sum(1)

    def score(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> float:
        return float(outputs.sum()) / math.log(2) / samples.raw_bytes


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
        answer: Tensor = self.layers(x)
        return answer


@dataclass(frozen=True)
class Segment:
    """One of ``classes`` labels a position; judged by the accuracy after fragments are merged."""

    classes: int
    depth: int = 3

    @property
    def metric(self) -> Metric:
        return ACCURACY

    def network(self, spec: PieceSpec, model: Model) -> nn.Module:
        if spec.vocabulary is not None or len(spec.shape) < 2:
            raise ValueError("segmenting takes fragments; tokens have no positions inside")
        if isinstance(model, Body):
            width = max(4, model.width // 8)
            return DenseNetwork(spec.shape[0], self.classes, len(spec.shape) - 1, width, self.depth)
        return model(spec, self.classes)

    def tensors(self, pieces: Pieces, samples: Samples, fitted: FittedCut) -> tuple[Tensor, Tensor]:
        if fitted.split is None:
            raise ValueError("segmenting takes a cut that can cut labels too (FittedCut.split)")
        # Items are windows, not samples. Where a window hangs over the edge, nothing is asked.
        labels = fitted.split(samples.y.astype(np.int64), -1)[:, :, 0]
        return (
            torch.from_numpy(pieces.values).flatten(0, 1),
            torch.from_numpy(np.ascontiguousarray(labels)).flatten(0, 1),
        )

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(output, target, ignore_index=-1)

    def summary(self, output: Tensor, target: Tensor) -> Tensor:
        return output.softmax(1)

    def score(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> float:
        return float(np.mean(self.merged(outputs, samples, fitted).argmax(1) == samples.y[:, 0]))

    def merged(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> NDArray[Any]:
        """Probabilities ``(samples, classes, *space)`` from those of all windows."""
        if fitted.join is None:
            raise ValueError("segmenting takes a cut that can merge answers (FittedCut.join)")
        return fitted.join(outputs.numpy().reshape(len(samples), -1, *outputs.shape[1:]))

    def seam_error(
        self, network: nn.Module, outputs: Tensor, samples: Samples, fitted: FittedCut
    ) -> float:
        """How far probabilities next to borders are from those of the uncut array, on average."""
        if fitted.whole is None or fitted.borders is None or not fitted.borders.any():
            return 0.0
        with torch.no_grad():
            whole = torch.cat(
                [network(x[None]).softmax(1) for x in torch.from_numpy(fitted.whole(samples.x))]
            )
        error = np.abs(self.merged(outputs, samples, fitted) - whole.numpy())
        return float(error[..., fitted.borders].mean())


@runtime_checkable
class HasSeams(Protocol):
    """A problem whose answers are whole arrays again, so that borders can show."""

    def merged(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> NDArray[Any]: ...
    def seam_error(
        self, network: nn.Module, outputs: Tensor, samples: Samples, fitted: FittedCut
    ) -> float: ...


def outputs_of(network: nn.Module, problem: Problem, inputs: Tensor, targets: Tensor) -> Tensor:
    """The summaries of all items, in batches small enough for any machine."""
    network.eval()
    parts: list[Any] = []
    with torch.no_grad():
        for begin in range(0, len(inputs), 128):
            output = network(inputs[begin : begin + 128])
            parts.append(problem.summary(output, targets[begin : begin + 128]))
    return torch.cat(parts)
