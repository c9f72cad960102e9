"""extract and merge by torch's own operators: what devices without a kernel get."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings, strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from cuda_cases import FLOATS, TOLERANCE, MergeCase, merge_cases
from tokfrag import FragmentGrid, extract, merge
from tokfrag.fragments.engines import composed, ordered
from tokfrag.fragments.shapes import merging_of

PAD_MODES = ("constant", "reflect", "replicate", "circular")


@st.composite
def grids(draw: Any) -> FragmentGrid:
    rank = draw(st.integers(1, 3))
    lengths = draw(st.lists(st.integers(1, 9), min_size=rank, max_size=rank))
    dilation = draw(st.integers(1, 2))
    edge = draw(st.sampled_from(("pad", "shift")))
    most = [n if edge == "pad" else (n - 1) // dilation + 1 for n in lengths]
    return FragmentGrid(
        tuple(lengths),
        tuple(draw(st.integers(1, n)) for n in most),
        tuple(draw(st.integers(1, 5)) for _ in lengths),
        edge=edge,
        pad_mode=draw(st.sampled_from(PAD_MODES)),
        pad_value=draw(st.sampled_from((0, 3))),
        dilation=dilation,
    )


def numbers(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    values = torch.from_numpy(np.random.default_rng(0).integers(0, 100, shape))
    return values.to(dtype)


@settings(max_examples=60)
@given(grids(), st.booleans(), st.sampled_from((torch.uint8, torch.float32)))
def test_extract_equals_the_kernel(
    grid: FragmentGrid, channels_last: bool, dtype: torch.dtype
) -> None:
    shape = (2, *grid.shape, 3) if channels_last else (2, 3, *grid.shape)
    x = numbers(shape, dtype)
    expected = extract(x, grid, channels_last=channels_last)
    got = composed.extract(x, grid, channels_last)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)


@settings(max_examples=100)
@given(
    grids(),
    st.booleans(),
    st.sampled_from(("mean", "sum", "max")),
    st.sampled_from(("uniform", "hann", "whole")),
    st.sampled_from((torch.uint8, torch.bfloat16, torch.float32, torch.float64)),
)
def test_merge_equals_the_kernel(
    grid: FragmentGrid, channels_last: bool, reduce: Any, window: Any, dtype: torch.dtype
) -> None:
    shape = (2, grid.n, *grid.size, 3) if channels_last else (2, grid.n, 3, *grid.size)
    fragments = numbers(shape, dtype)
    if window == "whole":
        window = np.random.default_rng(1).random((grid.n, *grid.size)) + 0.1
    if reduce == "max":
        window = "uniform"
    options: dict[str, Any] = {"window": window, "reduce": reduce, "channels_last": channels_last}
    expected = merge(fragments, grid, fill_value=7, **options)
    merging = merging_of(grid, window, reduce, channels_last, 7, fragments.dtype)
    got = composed.merge(fragments, merging)
    tolerance = {torch.bfloat16: 2e-2, torch.float32: 1e-6, torch.float64: 1e-12}
    slack = 1 if dtype == torch.uint8 else 0  # a half may be rounded either way
    torch.testing.assert_close(got, expected, rtol=tolerance.get(dtype, 0), atol=slack)


def test_a_missing_cuda_module_warns_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from tokfrag import _device

    monkeypatch.setitem(sys.modules, "tokfrag._cuda", None)
    monkeypatch.setattr(_device, "_found", {})
    with pytest.warns(RuntimeWarning, match="on cuda:0 is done by torch's operators"):
        assert _device.kernels(0) is None
    assert _device.kernels(0) is None


def test_features_ask_for_kernels_inside_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked before, a compiler would have to trace the question, and break the graph there."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    from tokfrag.fragments.engines import cuda
    from tokfrag.fragments.features import fragment_features

    def asked(device: int) -> None:
        raise AssertionError("asked while tracing")

    monkeypatch.setattr(cuda, "kernels", asked)
    with FakeTensorMode():
        x = torch.empty(2, 3, 40, device="cuda:0")
        made = fragment_features(x, FragmentGrid((40,), 8, 4), ("mean", "std"))
    assert made.shape == (2, 9, 3, 2)
    assert made.device == torch.device("cuda:0")


@pytest.mark.parametrize("wrong", ["index", "weight", "device"])
def test_operators_check_what_they_are_given(wrong: str) -> None:
    """Anyone may call them; kernels read addresses."""
    from tokfrag.fragments.operators import segments

    assert segments
    x, index = torch.ones(4, 3), torch.tensor([0, 1, 1, 0])
    reduce = torch.ops.tokfrag.segment_reduce.default
    expected = reduce(x, index, None, 2, False, 0)[0]
    if wrong == "index":
        assert torch.equal(reduce(x, index.to(torch.int16), None, 2, False, 0)[0], expected)
        with pytest.raises(TypeError, match=r"index: got torch\.float32, takes integers"):
            reduce(x, index.float(), None, 2, False, 0)
    elif wrong == "weight":
        halves = torch.full((4,), 0.5, dtype=torch.float16)
        assert torch.equal(reduce(x, index, halves, 2, False, 0)[0], expected / 2)
    else:
        with pytest.raises(ValueError, match="index: got device meta, takes cpu, as x"):
            segments._reduce_cpu(x, index.to("meta"), None, 2, False, 0)


def test_every_operator_takes_cuda_tensors() -> None:
    from tokfrag.fragments.operators import (
        extract_merge as _torch_ops,
        features as _feature_ops,
        segments as _segment_ops,
    )

    names = "extract extract_into merge merge_into fragment_features segment_reduce segment_gather"
    for name in names.split():
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"tokfrag::{name}", "CUDA")
    assert all((_feature_ops, _segment_ops, _torch_ops))


@settings(max_examples=60)
@given(merge_cases((40, 12, 6), (torch.uint8, torch.int32, torch.bool, *FLOATS)))
def test_merge_in_order(case: MergeCase) -> None:
    """What devices without kernels do: the CPU kernel's numbers, from window to window."""
    fragments, grid, window, reduce, channels_last = case
    assume(fragments.dtype != torch.bool or reduce == "max")
    options: dict[str, Any] = {"window": window, "reduce": reduce, "channels_last": channels_last}
    fill = fragments.dtype == torch.bool or 7
    expected = merge(fragments, grid, fill_value=fill, **options)
    merging = merging_of(grid, window, reduce, channels_last, fill, fragments.dtype)
    made = ordered.merge(fragments, merging)
    assert made.dtype == expected.dtype
    if fragments.dtype in (torch.uint8, torch.int32) and reduce != "max":
        exact = merge(fragments.double(), grid, fill_value=fill, **options)
        limits = torch.iinfo(fragments.dtype)
        # Under weights, what is halfway between two integers may go either way.
        assert ((made - exact.clamp(limits.min, limits.max)).abs() <= 0.5 + 1e-6).all()
        return
    tolerance = TOLERANCE.get(fragments.dtype) or (1e-6 if fragments.is_floating_point() else 0)
    torch.testing.assert_close(made, expected, rtol=tolerance, atol=tolerance)


def test_merge_in_order_adds_nothing_atomically() -> None:
    """Only gathers: index_add on a device adds in the order its threads come."""
    calls = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            calls.append(str(func))
            return func(*args, **(kwargs or {}))

    grid = FragmentGrid((20, 20), 6, 3)
    fragments = torch.randn(1, grid.n, 2, 6, 6)
    merging = merging_of(grid, "gaussian", "mean", False, 0, fragments.dtype)
    with Watch():
        ordered.merge(fragments, merging)
    assert not [name for name in calls if "add_" in name or "scatter" in name or "put" in name]
    assert any("index_select" in name for name in calls)
