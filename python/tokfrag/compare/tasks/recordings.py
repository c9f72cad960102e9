"""Arrays: the user's npz of samples and labels, or of recordings of different lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import Problem, Recipe, Split
from tokfrag.compare.files import read_npz
from tokfrag.compare.tasks.arrays import ArrayTask

#: Names of arrays that stand for themselves.
X_NAMES, Y_NAMES = ("x", "X", "data"), ("y", "labels", "label")


class ArraysTask:
    """The arrays of an npz file, by name.

    ``x`` and ``y`` name the samples and what is told. Where ``lengths`` names the lengths of
    recordings, ``x`` holds these one after the other, (all times, ...): each is brought to `frames`
    times by the nearest one, and its numbers at a time form an axis: (1, frames, numbers).
    ``groups`` names whom each sample is from, so that nobody is in two parts; ``test_groups`` says
    who is judged (``2,4,6``).
    """

    name = "arrays"

    def __init__(
        self,
        data: Path | None = None,
        *,
        x: str | None = None,
        y: str | None = None,
        groups: str | None = None,
        test_groups: str | None = None,
        lengths: str | None = None,
        frames: int = 40,
        channels_first: str = "no",
    ):
        if data is None:
            raise ValueError("arrays: got no data; --data PATH names an npz file")
        if test_groups is not None and groups is None:
            raise ValueError("test_groups: takes groups=NAME beside it")
        if channels_first not in ("yes", "no"):
            raise ValueError(f"channels_first: got {channels_first!r}; it takes yes or no")
        path = Path(data)
        wanted = [(x,) if x else X_NAMES, (y,) if y else Y_NAMES]
        wanted += [(name,) for name in (groups, lengths) if name is not None]
        found = read_npz(path, *wanted)
        values, told = found[0], found[1]
        whose = found[2] if groups is not None else None
        samples = len(values if lengths is None else found[-1])
        if samples != len(told) or (whose is not None and whose.shape != (samples,)):
            counts = [f"{len(told)} in y", *([] if whose is None else [f"{len(whose)} in groups"])]
            raise ValueError(f"{path}: got {samples} samples, {', '.join(counts)}")
        kept = np.ones(len(told), bool)
        if lengths is not None:
            values, kept = _recordings(values, found[-1], frames, str(path))
            told, whose = told[kept], None if whose is None else whose[kept]
            values = values[kept]
        judged = None
        if test_groups is not None:
            assert whose is not None
            known = {str(group): group for group in np.unique(whose)}
            named = [group.strip() for group in test_groups.split(",")]
            judged = np.isin(whose, [known[group] for group in named if group in known])
            if not set(named) <= set(known) or judged.all():
                raise ValueError(
                    f"test_groups: got {test_groups!r}; it takes some of "
                    f"{', '.join(map(str, np.unique(whose)))}"
                )
        if told.dtype.kind in "iu" and told.min() > 0:
            told = np.unique(told, return_inverse=True)[1]
        open_axis = channels_first == "yes"
        if judged is None:
            self._task = ArrayTask(values, told, groups=whose, channels_first=open_axis)
        else:
            self._task = ArrayTask(
                values[~judged],
                told[~judged],
                channels_first=open_axis,
                test=(values[judged], told[judged]),
            )
        shape = "x".join(map(str, values.shape[1:]))
        split = self._task.split()
        self._split = split
        if judged is not None and whose is not None:
            # To choose on: one whole group, so that nobody is in two parts.
            learn = whose[~judged]
            last = learn == np.unique(learn)[-1]
            if not last.all():
                whole = split.train
                self._split = Split(
                    whole.take(np.flatnonzero(~last)), split.test, whole.take(np.flatnonzero(last))
                )
        self.about = (
            f"{path.name}, {shape}, {len(self._split.train)} to learn from, "
            f"{len(self._split.test)} to be judged on"
        )

    @property
    def recipe(self) -> Recipe:
        """Batches and a first rate that suit some hundreds of samples."""
        return Recipe(batch=16, rate=2e-3, width=32)

    def split(self) -> Split:
        """The groups that are judged, or every fifth sample or group."""
        return self._split

    def problem(self) -> Problem:
        """Classes for whole numbers, values for floats."""
        return self._task.problem()

    def baselines(self, split: Split) -> Mapping[str, float]:
        """The most frequent class, or the mean of the training part."""
        return self._task.baselines(split)

    def default_cuts(self) -> Sequence[str]:
        """All at once, and halves to eighths of the first axis of space and time."""
        shape: tuple[int, ...] = self._split.train.x.shape[2:]
        rest = "".join(f"x{extent}" for extent in shape[1:])
        sizes = [s for s in dict.fromkeys((shape[0] // 2, shape[0] // 4, shape[0] // 8)) if s]
        return ("whole", *(f"patch:{size}{rest}" for size in sizes))

    def default_budget(self) -> str:
        """What a training may spend, in operations."""
        return "30 GFLOP"


def _recordings(
    values: NDArray[Any], lengths: NDArray[Any], frames: int, path: str
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """``(recordings, 1, frames, numbers)``, and which recordings hold anything."""
    if frames < 2:
        raise ValueError(f"frames: got {frames}; it takes 2 or more")
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or (lengths < 0).any():
        raise ValueError(f"{path}: lengths are whole numbers from 0 on, one a recording")
    if lengths.sum() != len(values):
        raise ValueError(
            f"{path}: lengths add up to {lengths.sum()}, the recordings hold {len(values)} times"
        )
    flat = values.reshape(len(values), -1).astype(np.float32)
    found = np.zeros((len(lengths), 1, frames, flat.shape[1]), np.float32)
    ends = np.cumsum(lengths)
    for row, end, length in zip(found[:, 0], ends, lengths, strict=True):
        if length:
            at = np.linspace(0, length - 1, frames).round().astype(int)
            row[:] = flat[end - length : end][at]
    return found, lengths > 0
