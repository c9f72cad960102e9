"""Sparse products against their plain twins: types, sizes, threads, instruction sets."""

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

import tokfrag.sparse.products.operators  # noqa: E402, F401  (registers them)
from tokfrag.sparse.products import (  # noqa: E402
    lookup,
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

cases = st.tuples(
    st.integers(1, 270),  # rows
    st.integers(1, 270),  # columns
    st.sampled_from([0, 1, 2, 15, 16, 17, 33, 64, 65, 130]),  # batch
    st.sampled_from([0.0, 0.02, 0.1, 0.5, 0.95, 1.0]),  # density
    st.integers(0, 2**31),
)


def draw(rows, columns, batch, density, seed, dtype):
    generator = np.random.default_rng(seed)
    mask = generator.random((rows, columns)) < density * generator.random((rows, 1)) * 2
    local, runs = places.pack_mask(torch.from_numpy(mask))
    tensors = [
        torch.from_numpy(generator.standard_normal(shape)).to(dtype)
        for shape in [(batch, columns), (batch, rows), (local.numel(),)]
    ]
    return mask, local, runs, *tensors


@settings(max_examples=40)
@given(cases, st.sampled_from(DTYPES))
def test_products_equal_the_reference(case, dtype):
    mask, local, runs, x, grad, values = draw(*case, dtype)
    twin_local, twin_runs = reference.pack_mask(mask)
    np.testing.assert_array_equal(local.numpy(), twin_local)
    np.testing.assert_array_equal(runs.numpy(), twin_runs)
    columns = mask.shape[1]
    x64, grad64, values64 = (t.double().numpy() for t in (x, grad, values))
    expected = {
        "forward": reference.multiply(x64, values64, twin_local, twin_runs),
        "transposed": reference.multiply_transposed(
            grad64, values64, twin_local, twin_runs, columns
        ),
        "sample": reference.sample(grad64, x64, twin_local, twin_runs),
    }
    for kernel in ("sparse", "dense"):
        got = {
            "forward": products.multiply(x, values, None, local, runs, columns, False, kernel),
            "transposed": products.multiply(grad, values, None, local, runs, columns, True, kernel),
            "sample": products.sample(grad, x, local, runs, kernel),
        }
        for name, result in got.items():
            assert result.dtype == dtype
            tolerance = TOLERANCE[dtype]
            if kernel == "dense" and dtype == torch.float16:
                tolerance = {"rtol": 1e-2, "atol": 1e-1}  # torch sums halves in its own way
            np.testing.assert_allclose(
                result.double().numpy(), expected[name], err_msg=f"{name} {kernel}", **tolerance
            )


@settings(max_examples=20)
@given(
    st.integers(1, 40),
    st.integers(1, 50),
    st.integers(0, 60),
    st.sampled_from(DTYPES),
    st.integers(0, 2**31),
)
def test_lookup_equals_the_reference(rows, columns, count, dtype, seed):
    generator = np.random.default_rng(seed)
    mask = generator.random((rows, columns)) < 0.3
    offsets = np.concatenate([[0], mask.sum(1).cumsum()]).astype(np.int64)
    local = mask.nonzero()[1].astype(np.int16)
    ids = generator.integers(0, rows, count)
    values = torch.from_numpy(generator.standard_normal(len(local))).to(dtype)
    grad = torch.from_numpy(generator.standard_normal((count, columns))).to(dtype)
    indices = torch.from_numpy(offsets), torch.from_numpy(local)
    got = torch.ops.tokfrag.sparse_lookup(torch.from_numpy(ids), values, *indices, columns)
    expected = reference.lookup(ids, values.double().numpy(), offsets, local, columns)
    np.testing.assert_array_equal(got.double().numpy(), expected)
    got = torch.ops.tokfrag.sparse_lookup_gradient(grad, torch.from_numpy(ids), *indices)
    expected = reference.lookup_gradient(grad.double().numpy(), ids, offsets, local)
    np.testing.assert_allclose(got.double().numpy(), expected, **TOLERANCE[dtype])


@settings(max_examples=40)
@given(
    st.integers(1, 40),
    st.integers(1, 50),
    st.integers(0, 60),
    st.sampled_from(DTYPES),
    st.integers(0, 2**31),
)
def test_lookup_composed_for_other_devices_equals_the_native_one(rows, columns, count, dtype, seed):
    """What CUDA tensors go through, on the CPU: rows without non-zeros, ids that come again."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(rows, columns, generator=generator) < 0.3 * torch.rand(
        rows, 1, generator=generator
    )
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), mask.sum(1).cumsum(0)])
    local = mask.nonzero()[:, 1].to(torch.int16)
    ids = torch.randint(0, rows, (count,), generator=generator)
    values, grad = (
        torch.randn(shape, generator=generator).to(dtype)
        for shape in [(len(local),), (count, columns)]
    )
    fullest = lookup.rows_of(local, offsets, columns).fullest
    assert fullest == int(mask.sum(1).max())
    got = lookup.composed_lookup(ids, values, offsets, local, columns, fullest)
    assert torch.equal(got, lookup.lookup(ids, values, offsets, local, columns))
    got = lookup.composed_gradient(grad, ids, offsets, local, fullest)
    assert got.dtype == dtype
    # On the CPU both add ids in order, in float32 for half types: the same bits.
    assert torch.equal(got, lookup.lookup_gradient(grad, ids, offsets, local))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("special", [float("nan"), float("inf"), -0.0, 1e-7, 6e4])
@pytest.mark.parametrize(("batch", "density"), [(3, 0.5), (1, 0.5), (1, 0.05)])
def test_special_values_pass_through(dtype, special, batch, density):
    mask, local, runs, x, _, values = draw(20, 140, batch, density, 5, dtype)
    x[-1, 7] = special
    got = products.multiply(x, values, None, local, runs, 140, False, "sparse")
    dense = places.densify(values, local, runs, 140)
    kept = mask[:, 7]
    expected = x.double() @ dense.double().t()
    torch.testing.assert_close(
        got.double()[:, kept],
        expected[:, kept].to(dtype).double(),
        equal_nan=True,
        **TOLERANCE[dtype],
    )
    # Stored zeros only are multiplied: an infinite input does not spoil outputs it is not tied to.
    assert torch.isfinite(got[:, ~kept]).all()


def test_half_rounding_is_exact():
    """A 1 x 1 matrix of value one copies any half, any bfloat16, and rounds as torch does."""
    one = torch.ones(1, 1, dtype=torch.bool)
    local, runs = places.pack_mask(one)
    for dtype in (torch.float16, torch.bfloat16):
        everything = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
        x = everything[~torch.isnan(everything)].view(-1, 1)
        values = torch.ones(1, dtype=dtype)
        got = products.multiply(x, values, None, local, runs, 1, False, "sparse")
        torch.testing.assert_close(got, x + 0, rtol=0, atol=0)
        scaled = torch.full((1,), 0.3, dtype=dtype)
        got = products.multiply(x, scaled, None, local, runs, 1, False, "sparse")
        torch.testing.assert_close(got, (x.float() * scaled.float()).to(dtype), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [1, 40, 300])
def test_any_number_of_threads_gives_the_same_bits(dtype, batch):
    _, local, runs, x, grad, values = draw(700, 500, batch, 0.2, 1, dtype)
    element = products.ELEMENTS[dtype]
    pattern = places.pattern_of(local, runs, 500)
    indices = local.data_ptr(), runs.data_ptr()

    def run(threads):
        y = torch.empty(batch, 700, dtype=dtype)
        gx = torch.empty(batch, 500, dtype=dtype)
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
layer = SparseLinear(500, 300, sparsity=0.8, kernel="sparse")
x = torch.randn(70, 500, requires_grad=True)
y = layer(x)
y.sin().sum().backward()
print(*(hashlib.sha256(t.detach().numpy().tobytes()).hexdigest()
        for t in (y, x.grad, layer.values.grad)))
print(float(y.double().abs().sum()), float(layer.values.grad.double().abs().sum()))
for dtype in (torch.float32, torch.float16, torch.bfloat16):  # one input: by masks, where there are
    one = SparseLinear(500, 300, sparsity=0.5, kernel="sparse").to(dtype)
    print(float(one(x[:1].to(dtype)).double().abs().sum()), end=" ")
"""


def test_instruction_sets_agree():
    """v3 and v4 give the same bits; the baseline has no fused multiply-add and rounds apart."""
    bits, sums, single = {}, {}, {}
    for isa in _core.supported_isas():
        done = subprocess.run(
            [sys.executable, "-c", _PRINT],
            env={**os.environ, "TOKFRAG_ISA": isa, "TOKFRAG_CACHE_DIR": ""},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        first, second, third = done.stdout.splitlines()
        single[isa] = [float(word) for word in third.split()]
        bits[isa], sums[isa] = first, [float(word) for word in second.split()]
    if {"v3", "v4"} <= set(bits):
        # The loss's own sine differs a bit between torch's instruction sets, not between ours.
        assert bits["v3"] == bits["v4"]
    for other in sums.values():
        np.testing.assert_allclose(other, sums["baseline"], rtol=1e-5)
    for other in single.values():  # sums in other orders, rounded to halves
        np.testing.assert_allclose(other, single["baseline"], rtol=1e-3)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda local, runs: runs[0, 0, 1].add_(1), "more non-zeros|fewer|ascend"),
        (lambda local, runs: runs[0, 0].copy_(runs[0, 1]), "row repeated|non-zeros|ascend"),
        (lambda local, runs: runs[0, 0, 0].fill_(250), "out of its block"),
        (lambda local, runs: local.fill_(3), "ascend"),
        (lambda local, runs: local[0].fill_(255), "ascend"),
    ],
)
def test_corrupt_indices_are_refused(spoil, message):
    mask = torch.rand(150, 100, generator=torch.Generator().manual_seed(0)) < 0.3
    local, runs = places.pack_mask(mask)
    spoil(local, runs)
    with pytest.raises(ValueError, match=message):
        places.pattern_of(local, runs, 100)


def test_pattern_follows_changed_indices():
    """The derived form is rebuilt when indices are overwritten in place."""
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(60, 60, generator=generator) < 0.5
    second = first.flip(0)
    local, runs = places.pack_mask(first)
    values = torch.ones(local.numel())
    x = torch.eye(60)
    assert torch.equal(
        products.multiply(x, values, None, local, runs, 60, False, "sparse"), first.float().t()
    )
    for into, new in zip((local, runs), places.pack_mask(second), strict=True):
        into.copy_(new)
    assert torch.equal(
        products.multiply(x, values, None, local, runs, 60, False, "sparse"),
        second.float().t(),
    )


def test_products_over_nothing_are_the_bias():
    local, runs = torch.empty(0, dtype=torch.uint8), torch.empty(0, 16, 2, dtype=torch.uint8)
    # Leaves numbers in the memory that a product works in.
    diagonal = places.pack_mask(torch.eye(16, dtype=torch.bool))
    mm = torch.ops.tokfrag.sparse_mm
    mm(torch.ones(300, 16), torch.ones(16), None, *diagonal, 16, False, "sparse")
    product = mm(torch.empty(3, 0), torch.empty(0), None, local, runs, 0, False, "sparse")
    assert product.shape == (3, 16)
    assert not product.any()


def test_lines_that_do_not_pair_are_refused():
    diagonal = places.pack_mask(torch.eye(16, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"grad: got shape \(9, 16\) for x of \(1, 16\)"):
        torch.ops.tokfrag.sparse_sample(torch.ones(9, 16), torch.ones(1, 16), *diagonal, "sparse")


def test_runs_out_of_order_are_refused():
    _, runs = places.pack_mask(torch.ones(4, 16).tril().bool())
    turned = runs.flip(1).contiguous()
    local = torch.tensor([0, 1, 2, 3, 0, 1, 2, 0, 1, 0], dtype=torch.uint8)
    with pytest.raises(ValueError, match="runs: must ascend in length"):
        torch.ops.tokfrag.sparse_mm(
            torch.ones(1, 16), torch.ones(10), None, local, turned, 16, False, "sparse"
        )
