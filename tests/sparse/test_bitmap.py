"""Products with weights under a bitmap against their plain twin: types, sizes, threads, levels."""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tokfrag import _core
from tokfrag.reference import bitmap as reference

torch = pytest.importorskip("torch")

from tokfrag.sparse import SparseLinear  # noqa: E402
from tokfrag.sparse.products import bitmap as products  # noqa: E402

TOLERANCE = {
    torch.float32: {"rtol": 1e-4, "atol": 1e-4},
    torch.float16: {"rtol": 4e-3, "atol": 2e-2},
    torch.bfloat16: {"rtol": 2e-2, "atol": 1e-1},
}

cases = st.tuples(
    st.integers(1, 40),  # rows
    st.sampled_from([1, 7, 8, 63, 64, 65, 128, 200, 300]),  # columns
    st.sampled_from([0, 1, 2, 3, 4, 5, 8, 9, 17, 70]),  # batch
    st.sampled_from([0.0, 0.02, 0.1, 0.5, 0.95, 1.0]),  # density
    st.integers(0, 2**31),
)


@pytest.fixture(autouse=True)
def _no_race(monkeypatch):
    """What is tested here are the kernels, whoever is faster."""
    monkeypatch.setattr(products.planner, "choose", lambda key, race: "sparse")


def draw(rows, columns, batch, density, seed):
    generator = np.random.default_rng(seed)
    mask = generator.random((rows, columns)) < density * generator.random((rows, 1)) * 2
    x = torch.from_numpy(generator.standard_normal((batch, columns)))
    weight = torch.from_numpy(generator.standard_normal((rows, columns)) * mask)
    bias = torch.from_numpy(generator.standard_normal(rows))
    return mask, x, weight, bias


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cases, st.sampled_from(list(TOLERANCE)))
def test_products_equal_the_reference(case, dtype):
    mask, x, weight, bias = draw(*case)
    bitmap = products.pack_bitmap(torch.from_numpy(mask))
    np.testing.assert_array_equal(
        bitmap.numpy().view(np.uint64), reference.pack_bitmap(mask).reshape(bitmap.shape)
    )
    x, bias, values = x.to(dtype), bias.to(dtype), weight[torch.from_numpy(mask)].to(dtype)
    got = products.multiply(x, values, None, bias, bitmap, mask.shape[1])
    expected = reference.multiply(x.double().numpy(), values.double().numpy(), mask)
    expected = expected + bias.double().numpy()
    assert got.dtype == dtype
    np.testing.assert_allclose(got.double().numpy(), expected, **TOLERANCE[dtype])
    dense = products.expand(values, None, bitmap, mask.shape[1])
    assert torch.equal(dense[torch.from_numpy(mask)], values)
    assert int((dense != 0).sum()) <= len(values)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cases, st.sampled_from([64, 128, 256]))
def test_codes_equal_the_reference(case, group):
    mask, x, weight, bias = draw(*case)
    columns = mask.shape[1]
    kept = torch.from_numpy(mask)
    codes, scales = products.encode(weight.float(), kept, group)
    twin_codes, twin_scales = reference.encode(weight.float().double().numpy(), mask, group)
    np.testing.assert_allclose(scales.numpy(), twin_scales, rtol=1e-6)
    # A level that lies halfway may round either way in float32.
    assert np.abs(codes.numpy().astype(int) - twin_codes).max(initial=0) <= 1
    x, bias = x.float(), bias.float()
    bitmap = products.pack_bitmap(kept)
    got = products.multiply(x, codes, scales, bias, bitmap, columns)
    dense = products.expand(codes, scales, bitmap, columns)
    if len(x) > products.FEW_INPUTS:  # by tiles: inputs are not rounded
        expected = x.double().numpy() @ dense.double().numpy().T
    else:
        expected = reference.multiply_codes(
            x.double().numpy(), codes.numpy(), scales.double().numpy(), mask, group
        )
    expected = expected + bias.double().numpy()
    np.testing.assert_allclose(got.double().numpy(), expected, rtol=1e-5, atol=1e-4)
    off = (dense - weight.float()).abs()
    groups = scales.repeat_interleave(group, 1)[:, :columns]
    assert bool((off <= 0.51 * groups + 1e-7).all())
    # Inputs of 16 bits: a share of what an exact product of the same codes gives.
    exact = x.double() @ dense.double().t() + bias.double()
    largest = x.abs().amax(-1, keepdim=True) if len(x) else x[:, :1]
    bound = largest.double() / 65534 * dense.double().abs().sum(1) + 1e-5
    assert bool(((got.double() - exact).abs() <= bound).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
@pytest.mark.parametrize("batch", [1, 2, 4, 20])
def test_an_infinite_input_meets_stored_weights_only(dtype, batch):
    mask = torch.zeros(40, 200, dtype=torch.bool)
    mask[:20, 5] = True
    mask[:, 9] = True
    weight = mask.float()
    x = torch.ones(batch, 200)
    x[0, 5], x[0, 6] = torch.inf, torch.nan
    if dtype == torch.int8:
        values, scales = products.encode(weight, mask, 128)
    else:
        values, scales, x = weight[mask].to(dtype), None, x.to(dtype)
    y = products.multiply(x, values, scales, None, products.pack_bitmap(mask), 200)
    assert bool((y[0, :20] == torch.inf).all())
    assert bool((y[0, 20:] == 1).all())
    expected = weight.sum(1).expand(batch - 1, -1)
    torch.testing.assert_close(y[1:].float(), expected, rtol=1e-4, atol=1e-4)


def test_wide_rows_do_not_overflow():
    """The largest codes and inputs, more columns than one exact sum of 32 bits holds."""
    columns = 20000
    mask = torch.ones(3, columns, dtype=torch.bool)
    codes, scales = products.encode(torch.ones(3, columns), mask, 1 << 15)
    y = products.multiply(
        torch.ones(1, columns), codes, scales, None, products.pack_bitmap(mask), columns
    )
    torch.testing.assert_close(y, torch.full((1, 3), float(columns)))


_PRINT = """
import hashlib, torch
from tokfrag.sparse.products import bitmap as products
generator = torch.Generator().manual_seed(0)
mask = torch.rand(300, 1500, generator=generator) < 0.3
weight = torch.randn(300, 1500, generator=generator)
x = torch.randn(7, 1500, generator=generator)
bitmap = products.pack_bitmap(mask)
codes, scales = products.encode(weight, mask, 512)
bias = torch.randn(300, generator=generator)
y = products.multiply(x, codes, scales, bias, bitmap, 1500)
print(hashlib.sha256(y.numpy().tobytes()).hexdigest())
x = torch.cat((x, torch.randn(30, 1500, generator=generator)))
products.planner.choose = lambda key, race: "sparse"
y = products.multiply(x, codes, scales, bias, bitmap, 1500)
print(float(y.double().abs().sum()), end=" ")
for dtype in (torch.float32, torch.float16, torch.bfloat16):
    y = products.multiply(x.to(dtype), weight[mask].to(dtype), None, None, bitmap, 1500)
    print(float(y.double().abs().sum()), end=" ")
"""


def test_instruction_sets_agree():
    """Codes and few inputs give the same bits at every level: their sums are exact."""
    bits, sums = {}, {}
    for isa in _core.supported_isas():
        done = subprocess.run(
            [sys.executable, "-c", _PRINT],
            env={**os.environ, "TOKFRAG_ISA": isa},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        first, second = done.stdout.splitlines()
        bits[isa], sums[isa] = first, [float(word) for word in second.split()]
    assert len(set(bits.values())) == 1
    for other in sums.values():
        np.testing.assert_allclose(other, sums["baseline"], rtol=1e-3)


@pytest.mark.parametrize("batch", [4, 300])
def test_threads_agree(batch):
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(1500, 600, generator=generator) < 0.9
    weight = torch.randn(1500, 600, generator=generator)
    x = torch.randn(batch, 600, generator=generator)
    bitmap = products.pack_bitmap(mask)
    codes, scales = products.encode(weight, mask, 512)
    form = products.form_of(bitmap, 600)

    def run(threads):
        values, y, z = weight[mask], torch.empty(batch, 1500), torch.empty(batch, 1500)
        places = form.bitmap.data_ptr(), x.data_ptr(), batch
        form.native.multiply(0, *places, values.data_ptr(), 0, y.data_ptr(), threads)
        form.native.multiply_codes(
            *places, codes.data_ptr(), scales.data_ptr(), 8, 0, z.data_ptr(), threads
        )
        return y, z

    one = run(1)
    for threads in (2, 5):
        for a, b in zip(one, run(threads), strict=True):
            assert torch.equal(a, b)


def test_a_batch_has_the_bits_of_the_sparse_layer():
    """Tiles made on the way hold what the stored form holds, in its order."""
    layer = SparseLinear(300, 200, sparsity=0.8, kernel="sparse")
    x = torch.randn(70, 300)
    values = layer.dense_weight()[layer.mask].detach()
    bitmap = products.pack_bitmap(layer.mask)
    with torch.no_grad():
        got = products.multiply(x, values, None, layer.bias, bitmap, 300)
        assert torch.equal(got, layer(x))


@pytest.mark.parametrize("way", ["sparse", "dense"])
def test_a_batch_goes_the_faster_way(monkeypatch, way):
    asked = []

    def choose(key, race):
        race("sparse")
        race("dense")
        asked.append(key)
        return way

    monkeypatch.setattr(products.planner, "choose", choose)
    ran = []
    dense = products._multiply_dense
    monkeypatch.setattr(products, "_multiply_dense", lambda *a: ran.append(1) or dense(*a))
    mask = torch.rand(50, 90) < 0.5
    weight, bias, x = torch.randn(50, 90), torch.randn(50), torch.randn(3, 7, 90)
    bitmap = products.pack_bitmap(mask)
    y = products.multiply(x, weight[mask], None, bias, bitmap, 90)
    torch.testing.assert_close(y, x @ (weight * mask).t() + bias, rtol=1e-4, atol=1e-4)
    assert asked == [
        f"bitmap (50, 90, {-(-20 * int(mask.sum()) // 4500)}, 24) float32 float32 "
        f"{products.threads()} torch {torch.__version__}"
    ]
    assert len(ran) == (2 if way == "dense" else 1)  # one of them the race
    products.multiply(x[0], weight[mask], None, bias, bitmap, 90)  # few: nobody is asked
    assert len(asked) == 1


@pytest.mark.skipif(not hasattr(mmap, "PROT_READ"), reason="pages are closed as POSIX does it")
def test_values_at_the_very_end_are_not_read_past():
    """Whole vectors are read of values: not where the memory that is ours ends."""
    page, closed = mmap.PAGESIZE, 0
    memory = mmap.mmap(-1, 2 * page)
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    beyond = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(memory)) + page)
    assert protect(beyond, ctypes.c_size_t(page), closed) == 0
    try:
        mask = torch.rand(130, 200, generator=torch.Generator().manual_seed(0)) < 0.02
        count = int(mask.sum())
        values = torch.frombuffer(memory, dtype=torch.float32, count=count, offset=page - 4 * count)
        values.fill_(2.0)
        x, y = torch.ones(20, 200), torch.empty(20, 130)
        form = products.form_of(products.pack_bitmap(mask), 200)
        places = form.bitmap.data_ptr(), x.data_ptr(), 20
        form.native.multiply(0, *places, values.data_ptr(), 0, y.data_ptr(), 1)
        torch.testing.assert_close(y, 2 * mask.float().sum(1).expand(20, -1))
    finally:
        assert protect(beyond, ctypes.c_size_t(page), mmap.PROT_READ) == 0


def test_damaged_forms_are_refused():
    mask = torch.ones(3, 70, dtype=torch.bool)
    bitmap = products.pack_bitmap(mask)
    values, x = torch.ones(210), torch.ones(1, 70)
    scales = torch.ones(3, 2)

    def refused(error, message, *given):
        with pytest.raises(error, match=message):
            products.multiply(*given, 70)

    beyond = bitmap.clone()
    beyond[1, 1] |= 1 << 20
    refused(ValueError, "bits past the last column", x, values, None, None, beyond)
    refused(ValueError, r"values: got shape \(5,\)", x, values[:5], None, None, bitmap)
    refused(ValueError, "bitmap: got shape", x, values, None, None, bitmap[:, :1])
    refused(TypeError, "bitmap: got torch.int32", x, values, None, None, bitmap.int())
    refused(ValueError, r"x: got shape \(1, 71\)", torch.ones(1, 71), values, None, None, bitmap)
    refused(TypeError, "x: got torch.float64", x.double(), values, None, None, bitmap)
    refused(TypeError, "values: got torch.float64", x, values.double(), None, None, bitmap)
    refused(TypeError, "takes int8, float32", x, values, scales, None, bitmap)
    refused(
        ValueError,
        r"scales: got shape \(2, 2\)",
        x,
        values.to(torch.int8),
        scales[:2],
        None,
        bitmap,
    )
    refused(
        ValueError, "scales: got 3 a row", x, values.to(torch.int8), torch.ones(3, 3), None, bitmap
    )
    refused(ValueError, r"bias: got shape \(2,\)", x, values, None, torch.ones(2), bitmap)
