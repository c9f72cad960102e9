"""Small extracts made again and again: by kept places, with the bits of the first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag import FragmentGrid, extract, merge, reference

GRIDS = [
    FragmentGrid((10, 10), 4, 3),
    FragmentGrid((9, 11), (3, 4), (2, 2), edge="shift"),
    FragmentGrid((60,), 24, 9, pad_value=7),
    FragmentGrid((40,), 5, 2, dilation=3),
    FragmentGrid((5, 6, 7), 3, 2, pad_mode="reflect"),
    FragmentGrid((4, 3, 4, 3), 2, 2, pad_mode="circular"),
    FragmentGrid((12, 4), (6, 4), (3, 4)),
]
TYPES = ["u1", "i2", "f4", "f8", "c16", ">f4"]


def fresh(grid: FragmentGrid) -> FragmentGrid:
    """The same grid with nothing kept."""
    spec = (grid.shape, grid.size, grid.stride, grid.edge, grid.pad_mode, grid.pad_value)
    return FragmentGrid.checked(*spec, grid.dilation)


@given(
    st.sampled_from(GRIDS),
    st.sampled_from(TYPES),
    st.booleans(),
    st.integers(1, 3),
    st.integers(0, 99),
)
def test_again_is_as_the_first_time(
    grid: FragmentGrid, dtype: str, channels_last: bool, batch: int, seed: int
) -> None:
    inner = (*grid.shape, 2) if channels_last else (2, *grid.shape)
    x = np.random.default_rng(seed).integers(0, 99, (batch, *inner)).astype(dtype)
    own = fresh(grid)
    first = extract(x, own, channels_last=channels_last)
    wanted = reference.extract(x, own, channels_last=channels_last)
    assert first.dtype == x.dtype
    assert first.tobytes() == wanted.tobytes()
    out = np.empty_like(first)
    for _ in range(3):
        assert extract(x, own, channels_last=channels_last).tobytes() == first.tobytes()
        out.fill(0)
        assert extract(x, own, channels_last=channels_last, out=out) is out
        assert out.tobytes() == first.tobytes()
    # Others in between, and numbers that lie elsewhere.
    larger = np.repeat(x, 20, 0)
    assert extract(larger, own, channels_last=channels_last)[::20].tobytes() == first.tobytes()
    backwards = np.asfortranarray(x[..., ::-1])[..., ::-1]
    for _ in range(3):
        assert extract(backwards, own, channels_last=channels_last).tobytes() == first.tobytes()
    assert extract(x, own, channels_last=channels_last).tobytes() == first.tobytes()


def test_tensors() -> None:
    torch = pytest.importorskip("torch")
    grid = FragmentGrid((10, 10), 4, 3)
    x = torch.randn(1, 1, 10, 10)
    first = extract(x, grid)
    out = torch.empty_like(first)
    for _ in range(3):
        assert torch.equal(extract(x, grid), first)
        assert extract(x, grid, out=out) is out
        assert torch.equal(out, first)


@pytest.mark.parametrize("kept", [False, True])
def test_wrong_outputs_are_refused(kept: bool) -> None:
    """The kernels take an `out` or they do not; the reasons are Python's."""
    grid = FragmentGrid((8,), 4, 2)
    x = np.arange(8, dtype="f4").reshape(1, 1, 8)
    if kept:
        for _ in range(3):
            merge(extract(x, grid), grid)
    fragments = extract(x, grid)
    longer = np.zeros(64, "f4")
    over = longer[:8].reshape(1, 1, 8)
    unaligned = np.zeros(fragments.nbytes + 1, "u1")[1:].view("f4").reshape(fragments.shape)
    read_only = np.empty_like(fragments)
    read_only.flags.writeable = False
    cases: list[tuple[Any, type[Exception], str]] = [
        ([0.0], TypeError, "out: got list, takes the kind of x: ndarray"),
        (np.empty((1, 2, 1, 4), "f4"), ValueError, "out: got shape"),
        (np.empty_like(fragments, "f8"), TypeError, "out: got float64, takes x's float32"),
        (np.empty_like(fragments, ">f4"), TypeError, "out: got"),
        (read_only, ValueError, "out: got a read-only array"),
        (np.empty((4, 1, grid.n, 1), "f4").T, ValueError, "strided or unaligned"),
        (unaligned, ValueError, "strided or unaligned"),
    ]
    for out, error, message in cases:
        with pytest.raises(error, match=message):
            extract(x, grid, out=out)
    shared = longer[4 : 4 + fragments.size].reshape(fragments.shape)
    with pytest.raises(ValueError, match="shares memory with x"):
        extract(over[..., ::-1], grid, out=shared)
    apart = longer[8 : 8 + fragments.size].reshape(fragments.shape)
    assert extract(over[..., ::-1], grid, out=apart) is apart
    with pytest.raises(ValueError, match="shares memory with fragments"):
        merge(apart, grid, out=longer[19:27].reshape(1, 1, 8))
    with pytest.raises(ValueError, match="out: got shape"):
        merge(apart, grid, out=np.empty((1, 1, 9), "f4"))


def test_plans_refuse_other_arguments() -> None:
    """Plain methods look at what they are given, as pybind11's would."""
    grid = FragmentGrid((8,), 4, 2)
    x = np.arange(8, dtype="f4").reshape(1, 1, 8)
    plan = grid.plan
    pad = bytes(4)
    assert plan.extract(x[..., :7], False, pad, None, 1) is None
    assert plan.extract(x[0], False, pad, None, 1) is None
    wrong: list[tuple[Any, ...]] = [
        (x, False, pad, None),
        (x.tolist(), False, pad, None, 1),
        (x, False, "text", None, 1),
        (x, False, pad, None, "1"),
    ]
    for arguments in wrong:
        with pytest.raises(TypeError):
            plan.extract(*arguments)
    address: list[tuple[Any, ...]] = [
        (x.ctypes.data, [1, 1, 8], (8, 8, 1), 4, False, pad, x.ctypes.data, 1),
        ("0", (1, 1, 8), (8, 8, 1), 4, False, pad, x.ctypes.data, 1),
        (x.ctypes.data, (1, 1, "8"), (8, 8, 1), 4, False, pad, x.ctypes.data, 1),
    ]
    for arguments in address:
        with pytest.raises(TypeError):
            plan.extract_at(*arguments)
    with pytest.raises(ValueError, match="too many axes"):
        plan.extract_at(x.ctypes.data, (1,) * 9, (1,) * 9, 4, False, pad, x.ctypes.data, 1)
    made = type(plan).__new__(type(plan))
    with pytest.raises(TypeError):
        made.extract(x, False, pad, None, 1)
    with pytest.raises(TypeError):
        type(plan).extract(grid, x, False, pad, None, 1)  # type: ignore[arg-type]
