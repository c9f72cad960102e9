"""Digits: pictures of handwritten digits, ten classes."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import Problem, Recipe, Samples, Split
from tokfrag.compare.extras import require
from tokfrag.compare.files import check_labels, read_data, read_npz
from tokfrag.compare.tasks.arrays import hold_out, majority

_IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


class DigitsTask:
    """scikit-learn's 1797 digits of 8 x 8, or the user's pictures.

    ``data``: an npz with ``images`` (or ``x``) and ``labels`` (or ``y``), or MNIST's idx file of
    images, plain or gzipped, with the file of labels beside it. Where a test part lies beside the
    data (``t10k-*``), it is used; else every fifth sample is held out, in an order drawn once.
    """

    name = "digits"

    def __init__(self, data: Path | None = None):
        self.data = data
        self._split = _bundled() if data is None else _from_file(Path(data))
        sizes = "x".join(map(str, self._split.train.x.shape[2:]))
        where = "scikit-learn's digits" if data is None else Path(data).name
        self.about = (
            f"{where}, {sizes}, {len(self._split.train)} to learn from, "
            f"{len(self._split.test)} to be judged on"
        )

    @property
    def recipe(self) -> Recipe:
        """Batches small enough that 64 tokens a picture make enough steps."""
        return Recipe(batch=16, width=32, rate=4e-3)

    def split(self) -> Split:
        """Every fifth picture is held out, or the file's own test part."""
        return self._split

    def problem(self) -> Problem:
        """One of ten digits, or of the user's classes."""
        from tokfrag.compare.problems import Classify

        return Classify(int(self._split.train.y.max()) + 1)

    def baselines(self, split: Split) -> Mapping[str, float]:
        """Always the most frequent digit."""
        return {"majority class": majority(split.train.y, split.test.y)}

    def default_cuts(self) -> Sequence[str]:
        """Pixels, and patches that fit the pictures."""
        if self._split.train.x.shape[-1] <= 8:
            return ("pixels:16@concat", "patch:2", "patch:4/2", "patch:4", "patch:2@mean")
        return ("patch:4", "patch:7", "patch:10/5", "patch:14/7", "patch:10/5@mean")

    def default_budget(self) -> str:
        """What a training may spend, in operations."""
        return "44 GFLOP"


def digit_images() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """scikit-learn's digits: images ``(1797, 8, 8)`` of 0 to 16, and their labels."""
    require("sklearn", purpose="the digits data")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images.astype(np.uint8), bunch.target.astype(np.int64)


def _bundled() -> Split:
    images, labels = digit_images()
    return hold_out(Samples(images[:, None], labels))


def read_images(path: Path) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Images ``(samples, rows, columns)`` and labels from an npz or idx file."""
    if path.suffix == ".npz":
        x, y = read_npz(path, ("images", "x"), ("labels", "y"))
    else:
        x, y = _read_idx_pair(path)
    if x.ndim != 3 or len(x) != len(y):
        raise ValueError(
            f"{path}: takes images (samples, rows, columns) and as many labels, got {x.shape} "
            f"and {y.shape}"
        )
    if len(x) < 10:
        raise ValueError(f"{path}: got {len(x)} samples; a split takes 10 or more")
    return x, check_labels(y, str(path))


def _from_file(path: Path) -> Split:
    x, y = read_images(path)
    test_images = sorted(path.parent.glob("t10k-images*"))
    if test_images and test_images[0] != path:
        test_x, test_y = _read_idx_pair(test_images[0])
        if test_x.shape[1:] != x.shape[1:] or len(test_x) != len(test_y):
            raise ValueError(
                f"{test_images[0]}: got images {test_x.shape} and labels {test_y.shape} to test "
                f"on, images {x.shape} to learn from"
            )
        test_y = check_labels(test_y, str(test_images[0]))
        return Split(Samples(x[:, None], y), Samples(test_x[:, None], test_y))
    return hold_out(Samples(x[:, None], y))


def _read_idx_pair(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    labels = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    if labels == path or not path.is_file():
        # If it is no file of images at all, this says so.
        read_idx(path)
    if labels == path or not labels.is_file():
        raise FileNotFoundError(f"{path}: no file of labels beside it ({labels.name})")
    return read_idx(path), read_idx(labels)


def read_idx(path: Path) -> NDArray[Any]:
    """An array from MNIST's idx format (yann.lecun.com/exdb/mnist), plain or gzipped."""
    raw = read_data(path)
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _IDX_DTYPES:
        raise ValueError(f"{path}: is neither npz nor idx (it starts with {raw[:4].hex()})")
    axes = raw[3]
    shape = struct.unpack(f">{axes}I", raw[4 : 4 + 4 * axes].ljust(4 * axes, b"\0"))
    dtype = np.dtype(_IDX_DTYPES[raw[2]])
    wanted = 4 + 4 * axes + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if len(raw) != wanted:
        raise ValueError(f"{path}: {shape} takes {wanted} bytes, the file has {len(raw)}")
    return np.frombuffer(raw, dtype, offset=4 + 4 * axes).reshape(shape)
