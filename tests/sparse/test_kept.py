"""What sparse layers keep from call to call, and when it is made anew."""

from __future__ import annotations

import gc

import pytest

torch = pytest.importorskip("torch")

from tokfrag.sparse import SparseLinear  # noqa: E402
from tokfrag.sparse.products.kept import KeptMatrix  # noqa: E402
from tokfrag.sparse.products.places import entry_of  # noqa: E402


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16], ids=str)
@pytest.mark.parametrize("count", [1, 3, 64, 131])
def test_every_single_changed_value_shows(dtype, count):
    values = torch.randn(count).to(dtype).requires_grad_()
    kept = KeptMatrix()
    for place in range(count):
        assert torch.equal(kept.of(values, torch.clone), values)
        values.data[place] += 1
        assert torch.equal(kept.of(values, torch.clone), values), place


def test_values_that_stay_are_made_once():
    made = []

    def make(values):
        made.append(1)
        return values.clone()

    kept, values = KeptMatrix(), torch.randn(100, requires_grad=True)
    for _ in range(3):
        kept.of(values, make)
    kept.of(
        values.detach().clone().requires_grad_(), make
    )  # equal values are equal wherever they lie
    assert len(made) == 1
    with torch.enable_grad():
        for other in (-values, values.flip(0), values.double()):
            kept.of(other, make)
    assert len(made) == 4


def test_frozen_values_are_told_by_their_version_address_and_samples():
    values = torch.randn(1000)
    kept = KeptMatrix()
    for change in (
        lambda v: v.add_(1),
        lambda v: v[17].zero_(),
        lambda v: v.data.mul_(2),
        lambda v: setattr(v, "data", v.data.clone().mul_(3)),
    ):
        assert torch.equal(kept.of(values, torch.clone), values)
        change(values)
        assert torch.equal(kept.of(values, torch.clone), values)


def test_one_weight_changed_through_data_is_noticed():
    torch.manual_seed(0)
    layer = SparseLinear(96, 64, sparsity=0.3, kernel="dense")
    x = torch.randn(4, 96)
    with torch.no_grad():
        for place in range(0, layer.nnz, 97):
            layer(x)
            layer.values.data[place] += 3
            torch.testing.assert_close(layer(x), x @ layer.dense_weight().T + layer.bias)


def test_what_is_remembered_dies_with_its_tensors():
    gc.collect()  # what other tests have left
    before = len(entry_of)
    layer = SparseLinear(40, 30, sparsity=0.5, kernel="sparse")
    layer(torch.ones(2, 40))
    assert len(entry_of) == before + 1
    del layer
    gc.collect()
    assert len(entry_of) == before
