"""Series of different lengths: as one by one, whatever the batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag import FragmentGrid, RaggedSeries, extract, fragment_features, merge

torch = pytest.importorskip("torch")


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[Any], int, int, str]:
    size = draw(st.integers(1, 5))
    edge = draw(st.sampled_from(["pad", "shift"]))
    least = size if edge == "shift" else 1
    lengths = draw(st.lists(st.integers(least, 14), min_size=1, max_size=5))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    series: list[Any] = [rng.standard_normal((2, length)) for length in lengths]
    if draw(st.booleans()):
        series = [torch.from_numpy(part) for part in series]
    return series, size, draw(st.integers(1, size)), edge


@given(problems(), st.integers(1, 7))
def test_as_one_by_one(problem: Any, batch_size: int) -> None:
    series, size, stride, edge = problem
    ragged = RaggedSeries(series)
    grids = [FragmentGrid((part.shape[1],), size, stride, edge=edge) for part in series]
    fragments, offsets = ragged.extract(size, stride, edge=edge)
    table, rows = ragged.fragment_features(size, stride, ("mean", "max"), edge=edge)
    sizes: list[int] = []

    def model(batch: Any) -> Any:
        sizes.append(len(batch))
        return 2 * batch[:, :1] + 1

    options: dict[str, Any] = {"batch_size": batch_size, "edge": edge}
    mapped = ragged.map_fragments(model, size, stride, window="uniform", **options)
    assert offsets.tolist() == rows.tolist()
    assert len(mapped) == len(ragged) == len(series)
    assert all(count == batch_size for count in sizes[:-1])
    assert sum(sizes) == offsets[-1]
    for k, (part, grid) in enumerate(zip(series, grids, strict=True)):
        own = slice(int(offsets[k]), int(offsets[k + 1]))
        cut = extract(part[None], grid)
        assert (fragments[own] == cut[0]).all()
        assert (table[own] == fragment_features(part[None], grid, ("mean", "max"))[0]).all()
        assert (mapped[k] == merge(2 * cut[:, :, :1] + 1, grid)[0]).all()


def test_values_with_offsets() -> None:
    values = np.arange(12.0).reshape(2, 6)
    series = RaggedSeries(values, [0, 4, 4, 6])
    assert [part.shape for part in series] == [(2, 4), (2, 0), (2, 2)]
    assert series[-1].tolist() == [[4, 5], [10, 11]]
    assert np.shares_memory(series[0], values)
    fragments, offsets = series.extract(2)
    assert fragments[:, 0].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert offsets.tolist() == [0, 2, 2, 3]
    mapped = series.map_fragments(lambda f: f, 2, batch_size=2)
    assert mapped.values.tolist() == values.tolist()
    assert mapped.offsets.tolist() == [0, 4, 4, 6]
    assert RaggedSeries([np.arange(3)]).values.shape == (1, 3)


def test_labels_are_voted_and_not_averaged_unasked() -> None:
    series = RaggedSeries([np.arange(5.0), np.arange(9.0)])

    def labels(fragments: Any) -> Any:
        return (fragments > 2).astype(np.int64)

    voted = series.map_fragments(labels, 4, 2, batch_size=3, reduce="vote")
    assert voted.values.dtype == np.int64
    assert [part[0].tolist() for part in voted] == [[0] * 3 + [1] * 2, [0] * 3 + [1] * 6]
    with pytest.raises(TypeError, match="model: got outputs of int64, which may be labels"):
        series.map_fragments(labels, 4, 2, batch_size=3)


def test_refusals() -> None:
    one, two = np.zeros((1, 4)), np.zeros((2, 4))
    for given_, error, match in (
        (([one, two],), ValueError, r"series\[1\]: got 2 channels"),
        (([one, one.astype("f4")],), ValueError, r"series\[1\]: got 1 channels of float32"),
        (([one, torch.zeros(1, 4, dtype=torch.float64)],), ValueError, r"series\[1\]"),
        (([],), ValueError, "series: got none"),
        ((one,), TypeError, "series: got one array"),
        (([[1, 2]],), TypeError, r"series\[0\]: got list"),
        (([np.zeros((1, 1, 4))],), ValueError, r"series\[0\]: got shape \(1, 1, 4\)"),
        ((one, [0, 3]), ValueError, "offsets: got .*from 0 to 4"),
        ((one, [0, 3, 2, 4]), ValueError, "offsets: got .*ascending"),
        ((one, [0.5, 4]), ValueError, "offsets: got .*integers"),
    ):
        with pytest.raises(error, match=match):
            RaggedSeries(*given_)
    series = RaggedSeries([one])
    with pytest.raises(ValueError, match=r"model: got an output of shape \(2, 1, 1\)"):
        series.map_fragments(lambda f: f[:, :, :1], 2, batch_size=4)
    with pytest.raises(ValueError, match="batch_size: got 0"):
        series.map_fragments(lambda f: f, 2, batch_size=0)
    with pytest.raises(ValueError, match="no positions"):
        RaggedSeries([one[:, :0]]).map_fragments(lambda f: f, 2, batch_size=1)
    with pytest.raises(IndexError, match="got 1, there are 1"):
        series[1]
