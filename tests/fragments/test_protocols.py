"""Inputs that are neither arrays nor tensors, and speak DLPack or ``__array__``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tokfrag.fragments as tf
from tokfrag.fragments import FragmentGrid


class OnlyDlpack:
    def __init__(self, array: Any) -> None:
        self._array = np.ascontiguousarray(array)

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()


class OnlyArray:
    def __init__(self, array: Any) -> None:
        self._array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self._array


GRID = FragmentGrid((16,), 4, 2)
X = np.random.default_rng(0).standard_normal((2, 3, 16)).astype(np.float32)
FRAGMENTS = tf.extract(X, GRID)
INDEX = np.array([0, 1, 0])
SQUARE = FragmentGrid((8, 8), 4)
LABELS = np.arange(64).reshape(1, 4, 4, 4) % 3
BOX = np.array([[0.0, 0, 2, 2]])


def merged(f: Any, which: Any) -> Any:
    merger = tf.FragmentMerger(GRID, channels=3, dtype=np.float32)
    merger.add(f, which)
    return merger.result()


CALLS = {
    "extract": lambda w: tf.extract(w(X), GRID),
    "merge": lambda w: tf.merge(w(FRAGMENTS), GRID),
    "window": lambda w: tf.merge(FRAGMENTS, GRID, window=w(np.arange(1.0, 5))),
    "vectors": lambda w: tf.merge(FRAGMENTS, GRID, window=[w(np.arange(1.0, 5))]),
    "where": lambda w: tf.merge(FRAGMENTS[:, :2], GRID, where=w(np.array([1, 0]))),
    "mask": lambda w: len(tf.FragmentDataset(X, GRID, where=w(np.arange(16) < 3))),
    "features": lambda w: tf.fragment_features(w(X), GRID, ("std", "median")),
    "transformer": lambda w: tf.FragmentFeatures(4).fit_transform(w(X)),
    "map_fragments": lambda w: tf.map_fragments(lambda f: f, w(X), GRID, batch_size=4),
    "outputs": lambda w: tf.map_fragments(lambda f: {"a": w(2 * f)}, X, GRID, batch_size=4)["a"],
    "dataset": lambda w: tf.FragmentDataset(w(X), GRID)[3],
    "merger": lambda w: merged(w(FRAGMENTS[0]), w(np.arange(GRID.n))),
    "segment_merge": lambda w: tf.segment_merge(w(X[0]), w(INDEX), 2)[0],
    "unmerge": lambda w: tf.unmerge(w(X[0]), w(INDEX)),
    "knn_graph": lambda w: tf.knn_graph(w(X[0]), 1),
    "aggregate": lambda w: tf.aggregate(w(X[0].T), w(tf.fragment_graph(FragmentGrid((16,), 1)))),
    "labels": lambda w: tf.merge_labels(w(LABELS), SQUARE),
    "boxes": lambda w: tf.merge_boxes([w(BOX)] * 4, [w(np.ones(1))] * 4, SQUARE).boxes,
    "ragged": lambda w: tf.RaggedSeries([w(X[0]), w(X[1])]).extract(4).values,
}


@pytest.mark.parametrize("kind", [OnlyDlpack, OnlyArray])
@pytest.mark.parametrize("name", CALLS)
def test_the_same_as_of_arrays(name: str, kind: Any) -> None:
    np.testing.assert_array_equal(CALLS[name](kind), CALLS[name](lambda array: array))


def test_votes_take_no_window_unless_said() -> None:
    x = np.arange(16).reshape(1, 1, 16)
    result = tf.map_fragments(lambda f: f, x, GRID, batch_size=3, reduce="vote")
    np.testing.assert_array_equal(result, x)
    with pytest.raises(ValueError, match="window: reduce='vote' takes no weights"):
        tf.map_fragments(lambda f: f, x, GRID, batch_size=3, reduce="vote", window="hann")
