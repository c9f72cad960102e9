"""merge_boxes and merge_labels: equal to their twins, and each object once over the seams."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag import FragmentGrid, extract, merge_boxes, merge_labels
from tokfrag.reference import instances as twin


@st.composite
def grids(draw: st.DrawFn) -> FragmentGrid:
    rank = draw(st.integers(1, 2))
    shape = draw(st.tuples(*[st.integers(1, (14, 8)[rank - 1])] * rank))
    small = st.tuples(*[st.integers(1, 5)] * rank)
    return FragmentGrid(shape, draw(small), draw(small), padding=draw(st.integers(0, 2)))


@given(
    grids(),
    st.integers(0, 2**16),
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    st.sampled_from(["nms", "nmm"]),
    st.sampled_from(["iou", "ios"]),
)
def test_boxes_are_the_twins(
    grid: FragmentGrid, seed: int, threshold: float, method: Any, measure: Any
) -> None:
    rng = np.random.default_rng(seed)
    rank = len(grid.shape)
    boxes, scores, labels = [], [], []
    for _ in range(grid.n):
        count = int(rng.integers(0, 4))
        first = rng.integers(0, 5, (count, rank)).astype(float)
        boxes.append(np.concatenate([first, first + rng.integers(0, 5, (count, rank))], 1))
        scores.append(rng.integers(0, 5, count) / 4)
        labels.append(rng.integers(0, 2, count))
    options = {"threshold": threshold, "method": method, "measure": measure}
    got = merge_boxes(boxes, scores, grid, labels=labels, **options)
    lists = [[part.tolist() for part in parts] for parts in (boxes, scores, labels)]
    expected = twin.merge_boxes(lists[0], lists[1], lists[2], grid, **options)
    assert got.boxes.tolist() == [box for box, *_ in expected]
    assert got.scores.tolist() == [score for _, score, *_ in expected]
    assert got.labels.tolist() == [label for *_, label, _ in expected]
    assert got.windows.tolist() == [window for *_, window in expected]


@given(grids(), st.integers(0, 2**16), st.sampled_from([0.2, 0.5, 1.0]), st.booleans())
def test_labels_are_the_twins(
    grid: FragmentGrid, seed: int, least_share: float, tensors: bool
) -> None:
    rng = np.random.default_rng(seed)
    labels: Any = rng.integers(0, 4, (2, grid.n, *grid.size))
    expected = [twin.merge_labels(entry, grid, least_share=least_share) for entry in labels]
    if tensors:
        labels = pytest.importorskip("torch").from_numpy(labels)
    got = merge_labels(labels, grid, least_share=least_share)
    assert type(got) is type(labels)
    assert np.array_equal(np.asarray(got), np.stack(expected))


def test_a_box_on_a_seam_is_one() -> None:
    grid = FragmentGrid((20, 20), 12, 8)  # the object lies at rows 6 .. 10, columns 9 .. 14
    boxes: list[list[list[float]]] = [[] for _ in range(grid.n)]
    scores: list[list[float]] = [[] for _ in range(grid.n)]
    boxes[0], scores[0] = [[6, 9, 10, 12]], [0.6]  # cut at the window's border
    boxes[1], scores[1] = [[6, 1, 10, 6]], [0.9]
    found = merge_boxes(boxes, scores, grid, measure="ios")
    assert found.boxes.tolist() == [[6, 9, 10, 14]]
    assert found.scores.tolist() == [0.9]
    boxes[1] = [[6, 2, 10, 6]]
    assert merge_boxes(boxes, scores, grid, threshold=0.1, method="nmm").boxes.tolist() == [
        [6, 9, 10, 14]
    ]
    empty = merge_boxes([[]] * grid.n, [[]] * grid.n, grid)
    assert empty.boxes.shape == (0, 4)


def test_instances_survive_the_seams() -> None:
    whole = np.zeros((24, 24), np.int64)
    whole[2:20, 3:6], whole[4:7, 10:22], whole[12:16, 12:16] = 1, 2, 3
    grid = FragmentGrid((24, 24), 10, 7, edge="shift")
    rng = np.random.default_rng(0)
    labels = extract(whole[None, None], grid)[:, :, 0]
    shuffled = np.stack([(rng.permutation(9) + 1)[part] * (part > 0) for part in labels[0]])
    got = merge_labels(shuffled[None], grid)[0]
    pairs = {(int(a), int(b)) for a, b in zip(whole.reshape(-1), got.reshape(-1), strict=True)}
    assert len(pairs) == 4  # one number each, and the background
    assert (0, 0) in pairs


def test_refusals() -> None:
    grid = FragmentGrid((8,), 4)
    one: Any = [[[0, 1]], [[0, 1]]]
    with pytest.raises(ValueError, match="boxes: got 1, takes one for each of 2 windows"):
        merge_boxes(one[:1], [[1], [1]], grid)
    with pytest.raises(ValueError, match="whose last corner lies before"):
        merge_boxes([[[1, 0]], []], [[1], []], grid)
    with pytest.raises(ValueError, match=r"scores: got shape \(2,\) for window 1, takes \(1,\)"):
        merge_boxes(one, [[1], [1, 2]], grid)
    with pytest.raises(ValueError, match="scores: got some that are not a number"):
        merge_boxes(one, [[1], [np.nan]], grid)
    with pytest.raises(ValueError, match=r"boxes: got shape \(1, 3\), takes \(k, 2\)"):
        merge_boxes([[[0, 1, 2]], []], [[1], []], grid)
    with pytest.raises(ValueError, match="method: got 'soft'"):
        merge_boxes(one, [[1], [1]], grid, method="soft")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="threshold: got 2"):
        merge_boxes(one, [[1], [1]], grid, threshold=2)
    with pytest.raises(TypeError, match="labels: got float64"):
        merge_labels(np.zeros((1, 2, 4)), grid)
    with pytest.raises(ValueError, match=r"labels: got shape \(1, 3, 4\)"):
        merge_labels(np.zeros((1, 3, 4), int), grid)
    with pytest.raises(ValueError, match="least_share: got 0"):
        merge_labels(np.zeros((1, 2, 4), int), grid, least_share=0)
