"""Sparse or dense? A short race on this machine decides, once for each kind of call.

Whether a sparse product wins depends on the dense unit of the machine (AVX2, AVX-512, AMX), the
sparsity, the batch and whether the layer fits a cache. Calls are put into buckets (powers of two of
each extent, twentieths of density); the first call of a bucket runs both ways on random data of the
bucket's size and the winner is kept, for this process and in a file for the next one.

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

# Above these sizes rates no longer change, so a race need not be longer.
_MOST_ROWS, _MOST_BATCH = 2048, 256
# A product of fewer multiply-adds costs less than the call around it.
_SMALL = 1 << 16
_REPEATS = 5

_plans: dict[str, str] | None = None


def _bucket(extent: int, most: int) -> int:
    return min(most, 1 << max(0, extent - 1).bit_length())


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


def choose(product: str, sizes: tuple[int, int, int, int], dtype: torch.dtype, threads: int) -> str:
    """``"sparse"`` or ``"dense"`` for a product of ``sizes = (rows, columns, nnz, batch)``."""
    global _plans
    rows, columns, nnz, batch = sizes
    if rows * columns * batch <= _SMALL:
        return "sparse"
    twentieths = -(-20 * nnz // (rows * columns))
    most = _MOST_ROWS * (2 if batch == 1 else 1)  # one input: memory decides, so closer to size
    bucket = (
        _bucket(rows, most),
        _bucket(columns, most),
        twentieths,
        _bucket(batch, _MOST_BATCH),
    )
    key = f"{product} {bucket} {str(dtype).removeprefix('torch.')} {threads}"
    if _plans is None:
        _plans = _read()
    plan = _plans.get(key)
    if plan is None:
        plan = _race(product, bucket, dtype)
        _plans[key] = plan
        _write(_plans)
    return plan


def _race(product: str, bucket: tuple[int, int, int, int], dtype: torch.dtype) -> str:
    from tokfrag.sparse._operators import _sparse_mm, _sparse_sample
    from tokfrag.sparse._patterns import pack_mask

    rows, columns, twentieths, batch = bucket
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode(False), torch.no_grad():
        mask = torch.rand(rows, columns, generator=generator) * 20 < twentieths - 0.5
        local, runs = pack_mask(mask)
        values = torch.randn(local.numel(), generator=generator).to(dtype)
        x = torch.randn(batch, columns, generator=generator).to(dtype)
        grad = torch.randn(batch, rows, generator=generator).to(dtype)

        def run(kernel: str) -> Tensor:
            if product == "sample":
                return _sparse_sample(grad, x, local, runs, kernel)
            turned = product == "transposed"
            lines = grad if turned else x
            return _sparse_mm(lines, values, None, local, runs, columns, turned, kernel)

        return min(("sparse", "dense"), key=lambda kernel: _time(lambda: run(kernel)))


def _time(run: Callable[[], Tensor]) -> float:
    run()  # packs, expands, warms
    best = float("inf")
    for _ in range(_REPEATS):
        begin = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - begin)
    return best
