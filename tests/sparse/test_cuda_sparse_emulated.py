"""The CUDA path of the sparse products without a GPU: index tables, binding, every thread's work.

The fixture ``emulated_cuda`` compiles the binding with tests/emulation in place of the .cu files;
what is left for tests/sparse/test_cuda_sparse.py is the device itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

torch = pytest.importorskip("torch")

from tokfrag.reference import sparse as reference  # noqa: E402
from tokfrag.sparse.products import (  # noqa: E402
    places,
    products,
)

TOLERANCE = {
    torch.float32: {"rtol": 1e-4, "atol": 1e-4},
    torch.float64: {"rtol": 1e-12, "atol": 1e-12},
    torch.float16: {"rtol": 4e-3, "atol": 2e-2},
    torch.bfloat16: {"rtol": 2e-2, "atol": 1e-1},
}


@pytest.fixture
def backend(emulated_cuda: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The CUDA backend, taking CPU tensors to the emulated kernels."""
    from tokfrag.sparse.products import cuda

    @contextmanager
    def launch(x: Any) -> Iterator[tuple[int, int]]:
        yield 0, 0

    monkeypatch.setitem(sys.modules, "tokfrag._cuda", emulated_cuda)
    monkeypatch.setattr(cuda, "_kernels", lambda device: emulated_cuda.sparse)
    monkeypatch.setattr(cuda, "_launch", launch)
    return cuda


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 270),
    st.integers(1, 270),
    st.sampled_from([0, 1, 4, 5, 16, 32, 33, 64, 65, 130]),
    st.sampled_from([0.0, 0.02, 0.1, 0.5, 1.0]),
    st.sampled_from(sorted(TOLERANCE, key=str)),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_products(
    backend: Any,
    rows: int,
    columns: int,
    batch: int,
    density: float,
    dtype: Any,
    with_bias: bool,
    seed: int,
) -> None:
    generator = np.random.default_rng(seed)
    mask = generator.random((rows, columns)) < density * generator.random((rows, 1)) * 2
    local, runs = places.pack_mask(torch.from_numpy(mask))
    x, grad, values, bias, other_bias = (
        torch.from_numpy(generator.standard_normal(shape)).to(dtype)
        for shape in ((batch, columns), (batch, rows), (local.numel(),), (rows,), (columns,))
    )
    x64, grad64, values64 = (t.double().numpy() for t in (x, grad, values))
    indices = local.numpy(), runs.numpy()
    element = products.ELEMENTS[dtype]

    y = torch.full((batch, rows), float("nan"), dtype=dtype)
    used = bias if with_bias else None
    backend.multiply(element, x, values, used, local, runs, columns, False, y)
    expected = reference.multiply(x64, values64, *indices)
    expected += bias.double().numpy() if with_bias else 0
    np.testing.assert_allclose(y.double().numpy(), expected, **TOLERANCE[dtype])

    y = torch.full((batch, columns), float("nan"), dtype=dtype)
    used = other_bias if with_bias else None
    backend.multiply(element, grad, values, used, local, runs, columns, True, y)
    expected = reference.multiply_transposed(grad64, values64, *indices, columns)
    expected += other_bias.double().numpy() if with_bias else 0
    np.testing.assert_allclose(y.double().numpy(), expected, **TOLERANCE[dtype])

    out = torch.full((local.numel(),), float("nan"), dtype=dtype)
    backend.sample(element, grad, x, local, runs, out)
    np.testing.assert_allclose(
        out.double().numpy(), reference.sample(grad64, x64, *indices), **TOLERANCE[dtype]
    )


@pytest.mark.parametrize("batch", [2, 40, 100])
def test_bits_are_those_of_the_cpu_kernels(backend: Any, batch: int) -> None:
    """Fused, chunk by chunk, in storage order: as AVX2 and AVX-512 add, but for single inputs."""
    if products._core.active_isa() == "baseline":
        pytest.skip("the baseline has no fused multiply-add")
    generator = torch.Generator().manual_seed(0)
    local, runs = places.pack_mask(torch.rand(300, 400, generator=generator) < 0.2)
    x = torch.randn(batch, 400, generator=generator)
    values = torch.randn(local.numel(), generator=generator)
    expected = products.multiply(x, values, None, local, runs, 400, False, "sparse")
    y = torch.empty_like(expected)
    backend.multiply(0, x, values, None, local, runs, 400, False, y)
    if batch > 4:
        assert torch.equal(y, expected)
    torch.testing.assert_close(y, expected)


def test_a_not_a_number_stays_with_its_input(backend: Any) -> None:
    """Lanes without an input, and other inputs of the block, are not touched."""
    local, runs = places.pack_mask(torch.ones(70, 130, dtype=torch.bool))
    x = torch.ones(40, 130)
    x[7, 129] = float("nan")
    y = torch.empty(40, 70)
    backend.multiply(0, x, torch.ones(local.numel()), None, local, runs, 130, False, y)
    assert torch.isnan(y[7]).all()
    assert (y[torch.arange(40) != 7] == 130).all()


def test_what_the_host_makes_of_indices_is_refused_in_a_graph(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tokfrag import _device
    from tokfrag.sparse.products import lookup

    local, runs = places.pack_mask(torch.ones(4, 6, dtype=torch.bool))
    offsets = torch.arange(5) * 6
    monkeypatch.setattr(_device, "is_captured", lambda: True)
    places.device_form(local, runs, 6, transposed=True)  # on the host nothing is captured
    local, runs, offsets = (x.to("meta") for x in (local, runs, offsets))
    for call in (
        lambda: places.device_form(local, runs, 6, transposed=False),
        lambda: places.positions_of(local, runs, 6),
        lambda: lookup.rows_of(local, offsets, 6),
    ):
        with pytest.raises(RuntimeError, match=r"indices: got a CUDA graph .* after a first call"):
            call()
