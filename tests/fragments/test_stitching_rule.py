"""One rule for merge and map_fragments: weights of zero leave out, narrow windows are exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tokfrag import FragmentGrid, extract, merge, reference
from tokfrag.fragments import map_fragments

SPECIAL = (np.nan, np.inf, -np.inf)


@st.composite
def problems(draw: Any) -> tuple[Any, FragmentGrid, Any, str, Any]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rank = draw(st.integers(1, 2))
    shape = tuple(int(v) for v in rng.integers(2, {1: 30, 2: 10}[rank], rank))
    size = tuple(int(rng.integers(2, length + 1)) for length in shape)
    stride = tuple(int(rng.integers(1, w + 1)) for w in size)
    grid = FragmentGrid(shape, size, stride, edge=draw(st.sampled_from(["pad", "shift"])))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    fragments = rng.standard_normal((1, grid.n, 2, *size)).astype(dtype)
    spoiled = rng.random(fragments.shape) < draw(st.sampled_from([0, 0.1]))
    fragments[spoiled] = rng.choice(SPECIAL, int(spoiled.sum()))
    reduce = draw(st.sampled_from(["mean", "sum", "max"]))
    window: Any = draw(st.sampled_from(["uniform", "hann", "vectors", "array", "zeros"]))
    if reduce == "max":
        window = "uniform"
    elif window == "vectors":
        window = [np.exp(-(np.linspace(-4, 4, w) ** 2) * rng.choice([1, 5])) for w in size]
    elif window == "array":
        window = rng.uniform(0.5, 2, size)
    elif window == "zeros":  # at both ends, where other windows may hold the position
        window = [np.pad(np.ones(w - 2), 1) if w > 2 else np.ones(w) for w in size]
    return fragments, grid, window, reduce, dtype


@settings(max_examples=200)
@given(problems(), st.integers(1, 5), st.booleans())
def test_merge_and_map_fragments_agree(problem: Any, batch_size: int, tensors: bool) -> None:
    fragments, grid, window, reduce, dtype = problem
    x, model = np.zeros((1, 1, *grid.shape), dtype), iter_outputs(fragments[0])
    if tensors:
        torch = pytest.importorskip("torch")
        x = torch.from_numpy(x)
        plain = model
        model = lambda batch: torch.from_numpy(plain(batch))  # noqa: E731
    options: dict[str, Any] = {"window": window, "reduce": reduce}
    ones = np.ones(fragments.shape)
    with np.errstate(invalid="ignore"):
        if reduce == "mean" and not (merge(ones, grid, **{**options, "reduce": "sum"}) > 0).all():
            for call in (
                merge,
                lambda _, grid, **o: map_fragments(model, x, grid, batch_size=9, **o),
            ):
                with pytest.raises(ValueError, match="sum to zero"):
                    call(fragments, grid, **options)
            return
        want = merge(fragments, grid, **options)
        got = np.asarray(map_fragments(model, x, grid, batch_size=batch_size, **options))
    tolerance = 2e-5 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
    twin = reference.merge(fragments, grid, **options)
    np.testing.assert_allclose(want, twin, rtol=tolerance, atol=tolerance)


@st.composite
def calls(draw: Any) -> tuple[Any, FragmentGrid, dict[str, Any], Any]:
    """Outputs, their grid, the options of map_fragments, and the weights that say the same."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rank = draw(st.integers(1, 2))
    shape = tuple(int(v) for v in rng.integers(4, {1: 24, 2: 9}[rank], rank))
    size = tuple(int(rng.integers(2, length + 1)) for length in shape)
    stride = tuple(int(rng.integers(1, max(w // 2, 1) + 1)) for w in size)
    reduce = draw(st.sampled_from(["mean", "sum", "max", "min", "median", "vote"]))
    weighed = reduce in ("mean", "sum")
    haloed = weighed and draw(st.booleans())
    edge = "shift" if haloed else draw(st.sampled_from(["pad", "shift"]))
    grid = FragmentGrid(shape, size, stride, edge=edge)
    kinds = ["uint8", "int16", "int32"] + ["float16", "float32", "float64"] * (reduce != "vote")
    dtype = np.dtype(draw(st.sampled_from(kinds)))
    outputs = rng.integers(0, 9, (2, grid.n, 2, *size)).astype(dtype)
    if dtype.kind == "f":
        spoiled = rng.random(outputs.shape) < draw(st.sampled_from([0, 0.05]))
        outputs[spoiled] = rng.choice(SPECIAL, int(spoiled.sum()))
    options: dict[str, Any] = {"reduce": reduce}
    vectors = [rng.uniform(0.5, 2, w) if weighed else np.ones(w) for w in size]
    options["window"] = vectors if weighed else "uniform"
    kept = np.ones((grid.n, *size))
    if haloed:
        halo = tuple((int(rng.integers(0, w // 2)), int(rng.integers(0, w // 2))) for w in size)
        options["halo"] = halo
        for axis, (before, after) in enumerate(halo):
            at = np.unravel_index(np.arange(grid.n), grid.counts)[axis]
            along = np.moveaxis(kept, axis + 1, 1)
            along[at > 0, :before] = 0
            along[at < grid.counts[axis] - 1, size[axis] - after :] = 0
    whole = np.ones(())
    for vector in vectors:
        whole = whole[..., None] * vector
    return outputs, grid, options, kept * whole if weighed else None


@settings(max_examples=300)
@given(calls(), st.integers(1, 7), st.booleans())
def test_every_reduce_type_and_halo_follows_one_rule(
    call: Any, batch_size: int, tensors: bool
) -> None:
    outputs, grid, options, weights = call
    x, model = np.zeros((2, 1, *grid.shape), np.float32), iter_outputs(np.concatenate(outputs))
    reduce = options["reduce"]
    if tensors:
        torch = pytest.importorskip("torch")
        x, plain = torch.from_numpy(x), model
        model = lambda batch: torch.from_numpy(plain(batch))  # noqa: E731
    # Means of integers are floats: their right values are those of the same floats.
    exact = outputs if reduce == "vote" else outputs.astype(np.float64)
    window = "uniform" if weights is None else weights
    with np.errstate(invalid="ignore"):
        if weights is not None and (merge(weights[None, :, None], grid, reduce="sum") == 0).any():
            with pytest.raises(ValueError, match="without a result"):
                map_fragments(model, x, grid, batch_size=batch_size, **options)
            return
        want = merge(exact, grid, window=window, reduce=reduce)
        got = np.asarray(map_fragments(model, x, grid, batch_size=batch_size, **options))
    kind = outputs.dtype if outputs.dtype.kind == "f" or reduce == "vote" else np.float32
    assert got.dtype == kind
    tolerance = {"float16": 1e-3, "float64": 1e-12}.get(np.dtype(kind).name, 2e-5)
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


def iter_outputs(fragments: Any) -> Any:
    """A model that answers with these fragments, in their order."""
    done = 0

    def model(batch: Any) -> Any:
        nonlocal done
        done += len(batch)
        return fragments[done - len(batch) : done]

    return model


@pytest.mark.parametrize("spoiler", SPECIAL)
def test_what_a_halo_leaves_out_spoils_nothing(spoiler: float) -> None:
    x, grid = np.arange(12.0).reshape(1, 1, 12), FragmentGrid((12,), 6, 2, edge="shift")

    def model(fragments: Any) -> Any:
        y = fragments.copy()
        y[..., 0] = y[..., -1] = spoiler
        return y

    got = map_fragments(model, x, grid, batch_size=2, window="uniform", halo=1)
    assert got[0, 0, 1:-1].tolist() == list(range(1, 11))
    assert not np.isfinite(got[0, 0, [0, -1]]).any()


@pytest.mark.parametrize("sigma", [0.05, 0.03])
@pytest.mark.parametrize("whole", [False, True])
def test_narrow_windows_are_exact(sigma: float, whole: bool) -> None:
    n = 16
    v = np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (sigma * n)) ** 2)
    window: Any = v[:, None, None] * v[:, None] * v if whole else [v, v, v]
    x, grid = np.full((1, 1, n, n, n), 5, np.float32), FragmentGrid((n,) * 3, n)
    got = map_fragments(lambda f: f, x, grid, batch_size=1, window=window)
    np.testing.assert_allclose(got, 5, rtol=1e-6)


@pytest.mark.parametrize("whole", [False, True])
def test_a_mean_without_weights_is_refused_as_merge_refuses_it(whole: bool) -> None:
    vector = np.array([0.0, 1, 1, 0])
    window: Any = np.stack([vector] * 4) * vector[:, None] if whole else [vector, vector]
    x, grid = np.ones((1, 1, 8, 8)), FragmentGrid((8, 8), 4)
    with pytest.raises(ValueError, match="sum to zero"):
        map_fragments(lambda f: f, x, grid, batch_size=2, window=window)
    with pytest.raises(ValueError, match="sum to zero"):
        merge(extract(x, grid), grid, window=window)


def test_integers_are_rounded_and_saturated() -> None:
    x = np.array([0.9, 80.9, 254.6, 260.0, 300.0, -3.0, 1e6, np.nan]).reshape(1, 1, 8)
    grid, out = FragmentGrid((8,), 4, 2), np.zeros((1, 1, 8), np.uint8)
    map_fragments(lambda f: f, x, grid, batch_size=2, window="uniform", out=out)
    assert out[0, 0].tolist() == [1, 81, 255, 255, 255, 0, 255, 0]
    torch = pytest.importorskip("torch")
    wide = torch.zeros(1, 1, 8, dtype=torch.int64)
    given = torch.from_numpy(x) * 1e15
    map_fragments(lambda f: f, given, grid, batch_size=2, window="uniform", out=wide)
    assert wide[0, 0, 6] == 2**63 - 1
    assert wide[0, 0, 5] == -3_000_000_000_000_000


def test_labels_are_not_averaged_unasked() -> None:
    grid, x = FragmentGrid((7,), 4, 1), np.zeros((1, 1, 7), np.float32)

    def labels(fragments: Any) -> Any:
        return np.full(fragments.shape, 4, np.int64)

    with pytest.raises(TypeError, match="model: got outputs of int64, which may be labels"):
        map_fragments(labels, x, grid, batch_size=1)
    for reduce in "mean", "max":
        options: dict[str, Any] = {"reduce": reduce, "window": "uniform"}
        assert (map_fragments(labels, x, grid, batch_size=1, **options) == 4).all()


@pytest.mark.parametrize("edge", ["pad", "shift", "drop"])
@pytest.mark.parametrize("window", ["uniform", "gaussian", "vector"])
def test_valid_outputs_lie_in_the_middle(edge: Any, window: Any) -> None:
    x = np.arange(16.0)[None, None]
    given: Any = [np.arange(1.0, 9)] if window == "vector" else window
    grid = FragmentGrid((16,), 8, 4, edge=edge)
    options: dict[str, Any] = {"batch_size": 2, "window": given, "halo": "valid"}
    got = map_fragments(lambda f: f[..., 2:6], x, grid, **options)
    assert got.shape == x.shape
    np.testing.assert_allclose(got[0, 0, 2:14], np.arange(2, 14), rtol=1e-6)
    assert got[0, 0, [0, 1, 14, 15]].tolist() == [0] * 4
    out = np.full((1, 1, 16), -1.0)
    assert map_fragments(lambda f: f[..., 2:6], x, grid, out=out, **options) is out
    assert out[0, 0, [0, 1, 14, 15]].tolist() == [-1] * 4
    with pytest.raises(ValueError, match="halo: got 'valid' for outputs of size"):
        map_fragments(lambda f: f[..., :5], x, grid, **options)


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate",
        "MPS backend out of memory (MPS allocated: 1 GB)",
        "XPU out of memory",
        "DefaultCPUAllocator: can't allocate memory",
        "CUDA error: CUSPARSE_STATUS_ALLOC_FAILED",
        "cuFFT error: CUFFT_ALLOC_FAILED",
        "MIOPEN_STATUS_ALLOC_FAILED",
        "hipErrorOutOfMemory",
        "cudaErrorMemoryAllocation",
        "Failed to allocate memory for requested buffer of size 4",
        "std::bad_alloc",
    ],
)
def test_memory_errors_by_every_name_halve_the_batch(text: str) -> None:
    torch = pytest.importorskip("torch")

    def model(fragments: Any) -> Any:
        if len(fragments) > 2:
            raise RuntimeError(text)
        return fragments

    with pytest.warns(RuntimeWarning, match="does not fit in memory"):
        map_fragments(model, torch.zeros(1, 1, 16), FragmentGrid((16,), 4, 2), batch_size=8)
