"""The CUDA kernels against what has to move at least, and against torch's and MONAI's ways.

``floor`` moves the same bytes as the kernel must (every input once, every output once) with torch's
vectorised elementwise kernel; a kernel at the floor has a ratio of 1. Times are the device's alone
(`device_time`); what the host takes to queue a call has rows of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from peers import describe, need
from tokfrag import FragmentGrid, extract, merge
from tokfrag.fragments.features import fragment_features
from tokfrag.fragments.segments import segment_merge
from tokfrag.sparse import SparseLinear

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("torch sees no CUDA device", allow_module_level=True)

from device_time import device_seconds, host_seconds  # noqa: E402


class Case(NamedTuple):
    """Data of a kind that people cut: (batch, channels, *space_time), window and stride."""

    shape: tuple[int, ...]
    size: tuple[int, ...]
    stride: tuple[int, ...]
    channels_last: bool = False

    @property
    def space(self) -> tuple[int, ...]:
        return self.shape[1:-1] if self.channels_last else self.shape[2:]

    @property
    def grid(self) -> FragmentGrid:
        return FragmentGrid(self.space, self.size, self.stride, edge="shift")


CASES = {
    "series": Case((64, 1, 1_000_000), (256,), (64,)),
    "image": Case((8, 3, 1024, 1024), (64, 64), (32, 32)),
    "vit": Case((64, 3, 1024, 1024), (16, 16), (16, 16)),
    "video": Case((2, 3, 64, 256, 256), (8, 64, 64), (4, 32, 32)),
    "volume": Case((4, 1, 192, 192, 192), (64, 64, 64), (32, 32, 32)),
}
# Rows that are no multiple of 16 bytes, and pixels whose channels lie side by side.
AWKWARD = {
    "vit14": Case((256, 3, 224, 224), (14, 14), (14, 14)),
    "vit16 last": Case((64, 1024, 1024, 3), (16, 16), (16, 16), True),
    "vit14 last": Case((256, 224, 224, 3), (14, 14), (14, 14), True),
    "volume odd": Case((2, 1, 181, 217, 181), (96, 96, 96), (48, 48, 48)),
}
DTYPES = ("uint8", "float16", "float32")


def timed(benchmark: Any, module: str, run: Callable[[], Any], count: int) -> None:
    """By events on the device; pytest-benchmark's own clock stands beside it."""

    def call() -> None:
        run()
        torch.cuda.synchronize()

    describe(benchmark, module, bytes=count, seconds=device_seconds(run))
    benchmark.pedantic(call, rounds=3, warmup_rounds=1)


def floor_of(count: int) -> Callable[[], Any]:
    """A vectorised kernel that reads and writes so many bytes together."""
    source = torch.zeros(count // 8, device="cuda")
    target = torch.empty_like(source)
    return lambda: torch.neg(source, out=target)


def unfolded(x: Any, case: Case) -> Any:
    """A view of all fragments: (batch, channels, *counts, *size)."""
    for axis, (size, stride) in enumerate(zip(case.size, case.stride, strict=True)):
        x = x.unfold(2 + axis, size, stride)
    return x


def divides(case: Case) -> bool:
    return all(
        (length - size) % stride == 0
        for length, size, stride in zip(case.shape[2:], case.size, case.stride, strict=True)
    )


@pytest.mark.parametrize("peer", ["tokfrag", "floor", "clone", "unfold", "F.unfold"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_extract(benchmark: Any, name: str, dtype: str, peer: str) -> None:
    benchmark.group = f"cuda extract {name} {dtype}"
    case = CASES[name]
    grid = case.grid
    x = torch.randint(0, 100, case.shape, device="cuda").to(getattr(torch, dtype))
    out = extract(x, grid)
    count = x.nbytes + out.nbytes
    rank = len(case.size)
    if peer == "tokfrag":
        timed(benchmark, "tokfrag", lambda: extract(x, grid, out=out), count)
    elif peer == "floor":
        timed(benchmark, "torch", floor_of(count), count)
    elif peer == "clone":
        target = torch.empty_like(out)
        timed(benchmark, "torch", lambda: target.copy_(out), count)
    elif not divides(case):
        pytest.skip("unfold loses the tail of this shape")
    elif peer == "unfold":
        order = (0, *range(2, 2 + rank), 1, *range(2 + rank, 2 + 2 * rank))

        def run() -> Any:
            return unfolded(x, case).permute(order).contiguous()

        assert torch.equal(run().flatten(1, rank), out)
        timed(benchmark, "torch", run, count)
    else:
        if rank != 2 or dtype == "uint8":
            pytest.skip("F.unfold takes images of floats")
        fold = torch.nn.functional
        columns = fold.unfold(x, case.size, stride=case.stride)
        assert torch.equal(columns.mT.reshape(out.shape), out)
        timed(benchmark, "torch", lambda: fold.unfold(x, case.size, stride=case.stride), count)


@pytest.mark.parametrize("peer", ["tokfrag", "floor", "clone"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", AWKWARD)
def test_extract_awkward(benchmark: Any, name: str, dtype: str, peer: str) -> None:
    benchmark.group = f"cuda extract {name} {dtype}"
    case = AWKWARD[name]
    x = torch.randint(0, 100, case.shape, device="cuda").to(getattr(torch, dtype))
    options: dict[str, Any] = {"channels_last": case.channels_last}
    out = extract(x, case.grid, **options)
    count = x.nbytes + out.nbytes
    if peer == "tokfrag":
        timed(benchmark, "tokfrag", lambda: extract(x, case.grid, out=out, **options), count)
    elif peer == "floor":
        timed(benchmark, "torch", floor_of(count), count)
    else:
        target = torch.empty_like(out)
        timed(benchmark, "torch", lambda: target.copy_(out), count)


@pytest.mark.parametrize("peer", ["tokfrag", "unfold"])
@pytest.mark.parametrize("call", ["extract", "merge", "merge vectors"])
def test_host_time(benchmark: Any, call: str, peer: str) -> None:
    """What the host takes to queue work that the device does at once."""
    benchmark.group = f"cuda host time {call}"
    case = Case((1, 3, 32, 32), (8, 8), (4, 4))
    grid = case.grid
    x = torch.zeros(case.shape, device="cuda")
    fragments = extract(x, grid)
    back = torch.empty_like(x)
    window: Any = [torch.ones(8)] * 2 if call == "merge vectors" else "uniform"
    if peer == "unfold":
        order = (0, 2, 3, 1, 4, 5)

        def run() -> Any:
            return unfolded(x, case).permute(order).contiguous()
    elif call == "extract":

        def run() -> Any:
            return extract(x, grid, out=fragments)
    else:

        def run() -> Any:
            return merge(fragments, grid, window=window, out=back)

    describe(benchmark, "tokfrag" if peer == "tokfrag" else "torch", seconds=host_seconds(run))
    benchmark.pedantic(run, rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("peer", ["tokfrag", "floor"])
@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_backward(benchmark: Any, mode: Any, peer: str) -> None:
    benchmark.group = f"cuda extract backward {mode}"
    x = torch.randn(8, 1, 100_010, device="cuda", requires_grad=True)
    y = extract(x, size=256, stride=64, pad_mode=mode)
    gradient = torch.randn_like(y)
    count = x.nbytes + y.nbytes
    if peer == "tokfrag":

        def run() -> Any:
            return torch.autograd.grad(y, x, gradient, retain_graph=True)

        timed(benchmark, "tokfrag", run, count)
    else:
        timed(benchmark, "torch", floor_of(count), count)


@pytest.mark.parametrize("peer", ["tokfrag", "dense", "dense tf32", "cuSPARSE"])
@pytest.mark.parametrize("batch", [1, 32, 256])
@pytest.mark.parametrize("sparsity", [0.9, 0.95])
def test_sparse(benchmark: Any, sparsity: float, batch: int, peer: str) -> None:
    """A float32 layer of 4096 x 4096."""
    benchmark.group = f"cuda sparse {sparsity} batch {batch}"
    layer = SparseLinear(4096, 4096, sparsity=sparsity, bias=False, kernel="sparse").cuda()
    x = torch.randn(batch, 4096, device="cuda")
    with torch.no_grad():
        dense = layer.dense_weight()
        if peer == "tokfrag":
            timed(benchmark, "tokfrag", lambda: layer(x), layer.nbytes)
        elif peer == "cuSPARSE":
            rows = dense.to_sparse_csr()
            timed(benchmark, "torch", lambda: rows @ x.t(), layer.nbytes)
        else:
            before = torch.get_float32_matmul_precision()
            torch.set_float32_matmul_precision("high" if "tf32" in peer else "highest")
            timed(benchmark, "torch", lambda: torch.nn.functional.linear(x, dense), dense.nbytes)
            torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("peer", ["tokfrag", "floor", "F.fold", "unfold_backward", "loop", "monai"])
@pytest.mark.parametrize("window", ["uniform", "gaussian"])
@pytest.mark.parametrize("dtype", DTYPES[1:])
@pytest.mark.parametrize("name", CASES)
def test_merge(benchmark: Any, name: str, dtype: str, window: Any, peer: str) -> None:
    benchmark.group = f"cuda merge {name} {dtype} {window}"
    case = CASES[name]
    grid = case.grid
    x = torch.randint(0, 100, case.shape, device="cuda").to(getattr(torch, dtype))
    fragments = extract(x, grid)
    count = x.nbytes + fragments.nbytes
    out = torch.empty_like(x)
    if peer == "tokfrag":
        merge(fragments, grid, window=window, out=out)
        torch.testing.assert_close(out, x)
        timed(benchmark, "tokfrag", lambda: merge(fragments, grid, window=window, out=out), count)
    elif peer == "floor":
        timed(benchmark, "torch", floor_of(count), count)
    elif peer == "F.fold":
        run = fold_recipe(case, fragments)
        torch.testing.assert_close(run(), x)
        timed(benchmark, "torch", run, count)
    elif peer == "unfold_backward":
        run = unfold_backward(case, fragments)
        expected = merge(fragments, grid, reduce="sum")
        torch.testing.assert_close(run(), expected, rtol=1e-2, atol=1e-2)
        timed(benchmark, "torch", run, count)
    elif peer == "loop":
        run = python_loop(case, fragments, window)
        torch.testing.assert_close(run().to(x.dtype), x, rtol=1e-2, atol=1e-2)
        timed(benchmark, "torch", run, count)
    else:
        run = monai_inference(case, x, window)
        torch.testing.assert_close(run(), x, rtol=2e-2, atol=2e-2)
        timed(benchmark, "monai", run, count)


def fold_recipe(case: Case, fragments: Any) -> Callable[[], Any]:
    """The usual way to a mean: F.fold of the fragments, over F.fold of ones."""
    if len(case.size) != 2 or not divides(case):
        pytest.skip("F.fold takes images, of shapes that divide")
    fold = torch.nn.functional.fold
    shape = case.shape[2:]

    def run() -> Any:
        columns = fragments.flatten(2).mT
        total = fold(columns, shape, case.size, stride=case.stride)
        ones = torch.ones_like(columns[:1])
        return total / fold(ones, shape, case.size, stride=case.stride)

    return run


def unfold_backward(case: Case, fragments: Any) -> Callable[[], Any]:
    """The sum alone, by torch's derivative of unfold, one axis after the other."""
    if not divides(case):
        pytest.skip("unfold loses the tail of this shape")
    rank = len(case.size)
    counts = case.grid.counts
    order = (0, 1 + rank, *range(1, 1 + rank), *range(2 + rank, 2 + 2 * rank))

    def run() -> Any:
        y = fragments.unflatten(1, counts).permute(order)
        for axis in reversed(range(rank)):
            shape = (*y.shape[: 2 + axis], case.shape[2 + axis], *y.shape[3 + axis : -1])
            y = torch.ops.aten.unfold_backward(
                y, shape, 2 + axis, case.size[axis], case.stride[axis]
            )
        return y

    return run


def python_loop(case: Case, fragments: Any, window: str) -> Callable[[], Any]:
    """One addition a window, and one to a map of weights: what most code does."""
    from tokfrag.fragments.windows import axis_window

    grid = case.grid
    if grid.n > 2000:
        pytest.skip(f"{grid.n} windows, one launch or more each")
    weights = torch.ones((), device="cuda")
    for size in case.size:
        vector = torch.from_numpy(axis_window(window, size)).float().cuda()  # type: ignore[arg-type]
        weights = weights[..., None] * vector
    slices = [
        tuple(slice(int(a), int(a) + size) for a, size in zip(origin, case.size, strict=True))
        for origin in grid.origins
    ]

    def run() -> Any:
        total = torch.zeros(case.shape, device="cuda")
        count = torch.zeros(case.shape[2:], device="cuda")
        for i, where in enumerate(slices):
            total[(..., *where)] += fragments[:, i] * weights
            count[where] += weights
        return total / count

    return run


def monai_inference(case: Case, x: Any, window: str) -> Callable[[], Any]:
    """MONAI's sliding-window inference around the identity; cuts the windows too."""
    inference = need("monai.inferers").sliding_window_inference
    if len(case.size) == 1 or not divides(case):
        pytest.skip("MONAI takes images and volumes here, of shapes that divide")
    overlap = [1 - s / w for s, w in zip(case.stride, case.size, strict=True)]
    mode = "gaussian" if window == "gaussian" else "constant"
    return lambda: inference(x, case.size, 16, torch.nn.Identity(), overlap=overlap, mode=mode)


@pytest.mark.parametrize("peer", ["tokfrag", "floor", "eager", "compiled"])
def test_features(benchmark: Any, peer: str) -> None:
    benchmark.group = "cuda features series float32"
    case = CASES["series"]
    grid = case.grid
    x = torch.randn(case.shape, device="cuda")
    lags = tuple(range(1, 9))
    names = ("mean", "std", "diff_energy", "lag_corr")
    out = fragment_features(x, grid, names, lags=lags)
    count = x.nbytes + out.nbytes

    def formula(x: Any) -> Any:
        y = x.unfold(2, 256, 64)
        mean = y.mean(-1, keepdim=True)
        d = y - mean
        energy = (d * d).sum(-1)
        columns = [mean[..., 0], (energy / 256).sqrt(), y.diff(dim=-1).square().mean(-1)]
        columns += [(d[..., lag:] * d[..., :-lag]).sum(-1) / energy for lag in lags]
        return torch.stack(columns, -1).transpose(1, 2)

    if peer == "tokfrag":
        timed(benchmark, "tokfrag", lambda: fragment_features(x, grid, names, lags=lags), count)
    elif peer == "floor":
        timed(benchmark, "torch", floor_of(count), count)
    else:
        run = formula if peer == "eager" else torch.compile(formula)
        torch.testing.assert_close(run(x), out, rtol=1e-3, atol=1e-3)
        timed(benchmark, "torch", lambda: run(x), count)


@pytest.mark.parametrize("peer", ["tokfrag", "floor", "index_add_"])
@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_segment_merge(benchmark: Any, dtype: str, peer: str) -> None:
    """Token merging: 4096 tokens of 768 numbers to a half, in a batch of 16."""
    benchmark.group = f"cuda segment_merge {dtype}"
    x = torch.randn(16, 4096, 768, device="cuda").to(getattr(torch, dtype))
    index = torch.randint(0, 2048, (16, 4096), device="cuda")
    y, _ = segment_merge(x, index, 2048)
    count = x.nbytes + y.nbytes

    def by_index_add() -> Any:
        flat = (index + torch.arange(16, device="cuda")[:, None] * 2048).reshape(-1)
        total = torch.zeros(16 * 2048, 768, device="cuda").index_add_(
            0, flat, x.reshape(-1, 768).float()
        )
        rows = torch.zeros(16 * 2048, device="cuda").index_add_(
            0, flat, torch.ones_like(flat, dtype=torch.float32)
        )
        return (total / rows.clamp_min(1)[:, None]).to(x.dtype).reshape(y.shape)

    if peer == "tokfrag":
        timed(benchmark, "tokfrag", lambda: segment_merge(x, index, 2048), count)
    elif peer == "floor":
        timed(benchmark, "torch", floor_of(count), count)
    else:
        torch.testing.assert_close(by_index_add(), y, rtol=1e-2, atol=1e-2)
        timed(benchmark, "torch", by_index_add, count)
