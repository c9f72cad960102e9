"""Grids with an offset and padding: the twin's windows, through all that takes a grid."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag import (
    FragmentDataset,
    FragmentGrid,
    FragmentMerger,
    GridShards,
    extract,
    fragment_features,
    map_fragments,
    merge,
    reference,
)
from tokfrag.fragments import UncoveredWarning
from tokfrag.fragments.selection import touched

PAD_MODES = ["constant", "reflect", "replicate", "circular"]


@st.composite
def placed_grids(draw: st.DrawFn) -> FragmentGrid:
    rank = draw(st.integers(1, 2))
    shape = draw(st.tuples(*[st.integers(1, (12, 6)[rank - 1])] * rank))
    small = st.tuples(*[st.integers(1, 4)] * rank)
    options: dict[str, Any] = {
        "size": draw(small),
        "stride": draw(small),
        "dilation": draw(st.tuples(*[st.integers(1, 2)] * rank)),
        "offset": tuple(draw(st.integers(0, length - 1)) for length in shape),
        "padding": draw(st.tuples(*[st.tuples(st.integers(0, 5), st.integers(0, 5))] * rank)),
        "pad_mode": draw(st.sampled_from(PAD_MODES)),
        "pad_value": 3,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UncoveredWarning)
        try:
            return FragmentGrid(
                shape, edge=draw(st.sampled_from(["pad", "drop", "shift"])), **options
            )
        except ValueError:
            return FragmentGrid(shape, **options)


@given(placed_grids(), st.booleans(), st.booleans(), st.integers(0, 2**16))
def test_extract_and_merge_are_the_twins(
    grid: FragmentGrid, tensors: bool, channels_last: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x: Any = rng.standard_normal((2, *grid.shape, 3) if channels_last else (2, 3, *grid.shape))
    expected = reference.extract(x, grid, channels_last=channels_last)
    assert [origin for _, origin in reference.grid.windows(grid)] == [
        tuple(origin) for origin in grid.origins.tolist()
    ]
    assert np.array_equal(grid.coverage(), reference.grid.coverage(grid))
    assert grid.uncovered == int((grid.coverage() == 0).sum())
    copy = pickle.loads(pickle.dumps(grid))
    assert copy == grid
    assert hash(copy) == hash(grid)
    fragments: Any = rng.standard_normal(expected.shape)
    given_ = (x, fragments)
    if tensors:
        torch = pytest.importorskip("torch")
        given_ = (torch.from_numpy(x), torch.from_numpy(fragments))
    assert np.array_equal(
        np.asarray(extract(given_[0], grid, channels_last=channels_last)), expected
    )
    for reduce in ("mean", "sum", "max", "min", "median"):
        window = "hann" if reduce in ("mean", "sum") else "uniform"
        options: dict[str, Any] = {
            "window": window,
            "reduce": reduce,
            "channels_last": channels_last,
            "fill_value": 7 if reduce != "sum" else 0,
        }
        merged = np.asarray(merge(given_[1], grid, **options))
        np.testing.assert_allclose(
            merged, reference.merge(fragments, grid, **options), rtol=1e-12, atol=1e-12
        )


@given(placed_grids(), st.integers(1, 5), st.integers(0, 2**16))
def test_streams_are_extract_and_merge(grid: FragmentGrid, batch_size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 2, *grid.shape))
    fragments = extract(x, grid)
    dataset = FragmentDataset(x, grid)
    assert len(dataset) == 2 * grid.n
    if grid.n:
        cut = np.stack([dataset[i] for i in range(len(dataset))])
        assert np.array_equal(cut, fragments.reshape(-1, *cut.shape[1:]))
        got = map_fragments(lambda f: 2 * f, x, grid, batch_size=batch_size)
        expected = merge(2 * fragments, grid, window="gaussian")
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
        out = np.empty((2, 2, *grid.shape), np.int16)
        assert map_fragments(lambda f: 2 * f, x, grid, batch_size=batch_size, out=out) is out
        assert np.abs(out - got).max() <= 0.5 + 1e-9
    merger = FragmentMerger(grid, channels=2, dtype=x.dtype, batch=2)
    merger.add(
        fragments.reshape(-1, *fragments.shape[2:]),
        rng.permutation(0) if not grid.n else np.arange(2 * grid.n),
    )
    expected = merge(fragments, grid, window="gaussian")
    np.testing.assert_allclose(merger.result(), expected, rtol=1e-12, atol=1e-12)
    table = fragment_features(x, grid, ("mean", "max"))
    axes = tuple(range(3, fragments.ndim))
    np.testing.assert_allclose(table[..., 0], fragments.mean(axes), rtol=1e-9, atol=1e-12)
    mask = rng.random(grid.shape) < 0.2
    constant = FragmentGrid.checked(
        grid.shape,
        grid.size,
        grid.stride,
        grid.edge,
        "constant",
        0,
        grid.dilation,
        grid.offset,
        grid.padding,
    )
    held = extract(mask[None, None], constant)[0, :, 0]
    assert touched(grid, mask).tolist() == held.any(tuple(range(1, held.ndim))).tolist()


def test_padding_makes_valid_convolutions_whole() -> None:
    torch = pytest.importorskip("torch")
    image = torch.randn(1, 1, 20, 17)
    model = torch.nn.Conv2d(1, 2, 5)
    grid = FragmentGrid((20, 17), 9, 5, edge="shift", padding=2)
    got = map_fragments(model, image, grid, batch_size=3, window="uniform", halo="valid")
    expected = model(torch.nn.functional.pad(image, (2, 2, 2, 2))).detach()
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_gradients_flow_through_padding() -> None:
    torch = pytest.importorskip("torch")
    grid = FragmentGrid((6, 5), 3, 2, padding=(2, (1, 3)), offset=(1, 0), pad_mode="reflect")
    x = torch.randn(1, 2, 6, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: extract(x, grid), x)
    fragments = extract(x.detach(), grid).requires_grad_()
    assert torch.autograd.gradcheck(lambda f: merge(f, grid, window="hann"), fragments)
    # sum is the adjoint of extract, with what was copied added to where it came from
    y = torch.randn_like(fragments)
    left = (extract(x, grid) * y).sum()
    torch.testing.assert_close(left, (x * merge(y, grid, reduce="sum")).sum())


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "float16"])
@pytest.mark.parametrize("pad_mode", ["reflect", "replicate", "circular"])
def test_what_is_folded_is_added_before_it_is_rounded(dtype: Any, pad_mode: Any) -> None:
    torch = pytest.importorskip("torch")
    grid = FragmentGrid((6,), 4, 2, padding=3, pad_mode=pad_mode)
    kind = np.dtype(dtype)
    numbers = np.random.default_rng(0).uniform(-0.9, 0.9, (2, grid.n, 2, 4))
    if kind.kind != "f":
        numbers = np.abs(numbers) if kind.kind == "u" else numbers
        numbers *= np.iinfo(kind).max
    fragments = numbers.astype(kind)
    want = merge(fragments.astype(np.float64), grid, reduce="sum")
    if kind.kind != "f":
        limits = np.iinfo(kind)
        assert ((want < limits.min) | (want > limits.max)).any()
        want = want.clip(limits.min, limits.max)
    for own in fragments, torch.from_numpy(fragments):
        got = merge(own, grid, reduce="sum")
        assert got.dtype == own.dtype
        np.testing.assert_array_equal(np.asarray(got), want.astype(kind))


def test_random_starts_keep_whole_windows() -> None:
    rng = np.random.default_rng(0)
    grid = FragmentGrid((40, 30), (8, 6), edge="drop")
    seen = {grid.shifted(rng).offset for _ in range(400)}
    assert {first for first, _ in seen} == set(range(8))
    assert {second for _, second in seen} == set(range(6))
    for offset in seen:
        moved = FragmentGrid.checked(
            grid.shape, grid.size, grid.stride, "drop", "constant", 0, (1, 1), offset
        )
        assert (moved.origins + moved.size <= grid.shape).all()
    tight = FragmentGrid((10,), 8, edge="shift")
    assert {tight.shifted(rng).offset for _ in range(50)} == {(0,), (1,), (2,)}
    with pytest.raises(TypeError, match="rng: got int"):
        grid.shifted(3)  # type: ignore[arg-type]


def test_refusals() -> None:
    with pytest.raises(ValueError, match="offset: got 10, takes positions on the axes"):
        FragmentGrid((10,), 4, offset=10)
    with pytest.raises(ValueError, match="padding: got -1"):
        FragmentGrid((10,), 4, padding=-1)
    with pytest.raises(ValueError, match="offset, padding: got"):
        FragmentGrid((10,), 4, padding=(1, 2))
    with pytest.warns(UncoveredWarning, match="3 of 10 positions in no fragment"):
        FragmentGrid((10,), 7, edge="drop", offset=3)
    placed = FragmentGrid((10,), 4, offset=1)
    with pytest.raises(ValueError, match="takes one without offset and padding"):
        GridShards(placed, 2)
    with pytest.raises(ValueError, match="takes one without offset and padding"):
        placed.plan  # noqa: B018
    with pytest.raises(ValueError, match="on a grid with offset or padding, takes"):
        map_fragments(lambda f: f[..., ::2], np.zeros((1, 1, 10)), placed, batch_size=2)
