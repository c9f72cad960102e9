"""Sparse layers: what they compute, and that everything torch does with layers works on them."""

from __future__ import annotations

import sys

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from tokfrag.sparse import SparseEmbedding, SparseLinear, SparseLSTM  # noqa: E402
from tokfrag.sparse.products import (  # noqa: E402
    operators,
    places,
    planner,
)


@pytest.fixture(autouse=True)
def _own_plans(monkeypatch, tmp_path):
    monkeypatch.setenv("TOKFRAG_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(planner, "_winners", None)
    torch.manual_seed(0)


@pytest.mark.parametrize("shape", [(300,), (1, 300), (4, 300), (2, 3, 300), (0, 300), (2, 0, 300)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_equals_dense(shape, bias):
    layer = SparseLinear(300, 200, bias=bias, sparsity=0.7)
    x = torch.randn(shape, requires_grad=True)
    dense = layer.to_dense()
    y = layer(x)
    torch.testing.assert_close(y, dense(x))
    y.sin().sum().backward()
    grads = x.grad, layer.values.grad
    x.grad = None
    dense(x).sin().sum().backward()
    torch.testing.assert_close(grads[0], x.grad)
    again = SparseLinear.from_weight(dense.weight.grad, None, layer.mask)
    torch.testing.assert_close(grads[1], again.values.detach())


def test_from_dense_keeps_what_the_mask_keeps():
    linear = nn.Linear(150, 130)
    mask = torch.rand(130, 150) < 0.2
    mask[5] = False
    layer = SparseLinear.from_dense(linear, mask)
    assert layer.nnz == int(mask.sum())
    assert torch.equal(layer.mask, mask)
    assert torch.equal(layer.to_dense().weight, linear.weight * mask)
    assert torch.equal(layer.to_dense().bias, linear.bias)
    with torch.no_grad():
        linear.weight.mul_(mask)
    assert SparseLinear.from_dense(linear).nnz == layer.nnz


def test_empty_matrix():
    layer = SparseLinear(10, 5, mask=torch.zeros(5, 10, dtype=torch.bool))
    assert torch.equal(layer(torch.randn(3, 10)), layer.bias.expand(3, 5))
    layer(torch.randn(3, 10, requires_grad=True)).sum().backward()
    assert layer.values.grad.shape == (0,)


def test_transposed_and_strided_inputs():
    layer = SparseLinear(64, 32, sparsity=0.5)
    x = torch.randn(64, 9).t()
    torch.testing.assert_close(layer(x), layer.to_dense()(x))
    x = torch.randn(9, 128)[:, ::2]
    torch.testing.assert_close(layer(x), layer.to_dense()(x))


@pytest.mark.parametrize("kernel", ["sparse", "dense"])
def test_gradients(kernel):
    """gradcheck in float64, on the float64 kernel itself."""
    layer = SparseLinear(20, 10, sparsity=0.5, dtype=torch.float64)

    def run(x, values, bias):
        return torch.ops.tokfrag.sparse_mm(
            x, values, bias, layer.local, layer.runs, 20, False, kernel
        )

    x = torch.randn(3, 20, dtype=torch.float64, requires_grad=True)
    inputs = x, layer.values, layer.bias
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


def test_operators_pass_opcheck():
    layer = SparseLinear(20, 10, sparsity=0.5)
    x = torch.randn(3, 20, requires_grad=True)
    tensors = layer.local, layer.runs
    ops = torch.ops.tokfrag
    torch.library.opcheck(
        ops.sparse_mm, (x, layer.values, layer.bias, *tensors, 20, False, "sparse")
    )
    torch.library.opcheck(
        ops.sparse_mm,
        (torch.randn(3, 10, requires_grad=True), layer.values, None, *tensors, 20, True, "sparse"),
    )
    torch.library.opcheck(
        ops.sparse_sample, (torch.randn(3, 10, requires_grad=True), x, *tensors, "sparse")
    )
    table = SparseEmbedding(9, 8, sparsity=0.5)
    ids = torch.tensor([[1, 8], [1, 0]])
    indices = table.offsets, table.local
    torch.library.opcheck(ops.sparse_lookup, (ids, table.values, *indices, 8))
    torch.library.opcheck(
        ops.sparse_lookup_gradient, (torch.randn(2, 2, 8, requires_grad=True), ids, *indices)
    )


def test_embedding_gradient():
    table = SparseEmbedding(9, 8, sparsity=0.5, dtype=torch.float64)
    ids = torch.tensor([[1, 8], [1, 0]])

    def run(values):
        return torch.ops.tokfrag.sparse_lookup(ids, values, table.offsets, table.local, 8)

    assert torch.autograd.gradcheck(run, (table.values,))
    assert torch.autograd.gradgradcheck(run, (table.values,))


def test_compile_whole_graph():
    model = nn.Sequential(SparseLinear(64, 128), nn.ReLU(), SparseLinear(128, 8))
    compiled = torch.compile(model, fullgraph=True)
    x = torch.randn(5, 64)
    torch.testing.assert_close(compiled(x), model(x))
    compiled(x).square().sum().backward()
    got = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    model(x).square().sum().backward()
    for a, p in zip(got, model.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad)


@pytest.mark.parametrize(
    "optimiser",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
        lambda p: torch.optim.Adam(p, lr=0.01),
        lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
        lambda p: torch.optim.Adagrad(p, lr=0.1),
        lambda p: torch.optim.RMSprop(p, lr=0.01),
    ],
    ids=["sgd", "adam", "adamw-fused", "adagrad", "rmsprop"],
)
def test_every_optimiser_trains_it(optimiser):
    model = nn.Sequential(SparseLinear(32, 64, sparsity=0.5), nn.Tanh(), SparseLinear(64, 4))
    steps = optimiser(model.parameters())
    x, y = torch.randn(50, 32), torch.randn(50, 4)
    losses = []
    for _ in range(20):
        steps.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        steps.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] * 0.95
    assert model[0].to_dense().weight.count_nonzero() <= model[0].nnz


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("batch_first", [False, True])
def test_lstm_equals_torch(layers, batch_first):
    dense = nn.LSTM(30, 40, layers, batch_first=batch_first)
    masks = {
        name: torch.rand_like(weight) < 0.4
        for name, weight in dense.named_parameters()
        if name.startswith("weight")
    }
    with torch.no_grad():
        for name, weight in dense.named_parameters():
            if name in masks:
                weight.mul_(masks[name])
    sparse = SparseLSTM.from_dense(dense, masks)
    assert sparse.nnz == sum(int(mask.sum()) for mask in masks.values())
    x = torch.randn(6, 3, 30)
    n = 6 if batch_first else 3
    state = torch.randn(layers, n, 40), torch.randn(layers, n, 40)
    for got, expected in zip(sparse(x, state), dense(x, state), strict=True):
        torch.testing.assert_close(got, expected)
    for got, expected in zip(sparse(x[:, 0]), dense(x[:, 0]), strict=True):
        torch.testing.assert_close(got, expected)
    torch.testing.assert_close(sparse.to_dense()(x)[0], dense(x)[0])
    x.requires_grad_()
    sparse(x)[0].square().sum().backward()
    got = x.grad.clone()
    x.grad = None
    dense(x)[0].square().sum().backward()
    torch.testing.assert_close(got, x.grad)


def test_lstm_gradients(monkeypatch):
    """One node for all steps: gradients, and theirs, are those of the composed definition."""
    rnn = SparseLSTM(5, 6, sparsity=0.5, dtype=torch.float64)
    x = torch.randn(4, 3, 5, dtype=torch.float64, requires_grad=True)
    state = tuple(torch.randn(1, 3, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    inputs = (x, *state, *rnn.parameters())
    results = []
    for composed in (False, True):
        if composed:
            monkeypatch.setattr(operators, "nobody_watches", lambda: False)
        y, (h, c) = rnn(x, state)
        loss = y.sin().sum() + h.square().sum() + (3 * c).cos().sum()
        first = torch.autograd.grad(loss, inputs, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
        plain = torch.autograd.grad(rnn(x, state)[0].square().sum(), inputs)
        with torch.no_grad():
            results.append((y, h, c, *first, *second, *plain, *rnn(x, state)[1]))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)
    empty = rnn(x[:0], state)
    assert empty[0].shape == (0, 3, 6)
    assert torch.equal(empty[1][0], state[0])


def test_embedding_equals_dense():
    dense = nn.Embedding(50, 30)
    mask = torch.rand(50, 30) > 0.5
    table = SparseEmbedding.from_dense(dense, mask)
    assert torch.equal(table.mask, mask)
    ids = torch.randint(0, 50, (4, 9))
    assert torch.equal(table(ids), (dense.weight * mask)[ids])
    assert torch.equal(table.to_dense().weight, dense.weight * mask)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SparseLinear(0, 3), ValueError, "in_features: got 0"),
        (lambda: SparseLinear(3, 2.0), TypeError, "out_features: got 2.0"),
        (lambda: SparseLinear(3, 2, sparsity=1.0), ValueError, r"sparsity: got 1.0, takes"),
        (lambda: SparseLinear(3, 2, sparsity=float("nan")), ValueError, "sparsity: got nan"),
        (lambda: SparseLinear(3, 2, dtype=torch.int32), TypeError, "dtype: got torch.int32"),
        (lambda: SparseLinear(3, 2, mask=torch.ones(3, 2) > 0), ValueError, r"mask: got shape"),
        (lambda: SparseLinear(3, 2, mask=torch.ones(2, 3)), TypeError, "mask: got torch.float32"),
        (lambda: SparseLinear(3, 2, kernel="fast"), ValueError, "kernel: got 'fast'"),
        (lambda: SparseLinear(3, 2)(torch.ones(4, 2)), ValueError, r"x: got shape \(4, 2\)"),
        (lambda: SparseLinear(3, 2)(torch.ones(4, 3).double()), TypeError, "x: got torch.float64"),
        (lambda: SparseLinear.from_dense(nn.ReLU()), TypeError, "linear: got ReLU"),
        (lambda: SparseEmbedding(3, 2)(torch.tensor([3])), IndexError, "takes 0 to 2"),
        (lambda: SparseEmbedding(3, 2)(torch.tensor([-1])), IndexError, "got -1"),
        (lambda: SparseEmbedding(3, 2)(torch.tensor([1.0])), TypeError, "ids: got torch.float32"),
        (lambda: SparseEmbedding(3, 1 << 16), ValueError, "embedding_dim"),
        (lambda: SparseLSTM.from_dense(nn.GRU(3, 4)), TypeError, "got GRU, takes LSTM"),
        (
            lambda: SparseLSTM.from_dense(nn.LSTM(3, 4), {"weight": torch.ones(2)}),
            ValueError,
            "name no weight",
        ),
        (lambda: SparseLSTM(3, 4)(torch.ones(2, 2, 5)), ValueError, "x: got shape"),
    ],
)
def test_bad_input_gets_one_clear_error(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_semi_structured_form_is_checked(monkeypatch):
    full = SparseLinear(64, 64, mask=torch.ones(64, 64, dtype=torch.bool))
    with pytest.raises(ValueError, match="row 0, columns 0 to 3; takes a 2:4 mask"):
        full.to_semi_structured()
    mask = torch.arange(64) % 4 < 2
    layer = SparseLinear(64, 128, mask=mask.repeat(128, 1))
    with pytest.raises(TypeError, match=r"got torch.float32, takes float16 or bfloat16"):
        layer.to_semi_structured()
    with pytest.raises(ValueError, match="got values on cpu, takes cuda"):
        layer.half().to_semi_structured()
    with pytest.raises(ValueError, match="multiples of 64"):
        SparseLinear(63, 64, mask=mask[:63].repeat(64, 1)).to_semi_structured()


def test_no_kernel_for_a_device():
    layer = SparseLinear(4, 3).to("meta")
    assert layer(torch.ones(2, 4, device="meta")).shape == (2, 3)
    with pytest.raises(
        ValueError, match="x: got a tensor on cpu for weights on meta; takes the same"
    ):
        layer(torch.ones(2, 4))
    table = SparseEmbedding(4, 3).to("meta")
    assert table(torch.ones(2, dtype=torch.int64, device="meta")).shape == (2, 3)
    with pytest.raises(ValueError, match="ids: got a tensor on cpu for a table on meta"):
        table(torch.ones(2, dtype=torch.int64))


def test_expanded_weight_follows_the_values():
    """What inference keeps is made anew when values change, also behind torch's back."""
    layer = SparseLinear(60, 50, sparsity=0.3, kernel="dense")
    other = SparseLinear(60, 50, mask=layer.mask, kernel="dense")
    x = torch.randn(4, 60)

    def right():
        with torch.no_grad():
            torch.testing.assert_close(layer(x), layer.to_dense()(x))

    right()
    kept = places.entry_of(layer.local, layer.runs, 60).kept
    assert kept.of(layer.values, lambda _: None) is not None
    with torch.no_grad():
        layer.values.add_(1)
    right()
    layer.values.data.mul_(2)  # no version counts this
    right()
    layer.values.data = torch.randn_like(layer.values)
    right()
    layer.load_state_dict(other.state_dict())
    right()
    layer.set_mask(torch.rand(50, 60) < 0.5)
    right()
    with torch.inference_mode():
        layer.values.mul_(3)
    right()
    layer.double()
    x = x.double()
    right()


def test_short_way_equals_the_operator(monkeypatch):
    """The same bits, gradients and gradients of gradients, with the dispatcher and without."""
    layer = SparseLinear(40, 30, sparsity=0.5, kernel="sparse", dtype=torch.float64)
    x = torch.randn(2, 3, 40, dtype=torch.float64, requires_grad=True)
    results = []
    for watched in (False, True):
        if watched:
            monkeypatch.setattr(operators, "nobody_watches", lambda: False)
        y = layer(x)
        inputs = (x, layer.values, layer.bias)
        first = torch.autograd.grad(y.sin().sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
        with torch.no_grad():
            results.append((y, *first, *second, layer(x)))
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


def test_short_way_makes_room_for_who_watches():
    layer = SparseLinear(8, 5, sparsity=0.5)
    x = torch.randn(3, 8)
    seen = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    with Watch(), torch.no_grad():
        layer(x)
    assert "tokfrag.sparse_mm.default" in seen


def test_products_are_dense_where_the_kernels_cannot_run(monkeypatch):
    from torch._subclasses.fake_tensor import FakeTensorMode

    from tokfrag import _device
    from tokfrag.sparse.products import places, products

    monkeypatch.setitem(sys.modules, "tokfrag._cuda", None)
    monkeypatch.setattr(_device, "_found", {})
    local, runs = places.pack_mask(torch.eye(8, dtype=torch.bool))
    with FakeTensorMode():
        x = torch.empty(3, 8, device="cuda:0")
    entry = places.entry_of(local, runs, 8)
    product = products.Product("training", entry, local, runs, 8, x, x)
    with pytest.warns(RuntimeWarning, match="what is on cuda:0 is done by torch's operators"):
        assert product.choose("auto") == "dense"
    assert product.choose("sparse") == "dense"


def test_contests_on_a_device_know_the_precision_of_dense_products():
    from tokfrag.sparse.products.contest import Contest, precision_of

    device = torch.device("cuda:0")
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        assert precision_of(torch.float32, device) == "high"
        sizes = (9000, 9000, 81_000, 1000)
        contest = Contest.of("training", sizes, torch.float32, 1, device, False)
        assert (contest.rows, contest.batch, contest.precision) == (8192, 1024, "high")
    finally:
        torch.set_float32_matmul_precision(before)
    assert precision_of(torch.bfloat16, device) == ""
    assert precision_of(torch.float32, torch.device("cpu")) == ""


def test_torch_func_and_forward_mode_see_through_the_layers():
    layer = SparseLinear(6, 9, sparsity=0.5, kernel="sparse")
    x, tangent = torch.randn(6), torch.randn(6)
    weight = layer.dense_weight().detach()
    _, moved = torch.func.jvp(layer, (x,), (tangent,))
    torch.testing.assert_close(moved, weight @ tangent)
    torch.testing.assert_close(torch.func.jacrev(layer)(x), weight)
    gradients = torch.func.vmap(torch.func.grad(lambda v: layer(v).sum()))(torch.randn(3, 6))
    torch.testing.assert_close(gradients, weight.sum(0).expand(3, 6))
    batched = torch.autograd.functional.jacobian(layer, x, vectorize=True)
    torch.testing.assert_close(batched, weight)
    table = SparseEmbedding(5, 4, sparsity=0.5)
    ids = torch.tensor([1, 3])

    def rows(values):
        return torch.func.functional_call(table, {"values": values}, (ids,))

    values, change = table.values.detach(), torch.randn(table.nnz)
    _, moved = torch.func.jvp(rows, (values,), (change,))
    torch.testing.assert_close(moved, rows(change))


def test_views_whose_memory_is_not_their_value():
    layer = SparseLinear(1, 8, kernel="sparse", bias=False, sparsity=0.0)
    x = torch.randn(3, 1, dtype=torch.cfloat).conj().imag
    with torch.no_grad():
        torch.testing.assert_close(layer(x), x.clone() @ layer.dense_weight().T)
        assert not layer(torch._efficientzerotensor((2, 1))).any()


@pytest.mark.parametrize("kernel", ["sparse", "dense"])
def test_autocast_is_as_for_any_layer(kernel):
    layer = SparseLinear(64, 32, sparsity=0.5, kernel=kernel)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(torch.nn.functional.linear(torch.randn(4, 64), torch.eye(64)))
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert layer.values.grad is not None
    assert layer.values.grad.dtype == torch.float32


def test_a_bias_of_another_kind_is_refused():
    layer = SparseLinear(8, 4, kernel="sparse", dtype=torch.bfloat16)
    layer.bias = torch.nn.Parameter(torch.ones(4))
    with pytest.raises(TypeError, match=r"bias: got torch.float32 for weights of torch.bfloat16"):
        layer(torch.zeros(2, 8, dtype=torch.bfloat16))
    layer.bias = torch.nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
    with pytest.raises(ValueError, match=r"bias: got shape \(1,\), takes \(4,\)"):
        layer(torch.zeros(2, 8, dtype=torch.bfloat16))


def test_a_default_device_changes_nothing_on_the_host():
    mask = torch.rand(40, 70) < 0.3
    with torch.device("meta"):
        layer = SparseLinear(70, 40, mask=mask, device="cpu")
        dense = layer.to_dense()
    assert torch.equal(dense.weight != 0, mask)


def test_options_of_an_embedding_are_kept_or_refused():
    dense = torch.nn.Embedding(5, 4, padding_idx=2)
    sparse = SparseEmbedding.from_dense(dense)
    assert sparse.to_dense().padding_idx == 2
    with pytest.raises(ValueError, match="padding_idx=2 with non-zeros"):
        SparseEmbedding.from_dense(dense, torch.ones(5, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="scale_grad_by_freq=True"):
        SparseEmbedding.from_dense(torch.nn.Embedding(5, 4, scale_grad_by_freq=True))


def test_values_read_with_a_stride_are_expanded_anew():
    base = torch.randn(8192)
    mask = torch.ones(64, 64, dtype=torch.bool)
    layer = SparseLinear(64, 64, mask=mask, kernel="dense", bias=False)
    x = torch.randn(3, 64)
    with torch.no_grad():
        for values in (base[:4096], base[::2]):
            layer.values.data = values
            torch.testing.assert_close(layer(x), x @ layer.dense_weight().T)
