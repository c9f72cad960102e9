"""What the sparse operators do with tensors: check them, choose a kernel, call it.

These functions know nothing of gradients; :mod:`tokfrag.sparse.products.operators` adds them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tokfrag import _core
from tokfrag.sparse.products import cuda as _cuda_backend, planner as _planner
from tokfrag.sparse.products.places import entry_of, expand, expanded, positions_of

ELEMENTS = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}
KERNELS = ("auto", "sparse", "dense")


def threads() -> int:
    """How many threads a call from torch may use."""
    return min(torch.get_num_threads(), _core.default_threads())


def _element(values: Tensor, x: Tensor, name: str) -> int:
    element = ELEMENTS.get(values.dtype)
    if element is None:
        raise TypeError(f"{name}: got {values.dtype}, takes float32, float64, float16 or bfloat16")
    if x.dtype != values.dtype:
        raise TypeError(f"x: got {x.dtype} for weights of {values.dtype}; takes the same dtype")
    return element


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
    if x.ndim != 2:
        x = x.reshape(-1, extent)
    return x if x.is_contiguous() else x.contiguous()


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
    _check_devices(x, values, bias, local)
    entry = entry_of(local, runs, columns)
    # A call seen before that took the kept matrix: all else is checked, and costs more than it.
    keep = keep and not values.is_inference()
    call = (x.shape, x.dtype, kernel, torch.get_num_threads()) if keep else ()
    known = entry.expanded
    if keep and known is not None and call in known.calls and known.holds(values):
        return functional.linear(x, known.weight, bias)
    rows = runs.shape[1]
    extent, width = (rows, columns) if transposed else (columns, rows)
    lines = _lines(x, extent, "x")
    element = _element(values, x, "values")
    if values.shape != local.shape:
        raise ValueError(f"values: got shape {tuple(values.shape)}, takes {tuple(local.shape)}")
    if bias is not None:
        if bias.shape != (width,):
            raise ValueError(f"bias: got shape {tuple(bias.shape)}, takes ({width},)")
        if bias.dtype != values.dtype:
            raise TypeError(f"bias: got {bias.dtype} for weights of {values.dtype}")
    if not values.is_contiguous():
        values = values.contiguous()
    batch = lines.shape[0]
    if kernel == "auto":
        product = "transposed" if transposed else "forward" if keep else "training"
        sizes = (rows, columns, local.numel(), batch)
        kernel = _planner.choose(
            product, sizes, x.dtype, threads(), x.device, entry.choices, entry.in_blocks
        )
    if kernel == "dense":
        if keep:
            known = expanded(values, local, runs, columns)
            known.calls.add(call)
            weight = known.weight
        else:
            weight = expand(values, local, runs, columns)
        return functional.linear(x, weight.t() if transposed else weight, bias)
    out = torch.empty((batch, width), dtype=x.dtype, device=x.device)
    if bias is not None and not bias.is_contiguous():
        bias = bias.contiguous()
    if x.is_cuda:
        _cuda_backend.multiply(element, lines, values, bias, local, runs, columns, transposed, out)
    elif transposed:
        entry.pattern.multiply_transposed(
            element,
            local.data_ptr(),
            runs.data_ptr(),
            lines.data_ptr(),
            batch,
            values.data_ptr(),
            out.data_ptr(),
            threads(),
        )
        if bias is not None:
            out += bias
    else:
        entry.pattern.multiply(
            element,
            local.data_ptr(),
            runs.data_ptr(),
            lines.data_ptr(),
            batch,
            values.data_ptr(),
            0 if bias is None else bias.data_ptr(),
            out.data_ptr(),
            threads(),
        )
    return out if x.ndim == 2 else out.view(*x.shape[:-1], width)


def sample(grad: Tensor, x: Tensor, local: Tensor, runs: Tensor, kernel: str) -> Tensor:
    """``grad^T x`` at the stored places."""
    _check_devices(x, grad, local)
    rows, columns = runs.shape[1], x.shape[-1]
    grad_lines, x_lines = _lines(grad, rows, "grad"), _lines(x, columns, "x")
    if grad_lines.shape[0] != x_lines.shape[0]:
        raise ValueError(
            f"grad: got shape {tuple(grad.shape)} for x of {tuple(x.shape)}; takes as many lines"
        )
    element = _element(grad, x, "grad")
    entry = entry_of(local, runs, columns)
    batch = x_lines.shape[0]
    if kernel == "auto":
        sizes = (rows, columns, local.numel(), batch)
        kernel = _planner.choose(
            "sample", sizes, x.dtype, threads(), x.device, entry.choices, entry.in_blocks
        )
    if kernel == "dense":
        product = grad_lines.t() @ x_lines
        return product.view(-1)[positions_of(local, runs, columns)]
    out = torch.empty(local.numel(), dtype=x.dtype, device=x.device)
    if x.is_cuda:
        _cuda_backend.sample(element, grad_lines, x_lines, local, runs, out)
        return out
    entry.pattern.sample(
        element,
        local.data_ptr(),
        runs.data_ptr(),
        grad_lines.data_ptr(),
        batch,
        x_lines.data_ptr(),
        out.data_ptr(),
        threads(),
    )
    return out
