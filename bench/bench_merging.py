"""merge, and its backward, against a loop, F.fold, unfold_backward, AvgMerger and the floor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from peers import describe, need
from tokfrag import FragmentGrid, extract, merge

torch = need("torch")

# name: (batch and channels, space-time, size, stride, type, window)
CASES: dict[str, tuple[tuple[int, int], tuple[int, ...], Any, Any, str, str]] = {
    "series": ((16, 1), (999_936,), 256, 64, "float32", "uniform"),
    "image": ((4, 3), (1024, 1024), 64, 32, "float32", "uniform"),
    "image gaussian": ((4, 3), (1024, 1024), 64, 32, "float32", "gaussian"),
    "image f16": ((4, 3), (1024, 1024), 64, 32, "float16", "uniform"),
    "ViT": ((8, 3), (1024, 1024), 16, 16, "float32", "uniform"),
    "video gaussian": ((1, 3), (64, 256, 256), (8, 64, 64), (4, 32, 32), "float32", "gaussian"),
    "volume": ((1, 1), (192, 192, 192), 64, 32, "float32", "uniform"),
    "volume gaussian": ((1, 1), (192, 192, 192), 64, 32, "float32", "gaussian"),
}
PEERS = [
    "tokfrag",
    "tokfrag 2 threads",
    "tokfrag whole window",
    "tokfrag weights of each fragment",
    "floor: read fragments, write output",
    "python loop",
    "torch F.fold with norm",
    "torch unfold_backward (sum only)",
    "MONAI AvgMerger",
]


def window_of(grid: FragmentGrid, window: str) -> torch.Tensor:
    """The named window as an array, by the formula that merge's documentation gives."""
    weights = torch.ones((), dtype=torch.float64)
    for size in grid.size:
        from_centre = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2) / (size / 8)
        gaussian = torch.exp(-0.5 * from_centre**2).clamp_min(1e-3)
        weights = weights[..., None] * (gaussian if window == "gaussian" else 1)
        weights = weights.expand(*weights.shape[:-1], size)
    return weights.contiguous()


def contender(
    peer: str, fragments: torch.Tensor, grid: FragmentGrid, window: str, out: torch.Tensor
) -> tuple[Callable[[], Any], bool]:
    """The call, and whether it makes the mean (or something cheaper)."""
    weights = window_of(grid, window)
    if peer == "tokfrag":
        return lambda: merge(fragments, grid, window=window, out=out, threads=1), True
    if peer == "tokfrag 2 threads":
        return lambda: merge(fragments, grid, window=window, out=out, threads=2), True
    if peer == "tokfrag whole window":
        return lambda: merge(fragments, grid, window=weights, out=out, threads=1), True
    if peer == "tokfrag weights of each fragment":
        each = weights.expand(len(grid.origins), *grid.size).contiguous()
        return lambda: merge(fragments, grid, window=each, out=out, threads=1), True
    if peer.startswith("floor"):
        bits = fragments.view(torch.int32 if fragments.itemsize == 4 else torch.int16)
        return lambda: (bits.max(), out.fill_(0)), False
    if peer == "python loop":
        return lambda: python_loop(fragments, grid, weights.to(fragments.dtype)), True
    if peer == "torch F.fold with norm":
        if len(grid.shape) != 2 or window != "uniform":
            pytest.skip("F.fold takes images, without weights")
        return lambda: fold_with_norm(fragments, grid), True
    if peer.startswith("torch unfold_backward"):
        return lambda: unfold_backward(fragments, grid), False
    merger = need("monai.inferers.merger")
    if window != "uniform":
        pytest.skip("AvgMerger takes no weights")
    return lambda: monai_merge(merger, fragments, grid, out), True


def python_loop(fragments: torch.Tensor, grid: FragmentGrid, weights: torch.Tensor) -> torch.Tensor:
    batch, _, channels = fragments.shape[:3]
    total = fragments.new_zeros((batch, channels, *grid.shape))
    norm = fragments.new_zeros(grid.shape)
    for i, origin in enumerate(grid.origins.tolist()):
        place = tuple(slice(o, o + w) for o, w in zip(origin, grid.size, strict=True))
        total[(..., *place)] += weights * fragments[:, i]
        norm[place] += weights
    return total / norm


def fold_with_norm(fragments: torch.Tensor, grid: FragmentGrid) -> torch.Tensor:
    fold = torch.nn.functional.fold
    columns = fragments.flatten(2).transpose(1, 2)
    total = fold(columns, grid.shape, grid.size, stride=grid.stride)
    norm = fold(torch.ones_like(columns[:1]), grid.shape, grid.size, stride=grid.stride)
    return total / norm


def unfold_backward(fragments: torch.Tensor, grid: FragmentGrid) -> torch.Tensor:
    axes = len(grid.shape)
    batch, _, channels = fragments.shape[:3]
    x = fragments.view(batch, *grid.counts, channels, *grid.size)
    x = x.permute(0, 1 + axes, *range(1, 1 + axes), *range(2 + axes, 2 + 2 * axes))
    shape = [batch, channels, *grid.counts]
    for axis in reversed(range(axes)):
        shape[2 + axis] = grid.shape[axis]
        extents = [*shape, *grid.size[:axis]]
        x = torch.ops.aten.unfold_backward(x, extents, 2 + axis, grid.size[axis], grid.stride[axis])
    return x


def monai_merge(merger: Any, fragments: torch.Tensor, grid: FragmentGrid, out: torch.Tensor) -> Any:
    merging = merger.AvgMerger(merged_shape=tuple(out.shape), count_dtype=torch.int16)
    for i, origin in enumerate(grid.origins.tolist()):
        merging.aggregate(fragments[:, i], origin)
    return merging.finalize()


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("case", CASES)
def bench_merge(benchmark: Any, case: str, peer: str) -> None:
    leading, shape, size, stride, dtype, window = CASES[case]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = torch.randn(*leading, *shape).to(getattr(torch, dtype))
    grid = FragmentGrid(shape, size, stride)
    fragments = extract(x, grid)
    out = torch.empty_like(x)
    call, is_mean = contender(peer, fragments, grid, window, out)
    if is_mean:
        tolerance = 2e-2 if dtype == "float16" else 1e-5
        torch.testing.assert_close(call().to(x.dtype), x, rtol=tolerance, atol=tolerance)
    elif peer.startswith("torch unfold_backward"):
        torch.testing.assert_close(
            call(), merge(fragments, grid, reduce="sum"), rtol=1e-2, atol=1e-1
        )
    benchmark.group = f"merge {case} {size}/{stride}"
    describe(benchmark, peer.split()[0].rstrip(":").lower(), bytes=fragments.nbytes + out.nbytes)
    benchmark.pedantic(call, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("peer", ["tokfrag", "tokfrag whole window", "extract, then a product"])
@pytest.mark.parametrize("case", CASES)
def bench_merge_backward(benchmark: Any, case: str, peer: str) -> None:
    """The gradient of the fragments, given that of the merged array."""
    leading, shape, size, stride, dtype, window = CASES[case]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = torch.randn(*leading, *shape).to(getattr(torch, dtype))
    grid = FragmentGrid(shape, size, stride)
    weights = window_of(grid, window)
    fragments = extract(x, grid).requires_grad_()
    norm = merge(weights.expand(1, len(grid.origins), 1, *grid.size), grid, reduce="sum")

    def product() -> torch.Tensor:
        return (extract((x / norm).to(x.dtype), grid) * weights).to(x.dtype)

    given = weights if peer == "tokfrag whole window" else window
    merged = merge(fragments, grid, window=given, threads=1)  # type: ignore[arg-type]

    def backward() -> torch.Tensor:
        return torch.autograd.grad(merged, fragments, x, retain_graph=True)[0]

    call = product if peer.startswith("extract") else backward
    tolerance = 4e-3 if dtype == "float16" else 1e-6
    torch.testing.assert_close(call(), product(), rtol=tolerance, atol=tolerance)
    benchmark.group = f"merge backward {case} {size}/{stride}"
    describe(benchmark, "tokfrag", bytes=x.nbytes + fragments.nbytes)
    benchmark.pedantic(call, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("peer", ["tokfrag", "tokfrag numpy", "torch add"])
def bench_small_call(benchmark: Any, peer: str) -> None:
    """What a call costs where there is next to nothing to add; a torch.add as the yardstick."""
    grid = FragmentGrid((8, 8), 4, 2)
    fragments = extract(torch.zeros(1, 1, 8, 8), grid)
    array = fragments.numpy()
    calls: dict[str, Callable[[], Any]] = {
        "tokfrag": lambda: merge(fragments, grid),
        "tokfrag numpy": lambda: merge(array, grid),
        "torch add": lambda: torch.add(fragments, fragments),
    }
    benchmark.group = "merge small call"
    describe(benchmark, peer.split()[0])
    benchmark.pedantic(calls[peer], rounds=50, iterations=200, warmup_rounds=2)
