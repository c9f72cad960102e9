"""Matrices of 8 x 1 blocks: their own kernels against the plain twin and against the others."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tokfrag import _core
from tokfrag.reference import sparse as reference

torch = pytest.importorskip("torch")

from tokfrag.sparse import SparseLinear, sparsify  # noqa: E402
from tokfrag.sparse.products import (  # noqa: E402
    places,
    products,
)

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
TOLERANCE = {
    torch.float32: {"rtol": 1e-4, "atol": 1e-4},
    torch.float64: {"rtol": 1e-12, "atol": 1e-12},
    torch.float16: {"rtol": 4e-3, "atol": 2e-2},
    torch.bfloat16: {"rtol": 2e-2, "atol": 1e-1},
}


def block_mask(rows, columns, density, seed):
    """Uneven densities, so that groups of one tile differ in length."""
    generator = np.random.default_rng(seed)
    groups = -(-rows // 8)
    kept = generator.random((groups, columns)) < density * generator.random((groups, 1)) * 2
    return kept.repeat(8, 0)[:rows]


def draw(rows, columns, batch, density, seed, dtype):
    mask = block_mask(rows, columns, density, seed)
    local, runs = places.pack_mask(torch.from_numpy(mask))
    generator = torch.Generator().manual_seed(seed)
    x, grad, values = (
        torch.randn(shape, generator=generator).to(dtype)
        for shape in [(batch, columns), (batch, rows), (local.numel(),)]
    )
    return mask, local, runs, x, grad, values


cases = st.tuples(
    st.integers(8, 270),  # rows
    st.integers(1, 270),  # columns
    st.sampled_from([0, 1, 2, 15, 16, 17, 33, 64, 65, 130]),  # batch
    st.sampled_from([0.0, 0.02, 0.1, 0.5, 0.95, 1.0]),  # density
    st.integers(0, 2**31),
)


@settings(max_examples=60)
@given(cases, st.sampled_from(DTYPES))
def test_products_equal_the_reference(case, dtype):
    mask, local, runs, x, grad, values = draw(*case, dtype)
    assert places.pattern_of(local, runs, mask.shape[1]).in_blocks
    indices = local.numpy(), runs.numpy()
    x64, grad64, values64 = (t.double().numpy() for t in (x, grad, values))
    columns = mask.shape[1]
    expected = {
        "forward": reference.multiply_blocks(x64, values64, mask),
        "transposed": reference.multiply_transposed(grad64, values64, *indices, columns),
        "sample": reference.sample(grad64, x64, *indices),
    }
    got = {
        "forward": products.multiply(x, values, None, local, runs, columns, False, "sparse"),
        "transposed": products.multiply(grad, values, None, local, runs, columns, True, "sparse"),
        "sample": products.sample(grad, x, local, runs, "sparse"),
    }
    for name, result in got.items():
        assert result.dtype == dtype
        np.testing.assert_allclose(
            result.double().numpy(), expected[name], err_msg=name, **TOLERANCE[dtype]
        )


@settings(max_examples=60)
@given(st.integers(1, 150), st.integers(1, 150), st.sampled_from([0.1, 0.6]), st.integers(0, 2**31))
def test_blocks_are_recognised(rows, columns, density, seed):
    """Exactly where the twin says so, also when one weight more or less breaks them."""
    mask = block_mask(rows, columns, density, seed)
    for changed in range(2):
        if changed:
            generator = np.random.default_rng(seed)
            place = generator.integers(rows), generator.integers(columns)
            mask[place] ^= True
        local, runs = places.pack_mask(torch.from_numpy(mask))
        pattern = places.pattern_of(local, runs, columns)
        assert pattern.in_blocks == (reference.row_groups(mask) is not None)


@pytest.mark.parametrize("dtype", DTYPES)
def test_forward_has_the_bits_of_the_general_kernels(dtype):
    """A stored zero breaks the blocks and changes nothing else: the sums have the same order."""
    mask, _, _, x, _, _ = draw(300, 400, 70, 0.3, 3, dtype)
    weight = torch.randn(300, 400).to(dtype) * torch.from_numpy(mask)
    broken = mask.copy()
    broken[130, np.flatnonzero(~mask[130])[0]] = True
    layers = [
        SparseLinear.from_weight(weight, None, torch.from_numpy(m), kernel="sparse")
        for m in (mask, broken)
    ]
    kinds = [places.pattern_of(m.local, m.runs, 400).in_blocks for m in layers]
    assert kinds == [True, False]
    with torch.no_grad():
        assert torch.equal(layers[0](x), layers[1](x))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [1, 40, 300])
def test_any_number_of_threads_gives_the_same_bits(dtype, batch):
    _, local, runs, x, grad, values = draw(700, 500, batch, 0.2, 1, dtype)
    element = products.ELEMENTS[dtype]
    pattern = places.pattern_of(local, runs, 500)
    indices = local.data_ptr(), runs.data_ptr()

    def run(threads):
        y, gx = (torch.empty(batch, n, dtype=dtype) for n in (700, 500))
        gv = torch.empty_like(values)
        address = values.data_ptr()
        pattern.multiply(element, *indices, x.data_ptr(), batch, address, 0, y.data_ptr(), threads)
        pattern.multiply_transposed(
            element, *indices, grad.data_ptr(), batch, address, gx.data_ptr(), threads
        )
        pattern.sample(
            element, *indices, grad.data_ptr(), batch, x.data_ptr(), gv.data_ptr(), threads
        )
        return y, gx, gv

    one = run(1)
    for threads in (2, 3, 8):
        for a, b in zip(one, run(threads), strict=True):
            assert torch.equal(a, b)


_PRINT = """
import hashlib, torch
from tokfrag.sparse import SparseLinear
torch.manual_seed(0)
mask = (torch.rand(40, 500) < 0.2).repeat_interleave(8, 0)[:300]
layer = SparseLinear(500, 300, mask=mask, kernel="sparse")
x = torch.randn(70, 500, requires_grad=True)
y = layer(x)
y.square().sum().backward()
print(*(hashlib.sha256(t.detach().numpy().tobytes()).hexdigest()
        for t in (y, x.grad, layer.values.grad)))
print(float(y.double().abs().sum()), float(layer.values.grad.double().abs().sum()))
"""


def test_instruction_sets_agree():
    """v3 and v4 give the same bits; the baseline has no fused multiply-add and rounds apart."""
    bits, sums = {}, {}
    for isa in _core.supported_isas():
        done = subprocess.run(
            [sys.executable, "-c", _PRINT],
            env={**os.environ, "TOKFRAG_ISA": isa, "TOKFRAG_CACHE_DIR": ""},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        first, second = done.stdout.splitlines()
        bits[isa], sums[isa] = first, [float(word) for word in second.split()]
    if {"v3", "v4"} <= set(bits):
        assert bits["v3"] == bits["v4"]
    for other in sums.values():
        np.testing.assert_allclose(other, sums["baseline"], rtol=1e-5)


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("special", [float("nan"), float("inf")])
def test_infinite_inputs_stay_where_they_belong(batch, special):
    mask, local, runs, x, _, values = draw(84, 140, batch, 0.3, 5, torch.float32)
    x[-1, 7] = special
    got = products.multiply(x, values, None, local, runs, 140, False, "sparse")
    assert not torch.isfinite(got[-1, mask[:, 7]]).any()
    assert torch.isfinite(got[:, ~mask[:, 7]]).all()


def test_gradients():
    mask = torch.from_numpy(block_mask(20, 12, 0.5, 2))
    layer = SparseLinear(12, 20, mask=mask, kernel="sparse", dtype=torch.float64)
    x = torch.randn(3, 12, dtype=torch.float64, requires_grad=True)

    def run(x, values, bias):
        return torch.ops.tokfrag.sparse_mm(
            x, values, bias, layer.local, layer.runs, 12, False, "sparse"
        )

    assert torch.autograd.gradcheck(run, (x, layer.values, layer.bias))
    assert torch.autograd.gradgradcheck(run, (x, layer.values, layer.bias))


def test_pruned_layers_come_in_blocks():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(40, 50))
    batch = torch.randn(64, 40)
    sparsify(model, [batch], sparsity=0.75, structure="8x1", replace=True)
    layer = model[0]
    assert places.pattern_of(layer.local, layer.runs, 40).in_blocks
    torch.testing.assert_close(layer(batch), layer.to_dense()(batch), rtol=1e-4, atol=1e-4)
    # Indices that no longer form blocks take the general kernels, with nothing said to anybody.
    layer.set_mask(torch.rand(50, 40) < 0.3)
    assert not places.pattern_of(layer.local, layer.runs, 40).in_blocks
    torch.testing.assert_close(layer(batch), layer.to_dense()(batch), rtol=1e-4, atol=1e-4)
