"""extract with scale, shift and dtype: equal to its twin, of every type, with gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag import FragmentGrid, extract, reference

GRID = FragmentGrid((7, 5), (3, 2), (2, 3), pad_mode="reflect")


@given(
    st.sampled_from(["u1", "i2", "i4", "f2", "f4", "f8"]),
    st.sampled_from(["u1", "i2", "f2", "f4", "f8"]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**16),
)
def test_twin(dtype: str, wanted: str, tensors: bool, channels_last: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (2, 7, 5, 3) if channels_last else (2, 3, 7, 5)
    x: Any = rng.integers(0, 100, shape).astype(dtype)
    scale, shift = rng.standard_normal(3), 10 * rng.standard_normal(3)
    options: dict[str, Any] = {"scale": scale, "shift": shift, "channels_last": channels_last}
    expected = reference.extract(x, GRID, dtype=np.dtype(wanted), **options)
    kind: Any = np.dtype(wanted)
    if tensors:
        torch = pytest.importorskip("torch")
        x, kind = torch.from_numpy(x), getattr(torch, np.dtype(wanted).name)
    got = np.asarray(extract(x, GRID, dtype=kind, **options))
    assert got.dtype == expected.dtype
    if kind_of(wanted) == "f":
        tolerance = {"f2": 2e-3, "f4": 1e-5, "f8": 1e-4 if dtype in ("u1", "i2", "f2", "f4") else 0}
        np.testing.assert_allclose(got, expected, rtol=tolerance[wanted] + 1e-12, atol=1e-4)
    else:
        assert np.abs(got.astype(int) - expected.astype(int)).max() <= 1
    out = np.empty_like(got)
    if not tensors:
        assert extract(x, GRID, dtype=kind, out=out, **options) is out
        assert np.array_equal(out, got)


def kind_of(name: str) -> str:
    return np.dtype(name).kind


def test_an_image_becomes_normalised_floats() -> None:
    image = np.full((1, 3, 8, 8), 255, np.uint8)
    mean, std = np.array([0.5, 0.25, 0.0]), np.array([0.5, 0.25, 1.0])
    tiles = extract(image, size=4, scale=1 / (255 * std), shift=-mean / std)
    assert tiles.dtype == np.float32
    np.testing.assert_allclose(tiles[0, 0, :, 0, 0], [1, 3, 1], rtol=1e-6)
    assert extract(image, size=4, dtype=np.float16).dtype == np.float16
    assert (extract(image, size=4, scale=2, dtype=np.uint8) == 255).all()


def test_gradients() -> None:
    torch = pytest.importorskip("torch")
    x = torch.randn(1, 2, 7, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: extract(x, GRID, scale=[2.0, -3.0], shift=1.0), x)


def test_refusals() -> None:
    x = np.zeros((1, 2, 7, 5), np.float32)
    with pytest.raises(ValueError, match=r"scale: got shape \(3,\), takes one number or 2"):
        extract(x, GRID, scale=[1, 2, 3])
    with pytest.raises(TypeError, match="shift: got 'x', takes numbers"):
        extract(x, GRID, shift="x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes real numbers"):
        extract(x.astype(np.complex64), GRID, scale=2)
    with pytest.raises(TypeError, match="out: got float32, takes the result's float16"):
        extract(x, GRID, dtype=np.float16, out=np.empty(extract(x, GRID).shape, np.float32))
