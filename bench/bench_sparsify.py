"""What pruning costs in quality: perplexity of a small language model, error of one large layer.

Models are trained here, on the Python library's own sources. That and the pruning take half an
hour of one core, so only ``TOKFRAG_LONG_BENCH=1`` does it at full size; else everything is small.
Figures go to ``extra_info`` and to the screen; the time is the pruning's.
"""

from __future__ import annotations

import copy
import importlib.util
import math
import os
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from peers import need

torch = need("torch")

from tokfrag.sparse import sparsify  # noqa: E402

SHORT = os.environ.get("TOKFRAG_LONG_BENCH") != "1"
LENGTH, BATCH = 128, 32
METHODS = {"tokfrag": "admm", "tokfrag-cd": "cd", "sparsegpt": "sparsegpt", "wanda": "wanda"}
SPARSITIES = [0.5, 0.7, 0.9]


@cache
def example() -> Any:
    """``examples/sparse_lm.py``, whose Transformer is taken, with longer windows."""
    path = Path(__file__).parents[1] / "examples" / "sparse_lm.py"
    spec = importlib.util.spec_from_file_location("sparse_lm", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.LENGTH, module.BATCH = LENGTH, BATCH
    return module


@cache
def texts() -> tuple[Any, Any]:
    """Bytes to train on and bytes held out: nine and one of every ten modules."""
    parts = ([], [])
    for index, path in enumerate(sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))):
        parts[index % 10 == 9].append(path.read_bytes())
    return tuple(torch.frombuffer(bytearray(b"".join(p)), dtype=torch.uint8).long() for p in parts)


@cache
def trained(width: int, depth: int, steps: int) -> Any:
    torch.manual_seed(0)
    model = example().Transformer(256, width=width, depth=depth)
    example().train(model, texts()[0], steps, 1e-3)
    return model


def calibration(tokens: int) -> list[Any]:
    generator = torch.Generator().manual_seed(2)
    count = max(1, tokens // (LENGTH * BATCH))
    return [example().draw(texts()[0], generator)[0] for _ in range(count)]


@torch.no_grad()
def nats(model: Any, batches: int) -> float:
    """Cross-entropy a byte on held-out text."""
    generator = torch.Generator().manual_seed(3)
    total = 0.0
    for _ in range(batches):
        x, y = example().draw(texts()[1], generator)
        total += torch.nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten()).item()
    return total / batches


@pytest.mark.parametrize("peer", METHODS)
@pytest.mark.parametrize("sparsity", SPARSITIES)
def bench_language_model(benchmark, sparsity, peer):
    """2.4 million weights, every Linear pruned in one shot on 16 384 bytes."""
    benchmark.group = f"language model pruned to {sparsity:.0%}"
    model = trained(32, 1, 3) if SHORT else trained(256, 3, 700)
    batches = calibration(BATCH * LENGTH if SHORT else 16384)
    pruned = copy.deepcopy(model)
    benchmark.pedantic(
        sparsify, args=(pruned, batches), kwargs={"sparsity": sparsity, "method": METHODS[peer]}
    )
    count = 2 if SHORT else 24
    dense, sparse = nats(model, count), nats(pruned, count)
    figures = {"dense": round(dense, 4), "perplexity": round(math.exp(sparse - dense), 4)}
    benchmark.extra_info.update(figures)
    print(f"\n{peer} {sparsity:.0%}: {figures}", flush=True)
    assert math.isfinite(sparse)


@cache
def large_layer() -> tuple[Any, list[Any]]:
    """The 4096 to 1024 layer of a trained block, and its real inputs."""
    model = trained(64, 1, 3) if SHORT else trained(1024, 1, 100)
    layer = next(module for path, module in model.named_modules() if path.endswith("down"))
    inputs: list[Any] = []
    hook = layer.register_forward_pre_hook(lambda _, args: inputs.append(args[0].flatten(0, 1)))
    with torch.no_grad():
        for batch in calibration(BATCH * LENGTH if SHORT else 16384):
            model(batch)
    hook.remove()
    return torch.nn.Sequential(layer), inputs


@pytest.mark.parametrize("peer", ["sparsegpt", "tokfrag", "tokfrag-gradual"])
@pytest.mark.parametrize("sparsity", SPARSITIES)
def bench_large_layer(benchmark, sparsity, peer):
    """1024 x 4096, its Gram matrix included: descent on some mask or its own, and SparseGPT."""
    benchmark.group = f"layer 1024x4096 pruned to {sparsity:.0%}, Gram included"
    model, inputs = large_layer()
    pruned = copy.deepcopy(model)
    method = {"sparsegpt": "sparsegpt", "tokfrag": "wanda", "tokfrag-gradual": "cd"}[peer]
    options = {"sparsity": sparsity, "method": method, "refit": peer != "sparsegpt"}
    report = benchmark.pedantic(sparsify, args=(pruned, inputs), kwargs=options)
    error = report.layers[0].error_after
    benchmark.extra_info["error"] = f"{error:.3e}"
    print(f"\n{peer} {sparsity:.0%}: error {error:.3e}", flush=True)
    assert 0 <= error < 1
