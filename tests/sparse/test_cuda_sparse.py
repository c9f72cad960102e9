"""Sparse layers on a GPU against the CPU. Needs a GPU; every test says so where there is none."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("torch sees no CUDA device", allow_module_level=True)
pytest.importorskip("tokfrag._cuda", reason="tokfrag was built without nvcc")

from tokfrag.sparse import SparseEmbedding, SparseLinear, SparseLSTM  # noqa: E402

TOLERANCE = {
    torch.float32: 1e-4,
    torch.float64: 1e-10,
    torch.float16: 2e-2,
    torch.bfloat16: 1e-1,
}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", [(300,), (0, 300), (4, 300), (2, 3, 300), (65, 300), (500, 300)])
@pytest.mark.parametrize("kernel", ["sparse", "dense", "auto"])
def test_layer_and_gradients(dtype: Any, shape: Any, kernel: str) -> None:
    torch.manual_seed(0)
    layer = SparseLinear(300, 200, sparsity=0.7, kernel=kernel, dtype=dtype)
    x = torch.randn(shape).to(dtype)
    results = []
    for device in ("cpu", "cuda"):
        layer.to(device)
        layer.zero_grad()
        given = x.to(device).requires_grad_()
        y = layer(given)
        assert y.device.type == device
        y.square().sum().backward()
        assert layer.bias is not None
        parts = (y, given.grad, layer.values.grad, layer.bias.grad)
        results.append([part.detach().cpu() for part in parts if part is not None])
    for got, expected in zip(results[1], results[0], strict=True):
        limit = TOLERANCE[dtype]
        torch.testing.assert_close(got, expected, rtol=limit, atol=limit * (1 + len(x)))


def test_gradients_are_those_of_the_product() -> None:
    layer = SparseLinear(150, 140, sparsity=0.9, kernel="sparse", dtype=torch.float64).cuda()
    x = torch.randn(9, 150, dtype=torch.float64, device="cuda", requires_grad=True)

    def run(x: Any, values: Any, bias: Any) -> Any:
        return torch.ops.tokfrag.sparse_mm(
            x, values, bias, layer.local, layer.runs, 150, False, "sparse"
        )

    inputs = (x, layer.values, layer.bias)
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True)
    torch.library.opcheck(
        torch.ops.tokfrag.sparse_mm, (*inputs, layer.local, layer.runs, 150, False, "sparse")
    )


def test_compile_whole_graph() -> None:
    layer = SparseLinear(64, 128).cuda()
    x = torch.randn(5, 64, device="cuda")
    torch.testing.assert_close(torch.compile(layer, fullgraph=True)(x), layer(x))


def test_the_same_bits_every_time() -> None:
    layer = SparseLinear(1000, 900, sparsity=0.8, kernel="sparse").cuda()
    x = torch.randn(300, 1000, device="cuda", requires_grad=True)
    grad = torch.randn(300, 900, device="cuda")
    runs = []
    for _ in range(3):
        runs.append(torch.autograd.grad(layer(x), (x, layer.values), grad))
    for again in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(again, runs[0], strict=True))


def test_work_waits_for_its_stream() -> None:
    layer = SparseLinear(256, 256, sparsity=0.5, kernel="sparse").cuda()
    side = torch.cuda.Stream()
    x = torch.zeros(64, 256, device="cuda")
    layer(x)
    torch.cuda.synchronize()
    with torch.cuda.stream(side), torch.no_grad():
        torch.cuda._sleep(100_000_000)
        x += 1
        y = layer(x)
        x += 1
    side.synchronize()
    torch.testing.assert_close(y, layer(torch.ones_like(x)))


def test_lstm() -> None:
    rnn = SparseLSTM(30, 40, sparsity=0.5)
    x = torch.randn(6, 3, 30)
    expected = rnn(x)[0]
    torch.testing.assert_close(rnn.cuda()(x.cuda())[0].cpu(), expected, rtol=1e-4, atol=1e-4)


def test_semi_structured_weights() -> None:
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("2:4 weights need compute capability 8.0")
    mask = (torch.arange(256) % 4 < 2).repeat(128, 1)
    layer = SparseLinear(256, 128, mask=mask, dtype=torch.float16).cuda()
    x = torch.randn(64, 256, device="cuda", dtype=torch.float16)
    with torch.no_grad(), warnings.catch_warnings():
        # torch's own: "The PyTorch API of SparseSemiStructuredTensor is in prototype stage".
        warnings.filterwarnings("ignore", message=".*prototype stage", category=UserWarning)
        torch.testing.assert_close(layer.to_semi_structured()(x), layer(x), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("kernel", ["sparse", "dense"])
def test_changes_that_torch_does_not_count_are_seen(kernel: str) -> None:
    layer = SparseLinear(256, 256, sparsity=0.5, kernel=kernel).cuda()
    x = torch.randn(8, 256, device="cuda")
    with torch.no_grad():
        before = layer(x)
        layer.values.data.mul_(2)
        assert not torch.equal(layer(x), before)


@pytest.mark.parametrize("kernel", ["sparse", "dense"])
def test_a_graph_reads_the_values_of_each_replay(kernel: str) -> None:
    layer = SparseLinear(256, 256, sparsity=0.5, bias=False, kernel=kernel).cuda()
    x = torch.randn(8, 256, device="cuda")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.no_grad(), torch.cuda.stream(side):
        before = layer(x)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        y = layer(x)
    with torch.no_grad():
        layer.values.mul_(2)
    graph.replay()
    torch.cuda.synchronize()
    torch.testing.assert_close(y, 2 * before)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_embedding(dtype: Any) -> None:
    torch.manual_seed(0)
    table = SparseEmbedding(50, 30, sparsity=0.8, dtype=dtype)
    ids = torch.randint(0, 50, (4, 70))
    results = []
    for device in ("cpu", "cuda"):
        table.to(device)
        table.zero_grad()
        y = table(ids.to(device))
        assert y.device.type == device
        y.square().sum().backward()
        assert table.values.grad is not None
        results.append((y.detach().cpu(), table.values.grad.cpu()))
    assert torch.equal(results[0][0], results[1][0])
    limit = TOLERANCE[dtype]
    torch.testing.assert_close(results[1][1], results[0][1], rtol=limit, atol=limit)
    with pytest.raises(IndexError, match="takes 0 to 49"):
        table(torch.tensor([50], device="cuda"))
    with pytest.raises(ValueError, match="ids: got a tensor on cpu for a table on cuda:0"):
        table(ids)


def test_an_embedding_is_captured_with_its_gradient() -> None:
    table = SparseEmbedding(50, 30, sparsity=0.8).cuda()
    ids = torch.randint(0, 50, (4, 70), device="cuda")
    grad = torch.randn(4, 70, 30, device="cuda")

    def step() -> tuple[Any, Any]:
        y = table(ids)
        return y, torch.autograd.grad(y, table.values, grad)[0]

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        expected = step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = step()
    graph.replay()
    torch.cuda.synchronize()
    assert all(torch.equal(a, b) for a, b in zip(made, expected, strict=True))
    with torch.no_grad():
        table.values.mul_(2)
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(made[0], 2 * expected[0])


def test_a_first_call_is_not_captured() -> None:
    layer = SparseLinear(64, 64, sparsity=0.5, kernel="sparse").cuda()
    x = torch.randn(8, 64, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with (
        pytest.raises(RuntimeError, match="captured after a first call"),
        torch.no_grad(),
        torch.cuda.graph(graph),
    ):
        layer(x)
