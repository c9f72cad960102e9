"""Volume: tell the inside of shapes from the outside, window by window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import Problem, Recipe, Samples, Split
from tokfrag.compare.files import check_labels, read_npz


class VolumeTask:
    """Generated volumes with known truth, or the user's npz, segmented by a small network.

    Generated: balls of random size and place, seen through a slow change of brightness and noise.
    ``data``: an npz with ``image`` and ``label``, ``(volumes, *space)`` or one volume whose slices
    along the first axis become the samples. The last quarter is for testing.
    """

    name = "volume"

    def __init__(self, data: Path | None = None, *, volumes: int = 16, extent: int = 24):
        if volumes < 4 or extent < 8:
            raise ValueError(f"volumes, extent: got {volumes}, {extent}; they take 4 and 8 or more")
        x, y = _generate(volumes, extent) if data is None else _from_file(Path(data))
        held = max(1, len(x) // 4)
        self._split = Split(Samples(x[:-held], y[:-held]), Samples(x[-held:], y[-held:]))
        source = "generated volumes" if data is None else Path(data).name
        shape = "x".join(map(str, x.shape[2:]))
        self.about = f"{source}, {shape}, {len(x) - held} to learn from, {held} to be judged on"

    @property
    def recipe(self) -> Recipe:
        """Batches and a first rate that suit this data."""
        return Recipe(batch=1, rate=5e-3, width=32)

    def split(self) -> Split:
        """The last quarter of the volumes is held out."""
        return self._split

    def problem(self) -> Problem:
        """A label for every position."""
        from tokfrag.compare.problems import Segment

        return Segment(int(self._split.train.y.max()) + 1)

    def baselines(self, split: Split) -> Mapping[str, float]:
        """Always the largest class, and the best threshold on brightness."""
        labels, counts = np.unique(split.train.y, return_counts=True)
        return {
            "largest class": float(np.mean(split.test.y == labels[np.argmax(counts)])),
            "best threshold": _threshold_accuracy(split),
        }

    def default_cuts(self) -> Sequence[str]:
        """All of the volume, and fragments of a half and a quarter of it."""
        extent = min(self._split.train.x.shape[2:])
        half, quarter = extent // 2, extent // 4
        return (
            "whole",
            f"patch:{half}",
            f"patch:{quarter}",
            f"patch:{half}/{quarter}",
            f"patch:{half}/{quarter}+hann",
        )

    def default_budget(self) -> str:
        """What a training may spend, in operations."""
        return "60 GFLOP"


def _generate(volumes: int, extent: int) -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(0)
    axis = np.arange(extent, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"))
    truth = np.zeros((volumes, extent, extent, extent), bool)
    slope = np.empty(truth.shape, np.float32)
    for volume in range(volumes):
        for _ in range(12):
            centre = rng.uniform(0, extent, 3).astype(np.float32)
            radius = rng.uniform(0.1, 0.25) * extent
            distance = np.square(grid - centre[:, None, None, None]).sum(0)
            truth[volume] |= distance < radius**2
        tilt = rng.normal(0, 0.6, 3)
        slope[volume] = np.tensordot(tilt, grid / extent - 0.5, 1)
    image = truth + slope + rng.normal(0, 1.0, truth.shape)
    return image[:, None].astype(np.float32), truth[:, None].astype(np.int64)


def _from_file(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    image, label = read_npz(path, ("image",), ("label",))
    if image.shape != label.shape or image.ndim not in (3, 4) or len(image) < 4 or not image.size:
        raise ValueError(
            f"{path}: takes 4 or more images and labels of one shape, (samples, *space), got "
            f"{image.shape} and {label.shape}"
        )
    return image[:, None].astype(np.float32), check_labels(label, str(path))[:, None]


def _threshold_accuracy(split: Split) -> float:
    """The accuracy of the best single brightness between outside (0) and the rest."""
    values, inside = split.train.x.ravel(), split.train.y.ravel() > 0
    levels = np.quantile(values[:: max(1, values.size // 100_000)], np.linspace(0, 1, 101))
    best = max(levels, key=lambda level: float(np.mean((values > level) == inside)))
    return float(np.mean((split.test.x > best) == (split.test.y > 0)))
