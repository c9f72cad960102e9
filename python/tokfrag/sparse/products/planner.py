"""Sparse or dense? A short race on this machine decides, once for each kind of call.

Whether a sparse product wins depends on the dense unit of the machine (AVX2, AVX-512, AMX), the
sparsity, the batch, whether the layer fits a cache and whether rows share their columns. The first
call of a kind (sizes, twentieths of density, a few batches for each power of two) runs both ways on
random data, each as a layer would, its overhead in Python included, and the winner is kept: for
this process, and in a file for the next one.

``TOKFRAG_CACHE_DIR`` names the folder of that file (default: the user's cache folder); an empty
value keeps plans in memory only.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from tokfrag import _core
from tokfrag._machine import cache_folder, processor_name

# Above these sizes rates no longer change, so a race need not be longer. A product of few inputs
# is bound by memory, so its size matters longer.
_MOST_EXTENT, _MOST_BATCH = 2048, 256
_FEW, _MOST_EXTENT_FEW = 4, 4096
# Sparse has to be this much faster: a tie would be a loss half of the time.
_LEAD = 0.97
_SECONDS, _FEWEST_ROUNDS, _MOST_ROUNDS = 0.02, 5, 50

_CPU = torch.device("cpu")

_plans: dict[str, str] | None = None


def _batch_bucket(batch: int) -> int:
    """The batch that stands for it: itself up to four, then 6, 8, 12, 16, 24, ... at most 256."""
    if batch <= _FEW:
        return max(1, batch)
    power = 1 << (batch - 1).bit_length()
    return min(_MOST_BATCH, power * 3 // 4 if batch <= power * 3 // 4 else power)


def _file() -> Path | None:
    folder = cache_folder()
    return None if folder is None else folder / "sparse_plans.json"


def _machine() -> str:
    return f"{processor_name()} {_core.active_isa()} torch {torch.__version__} {_core.__version__}"


def _read() -> dict[str, str]:
    path = _file()
    if path is None:
        return {}
    try:
        stored = json.loads(path.read_text())
        plans = stored.get(_machine(), {})
        return {str(k): str(v) for k, v in plans.items() if v in ("sparse", "dense")}
    except (OSError, ValueError, AttributeError):
        return {}  # absent or unreadable: race again


def _write(plans: dict[str, str]) -> None:
    path = _file()
    if path is None:
        return
    with contextlib.suppress(OSError):  # a read-only home costs a race a process, nothing else
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            stored = json.loads(path.read_text())
        except (OSError, ValueError):
            stored = {}
        if not isinstance(stored, dict):
            stored = {}
        stored[_machine()] = plans
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w") as out:
            json.dump(stored, out, indent=0)
        os.replace(name, path)


def choose(
    product: str,
    sizes: tuple[int, int, int, int],
    dtype: torch.dtype,
    threads: int,
    device: torch.device = _CPU,
    known: dict[tuple[object, ...], str] | None = None,
    in_blocks: bool = False,
) -> str:
    """``"sparse"`` or ``"dense"`` for a product of ``sizes = (rows, columns, nnz, batch)``.

    ``product`` is "forward" (where the dense matrix is kept from call to call), "training" (where
    it is not), "transposed" or "sample"; ``known`` remembers choices for one layer. Matrices that
    are ``in_blocks`` ("8x1") have kernels of their own, which are raced in place of the others.
    """
    short = (product, sizes[3], dtype, threads)
    plan = None if known is None else known.get(short)
    if plan is None:
        plan = _plan(product, sizes, dtype, threads, device, in_blocks)
        if known is not None:
            known[short] = plan
    return plan


def _plan(
    product: str,
    sizes: tuple[int, int, int, int],
    dtype: torch.dtype,
    threads: int,
    device: torch.device,
    in_blocks: bool,
) -> str:
    global _plans
    rows, columns, nnz, batch = sizes
    batch = _batch_bucket(batch)
    most = _MOST_EXTENT_FEW if batch <= _FEW else _MOST_EXTENT
    twentieths = -(-20 * nnz // (rows * columns))
    bucket = (min(rows, most), min(columns, most), twentieths, batch)
    key = f"{product} {bucket} {str(dtype).removeprefix('torch.')} {threads}"
    if in_blocks:
        key = f"{key} 8x1"
    if device.type == "cuda":
        key = f"{key} {torch.cuda.get_device_name(device)}"
    if _plans is None:
        _plans = _read()
    plan = _plans.get(key)
    if plan is None:
        plan = _race(product, bucket, dtype, device, in_blocks)
        _plans[key] = plan
        _write(_plans)
    return plan


def _race(
    product: str,
    bucket: tuple[int, int, int, int],
    dtype: torch.dtype,
    device: torch.device,
    in_blocks: bool,
) -> str:
    from tokfrag.sparse.products import products as _products
    from tokfrag.sparse.products.places import pack_mask

    rows, columns, twentieths, batch = bucket
    generator = torch.Generator("cpu").manual_seed(0)
    with torch.inference_mode(False), torch.no_grad():
        height = 8 if in_blocks else 1
        kept = (
            torch.rand(-(-rows // height), columns, generator=generator, device="cpu") * 20
            < twentieths - 0.5
        )
        mask = kept.repeat_interleave(height, 0)[:rows]
        local, runs = (t.to(device) for t in pack_mask(mask))
        values, x, grad = (
            torch.randn(shape, generator=generator, device="cpu").to(device, dtype)
            for shape in ((local.numel(),), (batch, columns), (batch, rows))
        )

        def run(kernel: str) -> Tensor:
            if product == "sample":
                return _products.sample(grad, x, local, runs, kernel)
            turned = product == "transposed"
            lines, keep = (grad, False) if turned else (x, product == "forward")
            return _products.multiply(
                lines, values, None, local, runs, columns, turned, kernel, keep
            )

        sparse, dense = _times(lambda: run("sparse"), lambda: run("dense"), device)
        return "sparse" if sparse < _LEAD * dense else "dense"


def _times(
    first: Callable[[], Tensor], second: Callable[[], Tensor], device: torch.device
) -> tuple[float, float]:
    """The least seconds each takes, run in turn; the first round warms and is not counted."""

    def lap(run: Callable[[], Tensor]) -> float:
        begin = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - begin

    warm = lap(first) + lap(second)
    rounds = min(_MOST_ROUNDS, max(_FEWEST_ROUNDS, int(_SECONDS / warm)))
    laps = [(lap(first), lap(second)) for _ in range(rounds)]
    return min(a for a, _ in laps), min(b for _, b in laps)
