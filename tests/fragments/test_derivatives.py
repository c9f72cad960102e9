"""Forward mode, torch.func and export: every operator under every transformation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tokfrag import FragmentGrid, extract, merge  # noqa: E402
from tokfrag.fragments import fragment_features, segment_merge, unmerge  # noqa: E402
from tokfrag.nn import FragmentExtract, FragmentMerge  # noqa: E402

GRIDS = [
    FragmentGrid((6,), 3, 2),
    FragmentGrid((7,), 4, 2, pad_mode="reflect"),
    FragmentGrid((7, 5), (3, 2), 2, edge="shift"),
    FragmentGrid((7, 5), 2, 3, pad_mode="circular", dilation=2),
]
INDEX = torch.tensor([0, 0, 2, 1, 0])


def image(grid: FragmentGrid) -> Any:
    return torch.randn(2, 3, *grid.shape, dtype=torch.float64)


def cases() -> list[Any]:
    found: list[Any] = []
    for k, grid in enumerate(GRIDS):
        x = image(grid)
        fragments = extract(x, grid)
        array = np.random.default_rng(0).uniform(0.5, 2, (grid.n, *grid.size))
        found.append(pytest.param(lambda a, g=grid: extract(a, g), x, id=f"extract-{k}"))
        for name, options in (
            ("uniform", {}),
            ("hann", {"window": "hann"}),
            ("array", {"window": array}),
            ("sum", {"reduce": "sum", "window": "gaussian"}),
            ("max", {"reduce": "max"}),
        ):
            call = lambda a, g=grid, o=options: merge(a, g, **o)  # noqa: E731
            found.append(pytest.param(call, fragments, id=f"merge-{name}-{k}"))
        call = lambda a, g=grid: fragment_features(a, g, ("mean", "std", "lag_corr"))  # noqa: E731
        found.append(pytest.param(call, x, id=f"features-{k}"))
    rows, weight = torch.randn(5, 2, dtype=torch.float64), torch.rand(5, dtype=torch.float64)
    found += [
        pytest.param(lambda a: segment_merge(a, INDEX, 4)[0], rows, id="segment_merge"),
        pytest.param(lambda w: segment_merge(rows, INDEX, 4, weight=w)[0], weight, id="weights"),
        pytest.param(lambda a: unmerge(a, INDEX), rows, id="unmerge"),
    ]
    return found


def by_reverse_mode(call: Callable[[Any], Any], x: Any) -> Any:
    return torch.autograd.functional.jacobian(call, x)


@pytest.mark.parametrize(("call", "x"), cases())
def test_every_transformation_gives_the_derivative_of_reverse_mode(call: Any, x: Any) -> None:
    right = by_reverse_mode(call, x)
    value = call(x)
    tangent, cotangent = torch.randn_like(x), torch.randn_like(value)
    along = (right * tangent).sum(tuple(range(value.ndim, right.ndim)))
    torch.testing.assert_close(torch.func.jvp(call, (x,), (tangent,)), (value, along))
    back = torch.func.vjp(call, x)[1](cotangent)[0]
    (want,) = torch.autograd.grad(call(x.requires_grad_()), x, cotangent)
    x = x.detach()
    torch.testing.assert_close(back, want)
    torch.testing.assert_close(torch.func.jacrev(call)(x), right)
    torch.testing.assert_close(torch.func.jacfwd(call)(x), right)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, tangent)
        torch.testing.assert_close(torch.autograd.forward_ad.unpack_dual(call(dual)).tangent, along)
    several = torch.stack([x, 2 * x, -x])
    torch.testing.assert_close(torch.vmap(call)(several), torch.stack([call(a) for a in several]))


def test_hessians() -> None:
    grid = FragmentGrid((6,), 3, 2)
    x = torch.randn(1, 1, 6, dtype=torch.float64)
    hessian = torch.func.hessian(lambda a: merge(extract(a, grid) ** 2, grid).pow(2).sum())(x)
    torch.testing.assert_close(hessian.reshape(6, 6), torch.diag(12 * x.reshape(-1) ** 2))


def test_indices_under_vmap() -> None:
    x, index = torch.randn(4, 5, 2), torch.randint(0, 3, (4, 5))
    got = torch.vmap(lambda a, i: segment_merge(a, i, 3)[0])(x, index)
    torch.testing.assert_close(got, segment_merge(x, index, 3)[0])


def test_refusals_hold_under_transformations() -> None:
    grid = FragmentGrid((6,), 3, 2)
    x = torch.randn(1, 1, 6)
    out = torch.empty(1, grid.n, 1, 3)
    with pytest.raises(ValueError, match=r"out: under torch\.func"):
        torch.func.jvp(lambda a: extract(a, grid, out=out), (x,), (x,))
    fragments = extract(x, grid)
    with pytest.raises(ValueError, match="sum to zero"):
        torch.func.jvp(lambda a: merge(a, grid, window=np.zeros(3)), (fragments,), (fragments,))


@pytest.mark.parametrize(
    ("edge", "shape", "axis", "stride"),
    [
        ("pad", (1, 2, 8, 6), 2, 2),
        ("pad", (1, 2, 8, 6), 3, 4),
        ("pad", (2, 1, 8), 2, 2),
        ("shift", (1, 2, 8, 6), 2, 4),
        ("drop", (1, 2, 8, 6), 3, 2),
        ("drop", (1, 2, 8, 6), 2, 4),
    ],
)
@pytest.mark.filterwarnings("ignore::tokfrag.fragments.UncoveredWarning")
def test_exports_with_one_free_length(edge: Any, shape: Any, axis: int, stride: int) -> None:
    cut, put = FragmentExtract(3, stride, edge=edge), FragmentMerge(3, stride, edge=edge)

    class RoundTrip(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            fragments = cut(x)
            return fragments, put(2 * fragments, x.shape[2:])

    shape = (*shape[:axis], 12, *shape[axis + 1 :])
    free = {axis: torch.export.Dim("length", min=9, max=100)}  # torch makes one window a constant
    model = RoundTrip()
    exported = torch.export.export(model, (torch.randn(shape),), dynamic_shapes=(free,)).module()
    for length in 9, 10, 31:
        x = torch.randn(*shape[:axis], length, *shape[axis + 1 :])
        torch.testing.assert_close(exported(x), model(x))


@pytest.mark.parametrize("edge", ["pad", "shift", "drop"])
@pytest.mark.parametrize("pad_mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.filterwarnings("ignore::tokfrag.fragments.UncoveredWarning")
def test_exports_with_free_lengths(edge: Any, pad_mode: Any) -> None:
    spec: dict[str, Any] = {"edge": edge, "pad_mode": pad_mode}

    class RoundTrip(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cut = FragmentExtract(3, 2, pad_value=0.5, **spec)
            self.put = FragmentMerge(3, 2, window="hann", **spec)

        def forward(self, x: Any) -> Any:
            fragments = self.cut(x)
            return fragments, self.put(fragments * 2, x.shape[2:])

    model = RoundTrip()
    free = {2: torch.export.Dim("height", min=5, max=100), 3: torch.export.Dim("width", min=5)}
    exported = torch.export.export(model, (torch.randn(1, 2, 8, 7),), dynamic_shapes=(free,))
    assert "tokfrag" not in exported.graph_module.code
    for shape in (1, 2, 8, 7), (1, 2, 11, 6), (1, 2, 5, 32):
        x = torch.randn(shape)
        torch.testing.assert_close(exported.module()(x), model(x))
