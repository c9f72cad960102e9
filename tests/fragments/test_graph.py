"""Fragment graphs and aggregation against their twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag.fragments import graph
from tokfrag.fragments.graph import aggregate, fragment_graph, knn_graph
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.reference import graph as reference

torch = pytest.importorskip("torch")


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=4),
    st.sampled_from(["face", "full"]),
    st.integers(1, 5),
    st.booleans(),
    st.data(),
)
def test_fragment_graph_equals_the_twin(counts, connectivity, radius, causal, data):
    grid = FragmentGrid([2 * count for count in counts], size=2)
    axes = data.draw(st.none() | st.sets(st.integers(0, len(counts) - 1)))
    options = {"connectivity": connectivity, "radius": radius, "axes": axes, "causal": causal}
    got = fragment_graph(grid, **options)
    assert got.dtype == np.int64
    assert got.shape[0] == 2
    assert list(map(tuple, got.T.tolist())) == reference.fragment_graph(grid.counts, **options)


@given(st.integers(2, 40), st.integers(0, 2**32), st.sampled_from([1, 7, 1 << 20]), st.data())
def test_knn_graph_equals_the_twin_whatever_the_block(n, seed, block, data):
    rng = np.random.default_rng(seed)
    # Small integers: many ties, and distances that both ways of computing get exactly.
    features = rng.integers(0, 4, (n, 2)).astype(np.float64) * n
    features -= features.mean(axis=0).round()
    k = data.draw(st.integers(1, n - 1))
    want = reference.knn_graph(features, k)
    before = graph._BLOCK_DISTANCES
    graph._BLOCK_DISTANCES = block
    try:
        got = knn_graph(features * 1.0, k)
    finally:
        graph._BLOCK_DISTANCES = before
    distance = {
        (a, b): ((features[a] - features[b]) ** 2).sum() for a in range(n) for b in range(n)
    }
    assert got.shape == (2, n * k)
    # Equal distances may round apart once centred: compare distances, and that none repeats.
    for ours, theirs in zip(map(tuple, got.T.tolist()), want, strict=True):
        assert ours[1] == theirs[1]
        assert distance[ours] == pytest.approx(distance[theirs], abs=1e-9)
    assert len(set(map(tuple, got.T.tolist()))) == n * k


def test_ties_go_to_the_lower_number():
    features = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert knn_graph(features, 2)[0].tolist() == [2, 3, 2, 3, 0, 1, 0, 1]


def test_knn_graph_of_tensors():
    features = torch.randn(50, 3, 2, generator=torch.Generator().manual_seed(0))
    edges = knn_graph(features, 4)
    assert edges.dtype == torch.int64
    np.testing.assert_array_equal(edges.numpy(), knn_graph(features.numpy(), 4))


@given(st.integers(1, 12), st.integers(0, 40), st.integers(0, 2**32))
def test_aggregate_equals_the_twin(n, count, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 3))
    edges = rng.integers(0, n, (2, count))
    want = reference.aggregate(x, list(map(tuple, edges.T)), n)
    np.testing.assert_allclose(aggregate(x, edges), want, rtol=1e-12)
    np.testing.assert_allclose(aggregate(x.T, edges, axis=1), want.T, rtol=1e-12)


def test_aggregate_has_gradients_and_takes_numpy_edges():
    edges = fragment_graph(FragmentGrid((4, 6), size=2), connectivity="full")
    x = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(edges.shape[1], dtype=torch.float64, requires_grad=True)

    def mean(x, weight):
        return aggregate(x, edges, weight=weight, axis=1)

    assert torch.autograd.gradcheck(mean, (x, weight))
    assert torch.autograd.gradgradcheck(lambda x: aggregate(x, edges, axis=1), (x,))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fragment_graph(3), TypeError, "grid: got int"),
        (lambda: fragment_graph(GRID, connectivity="edge"), ValueError, "connectivity: got 'edge'"),
        (lambda: fragment_graph(GRID, radius=0), ValueError, "radius: got 0"),
        (lambda: fragment_graph(GRID, radius=0.5), TypeError, "radius: got 0.5"),
        (lambda: fragment_graph(GRID, axes=[1]), ValueError, "axis: got 1"),
        (lambda: knn_graph([1, 2], 1), TypeError, "features: got list"),
        (lambda: knn_graph(np.zeros((4, 2)), 4), ValueError, "k: got 4, takes 1 to 3"),
        (lambda: knn_graph(np.zeros((1, 2)), 1), ValueError, "features: got 1 nodes"),
        (lambda: knn_graph(np.full((4, 2), np.nan), 1), ValueError, "features: got values"),
        (
            lambda: aggregate(np.zeros(3), np.zeros((3, 2), int)),
            ValueError,
            "edge_index: got shape",
        ),
        (lambda: aggregate(np.zeros(3), np.full((2, 1), 3)), IndexError, "index: got 3"),
    ],
)
def test_bad_input_gets_one_clear_exception(call, error, message):
    with pytest.raises(error, match=message):
        call()


GRID = FragmentGrid((8,), 2)


@given(st.integers(0, 2**32), st.sampled_from([1, 3, 17, 40]), st.sampled_from([0.0, 5e6, 1e200]))
def test_far_clusters_keep_their_neighbours(seed, features, distance):
    rng = np.random.default_rng(seed)
    cluster = np.round(rng.random((12, features)), 1 if features == 1 else 6)
    points = np.concatenate([cluster, cluster[:5], cluster + distance])
    exponent = 500 - np.frexp(np.abs(points).max())[1]  # no square leaves a double's range
    want = np.array(reference.knn_graph(np.ldexp(points, exponent), 3)).T
    got = knn_graph(points, 3)
    order = np.lexsort((got[0], got[1])), np.lexsort((want[0], want[1]))
    away = [
        np.ldexp(points, exponent)[e[0]] - np.ldexp(points, exponent)[e[1]] for e in (got, want)
    ]
    np.testing.assert_allclose(*[(d**2).sum(-1) for d in away], rtol=1e-13)
    if features <= 3:  # sums of few squares round alike
        np.testing.assert_array_equal(got[:, order[0]], want[:, order[1]])


@pytest.mark.parametrize("features", [1, 40])
@pytest.mark.parametrize("large", [1.0, 1e300])
def test_tiny_differences_beside_huge_ones(features, large):
    places = np.array([0, 1e-280, 3e-280, 1, 1.5, 4]) * large
    points = np.repeat(places[:, None], features, 1)
    assert knn_graph(points, 1)[0].tolist() == [1, 0, 1, 4, 3, 4]


def test_equally_near_neighbours_come_by_number():
    rows = np.tile(np.random.default_rng(0).standard_normal((50, 17)), (6, 1))
    want = [[j for j in range(i % 50, 300, 50) if j != i] for i in range(300)]
    assert knn_graph(rows, 5)[0].reshape(300, 5).tolist() == want
    assert knn_graph(np.array([[0.0], [1], [3], [1e9], [1e9 + 1], [1e9 + 3]]), 1)[0].tolist() == [
        1, 0, 1, 4, 3, 4,
    ]  # fmt: skip
