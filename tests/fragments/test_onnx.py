"""Models with the package's operators, exported to ONNX and run by onnxruntime."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tokfrag.fragments import (
    FragmentGrid,
    extract,
    fragment_features,
    merge,
    segment_merge,
    unmerge,
)

torch = pytest.importorskip("torch")
runtime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

GRID = FragmentGrid((8, 7), 3, 2)
PLACED = FragmentGrid((8, 7), 3, 2, offset=1, padding=1, pad_mode="reflect")
INDEX = torch.tensor([0, 2, 1, 2])
WHOLE = np.arange(1.0, 10.0).reshape(3, 3)


class Calls(torch.nn.Module):
    """A function as a module, for the exporter takes no other."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


def check(model: Any, inputs: list[Any], folder: Any, free: Any = None) -> None:
    """Export on the first input, run on all of them, compare."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        program = torch.onnx.export(
            model.eval(), (inputs[0],), dynamo=True, dynamic_shapes=free, verbose=False
        )
        program.save(folder / "model.onnx")
    session = runtime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    for x in inputs:
        got = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        for part, want in zip(got, model(x), strict=True):
            np.testing.assert_allclose(part, want.detach().numpy(), rtol=2e-6, atol=1e-6)


def test_functions_of_a_fixed_size(tmp_path: Any) -> None:
    def every(x: Any) -> Any:
        fragments = extract(x, GRID)
        return (
            fragments,
            extract(x, GRID, scale=2.0, shift=[0.0, 1.0]),
            merge(fragments**2, GRID),
            merge(fragments**2, GRID, window="gaussian"),
            merge(fragments**2, GRID, window=WHOLE),
            merge(fragments**2, GRID, window=[np.arange(1.0, 4.0)] * 2),
            merge(fragments**2, GRID, reduce="sum"),
            merge(fragments.tanh(), GRID, reduce="max"),
            merge(fragments.tanh(), GRID, reduce="min"),
            merge(extract(x, PLACED) ** 2, PLACED, window="hann"),
            fragment_features(x, GRID, lags=(1, 2)),
            segment_merge(x[0, 0, :4], INDEX, 3)[0],
            unmerge(x[0, 0, :3], INDEX),
        )

    check(Calls(every), [torch.randn(2, 2, 8, 7)], tmp_path)


@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
def test_layers_of_free_lengths(pad_mode: Any, tmp_path: Any) -> None:
    from tokfrag.nn import FragmentExtract, FragmentMerge

    class Sliding(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cut = FragmentExtract(3, 2, pad_mode=pad_mode, flatten=True)
            self.model = torch.nn.Conv2d(2, 3, 3, padding=1)
            self.put = FragmentMerge(3, 2, window="hann", pad_mode=pad_mode)

        def forward(self, x: Any) -> Any:
            return (self.put(self.model(self.cut(x)), x.shape[2:]),)

    inputs = [torch.randn(shape) for shape in ((1, 2, 8, 7), (1, 2, 11, 6), (1, 2, 5, 32))]
    free = {2: torch.export.Dim("height", min=5, max=100), 3: torch.export.Dim("width", min=5)}
    check(Sliding(), inputs, tmp_path, (free,))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's own
def test_decompositions_hold_no_operator_of_ours() -> None:
    from tokfrag.nn import decompositions

    def function(x: Any) -> Any:
        return merge(extract(x, GRID) ** 2, GRID, window="triangular")

    exported = torch.export.export(Calls(function), (torch.randn(1, 2, 8, 7),))
    assert "tokfrag" in exported.graph_module.code
    plain = exported.run_decompositions(decompositions())
    assert "tokfrag" not in plain.graph_module.code
    x = torch.randn(1, 2, 8, 7)
    torch.testing.assert_close(plain.module()(x), function(x))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's own
@pytest.mark.parametrize("window", ["uniform", "gaussian", "vectors", "whole"])
@pytest.mark.parametrize("reduce", ["mean", "sum"])
def test_decompositions_of_merge_and_its_adjoint(window: str, reduce: str) -> None:
    from tokfrag.nn import decompositions

    random = torch.Generator().manual_seed(0)
    shapes: list[tuple[int, ...]] = {"vectors": [(3,), (2,)], "whole": [(3, 2)]}.get(window, [])
    weights = [0.1 + torch.rand(s, dtype=torch.float64, generator=random) for s in shapes]
    x = torch.randn(1, 2, 8, 7, generator=random)
    merge(extract(x, GRID), GRID)  # defines the operators
    axes = ([3, 2], [2, 1], [1, 1], "shift", "constant")

    def function(x: Any) -> Any:
        given = (*axes, window, weights, reduce, False)
        cut = torch.ops.tokfrag.extract_weighted(x, *given, 1)
        return torch.ops.tokfrag.merge(cut * cut, [8, 7], *given, 0, 1)

    exported = torch.export.export(Calls(function), (x,))
    plain = exported.run_decompositions(decompositions())
    assert "tokfrag" not in plain.graph_module.code
    torch.testing.assert_close(plain.module()(x), function(x))
