"""Pictures: tell the class of a picture, from folders of files, in colour or any channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import Problem, Recipe, Samples, Split
from tokfrag.compare.extras import require
from tokfrag.compare.readers.folders import read_folders
from tokfrag.compare.readers.pictures import ENDINGS, read_pictures
from tokfrag.compare.tasks.arrays import in_official_parts, majority

_SIDE = 16


class PicturesTask:
    """Cut-outs of two photographs that come with scikit-learn, or the user's folders of pictures.

    The default asks in which of six areas (sky or blossom, roof, leaves ...: thirds of each photo)
    a cut-out of 16 x 16 in colour lies; those for judging are from other columns than those to
    learn from. ``data``: a folder with a folder a class (under ``train`` and ``test`` where parts
    are official): PNG, JPEG and their like, grey or RGB, or ``.npy`` of (channels, rows, columns).
    ``side`` resizes all pictures to so many rows and columns.
    """

    name = "pictures"

    def __init__(self, data: Path | None = None, *, side: int | None = None, per_class: int = 250):
        if side is not None and side < 2:
            raise ValueError(f"side: got {side}; it takes 2 or more")
        if data is None:
            self._split, source = _photographs(per_class), "two photographs"
            self.classes: tuple[str, ...] = tuple(map(str, range(6)))
        else:
            found = read_folders(Path(data), ENDINGS)
            self._split = in_official_parts(found, read_pictures(found.every, side))
            source, self.classes = Path(data).name, found.classes
        shape = "x".join(map(str, self._split.train.x.shape[1:]))
        self.about = (
            f"{source}, {shape}, {len(self.classes)} classes, {len(self._split.train)} to learn "
            f"from, {len(self._split.test)} to be judged on"
        )

    @property
    def recipe(self) -> Recipe:
        """Batches and a first rate that suit some thousands of small pictures."""
        return Recipe(batch=8, rate=3e-3, width=32)

    def split(self) -> Split:
        """The official test part, or every fifth picture."""
        return self._split

    def problem(self) -> Problem:
        """One of the classes."""
        from tokfrag.compare.problems import Classify

        return Classify(len(self.classes))

    def baselines(self, split: Split) -> Mapping[str, float]:
        """Always the most frequent class, and the nearest mean colour."""
        return {
            "majority class": majority(split.train.y, split.test.y),
            "nearest mean colour": _nearest_colour(split),
        }

    def default_cuts(self) -> Sequence[str]:
        """Patches of an eighth to a half of the side, and adaptive ones."""
        side = min(self._split.train.x.shape[2:])
        fine, mid = max(1, side // 8), max(2, side // 4)
        half = max(mid, side // 2)
        adaptive = f"quad:{fine}/{4 * fine}" if fine > 1 else "quad:1"
        overlapping = (f"patch:{half}/{mid}",) if mid < half else ()
        # Of small pictures, some of these are the same.
        sizes = dict.fromkeys((f"patch:{fine}", f"patch:{mid}", *overlapping, f"patch:{half}"))
        return (*sizes, "quad:2" if fine == 2 else adaptive)

    def default_budget(self) -> str:
        """What a training may spend, in operations."""
        return "30 GFLOP"


def _nearest_colour(split: Split) -> float:
    """The accuracy of the class whose mean colour is the nearest."""
    axes = (2, 3)
    train, test = split.train.x.mean(axes), split.test.x.mean(axes)
    classes = np.unique(split.train.y)
    middles = np.stack([train[split.train.y == c].mean(0) for c in classes])
    distance = np.square(test[:, None] - middles).sum(-1)
    return float(np.mean(classes[distance.argmin(1)] == split.test.y))


def _photographs(per_class: int) -> Split:
    require("sklearn", "PIL", purpose="the pictures data")
    from sklearn.datasets import load_sample_images

    if per_class < 5:
        raise ValueError(f"per_class: got {per_class}; it takes 5 or more")
    rng = np.random.default_rng(0)
    parts: dict[bool, list[NDArray[np.float32]]] = {False: [], True: []}
    labels: dict[bool, list[int]] = {False: [], True: []}
    for photo, image in enumerate(load_sample_images().images):
        rows, columns = image.shape[:2]
        # The right quarter is for judging, with room so that no cut-out lies in both.
        border = columns * 3 // 4
        for third in range(3):
            top = third * rows // 3
            for judged, left, right in ((False, 0, border), (True, border, columns)):
                count = per_class if not judged else max(2, per_class // 4)
                for _ in range(count):
                    row = top + int(rng.integers(rows // 3 - _SIDE))
                    column = left + int(rng.integers(right - left - _SIDE))
                    cut_out = image[row : row + _SIDE, column : column + _SIDE]
                    parts[judged].append(cut_out.transpose(2, 0, 1).astype(np.float32))
                    labels[judged].append(3 * photo + third)
    return Split(
        *(Samples(np.stack(parts[j]), np.array(labels[j], np.int64)) for j in (False, True))
    )
