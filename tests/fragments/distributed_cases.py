"""What one process of test_distributed.py runs: ``case rank count meeting_file``."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from datetime import timedelta
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

from tokfrag import FragmentGrid, GridShards, extract, gather_merge, merge, scatter_fragments

DTYPES = ("float32", "float64", "float16", "bfloat16", "uint8", "int32")


def same(got: torch.Tensor, want: torch.Tensor) -> None:
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    assert torch.equal(got.isnan(), want.isnan())
    bits = [
        t.contiguous().view(-1).view(torch.uint8) for t in (got.nan_to_num(), want.nan_to_num())
    ]
    assert torch.equal(*bits)


def region_of(shards: GridShards, rank: int, channels_last: bool) -> tuple[slice, ...]:
    region = shards.region(rank)
    return (slice(None), *region) if channels_last else (slice(None), slice(None), *region)


def own_of(fragments: torch.Tensor, shards: GridShards, rank: int) -> torch.Tensor:
    """This process' of all fragments."""
    grid = shards.grid
    taken = fragments.reshape(len(fragments), *grid.counts, *fragments.shape[2:])
    taken = taken[(slice(None), *shards.windows(rank))]
    return taken.reshape(len(fragments), prod(shards.counts(rank)), *fragments.shape[2:])


def draw_grid(rng: np.random.Generator) -> FragmentGrid:
    rank = int(rng.integers(1, 4))
    shape = tuple(int(v) for v in rng.integers(1, {1: 50, 2: 16, 3: 9}[rank], rank))
    dilation = tuple(int(v) for v in rng.choice([1, 1, 1, 2], rank))
    size = tuple(
        int(rng.integers(1, (n - 1) // d + 2)) for n, d in zip(shape, dilation, strict=True)
    )
    stride = tuple(int(rng.integers(1, w + 2)) for w in size)
    edge = str(rng.choice(["pad", "drop", "shift"]))
    mode = str(rng.choice(["constant", "reflect", "replicate", "circular"]))
    return FragmentGrid.checked(shape, size, stride, edge, mode, 3, dilation)


def draw_window(rng: np.random.Generator, grid: FragmentGrid):
    kind = int(rng.integers(5))
    if kind < 2:
        return "uniform"
    if kind == 2:
        return "gaussian"
    if kind == 3:
        return [rng.uniform(0.5, 2, w) for w in grid.size]
    whole = grid.size if rng.integers(2) else (grid.n, *grid.size)
    return rng.uniform(0.5, 2, whole)


def random(rank: int, count: int) -> None:
    rng = np.random.default_rng(count)
    for _ in range(80):
        grid = draw_grid(rng)
        channels_last = bool(rng.integers(2))
        channels = int(rng.integers(1, 3))
        inner = (*grid.shape, channels) if channels_last else (channels, *grid.shape)
        x = torch.from_numpy(rng.standard_normal((int(rng.integers(1, 3)), *inner)) * 50)
        x = x.to(getattr(torch, str(rng.choice(DTYPES))))
        shards = GridShards(grid, count)
        part = x[region_of(shards, rank, channels_last)]
        layout = {"channels_last": channels_last}
        fragments = extract(x, grid, **layout)
        same(scatter_fragments(part, grid, **layout), own_of(fragments, shards, rank))

        reduce = str(rng.choice(["mean", "sum", "max"]))
        window = "uniform" if reduce == "max" else draw_window(rng, grid)
        scaled = fragments + torch.arange(grid.n).reshape(-1, *(1,) * (x.ndim - 1)).to(x.dtype)
        flat = FragmentGrid.checked(
            grid.shape, grid.size, grid.stride, grid.edge, "constant", 0, grid.dilation
        )
        options = {"window": window, "reduce": reduce, "fill_value": 7, **layout}
        want = merge(scaled, flat, **options)
        got = gather_merge(own_of(scaled, shards, rank), grid, **options)
        same(got, want[region_of(shards, rank, channels_last)])


def gradients(rank: int, count: int) -> None:
    rng = np.random.default_rng(7)
    for turn in range(30):
        grid = draw_grid(rng)
        x = torch.from_numpy(rng.standard_normal((2, 1, *grid.shape)))
        shards = GridShards(grid, count)
        region = region_of(shards, rank, False)
        part = x[region].clone().requires_grad_()
        fragments = scatter_fragments(part, grid)
        reduce = ("mean", "sum", "max")[turn % 3]
        window = "uniform" if reduce == "max" else draw_window(rng, grid)
        options = {"window": window, "reduce": reduce}
        flat = FragmentGrid.checked(
            grid.shape, grid.size, grid.stride, grid.edge, "constant", 0, grid.dilation
        )
        merged = gather_merge(fragments.square(), grid, **options)
        weights = torch.from_numpy(rng.standard_normal(x.shape))
        loss = (merged * weights[region]).square().sum()
        (own,) = torch.autograd.grad(loss, part, create_graph=True)
        (own_second,) = torch.autograd.grad(own.square().sum(), part)

        whole = x.clone().requires_grad_()
        want = merge(extract(whole, grid).square(), flat, **options)
        loss = (want * weights).square().sum()
        (first,) = torch.autograd.grad(loss, whole, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), whole)
        torch.testing.assert_close(own, first[region])
        torch.testing.assert_close(own_second, second[region])


def ends(rank: int, count: int) -> None:
    """All data on one process, the result on another; NumPy; more processes than windows."""
    rng = np.random.default_rng(3)
    for shape, size, stride in (((30,), 8, 3), ((6,), 6, 6), ((9, 12), (4, 5), (2, 5))):
        grid = FragmentGrid(shape, size, stride)
        x = rng.standard_normal((2, 3, *shape)).astype(np.float32)
        want = merge(extract(x, grid), grid, window="hann")
        for kind in (np.asarray, torch.from_numpy):
            given = kind(x) if rank == 1 else None
            fragments = scatter_fragments(given, grid, source=1)
            assert type(fragments) is type(kind(x))
            got = gather_merge(fragments, grid, window="hann", target=count - 1)
            if rank == count - 1:
                same(torch.as_tensor(got), torch.as_tensor(want))
            else:
                assert got is None
    pair = dist.new_group([0, 2])
    if rank != 1:
        shards = GridShards(grid, 2, split=(1, 2))
        part = x[region_of(shards, rank // 2, False)]
        fragments = scatter_fragments(part, grid, split=(1, 2), group=pair)
        got = gather_merge(fragments, grid, window="hann", split=(1, 2), group=pair)
        same(torch.from_numpy(got), torch.from_numpy(want[region_of(shards, rank // 2, False)]))


def refusals(rank: int, count: int) -> None:
    def refused(error: Any, words: str, call: Callable[[], Any]) -> None:
        with pytest.raises(error, match=words):
            call()

    grid = FragmentGrid((8,), 4, 2)
    part = torch.zeros(1, 1, GridShards(grid, count).shape(rank)[0])
    # One process' mistake is raised there, and told to the others: nobody waits.
    bad = part[..., 1:] if rank == 0 else part
    error, words = (ValueError, "region") if rank == 0 else (RuntimeError, "rank 0")
    refused(error, words, lambda: scatter_fragments(bad, grid))
    refused(
        ValueError,
        "batch: differs",
        lambda: scatter_fragments(part.expand(1 + rank, -1, -1), grid),
    )
    refused(
        ValueError,
        "grid, split",
        lambda: scatter_fragments(part, FragmentGrid((8,), 4, 2, pad_value=rank)),
    )
    refused(
        ValueError, "dtype: differs", lambda: scatter_fragments((part, part.double())[rank], grid)
    )
    refused(ValueError, "source", lambda: scatter_fragments(part, grid, source=5))
    fragments = scatter_fragments(part, grid)
    refused(ValueError, "fragments", lambda: gather_merge(part, grid))
    refused(
        ValueError,
        "differs",
        lambda: gather_merge(fragments, grid, window=("hann", "uniform")[rank]),
    )
    refused(
        ValueError,
        "target",
        lambda: gather_merge(fragments.clone().requires_grad_(), grid, target=0),
    )
    window = np.array([1.0, 0, 0, 1])
    refused(
        (ValueError, RuntimeError),
        "",
        lambda: gather_merge(fragments, FragmentGrid((8,), 4, 4), window=window),
    )
    # A zero in a whole window is fine where another fragment covers the position.
    x = torch.arange(8.0)[None, None]
    region = region_of(GridShards(grid, count), rank, False)
    whole = np.array([1.0, 1, 0, 0])
    pieces = scatter_fragments(x[region], FragmentGrid((8,), 4, 2, pad_mode="replicate"))
    refused((ValueError, RuntimeError), "", lambda: gather_merge(pieces, grid, window=whole))
    wide = FragmentGrid((8,), 4, 1)
    region = region_of(GridShards(wide, count), rank, False)
    whole = np.array([1.0, 0, 0, 1])
    got = gather_merge(scatter_fragments(x[region], wide), wide, window=whole)
    same(got, merge(extract(x, wide), wide, window=whole)[region])


if __name__ == "__main__":
    case, rank, count, meeting = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=count,
        timeout=timedelta(seconds=60),
    )
    {"random": random, "gradients": gradients, "ends": ends, "refusals": refusals}[case](
        rank, count
    )
    gc.collect()  # pytest.raises keeps tracebacks, whose frames hold the group and its threads
    dist.destroy_process_group()
