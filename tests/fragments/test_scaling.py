"""extract with scale, shift and dtype: equal to its twin, of every type, with gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag import FragmentGrid, extract, reference
from tokfrag.fragments.changing import change_of

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


def made_of(name: str, shape: tuple[int, ...], seed: int, tensors: bool) -> Any:
    """Numbers of every type, some beyond the narrow ones; axes in an order of their own."""
    rng = np.random.default_rng(seed)
    whole = 200 * rng.standard_normal(shape[:1] + shape[:0:-1])
    if name in ("bool", "uint8"):
        whole = np.abs(whole).clip(0, 255)
    whole = np.moveaxis(whole, range(1, whole.ndim), range(whole.ndim - 1, 0, -1))
    if not tensors:
        return whole.astype(name)
    torch = pytest.importorskip("torch")
    return torch.from_numpy(whole).to(getattr(torch, name))


TYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
GRIDS = [
    GRID,
    FragmentGrid((7, 5), (3, 5), 2, pad_value=7),
    FragmentGrid((70,), 9, 4, dilation=3, pad_mode="replicate"),
    FragmentGrid((7, 5), (7, 5)),
    FragmentGrid((16, 16), (8, 8)),
    FragmentGrid((5, 4, 600), (2, 3, 100)),
]


@given(
    st.sampled_from([*TYPES, "bfloat16"]),
    st.sampled_from([*TYPES[1:5], *TYPES[6:], "bfloat16"]),
    st.sampled_from(GRIDS),
    st.booleans(),
    st.sampled_from([None, 0.3, [2.0, -3.0, 0.1]]),
    st.sampled_from([None, -0.5, [100.0, 0.0, 1.0]]),
    st.booleans(),
    st.integers(0, 2**16),
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_one_pass_has_the_bits_of_several(
    dtype: str, wanted: str, grid: FragmentGrid, last: bool, scale: Any, shift: Any, tensors: bool,
    seed: int,
) -> None:  # fmt: skip
    tensors = tensors or "bfloat16" in (dtype, wanted)
    shape = (2, *grid.shape, 3) if last else (2, 3, *grid.shape)
    x = made_of(dtype, shape, seed, tensors)
    kind = getattr(pytest.importorskip("torch"), wanted) if tensors else np.dtype(wanted)
    change = change_of(x, scale, shift, kind, last)
    if change is None:
        assert dtype == wanted
        return
    several = change.apply(extract(x, grid, channels_last=last), last)
    options: dict[str, Any] = {"scale": scale, "shift": shift, "dtype": kind}
    one = extract(x, grid, channels_last=last, threads=2, **options)
    assert one.dtype == several.dtype
    held = [part.float().numpy() if tensors else part for part in (one, several)]
    np.testing.assert_array_equal(*held)


def test_the_kernel_is_asked_where_it_can_be() -> None:
    torch = pytest.importorskip("torch")
    image = np.zeros((1, 3, 8, 8), np.uint8)
    for kind in (np.float32, np.float16):
        change = change_of(image, 2, None, np.dtype(kind), False)
        assert change is not None
        assert change.is_native(image)
    x = torch.zeros(1, 3, 8, 8, requires_grad=True)
    change = change_of(x, 2, None, torch.bfloat16, False)
    assert change is not None
    assert change.is_native(x.detach())
    assert not change.is_native(x)  # torch's operators carry the gradient


def test_padding_is_in_the_units_of_the_data() -> None:
    x = np.full((1, 2, 3), 10, np.uint8)
    grid = FragmentGrid((3,), 2, pad_value=20)
    tiles = extract(x, grid, scale=[1, 0.5], shift=1)
    assert tiles[0, 1].tolist() == [[11, 21], [6, 11]]


def test_numbers_that_lie_between_items() -> None:
    held = np.zeros((4, 3), np.dtype([("a", "u1"), ("b", "<f4")]))
    held["b"] = np.arange(12).reshape(4, 3)
    x = held["b"].T[None]  # 5 bytes apart
    tiles = extract(x, size=2, scale=2)
    np.testing.assert_array_equal(tiles, 2 * extract(np.ascontiguousarray(x), size=2))
