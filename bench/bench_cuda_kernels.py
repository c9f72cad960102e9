"""The CUDA kernels that ``bench_cuda`` leaves: gradients, orders, changed fragments, patches.

Times and floors are those of ``bench_cuda``.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench_cuda import CASES, floor_of, timed, unfolded
from tokfrag import FragmentGrid, extract, merge, patchify
from tokfrag.fragments.features import fragment_features
from tokfrag.fragments.segments import segment_merge, unmerge
from tokfrag.sparse import SparseEmbedding, SparseLinear

torch = pytest.importorskip("torch")

MEAN, STD = (0.481, 0.458, 0.408), (0.269, 0.261, 0.276)


@pytest.mark.parametrize("peer", ["tokfrag", "floor", "unfold"])
@pytest.mark.parametrize("window", ["uniform", "gaussian"])
@pytest.mark.parametrize("name", ["image", "volume"])
def test_merge_backward(benchmark: Any, name: str, window: Any, peer: str) -> None:
    """The gradient of a mean: weights and the inverse of their sum in one pass, or in several."""
    benchmark.group = f"cuda merge backward {name} float32 {window}"
    case, grid = CASES[name], CASES[name].grid
    fragments = extract(torch.randn(case.shape, device="cuda"), grid).requires_grad_()
    merged = merge(fragments, grid, window=window)
    gradient = torch.randn_like(merged)
    count = fragments.nbytes + merged.nbytes
    if peer == "tokfrag":
        timed(
            benchmark,
            "tokfrag",
            lambda: torch.autograd.grad(merged, fragments, gradient, retain_graph=True),
            count,
        )
    elif peer == "floor":
        timed(benchmark, "torch", floor_of(count), count)
    else:
        from tokfrag.fragments.windows import axis_window

        weights = torch.ones((), device="cuda")
        for size in case.size:
            vector = torch.from_numpy(axis_window(window, size)).float().cuda()
            weights = weights[..., None] * vector
        ones = extract(torch.ones(1, 1, *case.space, device="cuda"), grid)
        sums = merge(ones * weights, grid, reduce="sum")
        rank = len(case.size)
        order = (0, *range(2, 2 + rank), 1, *range(2 + rank, 2 + 2 * rank))
        timed(
            benchmark,
            "torch",
            lambda: (unfolded(gradient / sums, case) * weights).permute(order).contiguous(),
            count,
        )


@pytest.mark.parametrize("peer", ["tokfrag", "floor"])
@pytest.mark.parametrize("reduce", ["min", "median", "vote"])
@pytest.mark.parametrize("name", ["image", "volume"])
def test_orders(benchmark: Any, name: str, reduce: Any, peer: str) -> None:
    benchmark.group = f"cuda merge {name} uint8 {reduce}"
    case = CASES[name]
    x = torch.randint(0, 20, case.shape, device="cuda", dtype=torch.uint8)
    fragments = extract(x, case.grid)
    out = torch.empty_like(x)
    count = x.nbytes + fragments.nbytes
    if peer == "tokfrag":
        merge(fragments, case.grid, reduce=reduce, out=out)
        assert torch.equal(out, x)
        timed(
            benchmark, "tokfrag", lambda: merge(fragments, case.grid, reduce=reduce, out=out), count
        )
    else:
        timed(benchmark, "torch", floor_of(count), count)


@pytest.mark.parametrize("peer", ["tokfrag", "floor", "unfold"])
@pytest.mark.parametrize("name", ["image", "vit"])
def test_extract_changed(benchmark: Any, name: str, peer: str) -> None:
    """Bytes to float16, scaled and shifted a channel."""
    benchmark.group = f"cuda extract {name} uint8 to float16"
    case = CASES[name]
    x = torch.randint(0, 256, case.shape, device="cuda", dtype=torch.uint8)
    scale = tuple(1 / (255 * s) for s in STD)
    shift = tuple(-m / s for m, s in zip(MEAN, STD, strict=True))
    options: dict[str, Any] = {"scale": scale, "shift": shift, "dtype": torch.float16}
    out = extract(x, case.grid, **options)
    count = x.nbytes + out.nbytes
    if peer == "tokfrag":
        timed(benchmark, "tokfrag", lambda: extract(x, case.grid, out=out, **options), count)
    elif peer == "floor":
        timed(benchmark, "torch", floor_of(count), count)
    else:
        factors = torch.tensor(scale, device="cuda").reshape(3, 1, 1)
        terms = torch.tensor(shift, device="cuda").reshape(3, 1, 1)
        order = (0, 2, 3, 1, 4, 5)
        timed(
            benchmark,
            "torch",
            lambda: (
                unfolded(torch.addcmul(terms, x.float(), factors).half(), case)
                .permute(order)
                .contiguous()
            ),
            count,
        )


@pytest.mark.parametrize("peer", ["tokfrag", "floor", "torch"])
def test_patchify(benchmark: Any, peer: str) -> None:
    """Qwen2-VL's patches of 16 images of 1120 x 1120 bytes, scaled and cast to bfloat16."""
    benchmark.group = "cuda patchify qwen2_vl uint8 to bfloat16"
    images = [
        torch.randint(0, 256, (3, 1120, 1120), device="cuda", dtype=torch.uint8) for _ in range(16)
    ]
    out = patchify(images, "qwen2_vl", dtype=torch.bfloat16).values
    count = sum(image.nbytes for image in images) + out.nbytes
    if peer == "tokfrag":
        timed(
            benchmark,
            "tokfrag",
            lambda: patchify(images, "qwen2_vl", dtype=torch.bfloat16, out=out),
            count,
        )
    elif peer == "floor":
        timed(benchmark, "torch", floor_of(count), count)
    else:
        mean = torch.tensor(MEAN, device="cuda").reshape(3, 1, 1)
        std = torch.tensor(STD, device="cuda").reshape(3, 1, 1)

        def run() -> Any:
            x = torch.stack(images).float() / 255
            x = ((x - mean) / std).to(torch.bfloat16)
            x = x[:, None].expand(-1, 2, -1, -1, -1)  # a frame twice
            x = x.reshape(16, 2, 3, 40, 2, 14, 40, 2, 14)
            return x.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(-1, 1176)

        assert run().shape == out.shape
        timed(benchmark, "torch", run, count)


@pytest.mark.parametrize("peer", ["tokfrag", "floor", "index_add_"])
def test_long_segments(benchmark: Any, peer: str) -> None:
    """A million rows into eight: what one thread each would add up row by row."""
    benchmark.group = "cuda segment_merge 1e6 rows to 8"
    x = torch.randn(1_000_000, 64, device="cuda")
    index = torch.randint(0, 8, (1_000_000,), device="cuda")
    count = x.nbytes
    if peer == "tokfrag":
        timed(benchmark, "tokfrag", lambda: segment_merge(x, index, 8), count)
    elif peer == "floor":
        timed(benchmark, "torch", floor_of(count), count)
    else:
        total = torch.zeros(8, 64, device="cuda")
        timed(benchmark, "torch", lambda: total.zero_().index_add_(0, index, x), count)


@pytest.mark.parametrize("peer", ["tokfrag", "floor", "gather"])
def test_unmerge(benchmark: Any, peer: str) -> None:
    benchmark.group = "cuda unmerge float16"
    y = torch.randn(16, 2048, 768, device="cuda").half()
    index = torch.randint(0, 2048, (16, 4096), device="cuda")
    count = y.nbytes * 3
    if peer == "tokfrag":
        timed(benchmark, "tokfrag", lambda: unmerge(y, index), count)
    elif peer == "floor":
        timed(benchmark, "torch", floor_of(count), count)
    else:
        wide = index[..., None].expand(-1, -1, 768)
        timed(benchmark, "torch", lambda: y.gather(1, wide), count)


@pytest.mark.parametrize("peer", ["tokfrag", "floor", "eager"])
@pytest.mark.parametrize("kind", ["uint8", "float64", "float32 4096"])
def test_more_features(benchmark: Any, kind: str, peer: str) -> None:
    """Bytes; doubles, which are summed in double; windows that take a block each."""
    benchmark.group = f"cuda features {kind}"
    size = 4096 if kind.endswith("4096") else 256
    dtype = getattr(torch, kind.split()[0])
    x = torch.randint(0, 200, (16, 1, 1_000_000), device="cuda").to(dtype)
    grid = FragmentGrid((1_000_000,), size, size // 4, edge="shift")
    names = ("mean", "std", "min", "max", "lag_corr")
    out = fragment_features(x, grid, names, lags=(1, 2, 4, 8))
    count = x.nbytes + out.nbytes

    def formula() -> Any:
        y = x.to(out.dtype).unfold(2, size, size // 4)
        d = y - y.mean(-1, keepdim=True)
        energy = (d * d).sum(-1)
        columns = [y.mean(-1), (energy / size).sqrt(), y.amin(-1), y.amax(-1)]
        columns += [(d[..., lag:] * d[..., :-lag]).sum(-1) / energy for lag in (1, 2, 4, 8)]
        return torch.stack(columns, -1)

    if peer == "tokfrag":
        timed(
            benchmark,
            "tokfrag",
            lambda: fragment_features(x, grid, names, lags=(1, 2, 4, 8)),
            count,
        )
    elif peer == "floor":
        timed(benchmark, "torch", floor_of(count), count)
    else:
        timed(benchmark, "torch", formula, count)


@pytest.mark.parametrize("peer", ["tokfrag", "dense"])
def test_sparse_backward(benchmark: Any, peer: str) -> None:
    """Both gradients of a float32 layer of 4096 x 4096 at 90 %, of 256 inputs."""
    benchmark.group = "cuda sparse backward 0.9 batch 256"
    layer = SparseLinear(4096, 4096, sparsity=0.9, bias=False, kernel="sparse").cuda()
    x = torch.randn(256, 4096, device="cuda", requires_grad=True)
    gradient = torch.randn(256, 4096, device="cuda")
    if peer == "tokfrag":
        y, values = layer(x), layer.values
    else:
        values = layer.dense_weight().detach().requires_grad_()
        y = torch.nn.functional.linear(x, values)
    timed(
        benchmark,
        "tokfrag" if peer == "tokfrag" else "torch",
        lambda: torch.autograd.grad(y, (x, values), gradient, retain_graph=True),
        values.nbytes * 2,
    )


@pytest.mark.parametrize("peer", ["tokfrag", "dense"])
def test_embedding(benchmark: Any, peer: str) -> None:
    benchmark.group = "cuda embedding 50k x 768 at 0.9, 16k ids"
    table = SparseEmbedding(50_000, 768, sparsity=0.9).cuda()
    ids = torch.randint(0, 50_000, (16, 1024), device="cuda")
    with torch.no_grad():
        run = table if peer == "tokfrag" else table.to_dense().cuda()
        timed(
            benchmark,
            "tokfrag" if peer == "tokfrag" else "torch",
            lambda: run(ids),
            ids.numel() * 768 * 4,
        )
