"""The state of sparse layers: saved, loaded, copied, moved, given another mask."""

from __future__ import annotations

import copy
import io
import pickle

import pytest

torch = pytest.importorskip("torch")


from tokfrag.sparse import SparseEmbedding, SparseLinear  # noqa: E402
from tokfrag.sparse.products import (  # noqa: E402
    planner,
)


@pytest.fixture(autouse=True)
def _own_plans(monkeypatch, tmp_path):
    monkeypatch.setenv("TOKFRAG_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(planner, "_winners", None)
    torch.manual_seed(0)


def _saved(layer):
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def _safetensors(layer):
    safetensors = pytest.importorskip("safetensors.torch")
    return safetensors.load(safetensors.save(layer.state_dict()))


@pytest.mark.parametrize("through", [_saved, _safetensors], ids=["torch.save", "safetensors"])
def test_state_of_another_mask_loads(through):
    one, other = SparseLinear(200, 150, sparsity=0.9), SparseLinear(200, 150, sparsity=0.5)
    x = torch.randn(3, 200)
    other(x)  # its packed form exists, and must be rebuilt
    parameter = other.values
    other.load_state_dict(through(one))
    assert other.values is parameter
    torch.testing.assert_close(other(x), one(x), rtol=0, atol=0)
    table, another = SparseEmbedding(30, 20), SparseEmbedding(30, 20, sparsity=0.2)
    another.load_state_dict(through(table))
    ids = torch.arange(30)
    assert torch.equal(another(ids), table(ids))


def test_corrupt_state_is_refused_and_leaves_the_layer():
    layer = SparseLinear(200, 150)
    x = torch.randn(3, 200)
    before = layer(x)
    state = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    state["local"].fill_(7)
    with pytest.raises(RuntimeError, match="ascend"):
        layer.load_state_dict(state)
    state = layer.state_dict()
    state["runs"] = state["runs"][:, :100]
    with pytest.raises(RuntimeError, match="runs: got shape"):
        layer.load_state_dict(state)
    assert torch.equal(layer(x), before)
    table = SparseEmbedding(30, 20)
    state = {name: tensor.clone() for name, tensor in table.state_dict().items()}
    state["local"][0] = 20
    with pytest.raises(RuntimeError, match="do not describe"):
        table.load_state_dict(state)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_independent(duplicate):
    layer = SparseLinear(40, 30, sparsity=0.5)
    x = torch.randn(2, 40)
    before = layer(x).detach()
    twin = duplicate(layer)
    assert torch.equal(twin(x), before)
    with torch.no_grad():
        twin.values.zero_()
    assert torch.equal(layer(x), before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_dtype_moves(dtype):
    layer = SparseLinear(40, 30, sparsity=0.5).to(dtype)
    assert layer.local.dtype == torch.uint8
    x = torch.randn(20, 40).to(dtype)
    torch.testing.assert_close(
        layer(x), layer.float().to_dense()(x.float()).to(dtype), rtol=2e-2, atol=2e-2
    )


def test_set_mask_keeps_what_stays():
    layer = SparseLinear(60, 50, sparsity=0.5)
    before, old = layer.to_dense().weight.detach(), layer.mask
    new = torch.rand(50, 60) < 0.5
    values = layer.values.detach().clone()
    parameter = layer.values
    origin = layer.set_mask(new)
    assert layer.values is parameter
    assert torch.equal(layer.mask, new)
    assert torch.equal(layer.to_dense().weight, before * (old & new))
    kept = origin >= 0
    assert torch.equal(layer.values.detach()[kept], values[origin[kept]])


def test_a_load_in_inference_mode_is_noticed():
    first = torch.zeros(64, 64, dtype=torch.bool)
    second = first.clone()
    first[:32] = True
    second[::2] = True
    with torch.inference_mode():
        a, b = (SparseLinear(64, 64, mask=mask, kernel="sparse") for mask in (first, second))
        x = torch.randn(5, 64)
        a(x)
        a.load_state_dict(b.state_dict())
        assert torch.equal(a(x), b(x))


def test_a_part_of_a_checkpoint_is_refused_and_nothing_changed():
    table = SparseEmbedding(10, 16, sparsity=0.5)
    before = table(torch.tensor([3]))
    broken = {"offsets": table.offsets + (1 << 40), "local": table.local}
    for strict in (True, False):
        with pytest.raises(RuntimeError, match="takes values and places together"):
            table.load_state_dict(broken, strict=strict)
    assert torch.equal(table(torch.tensor([3])), before)
