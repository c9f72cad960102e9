"""Inputs that no one should give: each is refused by name, or done right; nothing silent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tokfrag.fragments as tf
from tokfrag.fragments import FragmentDataset, FragmentGrid, extract, map_fragments, merge

GRID = FragmentGrid((8,), 4, 2)
SHIFTED = FragmentGrid((8,), 4, 2, edge="shift")
X = np.random.default_rng(0).standard_normal((2, 3, 8)).astype(np.float32)
FRAGMENTS = extract(X, GRID)
INDEX = np.array([0, 1])


def add(fragments: Any) -> None:
    merger = tf.FragmentMerger(GRID, channels=3, dtype=np.float32)
    merger.add(fragments, [0, 1, 2])


#: The argument's name, and a call that takes it.
TAKERS: dict[str, tuple[str, Any, Callable[[Any], Any]]] = {
    "extract": ("x", X, lambda v: extract(v, GRID)),
    "merge": ("fragments", FRAGMENTS, lambda v: merge(v, GRID)),
    "merger": ("fragments", FRAGMENTS[0], add),
    "features": ("x", X, lambda v: tf.fragment_features(v, GRID)),
    "series": ("x", X, lambda v: tf.fragment_features(v, GRID, ("skewness",))),
    "dataset": ("x", X, lambda v: FragmentDataset(v, GRID)),
    "knn_graph": ("features", X, lambda v: tf.knn_graph(v, 1)),
    "segment_merge": ("x", X, lambda v: tf.segment_merge(v, INDEX, 2)),
    "unmerge": ("y", X, lambda v: tf.unmerge(v, INDEX)),
    "aggregate": ("x", X, lambda v: tf.aggregate(v, np.array([[0, 1], [1, 0]]))),
    "labels": ("labels", np.ones((1, 3, 4), np.int64), lambda v: tf.merge_labels(v, GRID)),
    "boxes": ("boxes", np.zeros((0, 2)), lambda v: tf.merge_boxes([v] * 3, [[]] * 3, GRID)),
    "where": ("where", INDEX, lambda v: map_fragments(len, X, GRID, batch_size=1, where=v)),
    "window": ("window", np.ones(4), lambda v: merge(FRAGMENTS, GRID, window=v)),
    "transformer": ("X", X, lambda v: tf.FragmentFeatures(4).fit(v)),
    "ragged": (r"series\[0\]", X[0], lambda v: tf.RaggedSeries([v])),
    "out": ("out", X * 0, lambda v: map_fragments(lambda f: f, X, GRID, batch_size=2, out=v)),
    "model": ("model", None, lambda v: map_fragments(lambda f: v(f), X, GRID, batch_size=2)),
}


def made(name: str, kind: Callable[[Any], Any]) -> Any:
    given = TAKERS[name][1]
    return kind if given is None else kind(given)


@pytest.mark.parametrize("name", TAKERS)
def test_masks_are_not_lost_in_silence(name: str) -> None:
    argument, _, call = TAKERS[name]
    with pytest.raises(TypeError, match=f"^{argument}: got a masked array, whose mask"):
        call(made(name, np.ma.masked_array))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name in TAKERS
        for kind in ("sparse", "quantized", "mkldnn")
        if (name, kind) != ("boxes", "mkldnn")  # torch makes none without numbers
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_tensors_that_are_not_dense_are_named(name: str, kind: str) -> None:
    torch = pytest.importorskip("torch")
    argument, _, call = TAKERS[name]

    def tensor(array: Any) -> Any:
        dense = torch.from_numpy(np.asarray(array, np.float32))
        if kind == "quantized":
            return torch.quantize_per_tensor(dense, 0.1, 0, torch.quint8)
        return dense.to_sparse() if kind == "sparse" else dense.to_mkldnn()

    with pytest.raises(TypeError, match=f"^{argument}: got a .* tensor, takes dense ones"):
        call(made(name, tensor))


def changing(first: Callable[[Any], Any], then: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A model that answers otherwise after its first batch."""
    calls = iter([first])
    return lambda fragments: next(calls, then)(fragments)


@pytest.mark.parametrize(
    ("then", "message"),
    [
        (lambda f: f[:, :1], r"shape \(2, 1, 4\), takes \(2, 3, 4\), as of the first batch"),
        (lambda f: f[..., :2], r"shape \(2, 3, 2\), takes \(2, 3, 4\), as of the first batch"),
        (lambda f: f[..., :1], r"shape \(2, 3, 1\), takes \(2, 3, 4\), as of the first batch"),
        (lambda f: (f, f), "got a sequence of 2 back, takes one array"),
        (lambda f: {"a": f}, r"got a mapping of \['a'\] back, takes one array"),
    ],
)
@pytest.mark.parametrize("reduce", [None, "median"])
def test_outputs_that_change_from_batch_to_batch(then: Any, message: str, reduce: Any) -> None:
    model = changing(lambda f: f, then)
    with pytest.raises(ValueError, match=f"^model: .*{message}"):
        map_fragments(model, X, GRID, batch_size=2, reduce=reduce)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (X.tolist(), "got a sequence of 2, takes one array, as the model returns"),
        ("text", "got str, takes an array to write to"),
        (np.broadcast_to(np.float32(0), X.shape), "got a read-only array"),
        (X[:1] * 0, r"got shape \(1, 3, 8\), takes \(2, 3, 8\)"),
        (X > 0, "got bool for results of float32"),
        (X, "shares memory with x"),
    ],
)
def test_outs_that_do_not_fit(out: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^out: {message}"):
        map_fragments(lambda f: f, X, GRID, batch_size=2, out=out)


def test_outs_between_the_numbers_of_the_data() -> None:
    torch = pytest.importorskip("torch")
    both: Any
    for both in np.zeros((2, 6, 8), np.float32), torch.zeros(2, 6, 8, dtype=torch.bfloat16):
        both[:, :3] = 1
        map_fragments(lambda f: 2 * f, both[:, :3], GRID, batch_size=1, out=both[:, 3:])
        assert (both[:, 3:] == 2).all()
        with pytest.raises(ValueError, match="out: shares memory with x"):
            map_fragments(lambda f: f, both[:, :3], GRID, batch_size=1, out=both[:, 2:5])
    wanting = torch.zeros(2, 3, 8, requires_grad=True)
    for out in wanting, torch.zeros(2, 3, 8, device="meta"):
        with pytest.raises(ValueError, match=r"^out: got a tensor"):
            map_fragments(lambda f: f, X, GRID, batch_size=1, out=out)


@pytest.mark.parametrize("value", [None, [1]])
def test_slabs_that_are_no_arrays(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^reduce_slab: got"):
        map_fragments(lambda f: f, X, GRID, batch_size=2, reduce_slab=lambda _: value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"halo": True}, "halo: got True, takes integers"),
        ({"halo": 2**70}, "halo: got 1180591620717411303424, takes"),
        ({"where": [2**63]}, "where: got window 9223372036854775808, takes 0 to 2"),
        ({"window": np.ones(4, complex)}, "window: got ndarray, takes numbers"),
        ({"window": [None]}, "window: got NoneType, takes numbers"),
    ],
)
def test_options_that_do_not_fit(options: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        map_fragments(lambda f: f, X, SHIFTED, batch_size=2, **options)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (X[:0], "k: got 1, takes 1 to -1 for 0 nodes|features: got 0 nodes"),
        (X + 1j, "features: got complex64, takes real numbers"),
        (np.array([["a"], ["b"]]), "features: got <U1, takes real numbers"),
    ],
)
def test_features_that_have_no_distances(features: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        tf.knn_graph(features, 1)


ENTRIES: list[Any] = [[]] * 3
PAIRS = np.array([[0, 1], [1, 0]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tf.merge_boxes(ENTRIES, ENTRIES, GRID, threshold="a"), "threshold: got 'a'"),  # type: ignore[arg-type]
        (lambda: tf.merge_boxes(None, ENTRIES, GRID), "boxes: got NoneType, takes one for each"),  # type: ignore[arg-type]
        (
            lambda: tf.merge_boxes([[[0, np.inf]], [], []], ENTRIES, GRID),
            "boxes: window 0 has .*inf",
        ),
        (
            lambda: tf.merge_boxes(
                [[[0, 1]], [], []], [[1], [], []], GRID, labels=[[2**60], [], []]
            ),
            "labels: got fractions or above",
        ),
        (
            lambda: tf.merge_labels(np.ones((1, 3, 4), int), GRID, least_share="a"),  # type: ignore[arg-type]
            "least_share: got 'a'",
        ),
        (lambda: tf.fragment_graph(GRID, axes=0), "axes: got 0, takes a sequence"),  # type: ignore[arg-type]
        (lambda: tf.fragment_graph(GRID, radius=True), "radius: got True, takes an integer"),
        (lambda: tf.knn_graph(X, True), "k: got True, takes an integer"),
        (lambda: tf.aggregate(X[0], PAIRS, axis=True), "axis: got True, takes an integer"),
        (lambda: tf.segment_merge(X, INDEX, True), "n: got True, takes an integer"),
        (
            lambda: tf.segment_merge(X, np.array([0, 2**63], np.uint64), 2),
            "index: got 9223372036854775808, takes values up to",
        ),
        (lambda: tf.GridShards(GRID, 1.5), "workers: got 1.5, takes an integer"),  # type: ignore[arg-type]
        (lambda: tf.RaggedSeries(None), "series: got NoneType, takes a sequence"),
        (lambda: tf.RaggedSeries([X[0]])["a"], "series: got 'a', takes an integer"),  # type: ignore[index]
        (lambda: FragmentDataset(X, GRID)[1.0], "index: got 1.0, takes an integer"),  # type: ignore[index]
        (lambda: FragmentDataset(X, GRID)[True], "index: got True, takes an integer"),
        (lambda: tf.FragmentMerger(GRID, channels=1, dtype=None), "dtype: got None"),
        (
            lambda: tf.FragmentMerger(GRID, channels=1, dtype="f4", reduce="max", window="hann"),
            "window: reduce='max' takes no weights",
        ),
    ],
)
def test_values_that_do_not_fit_are_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError, IndexError), match=f"^{message}"):
        call()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: lambda f: None, r"shape \(\), takes \(2, channels, 4\)"),
        (lambda: changing(lambda f: f, lambda f: f[:, :1]), r"\(2, 1, 4\), takes \(2, 3, 4\)"),
    ],
)
def test_outputs_of_ragged_series_that_do_not_fit(model: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^model: got an output of .*{message}"):
        tf.RaggedSeries([X[0], X[1]]).map_fragments(model(), 4, 2, batch_size=2)


def test_edges_may_be_lists() -> None:
    want = tf.aggregate(X[0], PAIRS)
    np.testing.assert_array_equal(tf.aggregate(X[0], PAIRS.tolist()), want)


@pytest.mark.parametrize("value", [np.nan, 300.5, 1e30, 1j])
def test_a_pad_value_that_a_dataset_cannot_hold(value: Any) -> None:
    grid = FragmentGrid((8,), 5, 4, pad_value=value)
    with pytest.raises(ValueError, match=r"^pad_value: got .* which int32 cannot hold"):
        FragmentDataset(X.astype(np.int32), grid)


def test_features_of_a_negative_view() -> None:
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(X)
    got = tf.fragment_features(torch._neg_view(x), GRID, ("skewness", "mean"))
    torch.testing.assert_close(got, tf.fragment_features(-x, GRID, ("skewness", "mean")))


def test_floats_of_eight_bits_are_cut() -> None:
    torch = pytest.importorskip("torch")
    x = torch.arange(7.0).reshape(1, 1, 7).to(torch.float8_e4m3fn)
    got = extract(x, FragmentGrid((7,), 4, 3, pad_value=1.5))
    assert got.dtype == x.dtype
    assert got.float()[0, :, 0].tolist() == [[0, 1, 2, 3], [3, 4, 5, 6]]
    padded = extract(x, FragmentGrid((7,), 4, 4, pad_value=1.5))
    assert padded.float()[0, 1, 0].tolist() == [4, 5, 6, 1.5]
    with pytest.raises(ValueError, match="which float8_e4m3fn cannot hold"):
        extract(x, FragmentGrid((7,), 4, 4, pad_value=1e9))
