"""One answer a sample: a class, or numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tokfrag.compare.contracts import FittedCut, Floor, Model, Pieces, PieceSpec, Samples
from tokfrag.compare.floors import ridge
from tokfrag.compare.metric import ACCURACY, HITS, MAE, MSE, Metric
from tokfrag.compare.problems.items import Items, by_group, weighted_mean


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

    def items(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> Items:
        """One or zero a sample; the mean where samples form groups."""
        right = outputs.double().numpy()
        return by_group(right, np.ones(len(right)), samples)

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
    """``horizon`` numbers a sample; judged by the mean squared error, or the mean absolute one.

    Parameters
    ----------
    horizon
        How many numbers.
    measure
        ``"MSE"`` or ``"MAE"``; networks are trained on the same.
    centre, scale
        Networks are asked for ``(number - centre) / scale``; scores are in the numbers' own units.
    """

    horizon: int
    measure: str = "MSE"
    centre: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.measure not in ("MSE", "MAE"):
            raise ValueError(f"measure: got {self.measure!r}; it takes one of MSE, MAE")

    @property
    def metric(self) -> Metric:
        """The mean squared error, or the mean absolute one."""
        return MSE if self.measure == "MSE" else MAE

    def network(self, spec: PieceSpec, model: Model) -> nn.Module:
        """The model with one output a number."""
        return model(spec, self.horizon)

    def tensors(self, pieces: Pieces, samples: Samples, fitted: FittedCut) -> tuple[Tensor, Tensor]:
        """Pieces, and ``(samples, horizon)`` float32 numbers as networks are asked for them."""
        target = (samples.y.reshape(len(samples), -1) - self.centre) / self.scale
        return torch.from_numpy(pieces.values), torch.from_numpy(target.astype(np.float32))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The error that is measured."""
        if self.measure == "MAE":
            return functional.l1_loss(output, target)
        return functional.mse_loss(output, target)

    def summary(self, output: Tensor, target: Tensor) -> Tensor:
        """The mean squared error and the mean absolute one of each sample, in its own units."""
        error = (output - target) * self.scale
        return torch.stack((error.square().mean(-1), error.abs().mean(-1)), 1)

    def items(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> Items:
        """An error a sample; the mean where samples form groups."""
        errors = outputs.double().numpy()[:, int(self.measure == "MAE")]
        return by_group(errors, np.ones(len(errors)), samples)

    def score(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> float:
        """The mean over samples and numbers."""
        return weighted_mean(self.items(outputs, samples, fitted))

    def more(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> Mapping[str, float]:
        """The root of the mean squared error, and the mean absolute error if that is no score."""
        squared, absolute = outputs.double().numpy().mean(0).tolist()
        return {"RMSE": squared**0.5, **({"MAE": absolute} if self.measure == "MSE" else {})}

    def floors(
        self, train: tuple[Pieces, Samples], test: tuple[Pieces, Samples], fitted: FittedCut
    ) -> tuple[Floor, ...]:
        """The mean of the training part, and ridge regression on the pieces."""
        wanted = train[1].y.reshape(len(train[1]), -1).astype(np.float64)
        truth = test[1].y.reshape(len(test[1]), -1).astype(np.float64)
        found = ridge(train[0], wanted, test[0], fitted.spec)
        return (
            Floor("the training mean", self._error(truth - wanted.mean(0))),
            Floor("ridge on its pieces", self._error(truth - found)),
        )

    def _error(self, difference: NDArray[np.float64]) -> float:
        return float(np.mean(np.abs(difference) if self.measure == "MAE" else difference**2))


@dataclass(frozen=True)
class RankItems(Classify):
    """One of ``classes`` items, judged by whether it is among the ``top`` likeliest."""

    top: int = 10

    @property
    def metric(self) -> Metric:
        """The share of samples whose item is among the likeliest."""
        return (
            HITS if self.top == 10 else Metric(f"hits in the first {self.top}", True, "%", 100.0, 1)
        )

    def summary(self, output: Tensor, target: Tensor) -> Tensor:
        """Whether each item is among the likeliest, and one over its rank."""
        own = output.gather(1, target[:, None])
        # Equal answers are no hit: a network that says the same of all items knows nothing.
        rank = (output >= own).sum(1)
        return torch.stack(((rank <= self.top).float(), 1 / rank.float()), 1)

    def items(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> Items:
        """One or zero a sample; the mean where samples form groups."""
        return super().items(outputs[:, 0], samples, fitted)

    def more(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> Mapping[str, float]:
        """The mean reciprocal rank."""
        return {"MRR": float(outputs[:, 1].double().mean())}

    def floors(
        self, train: tuple[Pieces, Samples], test: tuple[Pieces, Samples], fitted: FittedCut
    ) -> tuple[Floor, ...]:
        """The most frequent items."""
        counts = np.bincount(train[1].y, minlength=self.classes)
        likeliest = np.argsort(-counts, kind="stable")[: self.top]
        return (Floor("the most frequent items", float(np.isin(test[1].y, likeliest).mean())),)
