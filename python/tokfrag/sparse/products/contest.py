"""Kinds of products: those that are alike share one race between sparse and dense.

Whether a sparse product wins depends on the dense unit of the machine (AVX2, AVX-512, AMX), the
sparsity, the batch, whether the layer fits a cache and whether rows share their columns. Calls of
one kind (sizes, twentieths of density, a few batches for each power of two) are decided by one
race on random data, run as a layer would, its overhead in Python included.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tokfrag.sparse.products.places import pack_mask

# Above these sizes rates no longer change, so a race need not be longer. A product of few inputs
# is bound by memory, so its size matters longer.
_MOST_EXTENT, _MOST_BATCH = 2048, 256
_FEW, _MOST_EXTENT_FEW = 4, 4096
# A GPU is idle most of a product that small: what counts there is the launch.
_MOST_EXTENT_CUDA, _MOST_BATCH_CUDA = 8192, 4096


def batch_bucket(batch: int, most: int = _MOST_BATCH) -> int:
    """The batch that stands for it: itself up to four, then 6, 8, 12, 16, 24, ... at most 256."""
    if batch <= _FEW:
        return max(1, batch)
    power = 1 << (batch - 1).bit_length()
    return min(most, power * 3 // 4 if batch <= power * 3 // 4 else power)


def precision_of(dtype: torch.dtype, device: torch.device) -> str:
    """How precise the user wants dense products on a device, where that changes their speed."""
    if device.type != "cuda" or dtype != torch.float32:
        return ""
    return torch.get_float32_matmul_precision()


@dataclass(frozen=True)
class Contest:
    """One kind of product.

    ``product`` is "inference" (where the dense matrix is kept from call to call, and its values are
    summed up to tell that they are the same), "frozen" (where they need not be), "training" (where
    nothing is kept), "transposed" or "sample". Matrices that are ``in_blocks`` ("8x1") have kernels
    of their own, which are raced in place of the others.
    """

    product: str
    rows: int
    columns: int
    twentieths: int
    batch: int
    dtype: torch.dtype
    threads: int
    device: torch.device
    in_blocks: bool
    precision: str = ""

    @classmethod
    def of(
        cls,
        product: str,
        sizes: tuple[int, int, int, int],
        dtype: torch.dtype,
        threads: int,
        device: torch.device,
        in_blocks: bool,
    ) -> Contest:
        """The contest of a product of ``sizes = (rows, columns, nnz, batch)``."""
        rows, columns, nnz, batch = sizes
        if device.type == "cuda":
            most, batch = _MOST_EXTENT_CUDA, batch_bucket(batch, _MOST_BATCH_CUDA)
        else:
            batch = batch_bucket(batch)
            most = _MOST_EXTENT_FEW if batch <= _FEW else _MOST_EXTENT
        return cls(
            product,
            min(rows, most),
            min(columns, most),
            -(-20 * nnz // (rows * columns)),
            batch,
            dtype,
            threads,
            device,
            in_blocks,
            precision_of(dtype, device),
        )

    @property
    def key(self) -> str:
        """The name under which the winner is remembered."""
        dtype = str(self.dtype).removeprefix("torch.")
        sizes = (self.rows, self.columns, self.twentieths, self.batch)
        key = f"{self.product} {sizes} {dtype} {self.threads} torch {torch.__version__}"
        if self.in_blocks:
            key = f"{key} 8x1"
        if self.device.type == "cuda":
            key = f"{key} {torch.cuda.get_device_name(self.device)} {self.precision}".rstrip()
        return key

    def problem(self) -> Problem:
        """Random data of this kind."""
        generator = torch.Generator("cpu").manual_seed(0)
        height = 8 if self.in_blocks else 1
        blocks = -(-self.rows // height)
        drawn = torch.rand(blocks, self.columns, generator=generator, device="cpu")
        kept = drawn * 20 < self.twentieths - 0.5
        mask = kept.repeat_interleave(height, 0)[: self.rows]
        local, runs = (t.to(self.device) for t in pack_mask(mask))
        values, x, grad = (
            torch.randn(shape, generator=generator, device="cpu").to(self.device, self.dtype)
            for shape in ((local.numel(),), (self.batch, self.columns), (self.batch, self.rows))
        )
        values.requires_grad_(self.product == "inference")
        return Problem(x, grad, values, local, runs)


@dataclass(frozen=True)
class Problem:
    """Inputs, output gradients, values and places of a product."""

    x: Tensor
    grad: Tensor
    values: Tensor
    local: Tensor
    runs: Tensor
