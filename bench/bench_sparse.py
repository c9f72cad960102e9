"""Sparse layers against dense ones: forward, training step, one input, and never slower.

One thread: ``TOKFRAG_NUM_THREADS=1``; ``TOKFRAG_ISA=v3`` with ``MKL_ENABLE_INSTRUCTIONS=AVX2`` for
the numbers of a machine without AVX-512. On a shared machine add
``--benchmark-timer=time.thread_time``. With ``--benchmark-disable`` layers are small: a smoke.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from peers import describe, need

torch = need("torch")

from tokfrag.sparse import SparseLinear  # noqa: E402

SHAPES = [(1024, 1024), (4096, 1024)]  # outputs, inputs
SPARSITIES = [0.3, 0.5, 0.75, 0.9, 0.95]


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def pair(rows: int, columns: int, sparsity: float, **options: Any) -> tuple[Any, Any]:
    """A sparse layer and the dense one with the same weights."""
    layer = SparseLinear(columns, rows, sparsity=sparsity, **options)
    return layer, layer.to_dense()


def random_mask(rows: int, columns: int, sparsity: float, height: int = 1) -> Any:
    """A mask of blocks of ``height`` rows and one column."""
    kept = torch.rand(-(-rows // height), columns) >= sparsity
    return kept.repeat_interleave(height, 0)[:rows]


def extent(benchmark: Any, full: int) -> int:
    """A size of a layer or batch: itself, or small where nothing is timed."""
    return full if benchmark.enabled else min(full, 160)


def forward_of(peer: str, layer: Any, dense: Any, x: Any) -> Callable[[], Any]:
    if peer == "tokfrag":
        return lambda: layer(x)
    if peer == "torch":
        return lambda: dense(x)
    if peer == "torch-csr":
        csr = dense.weight.detach().to_sparse_csr()
        return lambda: torch.nn.functional.linear(x, csr) + dense.bias
    scipy = need("scipy.sparse")
    csr = scipy.csr_matrix(dense.weight.detach().numpy())
    return lambda: torch.from_numpy((csr @ x.numpy().T).T) + dense.bias


@pytest.mark.parametrize("peer", ["tokfrag", "torch", "torch-csr", "scipy"])
@pytest.mark.parametrize("sparsity", SPARSITIES)
@pytest.mark.parametrize("batch", [1, 32, 256, 2048])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def bench_forward(benchmark, shape, batch, sparsity, peer):
    benchmark.group = f"forward {shape[0]}x{shape[1]} batch {batch} sparsity {sparsity}"
    rows, columns = (extent(benchmark, size) for size in shape)
    layer, dense = pair(rows, columns, sparsity)
    x = torch.randn(extent(benchmark, batch), columns)
    with torch.no_grad():
        run = forward_of(peer, layer, dense, x)
        torch.testing.assert_close(run(), dense(x), rtol=1e-3, atol=1e-3)
        describe(benchmark, "torch" if peer.startswith("torch") else peer, bytes=layer.nbytes)
        benchmark(run)


@pytest.mark.parametrize("peer", ["tokfrag", "torch", "torch-sparse", "sparseprop"])
@pytest.mark.parametrize("sparsity", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("batch", [32, 256, 2048])
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def bench_training_step(benchmark, batch, sparsity, peer):
    """Forward, both gradients and an Adam step (torch.sparse.mm: plain SGD, Adam refuses it)."""
    benchmark.group = f"training step 1024x1024 batch {batch} sparsity {sparsity}"
    size, count = extent(benchmark, 1024), extent(benchmark, batch)
    layer, dense = pair(size, size, sparsity)
    x = torch.randn(count, size, requires_grad=True)
    grad = torch.randn(count, size)
    if peer == "torch-sparse":
        weight = dense.weight.detach().to_sparse_csr().requires_grad_()
        optimizer = torch.optim.SGD([weight], lr=1e-6)

        def forward():
            return torch.sparse.mm(weight, x.t()).t()
    else:
        module = layer if peer == "tokfrag" else dense
        if peer == "sparseprop":
            module = need("sparseprop.modules.linear").SparseLinear.from_dense(dense)
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-6, fused=True)

        def forward():
            return module(x)

    def step():
        optimizer.zero_grad()
        x.grad = None
        forward().backward(grad)
        optimizer.step()

    step()
    torch.testing.assert_close(x.grad, grad @ dense.weight.detach(), rtol=1e-2, atol=1e-2)
    describe(benchmark, "torch" if peer.startswith("torch") else peer)
    benchmark(step)


@pytest.mark.parametrize("peer", ["tokfrag", "torch"])
@pytest.mark.parametrize("sparsity", [0.5, 0.75, 0.9])
def bench_one_input_large_layer(benchmark, sparsity, peer):
    """A layer of 256 MB, larger than most caches."""
    benchmark.group = f"one input 8192x8192 sparsity {sparsity}"
    size = extent(benchmark, 8192)
    layer, dense = pair(size, size, sparsity)
    x = torch.randn(1, size)
    run = layer if peer == "tokfrag" else dense
    with torch.no_grad():
        torch.testing.assert_close(run(x), dense(x), rtol=1e-3, atol=1e-3)
        describe(benchmark, peer, bytes=layer.nbytes if peer == "tokfrag" else 4 * size**2)
        benchmark(run, x)


@pytest.mark.parametrize("peer", ["tokfrag", "tokfrag-unstructured", "torch"])
@pytest.mark.parametrize("product", ["forward", "input gradient", "sampled gradient"])
@pytest.mark.parametrize("sparsity", [0.5, 0.75, 0.9, 0.95])
@pytest.mark.parametrize("batch", [1, 32, 256])
@pytest.mark.parametrize("size", [1024, 4096])
def bench_blocks(benchmark, size, batch, sparsity, product, peer):
    """A matrix of 8 x 1 blocks, one of single weights and a dense one."""
    benchmark.group = f"8x1 {product} {size}x{size} batch {batch} sparsity {sparsity}"
    size = extent(benchmark, size)
    mask = random_mask(size, size, sparsity, 1 if peer == "tokfrag-unstructured" else 8)
    layer, dense = pair(size, size, sparsity, mask=mask, kernel="sparse", bias=False)
    layer.requires_grad_(False)
    x, grad = torch.randn(2, batch, size).unbind()
    weight, values = dense.weight.detach(), layer.values.clone()
    places = layer.local, layer.runs
    operators = torch.ops.tokfrag
    expected, ours = {
        "forward": (lambda: x @ weight.t(), lambda: layer(x)),
        "input gradient": (
            lambda: grad @ weight,
            lambda: operators.sparse_mm(grad, values, None, *places, size, True, "sparse"),
        ),
        "sampled gradient": (
            lambda: grad.t() @ x,
            lambda: operators.sparse_sample(grad, x, *places, "sparse"),
        ),
    }[product]
    result, got = expected(), ours()
    if product == "sampled gradient":
        result = result * mask
        layer.values.copy_(got)
        got = layer.to_dense().weight.detach()
    torch.testing.assert_close(got, result, rtol=1e-3, atol=1e-3)
    describe(benchmark, "torch" if peer == "torch" else "tokfrag")
    benchmark(expected if peer == "torch" else ours)


# What a layer may lose to dense: noise of the clock, and a few microseconds of Python a call.
NOISE, CALL = 0.10, 15e-6


def bench_never_slower(benchmark):
    """Inference with ``kernel="auto"`` over a grid, interleaved with dense; asserts, and prints."""
    benchmark.group = "never slower than dense"
    batches = (1, 4, 32, 256)
    cases, lost = {}, []
    print("\ndense / sparse time; batch", *(f"{batch:>6}" for batch in batches))
    shapes = [(64, 64, 1), (256, 256, 1), (1024, 1024, 1), (1024, 1024, 8), (3000, 700, 1)]
    for rows, columns, height in shapes if benchmark.enabled else shapes[:1]:
        for sparsity in (0.0, 0.3, 0.5, 0.9):
            mask = random_mask(rows, columns, sparsity, height)
            layer, dense = pair(rows, columns, sparsity, mask=mask)
            layer.requires_grad_(False)  # what is trainable is read whole to see it unchanged
            line = []
            for batch in batches:
                x = torch.randn(batch, columns)
                with torch.no_grad():
                    # Twice before it counts: other work on the machine hits both, not alike.
                    ratio, loss = max(interleaved(layer, dense, x) for _ in range(2))
                line.append(ratio)
                cases[rows, columns, height, sparsity, batch] = ratio
                if ratio < 1 - NOISE and loss > CALL:
                    lost.append((rows, columns, height, sparsity, batch, round(ratio, 2), loss))
            name = f"{rows} x {columns}, {height} x 1, {sparsity:.0%}"
            print(f"{name:<28}", *(f"{ratio:6.2f}" for ratio in line), flush=True)
    worst = sorted(cases.items(), key=lambda item: item[1])[:8]
    benchmark.extra_info["worst"] = {str(case): round(ratio, 3) for case, ratio in worst}
    assert not lost or not benchmark.enabled, lost
    benchmark(lambda: None)


def interleaved(layer: Any, dense: Any, x: Any) -> tuple[float, float]:
    """Dense time over sparse time, measured in turn, and the seconds lost a call.

    The least of many laps of each: what a loaded machine adds is no property of a layer.
    """
    layer(x)
    dense(x)
    laps = []
    rounds, spent = 0, 0.0
    while rounds < 15 or (rounds < 200 and spent < 0.05):
        begin = time.thread_time()
        dense(x)
        middle = time.thread_time()
        layer(x)
        laps.append((middle - begin, time.thread_time() - middle))
        spent += sum(laps[-1])
        rounds += 1
    least_dense, least_sparse = (min(column) for column in zip(*laps, strict=True))
    return least_dense / least_sparse, least_sparse - least_dense


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["float32", "float16"])
@pytest.mark.parametrize("sparsity", [0.5, 0.9])
def bench_bytes(benchmark, sparsity, dtype):
    """Bytes a weight slot, stored and with Adam's training state (no time is of interest)."""
    benchmark.group = "bytes a weight"
    layer = SparseLinear(4096, 1024, sparsity=sparsity, dtype=dtype, kernel="sparse")
    slots = 4096 * 1024
    x = torch.randn(64, 4096, dtype=dtype, requires_grad=True)
    layer(x).sum().backward()
    optimizer = torch.optim.Adam([layer.values])
    optimizer.step()
    state = sum(
        t.numel() * t.element_size() for t in optimizer.state[layer.values].values() if t.ndim
    )
    benchmark.extra_info["stored"] = round(layer.nbytes / slots, 3)
    gradient = layer.values.numel() * layer.values.element_size()
    benchmark.extra_info["training"] = round(
        (layer.nbytes + layer.derived_nbytes + state + gradient) / slots, 3
    )
    print(f"\n{dtype} {sparsity}:", benchmark.extra_info)
    benchmark(lambda: None)
