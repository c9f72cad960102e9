"""One small call of every CUDA kernel: for sanitizers and counters, and to miss none of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from tokfrag import FragmentGrid, extract, merge, patchify
from tokfrag.fragments.features import fragment_features
from tokfrag.fragments.segments import segment_merge, unmerge
from tokfrag.sparse import SparseLinear


def _numbers(*shape: int, dtype: Any = torch.float32) -> Any:
    generator = np.random.default_rng(0)
    return torch.from_numpy(generator.integers(0, 50, shape)).to(dtype)


def _affine(device: str) -> Any:
    return extract(_numbers(5, 3, 32, 32).to(device), size=(8, 8), stride=(4, 8))


def _moved_and_padded(device: str) -> Any:
    x = _numbers(2, 3, 35, 36).to(device)
    shifted = extract(x, size=(8, 8), stride=(5, 4), edge="shift")
    return shifted, extract(x, size=(8, 8), stride=(5, 8), pad_mode="reflect")


def _rows(device: str) -> Any:
    return extract(_numbers(2, 3, 28, 28, dtype=torch.uint8).to(device), size=(14, 14))


def _changed(device: str) -> Any:
    x = _numbers(2, 3, 32, 32, dtype=torch.uint8).to(device)
    options: dict[str, Any] = {"scale": 0.5, "shift": (1.0, 2.0, 3.0), "dtype": torch.float16}
    return extract(x, size=(8, 8), **options), extract(x, size=(7, 5), **options)


def _merged(device: str) -> Any:
    made = []
    for lengths, size, stride in (
        ((70,), (16,), (4,)),
        ((24, 40), (8, 8), (4, 4)),
        ((12, 12, 16), (8, 8, 8), (4, 4, 4)),
        ((21, 19), (7, 5), (3, 2)),
    ):
        grid = FragmentGrid(lengths, size, stride, edge="shift")
        fragments = _numbers(2, grid.n, 2, *size).to(device)
        for window in ("uniform", "gaussian", np.full(size, 0.5)):
            made.append(merge(fragments, grid, window=window))
        made.append(merge(fragments, grid, reduce="max"))
        made.append(merge(fragments.to(torch.uint8), grid))
        made.append(merge(fragments.double(), grid))
    folded = FragmentGrid((21,), 8, 5, pad_mode="reflect", dilation=2)
    made.append(merge(_numbers(1, folded.n, 1, 8).to(device), folded, reduce="sum"))
    return made


def _ordered(device: str) -> Any:
    grid = FragmentGrid((24, 40), 8, 4)
    fragments = _numbers(2, grid.n, 2, 8, 8).to(device)
    return merge(fragments, grid, reduce="median"), merge(fragments.int(), grid, reduce="vote")


def _weighed(device: str) -> Any:
    grid = FragmentGrid((24, 40), 8, 4)
    fragments = _numbers(2, grid.n, 2, 8, 8).to(device).requires_grad_()
    merged = merge(fragments, grid, window="gaussian")
    return torch.autograd.grad(merged, fragments, torch.ones_like(merged))


def _features(device: str) -> Any:
    made = []
    for dtype in (torch.float32, torch.float64, torch.uint8):
        for length, size in ((300, 64), (3000, 1700)):  # by a warp, by a block
            x = _numbers(2, 2, length, dtype=dtype).to(device)
            grid = FragmentGrid((length,), size, size // 4)
            made.append(fragment_features(x, grid, lags=(1, 2, 5)))
    grid = FragmentGrid((20, 30), (8, 9), 4)
    made.append(fragment_features(_numbers(2, 2, 20, 30).to(device), grid, lags=(1, 3)))
    return made


def _segments(device: str) -> Any:
    x, index = _numbers(2, 900, 24), _numbers(2, 900, dtype=torch.int64) ** 2 % 5
    y, sums = segment_merge(x.to(device), index.to(device), 5)
    return y, sums, unmerge(y, index.to(device))


def _sparse(device: str) -> Any:
    torch.manual_seed(0)
    layer = SparseLinear(300, 200, sparsity=0.7, kernel="sparse").to(device)
    made = []
    for batch in (1, 3, 20, 70):
        x = (_numbers(batch, 300) / 50).to(device).requires_grad_()
        y = layer(x)
        made += [y, *torch.autograd.grad(y.sum(), (x, layer.values))]
    return made


def _patches(device: str) -> Any:
    image = _numbers(56, 84, 3, dtype=torch.uint8).to(device)
    return patchify(image, "qwen2_vl").values


#: What a kernel of csrc is called, and a call that starts it.
EVERY: dict[str, Callable[[str], Any]] = {
    "extract_affine_kernel": _affine,
    "extract_kernel": _moved_and_padded,
    "extract_rows_kernel": _rows,
    "changed_kernel": _changed,
    "merge_kernel": _merged,
    "order_kernel": _ordered,
    "weigh_kernel": _weighed,
    "staged_kernel": _features,
    "features_kernel": _features,
    "reduce_kernel": _segments,
    "share_kernel": _segments,
    "gather_kernel": _segments,
    "multiply_kernel": _sparse,
    "multiply_few_kernel": _sparse,
    "sample_kernel": _sparse,
    "patch_kernel": _patches,
}


def tensors(made: Any) -> list[Any]:
    """The tensors of a result, flat."""
    if isinstance(made, torch.Tensor):
        return [made.detach()]
    return [tensor for part in made for tensor in tensors(part)]
