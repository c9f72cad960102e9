"""Blocks of a volume: each has the bits of all windows together, from those that reach it alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import volume_cases as cases
from hypothesis import given, strategies as st

from tokfrag import FragmentGrid, map_fragments
from tokfrag.fragments.streams.results import checked_halo
from tokfrag.fragments.streams.sliding import Call
from tokfrag.scale.volume_arrays import Layout
from tokfrag.scale.volume_blocks import Blocks, HeldVolume, Merging, block_result, chosen_lengths

MODES = ("constant", "reflect", "replicate", "circular")


@st.composite
def axes(draw: st.DrawFn) -> dict[str, Any]:
    """A grid of one or two axes."""
    rank = draw(st.integers(1, 2))
    edge = draw(st.sampled_from(["pad", "shift", "drop"]))
    size = tuple(draw(st.integers(1, 7)) for _ in range(rank))
    dilation = tuple(draw(st.integers(1, 2)) for _ in range(rank))
    least = [step * (w - 1) + 1 for step, w in zip(dilation, size, strict=True)]
    shape = tuple(draw(st.integers(1 if edge == "pad" else n, n + 30)) for n in least)
    stride = tuple(draw(st.integers(1, w + 2)) for w in size)
    block = tuple(draw(st.integers(1, n)) for n in shape)
    grid = FragmentGrid.checked(
        shape, size, stride, edge, draw(st.sampled_from(MODES)), 1.5, dilation
    )
    return {"grid": grid, "block": block}


def by_blocks(
    model: Any,
    x: Any,
    grid: FragmentGrid,
    block: tuple[int, ...],
    outputs: tuple[int, ...],
    channels: int,
    batch: int,
    **options: Any,
) -> Any:
    window, reduce = options.get("window", "gaussian"), options.get("reduce") or "mean"
    halo = checked_halo(options.get("halo", 0), len(grid.shape))
    merging = Merging.of(grid, outputs, window, reduce, halo)
    call = Call(
        batch, window, reduce, None, options.get("reduce_slab"), halo, None, False, False, 1
    )
    blocks = Blocks(merging.space, block)
    made, run = None, 0
    for number in range(len(blocks)):
        _, region = blocks.block(number)

        def held(windows: Any) -> HeldVolume:
            return HeldVolume(x, Layout(True, True), 0, grid, windows)

        result, windows = block_result(model, held, merging, region, channels, call)
        run += windows
        if result is not None:
            if made is None:
                made = np.zeros((result.shape[0], *merging.space), result.dtype)
            made[(slice(None), *region)] = result
    assert run == blocks.windows(merging)
    return made


@given(
    case=axes(),
    reduce=st.sampled_from(["mean", "sum", "max", "min", "median"]),
    seed=st.integers(0, 9),
    batch=st.integers(1, 6),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_blocks_have_the_bits_of_the_whole(
    case: dict[str, Any], reduce: str, seed: int, batch: int, dtype: Any
) -> None:
    grid = case["grid"]
    x = cases.volume((1, 2, *grid.shape), seed).astype(dtype)
    weighted = reduce in ("mean", "sum")
    window: Any = "gaussian" if weighted else "uniform"
    if weighted and dtype == np.float64:  # whose sums round otherwise in another order
        window = [np.random.default_rng(seed).uniform(0.1, 1, size) for size in grid.size]
    options = {"window": window, "reduce": reduce}
    expected = map_fragments(cases.smoothed, x, grid, batch_size=3, **options)
    made = by_blocks(cases.smoothed, x, grid, case["block"], grid.size, 2, batch, **options)
    assert np.array_equal(made, expected[0], equal_nan=True)


@pytest.mark.parametrize("block", [(5, 7), (16, 40), (40, 1)])
@pytest.mark.parametrize("reduce", ["mean", "vote"])
def test_halos(block: tuple[int, int], reduce: Any) -> None:
    grid = FragmentGrid((40, 40), size=(10, 9), stride=(6, 7), edge="shift")
    x = cases.volume((1, 1, 40, 40))
    model = cases.signs if reduce == "vote" else cases.smoothed
    options = {"window": "uniform", "reduce": reduce, "halo": [(2, 2), (1, 1)]}
    expected = map_fragments(model, x, grid, batch_size=4, **options)
    made = by_blocks(model, x, grid, block, grid.size, 1, 3, **options)
    assert made.dtype == expected.dtype
    assert np.array_equal(made, expected[0])


@pytest.mark.parametrize("block", [(3, 5), (11, 20)])
def test_other_sizes_of_outputs(block: tuple[int, int]) -> None:
    grid = FragmentGrid((40, 40), size=8, stride=4)
    x = cases.volume((1, 1, 40, 40))
    for model, size, halo in ((cases.halves, (4, 4), "scale"), (cases.middle, (6, 6), "valid")):
        expected = map_fragments(model, x, grid, batch_size=4, halo=halo)
        made = by_blocks(model, x, grid, block, size, 1, 3, halo=halo)
        assert np.array_equal(made, expected[0])


def test_weights_that_are_an_array() -> None:
    grid = FragmentGrid((24, 24), size=8, stride=4)
    x = cases.volume((1, 1, 24, 24))
    window = np.abs(cases.volume((8, 8), 3))
    expected = map_fragments(cases.smoothed, x, grid, batch_size=4, window=window)
    made = by_blocks(cases.smoothed, x, grid, (7, 9), (8, 8), 1, 3, window=window)
    assert np.array_equal(made, expected[0])


def test_slabs_are_reduced_as_they_come() -> None:
    grid = FragmentGrid((24, 24), size=8, stride=4)
    x = cases.volume((1, 1, 24, 24))
    options = {"reduce_slab": cases.strongest}
    expected = map_fragments(cases.two_channels, x, grid, batch_size=4, **options)
    made = by_blocks(cases.two_channels, x, grid, (7, 9), (8, 8), 2, 3, **options)
    assert made.dtype == np.uint8
    assert np.array_equal(made, expected[0])


def test_blocks_grow_while_memory_allows() -> None:
    grid = FragmentGrid((512, 512), size=64, stride=32)
    merging = Merging.of(grid, grid.size, "uniform", "mean", None)
    small = chosen_lengths(merging, (32, 32), 1, 16, 1 << 19)
    large = chosen_lengths(merging, (32, 32), 1, 16, 1 << 24)
    assert all(length % 32 == 0 for length in (*small, *large))
    assert len(Blocks((512, 512), large)) >= 16
    assert Blocks((512, 512), large).windows(merging) < Blocks((512, 512), small).windows(merging)


def test_means_are_divided_by_sums_of_the_same_order() -> None:
    grid = FragmentGrid((23,), size=7, stride=1)
    for seed in range(12):
        x = cases.volume((1, 1, 23), seed).astype(np.float64)
        window = [np.random.default_rng(seed).uniform(0.1, 1, 7)]
        expected = map_fragments(cases.smoothed, x, grid, batch_size=4, window=window)
        made = by_blocks(cases.smoothed, x, grid, (1,), (7,), 1, 4, window=window)
        assert np.array_equal(made, expected[0])
