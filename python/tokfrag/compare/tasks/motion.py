"""Motion: clips of moving digits; which way do they go, or which two digits are they?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import Problem, Recipe, Samples, Split
from tokfrag.compare.tasks.arrays import majority
from tokfrag.compare.tasks.digits import digit_images, read_images

_LABELS = ("direction", "pair")


class MotionTask:
    """Two digits a clip, moving one way at their own speeds, reflected at the walls; seeded.

    ``label="direction"``: which of eight ways they set out; ``"pair"``: which two digits they are
    (55 classes). ``data``: MNIST's files as for the digits; the canvas is twice the digits' size.
    """

    name = "motion"

    def __init__(
        self,
        data: Path | None = None,
        *,
        clips: int = 1500,
        frames: int = 8,
        label: str = "direction",
        noise: float = 0.1,
    ):
        if label not in _LABELS:
            raise ValueError(f"label: got {label!r}; it takes one of {', '.join(_LABELS)}")
        if clips < 20 or frames < 2:
            raise ValueError(f"clips, frames: got {clips}, {frames}; they take 20 and 2 or more")
        images, labels = digit_images() if data is None else read_images(Path(data))
        if label == "pair" and labels.max() > 9:
            raise ValueError(f"label: pair takes the digits 0 to 9, got the label {labels.max()}")
        # Test clips show digits that no training clip has shown.
        apart = len(images) * 4 // 5
        held = clips // 5
        pictures = images.astype(np.float32) / max(1, images.max())
        self._classes = 8 if label == "direction" else 55
        self._split = Split(
            _clips(pictures[:apart], labels[:apart], clips - held, frames, label, noise, 1),
            _clips(pictures[apart:], labels[apart:], held, frames, label, noise, 2),
        )
        shape = "x".join(map(str, self._split.train.x.shape[2:]))
        self.about = (
            f"moving digits, {shape}, {label}, {clips - held} clips to learn from, "
            f"{held} to be judged on"
        )

    @property
    def recipe(self) -> Recipe:
        """Batches small enough that the finest cut makes enough steps."""
        return Recipe(batch=32)

    def split(self) -> Split:
        """A fifth of the clips is held out, of digits that no other clip shows."""
        return self._split

    def problem(self) -> Problem:
        """One of eight directions, or of 55 pairs of digits."""
        from tokfrag.compare.problems import Classify

        return Classify(self._classes)

    def baselines(self, split: Split) -> Mapping[str, float]:
        """Always the most frequent label."""
        return {"majority class": majority(split.train.y, split.test.y)}

    def default_cuts(self) -> Sequence[str]:
        """Whole frames, and fragments that last two and four frames."""
        frames, rows, columns = self._split.train.x.shape[2:]
        frame, half = f"{rows}x{columns}", f"{rows // 2}x{columns // 2}"
        names = [f"patch:1x{frame}", f"patch:1x{frame}+diff", f"patch:2x{half}"]
        if frames >= 4:
            names += [f"patch:2x{half}+diff", f"patch:4x{half}"]
        return names

    def default_budget(self) -> str:
        """What a training may spend, in operations."""
        return "80 GFLOP"


def _clips(
    pictures: NDArray[np.float32],
    labels: NDArray[np.int64],
    count: int,
    frames: int,
    label: str,
    noise: float,
    seed: int,
) -> Samples:
    """``(count, 1, frames, 2 rows, 2 columns)`` and the labels."""
    rng = np.random.default_rng(seed)
    rows, columns = pictures.shape[1:]
    clips = np.zeros((count, frames, 2 * rows, 2 * columns), np.float32)
    octants = rng.integers(0, 8, count)
    chosen = rng.integers(0, len(pictures), (count, 2))
    starts = rng.uniform(0, (rows, columns), (count, 2, 2))
    speeds = rng.uniform(0.08, 0.2, (count, 2)) * rows
    for clip in range(count):
        angle = octants[clip] * np.pi / 4
        for digit in range(2):
            step = speeds[clip, digit] * np.stack((np.sin(angle), np.cos(angle)))
            picture = pictures[chosen[clip, digit]]
            for frame in range(frames):
                y, x = _reflect(starts[clip, digit] + frame * step, (rows, columns))
                spot = clips[clip, frame, y : y + rows, x : x + columns]
                np.maximum(spot, picture, out=spot)
    clips += rng.standard_normal(clips.shape, dtype=np.float32) * np.float32(noise)
    if label == "direction":
        return Samples(clips[:, None], octants)
    low, high = np.sort(labels[chosen], axis=1).T
    return Samples(clips[:, None], high * (high + 1) // 2 + low)


def _reflect(place: NDArray[np.float64], limits: tuple[int, int]) -> tuple[int, int]:
    """The pixel nearest to a position that is bounced off the walls at 0 and at the limits."""
    limit = np.array(limits, np.float64)
    folded = np.mod(place, 2 * limit)
    y, x = np.where(folded > limit, 2 * limit - folded, folded)
    return round(float(y)), round(float(x))
