"""extract and merge on tensors: operators, gradients, compilation."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tokfrag import FragmentGrid, extract, merge

torch = pytest.importorskip("torch")

from tokfrag.fragments.engines.composed import extract_weighted as composed  # noqa: E402
from tokfrag.fragments.operators.adjoint import extract_weighted  # noqa: E402
from tokfrag.fragments.operators.arguments import window_arguments  # noqa: E402

GRIDS = [
    FragmentGrid((5, 6), 3, 2),
    FragmentGrid((5, 6), 3, 2, edge="shift"),
    FragmentGrid((5, 6), 3, 2, pad_mode="reflect"),
    FragmentGrid((5, 6), 3, 2, pad_mode="circular", dilation=2),
    FragmentGrid((5, 6), (2, 3), (3, 2), pad_mode="replicate"),
    FragmentGrid((7,), 3, 2, pad_value=2),
]
DTYPES = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
]


def windows(grid: FragmentGrid) -> list[Any]:
    rng = np.random.default_rng(0)
    return [
        "uniform",
        "gaussian",
        [torch.from_numpy(rng.random(size)) + 0.1 for size in grid.size],
        rng.random(grid.size) + 0.1,
        rng.random((grid.n, *grid.size)) + 0.1,
        rng.random((grid.n, *(1,) * len(grid.size))) + 0.1,
    ]


def test_numpy_users_never_import_torch() -> None:
    code = (
        "import sys, numpy, tokfrag; "
        "f = tokfrag.extract(numpy.zeros((1, 1, 8)), size=3); "
        "tokfrag.merge(f, tokfrag.FragmentGrid(8, 3)); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_extract_agrees_with_numpy(dtype: torch.dtype) -> None:
    x = (torch.randn(2, 3, 5, 6) * 50).to(dtype)
    grid = FragmentGrid((5, 6), 3, 2, edge="shift")
    fragments = extract(x, grid)
    assert fragments.dtype == dtype
    wide = dtype if dtype == torch.complex64 else torch.float64
    expected = extract(x.to(wide).numpy(), grid)
    np.testing.assert_array_equal(fragments.to(wide).numpy(), expected)
    views = x.permute(0, 3, 2, 1)
    flipped = FragmentGrid((6, 5), 3, 2, edge="shift")
    fragments = extract(views, flipped, channels_last=True)
    np.testing.assert_array_equal(
        fragments.to(wide).numpy(), extract(views.to(wide).numpy(), flipped, channels_last=True)
    )


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d.is_floating_point], ids=str)
@pytest.mark.parametrize("channels_last", [False, True])
def test_merge_agrees_with_numpy(dtype: torch.dtype, channels_last: bool) -> None:
    grid = FragmentGrid((5, 6), 3, 2, edge="shift")
    inner = (3, 3, 2) if channels_last else (2, 3, 3)
    fragments = torch.randn(2, grid.n, *inner).to(dtype)
    for window in windows(grid):
        got = merge(fragments, grid, window=window, channels_last=channels_last)
        expected = merge(
            fragments.double().numpy(),
            grid,
            window=[v.numpy() for v in window] if isinstance(window, list) else window,
            channels_last=channels_last,
        )
        assert got.dtype == dtype
        # Halves are summed in float32, so they may be a last place apart.
        exact = torch.from_numpy(expected).float().to(dtype)
        rounding = {torch.float32: 0.0, torch.float64: 1e-14}.get(dtype, torch.finfo(dtype).eps)
        near = torch.from_numpy(expected) if dtype == torch.float64 else exact
        torch.testing.assert_close(got, near, rtol=rounding, atol=rounding * 1e-3)


def test_strides_of_every_kind() -> None:
    grid = FragmentGrid((5, 6), 3, 2)
    x = torch.randn(2, 3, 5, 6)
    expected = extract(x, grid)
    for view in (
        x.to(memory_format=torch.channels_last),
        torch.randn(2, 6, 5, 12)[:, ::2, :, ::2].copy_(x),
    ):
        assert torch.equal(extract(view, grid), expected)
    repeated = torch.randn(1, 1, 5, 1).expand(2, 3, 5, 6)
    assert torch.equal(extract(repeated, grid), extract(repeated.contiguous(), grid))
    fragments = torch.randn(1, 1, 1, 1, 1).expand(2, grid.n, 3, 3, 3)
    assert torch.equal(merge(fragments, grid), merge(fragments.contiguous(), grid))
    assert torch.equal(extract(x.conj(), grid), expected)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("channels_last", [False, True])
def test_gradients_of_extract(grid: FragmentGrid, channels_last: bool) -> None:
    shape = (2, *grid.shape, 2) if channels_last else (2, 2, *grid.shape)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)

    def call(x: torch.Tensor) -> torch.Tensor:
        return extract(x, grid, channels_last=channels_last)

    assert torch.autograd.gradcheck(call, x)
    assert torch.autograd.gradgradcheck(call, x)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("reduce", ["mean", "sum", "max"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_gradients_of_merge(grid: FragmentGrid, reduce: Any, channels_last: bool) -> None:
    inner = (*grid.size, 1) if channels_last else (1, *grid.size)
    fragments = torch.randn(1, grid.n, *inner, dtype=torch.float64, requires_grad=True)
    for window in windows(grid)[: 1 if reduce == "max" else None]:

        def call(f: torch.Tensor, window: Any = window) -> torch.Tensor:
            return merge(f, grid, window=window, reduce=reduce, channels_last=channels_last)

        assert torch.autograd.gradcheck(call, fragments)
        if reduce != "max":
            assert torch.autograd.gradgradcheck(call, fragments)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_gradients_keep_the_type(dtype: torch.dtype) -> None:
    grid = GRIDS[0]
    x = torch.randn(1, 2, 5, 6).to(dtype).requires_grad_()
    merge(extract(x, grid), grid, window="gaussian").sum().backward()
    assert x.grad.dtype == dtype
    torch.testing.assert_close(x.grad, torch.ones_like(x), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("reduce", ["mean", "sum"])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_weighted_extract_is_what_it_is_composed_of(
    grid: FragmentGrid, reduce: str, channels_last: bool, dtype: torch.dtype
) -> None:
    shape = (2, *grid.shape, 3) if channels_last else (2, 3, *grid.shape)
    x = torch.randn(shape).to(dtype)
    spec = (grid.size, grid.stride, grid.dilation, grid.edge, grid.pad_mode)
    for window in windows(grid):
        arguments = (x, *spec, *window_arguments(grid, window), reduce, channels_last, 1)
        expected = composed(*arguments)
        got = extract_weighted(*arguments)
        tolerance = 4 * torch.finfo(dtype).eps
        torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


def test_complex_gradient() -> None:
    x = torch.randn(1, 1, 5, 6, dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: extract(x, GRIDS[0]), x)


OPCHECKS = (
    "test_schema",
    "test_autograd_registration",
    "test_faketensor",
    "test_aot_dispatch_dynamic",
)


@pytest.mark.parametrize("requires_grad", [False, True])
def test_operators(requires_grad: bool) -> None:
    ops = torch.ops.tokfrag
    axes = ([3, 3], [2, 2], [1, 1], "pad")
    x = torch.randn(1, 2, 5, 6, requires_grad=requires_grad)
    extract_arguments = (x, *axes, "reflect", 0, False, 1)
    torch.library.opcheck(ops.extract.default, extract_arguments, test_utils=OPCHECKS)
    fragments = ops.extract.default(*extract_arguments).detach().requires_grad_(requires_grad)
    vectors = [torch.rand(3, dtype=torch.float64) for _ in range(2)]
    for window, weights in ("uniform", []), ("gaussian", []), ("vectors", vectors):
        arguments = (fragments, [5, 6], *axes, "reflect", window, weights, "mean", False, 0, 1)
        torch.library.opcheck(ops.merge.default, arguments, test_utils=OPCHECKS)
        arguments = (x, *axes, "reflect", window, weights, "mean", False, 1)
        torch.library.opcheck(ops.extract_weighted.default, arguments, test_utils=OPCHECKS)
    x, fragments = x.detach(), fragments.detach()
    out = (x, *axes, "reflect", 0, False, 1, torch.empty_like(fragments))
    torch.library.opcheck(ops.extract_into.default, out)
    out = (fragments, [5, 6], *axes, "reflect", "hann", [], "sum", False, 0, 1, torch.empty_like(x))
    torch.library.opcheck(ops.merge_into.default, out)


def test_compiles_whole() -> None:
    def round_trip(x: torch.Tensor) -> torch.Tensor:
        fragments = extract(x, size=3, stride=2, edge="shift")
        return merge(fragments * 2, FragmentGrid.of(x, 3, 2, edge="shift"), window="hann")

    compiled = torch.compile(round_trip, fullgraph=True, dynamic=True)
    for shape in (1, 2, 8, 9), (2, 3, 11, 6):
        x = torch.randn(shape, requires_grad=True)
        torch.testing.assert_close(compiled(x), 2 * x)
        (gradient,) = torch.autograd.grad(compiled(x).square().sum(), x)
        torch.testing.assert_close(gradient, 8 * x.detach())


def test_the_first_call_may_be_a_compiled_one() -> None:
    code = (
        "import torch\n"
        "from tokfrag import FragmentGrid, extract, merge\n"
        "grid = FragmentGrid((8, 9), 3, 2)\n"
        "call = torch.compile(lambda x: merge(extract(x, grid), grid), fullgraph=True)\n"
        "x = torch.randn(1, 2, 8, 9)\n"
        "assert torch.equal(call(x), x)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_compiles_with_a_grid_and_out() -> None:
    grid = GRIDS[0]
    x = torch.randn(1, 2, 5, 6)
    out = torch.empty(1, grid.n, 2, 3, 3)

    def call(x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        return merge(extract(x, grid, out=out), grid)

    assert torch.equal(torch.compile(call, fullgraph=True)(x, out), x)
    assert torch.equal(out, extract(x, grid))


def test_out() -> None:
    grid = GRIDS[0]
    x = torch.randn(1, 2, 5, 6)
    out = torch.empty(1, grid.n, 2, 3, 3)
    assert extract(x, grid, out=out, threads=1) is out
    back = torch.empty_like(x)
    assert merge(out, grid, out=back) is back
    assert torch.equal(back, x)
    with pytest.raises(ValueError, match="out: with a gradient wanted"):
        extract(x.requires_grad_(), grid, out=out)
    with pytest.raises(ValueError, match="out: with a gradient wanted"):
        merge(out.clone().requires_grad_(), grid, out=back)
    with pytest.raises(ValueError, match="shares memory"):
        extract(out.view(-1)[:60].view(1, 2, 5, 6), grid, out=out)
    with pytest.raises(TypeError, match="out: got ndarray"):
        extract(x.detach(), grid, out=np.empty((1, grid.n, 2, 3, 3), "f4"))


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, "x: got shape (1, 2, 5, 6)", lambda x: extract(x, GRIDS[-1])),
        (ValueError, "fragments: got shape", lambda x: merge(x, GRIDS[0])),
        (TypeError, "fragments: got int64", lambda x: merge(extract(x, GRIDS[0]).long(), GRIDS[0])),
        (
            ValueError,
            "window: gradients do not flow",
            lambda x: merge(
                extract(x, GRIDS[0]), GRIDS[0], window=torch.ones(3, 3, requires_grad=True)
            ),
        ),
        (
            ValueError,
            "sum to zero",
            lambda x: merge(extract(x, GRIDS[0]), GRIDS[0], window=torch.zeros(3, 3)),
        ),
        (ValueError, "size: a window reaches", lambda x: extract(x, size=7, edge="shift")),
        (ValueError, "pad_value: got -1", lambda x: extract(x.byte(), size=4, pad_value=-1)),
    ],
)
def test_refusals(error: type[Exception], message: str, call: Any) -> None:
    with pytest.raises(error) as refusal:
        call(torch.zeros(1, 2, 5, 6))
    assert message in str(refusal.value)


def test_empty() -> None:
    for shape in (0, 2, 5, 6), (1, 0, 5, 6), (1, 2, 0, 6):
        x = torch.zeros(shape, requires_grad=True)
        grid = FragmentGrid.of(x, 3)
        back = merge(extract(x, grid), grid)
        assert back.shape == shape
        back.sum().backward()
        assert x.grad.shape == shape


def test_weighted_extract_refuses_integers_and_maxima():
    extract(torch.ones(1, 1, 8), FragmentGrid((8,), 4))  # defines the operators
    cut = torch.ops.tokfrag.extract_weighted
    arguments = [4], [2], [1], "pad", "constant", "uniform", []
    with pytest.raises(TypeError, match=r"x: got torch.int32, takes a floating dtype"):
        cut(torch.ones(1, 1, 8, dtype=torch.int32), *arguments, "sum", False, 1)
    with pytest.raises(ValueError, match=r"reduce: got 'max'"):
        cut(torch.ones(1, 1, 8), *arguments, "max", False, 1)
