"""The sparse operators on tensors: check them, choose a kernel, run it.

These functions know nothing of gradients; :mod:`tokfrag.sparse.products.operators` adds them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tokfrag import _core
from tokfrag.sparse.products import cuda, planner
from tokfrag.sparse.products.contest import Contest, Problem, precision_of
from tokfrag.sparse.products.places import Entry, entry_of, expand, positions_of

ELEMENTS = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}
KERNELS = ("auto", "sparse", "dense")


def threads() -> int:
    """How many threads a call from torch may use."""
    return min(torch.get_num_threads(), _core.default_threads())


@dataclass(eq=False)
class Product:
    """One product, checked: what its kernels take.

    ``kind`` is the product of a :class:`~tokfrag.sparse.products.contest.Contest`; ``factor`` holds
    the values ``(nnz,)``, or, where values are sampled, the output gradients ``(batch, rows)``.
    """

    kind: str
    entry: Entry
    local: Tensor
    runs: Tensor
    columns: int
    x: Tensor  # (batch, extent), contiguous
    factor: Tensor
    bias: Tensor | None = None

    @property
    def element(self) -> int:
        """The kernels' code of the dtype."""
        return ELEMENTS[self.x.dtype]

    def choose(self, kernel: str) -> str:
        """The kernel that was asked for, or for "auto" the one that won the race.

        Always "dense" on a device on which the kernels cannot run.
        """
        if self.x.is_cuda and cuda.kernels(self.x.device.index) is None:
            return "dense"
        if kernel != "auto":
            return kernel
        batch, count = len(self.x), threads()
        short = (self.kind, batch, self.x.dtype, count, precision_of(self.x.dtype, self.x.device))
        choice = self.entry.choices.get(short)
        if choice is None:
            sizes = (self.runs.shape[1], self.columns, self.local.numel(), batch)
            contest = Contest.of(
                self.kind, sizes, self.x.dtype, count, self.x.device, self.entry.in_blocks
            )
            choice = planner.choose(contest.key, _race_of(contest))
            self.entry.choices[short] = choice
        return choice


def multiply(
    x: Tensor,
    values: Tensor,
    bias: Tensor | None,
    local: Tensor,
    runs: Tensor,
    columns: int,
    transposed: bool,
    kernel: str,
    keep: bool = False,
) -> Tensor:
    """``x W^T + bias``, or ``x W + bias`` if ``transposed``.

    With ``keep``, a dense matrix that was expanded is kept for later calls.
    """
    keep = keep and x.is_cpu
    kept = "inference" if values.requires_grad else "frozen"
    kind = "transposed" if transposed else kept if keep else "training"
    product = _check_product(kind, x, values, bias, local, runs, columns)
    if product.choose(kernel) == "dense":
        y = _multiply_dense(product)
    else:
        y = _multiply_sparse(product)
    return y if x.ndim == 2 else y.view(*x.shape[:-1], y.shape[-1])


def sample(grad: Tensor, x: Tensor, local: Tensor, runs: Tensor, kernel: str) -> Tensor:
    """``grad^T x`` at the stored places."""
    product = _check_sample(grad, x, local, runs)
    if product.choose(kernel) == "dense":
        dense = product.factor.t() @ product.x
        return dense.view(-1)[positions_of(local, runs, product.columns)]
    return _sample_sparse(product)


def _check_product(
    kind: str,
    x: Tensor,
    values: Tensor,
    bias: Tensor | None,
    local: Tensor,
    runs: Tensor,
    columns: int,
) -> Product:
    _check_devices(x, values, bias, local)
    entry = entry_of(local, runs, columns)
    rows = runs.shape[1]
    extent, width = (rows, columns) if kind == "transposed" else (columns, rows)
    lines = _lines(x, extent, "x")
    _check_dtype(values, x, "values")
    if values.shape != local.shape:
        raise ValueError(f"values: got shape {tuple(values.shape)}, takes {tuple(local.shape)}")
    if bias is not None:
        if bias.shape != (width,):
            raise ValueError(f"bias: got shape {tuple(bias.shape)}, takes ({width},)")
        if bias.dtype != values.dtype:
            raise TypeError(f"bias: got {bias.dtype} for weights of {values.dtype}")
        bias = bias.contiguous()
    return Product(kind, entry, local, runs, columns, lines, values.contiguous(), bias)


def _check_sample(grad: Tensor, x: Tensor, local: Tensor, runs: Tensor) -> Product:
    _check_devices(x, grad, local)
    rows, columns = runs.shape[1], x.shape[-1]
    grad_lines, lines = _lines(grad, rows, "grad"), _lines(x, columns, "x")
    if grad_lines.shape[0] != lines.shape[0]:
        raise ValueError(
            f"grad: got shape {tuple(grad.shape)} for x of {tuple(x.shape)}; takes as many lines"
        )
    _check_dtype(grad, x, "grad")
    entry = entry_of(local, runs, columns)
    return Product("sample", entry, local, runs, columns, lines, grad_lines)


def _check_dtype(factor: Tensor, x: Tensor, name: str) -> None:
    if factor.dtype not in ELEMENTS:
        raise TypeError(f"{name}: got {factor.dtype}, takes float32, float64, float16 or bfloat16")
    if x.dtype != factor.dtype:
        raise TypeError(f"x: got {x.dtype} for weights of {factor.dtype}; takes the same dtype")


def _check_devices(x: Tensor, *others: Tensor | None) -> None:
    for other in others:
        if other is not None and other.device != x.device:
            raise ValueError(
                f"x: got a tensor on {x.device} for weights on {other.device}; takes the same "
                "device"
            )


def _lines(x: Tensor, extent: int, name: str) -> Tensor:
    if x.ndim == 0 or x.shape[-1] != extent:
        raise ValueError(f"{name}: got shape {tuple(x.shape)}, takes (..., {extent})")
    return (x if x.ndim == 2 else x.reshape(-1, extent)).contiguous()


def _multiply_dense(product: Product) -> Tensor:
    def make(values: Tensor) -> Tensor:
        return expand(values, product.local, product.runs, product.columns)

    if product.kind in ("inference", "frozen"):
        weight = product.entry.kept.of(product.factor, make)
    else:
        weight = make(product.factor)
    if product.kind == "transposed":
        weight = weight.t()
    return functional.linear(product.x, weight, product.bias)


def _multiply_sparse(product: Product) -> Tensor:
    x, values, bias, entry = product.x, product.factor, product.bias, product.entry
    transposed = product.kind == "transposed"
    width = product.columns if transposed else product.runs.shape[1]
    batch = len(x)
    out = torch.empty((batch, width), dtype=x.dtype, device=x.device)
    if x.is_cuda:
        places = product.local, product.runs, product.columns
        cuda.multiply(product.element, x, values, bias, *places, transposed, out)
        return out
    given = (product.element, *entry.addresses, x.data_ptr(), batch, values.data_ptr())
    if transposed:
        entry.pattern.multiply_transposed(*given, out.data_ptr(), threads())
        return out if bias is None else out.add_(bias)
    entry.pattern.multiply(
        *given, 0 if bias is None else bias.data_ptr(), out.data_ptr(), threads()
    )
    return out


def _sample_sparse(product: Product) -> Tensor:
    x, grad, entry = product.x, product.factor, product.entry
    out = torch.empty(product.local.numel(), dtype=x.dtype, device=x.device)
    if x.is_cuda:
        cuda.sample(product.element, grad, x, product.local, product.runs, out)
        return out
    entry.pattern.sample(
        product.element,
        *entry.addresses,
        grad.data_ptr(),
        len(x),
        x.data_ptr(),
        out.data_ptr(),
        threads(),
    )
    return out


def _race_of(contest: Contest) -> Callable[[str], None]:
    """Runs a product of a contest by one kernel; its data are made on the first run."""
    made: list[Problem] = []

    def run(kernel: str) -> None:
        with torch.inference_mode(False), torch.no_grad():
            if not made:
                made.append(contest.problem())
            data = made[0]
            places = data.local, data.runs
            if contest.product == "sample":
                sample(data.grad, data.x, *places, kernel)
            else:
                transposed = contest.product == "transposed"
                lines = data.grad if transposed else data.x
                keep = contest.product in ("inference", "frozen")
                size = (contest.columns, transposed)
                multiply(lines, data.values, None, *places, *size, kernel, keep)
            if contest.device.type == "cuda":
                torch.cuda.synchronize(contest.device)

    return run
