"""extract against memcpy, torch's unfold, F.unfold and NumPy's sliding windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from peers import describe, need
from tokfrag import FragmentGrid, extract

torch = need("torch")

# name: (batch and channels, space-time, size, stride, type)
CASES: dict[str, tuple[tuple[int, int], tuple[int, ...], Any, Any, str]] = {
    "series": ((16, 1), (1_000_000,), 256, 64, "float32"),
    "series 64 channels": ((1, 64), (250_000,), 256, 64, "float32"),
    "image": ((4, 3), (1024, 1024), 64, 32, "float32"),
    "image f16": ((8, 3), (1024, 1024), 64, 32, "float16"),
    "ViT": ((8, 3), (1024, 1024), 16, 16, "float32"),
    "ViT u8": ((8, 3), (1024, 1024), 16, 16, "uint8"),
    "video": ((1, 3), (64, 256, 256), (8, 64, 64), (4, 32, 32), "float32"),
    "tubelets": ((2, 3), (64, 256, 256), (2, 16, 16), (2, 16, 16), "float32"),
    "volume": ((1, 1), (192, 192, 192), 64, 32, "float32"),
}
PEERS = [
    "tokfrag",
    "tokfrag fresh",
    "tokfrag 2 threads",
    "tokfrag numpy",
    "memcpy of the output",
    "torch out.copy_(unfold)",
    "torch unfold().contiguous()",
    "numpy sliding_window_view copy",
    "torch F.unfold",
]


def unfolded(x: torch.Tensor, grid: FragmentGrid) -> torch.Tensor:
    """The fragments as a view: (batch, *counts, channels, *size)."""
    axes = len(grid.shape)
    for axis in range(axes):
        x = x.unfold(2 + axis, grid.size[axis], grid.stride[axis])
    return x.permute(0, *range(2, 2 + axes), 1, *range(2 + axes, 2 + 2 * axes))


def contender(peer: str, x: torch.Tensor, grid: FragmentGrid) -> Callable[[], Any]:
    fresh = extract(x, grid)
    out = torch.empty_like(fresh)
    view = unfolded(x, grid)
    if peer == "tokfrag":
        return lambda: extract(x, grid, out=out, threads=1)
    if peer == "tokfrag 2 threads":
        return lambda: extract(x, grid, out=out, threads=2)
    if peer == "tokfrag fresh":
        return lambda: extract(x, grid, threads=1)
    if peer == "tokfrag numpy":
        array = x.numpy()
        return lambda: extract(array, grid, threads=1)
    if peer == "memcpy of the output":
        return lambda: out.copy_(fresh)
    if peer == "torch out.copy_(unfold)":
        shaped = out.view(view.shape)
        return lambda: shaped.copy_(view).view(out.shape)
    if peer == "torch unfold().contiguous()":
        return lambda: unfolded(x, grid).contiguous().view(out.shape)
    if peer == "numpy sliding_window_view copy":
        axes = tuple(range(2, x.dim()))
        windows = np.lib.stride_tricks.sliding_window_view(x.numpy(), grid.size, axes)
        steps = tuple(slice(None, None, step) for step in grid.stride)
        windows = np.moveaxis(windows[(slice(None), slice(None), *steps)], 1, 1 + len(axes))
        return lambda: np.ascontiguousarray(windows).reshape(out.shape)
    if x.dim() != 4 or not x.is_floating_point():
        pytest.skip("F.unfold takes images of floats")
    functional = torch.nn.functional

    def unfold() -> torch.Tensor:
        columns = functional.unfold(x, grid.size, stride=grid.stride)
        return columns.view(x.shape[0], x.shape[1], *grid.size, -1).permute(0, 4, 1, 2, 3)

    return unfold


@pytest.mark.filterwarnings("ignore::tokfrag.fragments.UncoveredWarning")
@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("case", CASES)
def bench_extract(benchmark: Any, case: str, peer: str) -> None:
    leading, shape, size, stride, dtype = CASES[case]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = (torch.randn(*leading, *shape) * 50).to(getattr(torch, dtype))
    grid = FragmentGrid(shape, size, stride, edge="drop")  # as unfold does
    call = contender(peer, x, grid)
    expected = extract(x, grid)
    assert torch.equal(torch.as_tensor(call()), expected)
    benchmark.group = f"extract {case} {size}/{stride}"
    describe(benchmark, peer.split()[0], bytes=expected.nbytes)
    benchmark.pedantic(call, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("peer", ["tokfrag", "tokfrag numpy", "torch add"])
def bench_small_call(benchmark: Any, peer: str) -> None:
    """What a call costs where there is next to nothing to copy; a torch.add as the yardstick."""
    x = torch.zeros(1, 1, 8, 8)
    grid = FragmentGrid((8, 8), 4, 2)
    array = x.numpy()
    calls: dict[str, Callable[[], Any]] = {
        "tokfrag": lambda: extract(x, grid),
        "tokfrag numpy": lambda: extract(array, grid),
        "torch add": lambda: torch.add(x, x),
    }
    benchmark.group = "extract small call"
    describe(benchmark, peer.split()[0])
    benchmark.pedantic(calls[peer], rounds=50, iterations=200, warmup_rounds=2)


@pytest.mark.parametrize("peer", ["tokfrag", "torch unfold"])
@pytest.mark.parametrize("case", ["series", "image", "volume"])
def bench_backward(benchmark: Any, case: str, peer: str) -> None:
    leading, shape, size, stride, _ = CASES[case]
    torch.set_num_threads(1)
    x = torch.randn(*leading, *shape, requires_grad=True)
    shape = tuple((n - size) // stride * stride + size for n in shape)
    grid = FragmentGrid(shape, size, stride)
    inside = x[(..., *(slice(0, n) for n in shape))]

    def forward(peer: str) -> torch.Tensor:
        if peer == "tokfrag":
            return extract(inside, grid, threads=1)
        return unfolded(inside, grid).contiguous().view(fragments_shape)

    fragments = extract(inside, grid)
    fragments_shape = fragments.shape
    gradient = torch.randn(fragments_shape)
    result = forward(peer)
    (ours,) = torch.autograd.grad(fragments, x, gradient)
    (theirs,) = torch.autograd.grad(result, x, gradient, retain_graph=True)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    benchmark.group = f"backward of extract {case}"
    describe(benchmark, peer.split()[0], bytes=fragments.nbytes)
    benchmark.pedantic(
        lambda: torch.autograd.grad(result, x, gradient, retain_graph=True), rounds=5
    )
