"""Sparse layers against dense ones: forward, training step, one input, and never slower.

One thread: ``TOKFRAG_NUM_THREADS=1``; ``TOKFRAG_ISA=v3`` with ``MKL_ENABLE_INSTRUCTIONS=AVX2`` for
the numbers of a machine without AVX-512. On a shared machine add
``--benchmark-timer=time.thread_time``.
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
    layer, dense = pair(*shape, sparsity)
    x = torch.randn(batch, shape[1])
    with torch.no_grad():
        run = forward_of(peer, layer, dense, x)
        torch.testing.assert_close(run(), dense(x), rtol=1e-3, atol=1e-3)
        describe(benchmark, "torch" if peer.startswith("torch") else peer, bytes=layer.nbytes)
        benchmark(run)


@pytest.mark.parametrize("peer", ["tokfrag", "torch", "torch-sparse"])
@pytest.mark.parametrize("sparsity", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("batch", [32, 256, 2048])
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def bench_training_step(benchmark, batch, sparsity, peer):
    """Forward, both gradients and an Adam step (torch.sparse.mm: plain SGD, Adam refuses it)."""
    benchmark.group = f"training step 1024x1024 batch {batch} sparsity {sparsity}"
    layer, dense = pair(1024, 1024, sparsity)
    x = torch.randn(batch, 1024, requires_grad=True)
    grad = torch.randn(batch, 1024)
    if peer == "torch-sparse":
        weight = dense.weight.detach().to_sparse_csr().requires_grad_()
        optimizer = torch.optim.SGD([weight], lr=1e-6)

        def forward():
            return torch.sparse.mm(weight, x.t()).t()
    else:
        module = layer if peer == "tokfrag" else dense
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
    describe(benchmark, "tokfrag" if peer == "tokfrag" else "torch")
    benchmark(step)


@pytest.mark.parametrize("peer", ["tokfrag", "torch"])
@pytest.mark.parametrize("sparsity", [0.5, 0.75, 0.9])
def bench_one_input_large_layer(benchmark, sparsity, peer):
    """A layer of 256 MB, larger than most caches."""
    benchmark.group = f"one input 8192x8192 sparsity {sparsity}"
    layer, dense = pair(8192, 8192, sparsity)
    x = torch.randn(1, 8192)
    run = layer if peer == "tokfrag" else dense
    with torch.no_grad():
        torch.testing.assert_close(run(x), dense(x), rtol=1e-3, atol=1e-3)
        describe(benchmark, peer, bytes=layer.nbytes if peer == "tokfrag" else 4 * 8192**2)
        benchmark(run, x)


# What a layer may lose to dense: noise of the clock, and a few microseconds of Python a call.
NOISE, CALL = 0.10, 15e-6


def bench_never_slower(benchmark):
    """Inference with ``kernel="auto"`` over a grid, interleaved with dense; asserts, and prints."""
    benchmark.group = "never slower than dense"
    batches = (1, 4, 32, 256)
    cases, lost = {}, []
    print("\ndense / sparse time; batch", *(f"{batch:>6}" for batch in batches))
    for rows, columns in [(64, 64), (256, 256), (1024, 1024), (3000, 700)]:
        for sparsity in (0.0, 0.3, 0.5, 0.9):
            layer, dense = pair(rows, columns, sparsity)
            line = []
            for batch in batches:
                x = torch.randn(batch, columns)
                with torch.no_grad():
                    # Twice before it counts: other work on the machine hits both, not alike.
                    ratio, loss = max(interleaved(layer, dense, x) for _ in range(2))
                line.append(ratio)
                cases[rows, columns, sparsity, batch] = ratio
                if ratio < 1 - NOISE and loss > CALL:
                    lost.append((rows, columns, sparsity, batch, round(ratio, 2), loss))
            name = f"{rows} x {columns}, {sparsity:.0%}"
            print(f"{name:<26}", *(f"{ratio:6.2f}" for ratio in line), flush=True)
    worst = sorted(cases.items(), key=lambda item: item[1])[:8]
    benchmark.extra_info["worst"] = {str(case): round(ratio, 3) for case, ratio in worst}
    assert not lost, lost
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
    layer = SparseLinear(4096, 1024, sparsity=sparsity, dtype=dtype)
    slots = 4096 * 1024
    x = torch.randn(64, 4096, dtype=dtype, requires_grad=True)
    layer(x).sum().backward()
    optimizer = torch.optim.Adam([layer.values])
    optimizer.step()
    from tokfrag.sparse._patterns import pattern_of

    state = sum(
        t.numel() * t.element_size() for t in optimizer.state[layer.values].values() if t.ndim
    )
    derived = pattern_of(layer.local, layer.runs, 4096).nbytes
    benchmark.extra_info["stored"] = round(layer.nbytes / slots, 3)
    gradient = layer.values.numel() * layer.values.element_size()
    benchmark.extra_info["training"] = round((layer.nbytes + derived + state + gradient) / slots, 3)
    print(f"\n{dtype} {sparsity}:", benchmark.extra_info)
    benchmark(lambda: None)
