"""Sparse layers and their peers in one run: forward, training step, one input.

    python bench/sparse_peers.py [--size 1024] [--sparsity 0.9 0.95] [--batch 32 256] [--laps 9]

Peers: torch's dense layer (MKL), its CSR matrices, sparselab and SparseProp; for one input the int8
layer of torchao too. A peer that is not installed is named and left out; the outputs of each are
compared with its own dense weights first. All run on one thread, in turn, lap by lap, twice each:
the first call finds the caches as another peer left them, the second as it left them itself. Told
are the least milliseconds of processor time of both, how often slower than ours each is, and the
losses after a few Adam steps towards one target, so that a step that trains nothing would show.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from tokfrag.sparse import FrozenSparseLinear, SparseLinear

Step = Callable[[], Any]


def optional(module: str) -> Any:
    """The module, or None, after a line that says why."""
    try:
        return import_module(module)
    except (ImportError, OSError) as error:
        print(f"{module}: left out ({error})")
        return None


@dataclass
class Least:
    """The least milliseconds of processor time: of calls after another's, and of calls again."""

    after_others: float = float("inf")
    again: float = float("inf")


def least(steps: dict[str, Step], laps: int) -> dict[str, Least]:
    """The least processor time of each, run in turn."""
    best = {name: Least() for name in steps}

    def timed(step: Step) -> float:
        begin = time.process_time()
        step()
        return 1e3 * (time.process_time() - begin)

    for lap in range(laps + 1):  # the first warms
        for name, step in steps.items():
            first, second = timed(step), timed(step)
            if lap:
                found = best[name]
                found.after_others = min(found.after_others, first)
                found.again = min(found.again, second)
    return best


def report(title: str, best: dict[str, Least], notes: dict[str, str] | None = None) -> None:
    """One line of the table for each peer."""
    ours = next(iter(best.values()))
    for name, found in best.items():
        note = "" if notes is None else notes.get(name, "")
        ratios = found.again / ours.again, found.after_others / ours.after_others
        print(
            f"| {title} | {name} | {found.again:.3f} | {found.after_others:.3f} "
            f"| {ratios[0]:.2f} | {ratios[1]:.2f} | {note} |",
            flush=True,
        )


def layers(size: int, sparsity: float, peers: dict[str, Any]) -> dict[str, nn.Module]:
    """A layer of each peer, of one size and sparsity, the same weights where a peer takes them."""
    ours = SparseLinear(size, size, sparsity=sparsity, kernel="sparse")
    found: dict[str, nn.Module] = {"tokfrag": ours, "torch dense": ours.to_dense()}
    if peers["sparselab"] is not None:
        found["sparselab"] = peers["sparselab"].SparseLinear(size, size, sparsity=sparsity)
    if peers["sparseprop.modules.linear"] is not None:
        module = peers["sparseprop.modules.linear"].SparseLinear
        found["SparseProp"] = module.from_dense(ours.to_dense())
    return found


def dense_of(name: str, layer: Any) -> Tensor:
    """The dense weights a layer stands for."""
    if name == "sparselab":
        return layer._csr.to_dense()  # type: ignore[no-any-return]
    if name == "tokfrag":
        return layer.dense_weight()  # type: ignore[no-any-return]
    if name == "SparseProp":
        return layer.to_dense().weight  # type: ignore[no-any-return]
    return layer.weight  # type: ignore[no-any-return]


def check(name: str, layer: Any, x: Tensor) -> None:
    with torch.no_grad():
        expected = nn.functional.linear(x, dense_of(name, layer), layer.bias)
        torch.testing.assert_close(layer(x), expected, rtol=1e-3, atol=1e-3)


def compare_batch(size: int, sparsity: float, batch: int, laps: int, peers: dict[str, Any]) -> None:
    x, target = torch.randn(batch, size), torch.randn(batch, size)
    found = layers(size, sparsity, peers)
    for name, layer in found.items():
        check(name, layer, x)
    csr = found["torch dense"].weight.detach().to_sparse_csr()  # type: ignore[union-attr, operator]
    runs: dict[str, Step] = {name: lambda layer=layer: layer(x) for name, layer in found.items()}
    runs["torch CSR"] = lambda: torch.sparse.mm(csr, x.t()).t()
    title = f"{size} x {size}, {sparsity:.0%}, batch {batch}"
    with torch.no_grad():
        report(f"forward, {title}", least(runs, laps))
    steps: dict[str, Step] = {}
    losses: dict[str, list[float]] = {}
    for name, layer in found.items():
        layer.zero_grad()
        optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3, fused=name != "sparselab")
        seen = losses.setdefault(name, [])
        inputs = x.clone().requires_grad_()

        def step(
            layer: nn.Module = layer,
            optimizer: torch.optim.Optimizer = optimizer,
            seen: list[float] = seen,
            inputs: Tensor = inputs,
        ) -> None:
            optimizer.zero_grad()
            inputs.grad = None
            loss = (layer(inputs) - target).square().mean()
            loss.backward()
            optimizer.step()
            seen.append(loss.item())

        steps[name] = step
    best = least(steps, laps)
    notes = {name: f"loss {seen[0]:.4f} to {seen[-1]:.4f}" for name, seen in losses.items()}
    report(f"step with Adam, {title}", best, notes)


def compare_one_input(size: int, sparsity: float, laps: int, peers: dict[str, Any]) -> None:
    x = torch.randn(1, size)
    ours = SparseLinear(size, size, sparsity=sparsity, kernel="sparse", bias=False)
    ours.requires_grad_(False)
    dense = ours.to_dense().requires_grad_(False)
    narrow = x.bfloat16()
    half = nn.Linear(size, size, bias=False, dtype=torch.bfloat16).requires_grad_(False)
    frozen = {
        values: FrozenSparseLinear.from_sparse(ours, values=values)
        for values in ("float32", "bfloat16", "int8")
    }
    runs: dict[str, Step] = {
        "tokfrag SparseLinear": lambda: ours(x),
        "tokfrag frozen float32": lambda: frozen["float32"](x),
        "tokfrag frozen bfloat16": lambda: frozen["bfloat16"](narrow),
        "tokfrag frozen int8": lambda: frozen["int8"](x),
        "torch dense": lambda: dense(x),
        "torch dense bfloat16": lambda: half(narrow),
    }
    sizes = {f"tokfrag frozen {values}": layer.nbytes for values, layer in frozen.items()}
    sizes |= {"tokfrag SparseLinear": ours.nbytes, "torch dense": 4 * size * size}
    sizes["torch dense bfloat16"] = 2 * size * size
    if peers["torchao.quantization"] is not None:
        module = peers["torchao.quantization"]
        coded = nn.Sequential(ours.to_dense().requires_grad_(False))
        module.quantize_(coded, module.Int8WeightOnlyConfig())
        runs["torchao int8 dense"] = lambda: coded(x)
        sizes["torchao int8 dense"] = size * size
    block = torch.randn(1 << 25)  # 128 MB: what one thread reads at best
    runs["read 128 MB"] = lambda: block.sum()
    with torch.no_grad():
        best = least(runs, laps)
    rate = 4 * len(block) / best.pop("read 128 MB").after_others
    notes = {
        name: f"{sizes[name] / size**2:.3f} bytes a weight, "
        f"{sizes[name] / rate / found.after_others:.0%} of a read"
        for name, found in best.items()
    }
    report(f"one input, {size} x {size}, {sparsity:.0%}", best, notes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument(
        "--single", type=int, default=4096, help="size of one-input layers; 0: none"
    )
    parser.add_argument("--sparsity", type=float, nargs="+", default=[0.9, 0.95])
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 256])
    parser.add_argument("--laps", type=int, default=9)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", "Sparse CSR tensor support")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    names = ("sparselab", "sparseprop.modules.linear", "torchao.quantization")
    peers = {name: optional(name) for name in names}
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}\n")
    print("| what | by | ms | ms after another's call | over ours | | |")
    print("|---|---|---|---|---|---|---|")
    for sparsity in options.sparsity:
        for batch in options.batch:
            compare_batch(options.size, sparsity, batch, options.laps, peers)
    for sparsity in (0.5, 0.75, 0.9) if options.single else ():
        compare_one_input(options.single, sparsity, options.laps, peers)


if __name__ == "__main__":
    main()
