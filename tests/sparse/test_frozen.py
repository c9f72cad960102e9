"""Frozen sparse layers: conversion, checkpoints, freezing a model, and the error that is told."""

from __future__ import annotations

import copy
import pickle

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from tokfrag.sparse import (  # noqa: E402
    FrozenSparseLinear,
    SparseConv1d,
    SparseLinear,
    SparseLSTM,
    SparseMultiheadAttention,
    freeze,
    sparsify,
)

VALUES = ["float32", "float16", "bfloat16", "int8"]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def frozen_of(values, **options):
    layer = SparseLinear(300, 200, sparsity=0.6)
    return layer, FrozenSparseLinear.from_sparse(layer, values=values, **options)


def dtype_of(values):
    return torch.float32 if values == "int8" else getattr(torch, values)


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("shape", [(300,), (1, 300), (3, 2, 300), (0, 300)])
def test_outputs_are_those_of_the_sparse_layer(values, shape):
    layer, frozen = frozen_of(values)
    x = torch.randn(shape)
    with torch.no_grad():
        y, exact = frozen(x.to(dtype_of(values))), layer(x)
    assert y.shape == exact.shape
    assert y.dtype == dtype_of(values)
    tolerance = 1e-5 if values == "float32" else 2e-2
    torch.testing.assert_close(y.float(), exact, rtol=tolerance, atol=tolerance)
    assert torch.equal(frozen.mask, layer.mask)
    assert (frozen.nnz, frozen.sparsity) == (layer.nnz, layer.sparsity)
    assert not list(frozen.parameters())
    assert values in repr(frozen)
    dense = frozen.to_dense()
    torch.testing.assert_close(dense(x.to(dense.weight.dtype)).float(), exact, rtol=0.02, atol=0.02)
    assert torch.equal(frozen.weight, dense.weight)


def test_bytes_are_a_bit_a_weight_and_the_values():
    for values, size in (("float32", 4), ("bfloat16", 2), ("int8", 1)):
        _, frozen = frozen_of(values, group=512)
        scales = 200 * 4 if values == "int8" else 0
        assert frozen.nbytes == frozen.nnz * size + 200 * 5 * 8 + scales


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_codes_take_halves_and_keep_their_scales(dtype):
    _, frozen = frozen_of("int8")
    scales = frozen.scales
    x = torch.randn(2, 300)
    expected = frozen(x.to(dtype).float())
    moved = copy.deepcopy(frozen).to(dtype)
    assert torch.equal(moved.scales, scales)
    y = moved(x.to(dtype))
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), expected, rtol=2e-2, atol=2e-2)
    with torch.autocast("cpu", dtype):
        assert frozen(x).dtype == dtype


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("through", ["state", "pickle", "safetensors"])
def test_checkpoints_come_back_also_over_another_mask_and_other_values(values, through, tmp_path):
    _, frozen = frozen_of(values)
    x = torch.randn(1, 300, dtype=dtype_of(values))
    other = FrozenSparseLinear.from_sparse(SparseLinear(300, 200, sparsity=0.9))
    if through == "pickle":
        other = pickle.loads(pickle.dumps(frozen))
    elif through == "state":
        other.load_state_dict(frozen.state_dict())
    else:
        safetensors = pytest.importorskip("safetensors.torch")
        safetensors.save_file(frozen.state_dict(), tmp_path / "layer.safetensors")
        other.load_state_dict(safetensors.load_file(tmp_path / "layer.safetensors"))
    assert torch.equal(other(x), frozen(x))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: state.update(values=state["values"][:-1]), "values: got shape"),
        (lambda state: state.update(bitmap=state["bitmap"][:-1]), "bitmap: got shape"),
        (lambda state: state.update(bitmap=state["bitmap"].int()), "bitmap: got torch.int32"),
        (lambda state: state.update(scales=state["scales"].half()), "scales: got torch.float16"),
        (lambda state: state.pop("scales"), "scales: got none for torch.int8"),
    ],
)
def test_damaged_checkpoints_are_refused_and_leave_the_layer(spoil, message):
    _, frozen = frozen_of("int8")
    x = torch.randn(1, 300)
    before = frozen(x)
    state = dict(frozen.state_dict())
    spoil(state)
    with pytest.raises(RuntimeError, match=message):
        frozen.load_state_dict(state)
    assert torch.equal(frozen(x), before)


@pytest.mark.parametrize("values", ["float32", "int8"])
def test_gradients_flow_to_the_input(values):
    _, frozen = frozen_of(values)
    x = torch.randn(3, 300, requires_grad=True)
    grad = torch.randn(3, 200)
    frozen(x).backward(grad)
    torch.testing.assert_close(x.grad, grad @ frozen.dense_weight())
    tangent = torch.func.jvp(frozen, (x.detach(),), (torch.ones(3, 300),))[1]
    torch.testing.assert_close(tangent, torch.ones(3, 300) @ frozen.dense_weight().t())
    ahead = torch.func.vmap(frozen)(x.detach())
    torch.testing.assert_close(ahead, frozen(x.detach()), rtol=1e-3, atol=1e-3)


def test_the_operator_traces():
    _, frozen = frozen_of("int8")
    x = torch.randn(3, 300)
    torch.library.opcheck(
        torch.ops.tokfrag.sparse_bitmap_mm.default,
        (x, frozen.values, frozen.scales, frozen.bias, frozen.bitmap, 300),
    )
    exported = torch.export.export(frozen, (x,))
    torch.testing.assert_close(exported.module()(x), frozen(x))


class Mixed(nn.Module):
    """Every kind of sparse layer, one of them twice."""

    def __init__(self):
        super().__init__()
        self.attention = SparseMultiheadAttention(32, 4, sparsity=0.5, batch_first=True)
        self.rnn = SparseLSTM(32, 32, sparsity=0.5, batch_first=True)
        self.conv = SparseConv1d(32, 32, 3, padding=1, sparsity=0.5)
        self.first = SparseLinear(32, 32, sparsity=0.5)
        self.again = self.first

    def forward(self, x):
        x = self.rnn(self.attention(x, x, x)[0])[0]
        x = self.conv(x.transpose(1, 2)).transpose(1, 2)
        return self.again(torch.relu(self.first(x)))


def test_a_model_is_frozen_and_its_errors_are_told():
    model, x = Mixed().eval(), torch.randn(8, 6, 32)
    seen = []
    handle = model.first.register_forward_hook(lambda *_: seen.append(1))
    with torch.no_grad():
        before = model(x)
        rows = {row.path: row for row in freeze(model, [x], group=64)}
        seen.clear()
        after = model(x)
    assert len(seen) == 2  # the hook came along, and its handle still removes it
    handle.remove()
    model(x)
    assert len(seen) == 2
    assert model.first is model.again
    kept = [path for path, row in rows.items() if row.reason]
    assert kept == ["rnn.input_products.0", "rnn.hidden_products.0"]
    assert "recurrent" in rows[kept[0]].reason
    assert sum(isinstance(m, FrozenSparseLinear) for m in model.modules()) == 6
    for row in rows.values():
        if not row.reason:
            assert row.values == "int8"
            assert row.bytes_after < row.bytes_before / 2
            assert 0 < row.error_weight < 1e-4
            assert 0 < row.error_output < 1e-4
    assert (after - before).norm() < 0.02 * before.norm()
    assert torch.allclose(model.attention.to_dense().in_proj_weight, model.attention.in_proj_weight)
    assert model.conv.to_dense().weight.shape == (32, 32, 3)


def test_the_error_of_the_outputs_is_the_true_one():
    model = nn.Sequential(SparseLinear(100, 50, sparsity=0.5))
    batches = [torch.randn(16, 100) for _ in range(2)]
    with torch.no_grad():
        exact = torch.cat([model(x) - model[0].bias for x in batches])
        (row,) = freeze(model, batches)
        rounded = torch.cat([model(x) - model[0].bias for x in batches])
    expected = ((rounded - exact).square().sum() / exact.square().sum()).item()
    assert row.error_output == pytest.approx(expected, rel=1e-3)


def test_a_skipped_layer_stays():
    model = nn.Sequential(SparseLinear(64, 32), nn.ReLU(), SparseLinear(32, 8))
    rows = freeze(model, values="bfloat16", skip=["2"])
    assert [(row.path, row.values, row.reason) for row in rows] == [
        ("0", "bfloat16", ""),
        ("2", "float32", "in skip"),
    ]
    assert isinstance(model[2], SparseLinear)


@pytest.mark.parametrize("method", ["cd", "magnitude", "sgd"])
def test_sparsify_freezes_and_tells_the_error(method):
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 8))
    batches = [torch.randn(128, 64)]
    report = sparsify(
        model, batches, sparsity=0.5, method=method, replace=True, values="int8", group=64, steps=5
    )
    assert [type(m) for m in model] == [FrozenSparseLinear, nn.ReLU, FrozenSparseLinear]
    for layer, module in zip(report.layers, (model[0], model[2]), strict=True):
        assert layer.values == "int8"
        assert layer.bytes_sparse == module.nbytes
        assert module.sparsity == pytest.approx(0.5)
        if method != "sgd":
            assert layer.error_stored == pytest.approx(layer.error_after, rel=0.05, abs=1e-4)
            assert layer.error_stored != layer.error_after
            assert f"as int8 {layer.error_stored:.2e}" in report.table()


def test_later_layers_repair_what_rounding_lost():
    """The second layer is fitted to the inputs that the rounded first one gives it."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(32, 64), nn.Linear(64, 8))
    x = [torch.randn(512, 32)]
    exact = model(x[0]).detach()
    report = sparsify(model, x, sparsity=0.0, replace=True, values="int8")
    with torch.no_grad():
        error = (model(x[0]) - exact).square().sum() / (exact - exact.mean(0)).square().sum()
    assert report.layers[1].error_stored < 1e-4
    assert error < 1e-4


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda m: freeze(m, values="int4"), ValueError, "values: got 'int4'"),
        (lambda m: freeze(m, group=100), ValueError, "group: got 100, takes 64, 128"),
        (lambda m: freeze(m, group=True), TypeError, "group: got True"),
        (lambda m: freeze(m, skip=["9"]), ValueError, "skip: got 9"),
        (lambda m: freeze(m[0]), ValueError, "model: is a SparseLinear"),
        (lambda m: freeze(3), TypeError, "model: got int"),
        (lambda m: FrozenSparseLinear(torch.zeros(3)), TypeError, "weight: takes"),
        (
            lambda m: FrozenSparseLinear(torch.full((2, 2), torch.inf), values="int8"),
            ValueError,
            "weight: got infinite",
        ),
        (
            lambda m: sparsify(nn.Sequential(nn.Linear(4, 4)), [torch.ones(2, 4)], values="int8"),
            ValueError,
            "values: got 'int8' with replace=False",
        ),
    ],
)
def test_bad_input_leaves_the_model(run, error, message):
    model = nn.Sequential(SparseLinear(8, 8), SparseLinear(8, 8))
    with pytest.raises(error, match=message):
        run(model)
    assert all(isinstance(m, SparseLinear) for m in model)
