"""Orders, the adjoint of merge and changed fragments on a GPU, against their CPU twins."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings, strategies as st

from tokfrag import FragmentGrid, extract, merge
from tokfrag.fragments.shapes import is_ordered_apart

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("torch sees no CUDA device", allow_module_level=True)
pytest.importorskip("tokfrag._cuda", reason="tokfrag was built without nvcc")

from cuda_cases import FLOATS, TOLERANCE, MergeCase, grids, image, merge_cases, numbers  # noqa: E402

LONGEST = (60, 24, 10, 6)
INTEGERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@settings(max_examples=100)
@given(grids(LONGEST), st.booleans(), st.sampled_from((*INTEGERS, *FLOATS)), st.integers(1, 30))
def test_orders_and_minima_have_the_same_bits(
    grid: FragmentGrid, channels_last: bool, dtype: Any, labels: int
) -> None:
    assume(not is_ordered_apart(grid, "median", torch.float32))
    shape = (2, grid.n, *grid.size, 4) if channels_last else (2, grid.n, 4, *grid.size)
    fragments = (numbers(shape, torch.int64) % labels).to(dtype)
    rules = ["min", "max"]
    rules += [] if dtype in (torch.bool, torch.int64) else ["median"]
    rules += [] if dtype in FLOATS else ["vote"]
    for rule in rules:
        options: dict[str, Any] = {"reduce": rule, "channels_last": channels_last}
        got = merge(fragments.cuda(), grid, fill_value=1, **options)
        expected = merge(fragments, grid, fill_value=1, **options)
        tolerance = TOLERANCE.get(dtype, 0)
        torch.testing.assert_close(got.cpu(), expected, rtol=tolerance, atol=0, equal_nan=True)


@settings(max_examples=100)
@given(merge_cases(LONGEST, FLOATS))
def test_gradients_of_merge(case: MergeCase) -> None:
    fragments, grid, window, reduce, channels_last = case
    assume(reduce != "max")
    options: dict[str, Any] = {"window": window, "reduce": reduce, "channels_last": channels_last}
    own, moved = fragments.clone().requires_grad_(), fragments.cuda().requires_grad_()
    merge(own, grid, **options).backward(image_of(own, grid, channels_last))
    merge(moved, grid, **options).backward(image_of(own, grid, channels_last).cuda())
    tolerance = TOLERANCE.get(fragments.dtype, 2e-7)
    torch.testing.assert_close(moved.grad.cpu(), own.grad, rtol=tolerance, atol=1e-30)


def image_of(fragments: Any, grid: FragmentGrid, channels_last: bool) -> Any:
    channels = fragments.shape[-1 if channels_last else 2]
    shape = (2, *grid.shape, channels) if channels_last else (2, channels, *grid.shape)
    return numbers(shape, fragments.dtype) / 7


def test_the_gradient_of_merge_is_captured() -> None:
    grid = FragmentGrid((64, 64), 16, 8)
    fragments = torch.randn(2, grid.n, 3, 16, 16, device="cuda", requires_grad=True)
    gradient = torch.randn(2, 3, 64, 64, device="cuda")

    def step() -> Any:
        y = merge(fragments, grid, window="gaussian")
        return torch.autograd.grad(y, fragments, gradient)[0]

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        expected = step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = step()
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(made, expected)


@settings(max_examples=100)
@given(
    grids(LONGEST),
    st.booleans(),
    st.sampled_from((torch.uint8, torch.int16, torch.float16, torch.bfloat16, torch.float32)),
    st.sampled_from((torch.float16, torch.bfloat16, torch.float32)),
)
def test_changed_fragments_have_the_same_bits(
    grid: FragmentGrid, channels_last: bool, dtype: Any, made: Any
) -> None:
    x = image(grid, channels_last, dtype)
    options: dict[str, Any] = {"scale": (0.1, 2.0, -3.0), "shift": -1.5, "dtype": made}
    got = extract(x.cuda(), grid, channels_last=channels_last, **options)
    assert torch.equal(got.cpu(), extract(x, grid, channels_last=channels_last, **options))
