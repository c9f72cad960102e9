"""Torch operators of the sparse products, and how a call chooses its kernel.

``sparse_mm`` and ``sparse_sample`` are each other's derivatives, as are ``sparse_lookup`` and
``sparse_lookup_gradient``, so gradients of any order need no further kernel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tokfrag import _core
from tokfrag._core import sparse as _native
from tokfrag.sparse import _planner
from tokfrag.sparse._patterns import pattern_of, positions_of

ELEMENTS = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}
KERNELS = ("auto", "sparse", "dense")

_library: Any = torch.library.Library("tokfrag", "FRAGMENT")  # type: ignore[no-untyped-call]
_SCHEMAS = (
    "sparse_mm(Tensor x, Tensor values, Tensor? bias, Tensor local, Tensor runs, int columns,"
    " bool transposed, str kernel) -> Tensor",
    "sparse_sample(Tensor grad, Tensor x, Tensor local, Tensor runs, str kernel) -> Tensor",
    "sparse_lookup(Tensor ids, Tensor values, Tensor offsets, Tensor local, int columns) -> Tensor",
    "sparse_lookup_gradient(Tensor grad, Tensor ids, Tensor offsets, Tensor local) -> Tensor",
)
for _schema in _SCHEMAS:
    _library.define(_schema)


def threads() -> int:
    """How many threads a call from torch may use."""
    return min(torch.get_num_threads(), _core.default_threads())


def _element(values: Tensor, x: Tensor, name: str) -> int:
    if values.dtype not in ELEMENTS:
        raise TypeError(f"{name}: got {values.dtype}, takes float32, float64, float16 or bfloat16")
    if x.dtype != values.dtype:
        raise TypeError(f"x: got {x.dtype} for weights of {values.dtype}; takes the same dtype")
    return ELEMENTS[values.dtype]


def _lines(x: Tensor, extent: int, name: str) -> Tensor:
    if x.ndim == 0 or x.shape[-1] != extent:
        raise ValueError(f"{name}: got shape {tuple(x.shape)}, takes (..., {extent})")
    return x.reshape(-1, extent).contiguous()


def _dense_weight(values: Tensor, local: Tensor, runs: Tensor, columns: int) -> Tensor:
    # Not kept from call to call: values may change behind torch's version counter (`.data`).
    dense = values.new_empty((runs.shape[1], columns))
    pattern_of(local, runs, columns).expand(
        local.data_ptr(),
        runs.data_ptr(),
        values.data_ptr(),
        values.element_size(),
        dense.data_ptr(),
    )
    return dense


def _sparse_mm(
    x: Tensor,
    values: Tensor,
    bias: Tensor | None,
    local: Tensor,
    runs: Tensor,
    columns: int,
    transposed: bool,
    kernel: str,
) -> Tensor:
    rows = runs.shape[1]
    extent, width = (rows, columns) if transposed else (columns, rows)
    lines = _lines(x, extent, "x")
    element = _element(values, x, "values")
    pattern = pattern_of(local, runs, columns)
    if values.shape != local.shape:
        raise ValueError(f"values: got shape {tuple(values.shape)}, takes {tuple(local.shape)}")
    values = values if values.is_contiguous() else values.contiguous()
    shape = (*x.shape[:-1], width)
    use = threads()
    if kernel == "auto":
        kernel = _planner.choose(
            "transposed" if transposed else "forward",
            (rows, columns, local.numel(), lines.shape[0]),
            values.dtype,
            use,
        )
    if kernel == "dense":
        weight = _dense_weight(values, local, runs, columns)
        weight = weight if transposed else weight.t()
        out = torch.addmm(bias, lines, weight) if bias is not None else lines @ weight
        return out.view(shape)
    out = torch.empty((lines.shape[0], width), dtype=x.dtype)
    if transposed:
        pattern.multiply_transposed(
            element,
            local.data_ptr(),
            runs.data_ptr(),
            lines.data_ptr(),
            lines.shape[0],
            values.data_ptr(),
            out.data_ptr(),
            use,
        )
        if bias is not None:
            out += bias
    else:
        bias = None if bias is None else bias.contiguous()
        pattern.multiply(
            element,
            local.data_ptr(),
            runs.data_ptr(),
            lines.data_ptr(),
            lines.shape[0],
            values.data_ptr(),
            0 if bias is None else bias.data_ptr(),
            out.data_ptr(),
            use,
        )
    return out.view(shape)


def _sparse_sample(grad: Tensor, x: Tensor, local: Tensor, runs: Tensor, kernel: str) -> Tensor:
    rows, columns = runs.shape[1], x.shape[-1]
    grad_lines, x_lines = _lines(grad, rows, "grad"), _lines(x, columns, "x")
    element = _element(grad, x, "grad")
    use = threads()
    if kernel == "auto":
        kernel = _planner.choose(
            "sample", (rows, columns, local.numel(), x_lines.shape[0]), x.dtype, use
        )
    if kernel == "dense":
        product = grad_lines.t() @ x_lines
        return product.view(-1)[positions_of(local, runs, columns)]
    out = torch.empty(local.numel(), dtype=x.dtype)
    pattern_of(local, runs, columns).sample(
        element,
        local.data_ptr(),
        runs.data_ptr(),
        grad_lines.data_ptr(),
        grad_lines.shape[0],
        x_lines.data_ptr(),
        out.data_ptr(),
        use,
    )
    return out


def _check_ids(ids: Tensor, rows: int) -> Tensor:
    flat = ids.reshape(-1).to(torch.int64).contiguous()
    if flat.numel() and (int(flat.min()) < 0 or int(flat.max()) >= rows):
        raise IndexError(f"ids: got {int(flat.min())} to {int(flat.max())}, takes 0 to {rows - 1}")
    return flat


def _sparse_lookup(
    ids: Tensor, values: Tensor, offsets: Tensor, local: Tensor, columns: int
) -> Tensor:
    flat = _check_ids(ids, offsets.numel() - 1)
    element = _element(values, values, "values")
    values = values.contiguous()
    out = torch.empty((*ids.shape, columns), dtype=values.dtype)
    _native.lookup(
        element,
        offsets.data_ptr(),
        local.data_ptr(),
        values.data_ptr(),
        columns,
        flat.data_ptr(),
        flat.numel(),
        out.data_ptr(),
        threads(),
    )
    return out


def _sparse_lookup_gradient(grad: Tensor, ids: Tensor, offsets: Tensor, local: Tensor) -> Tensor:
    flat = _check_ids(ids, offsets.numel() - 1)
    element = _element(grad, grad, "grad")
    grad = grad.contiguous()
    out = torch.empty(local.numel(), dtype=grad.dtype)
    _native.lookup_gradient(
        element,
        offsets.data_ptr(),
        local.data_ptr(),
        offsets.numel() - 1,
        grad.shape[-1],
        flat.data_ptr(),
        flat.numel(),
        grad.data_ptr(),
        out.data_ptr(),
        threads(),
    )
    return out


for _name, _kernel in (
    ("sparse_mm", _sparse_mm),
    ("sparse_sample", _sparse_sample),
    ("sparse_lookup", _sparse_lookup),
    ("sparse_lookup_gradient", _sparse_lookup_gradient),
):
    _library.impl(_name, _kernel, "CPU")


def _fake_mm(
    x: Tensor,
    values: Tensor,
    bias: Tensor | None,
    local: Tensor,
    runs: Tensor,
    columns: int,
    transposed: bool,
    kernel: str,
) -> Tensor:
    return x.new_empty((*x.shape[:-1], columns if transposed else runs.shape[1]))


def _fake_sample(grad: Tensor, x: Tensor, local: Tensor, runs: Tensor, kernel: str) -> Tensor:
    return x.new_empty(local.shape)


def _fake_lookup(
    ids: Tensor, values: Tensor, offsets: Tensor, local: Tensor, columns: int
) -> Tensor:
    return values.new_empty((*ids.shape, columns))


def _fake_lookup_gradient(grad: Tensor, ids: Tensor, offsets: Tensor, local: Tensor) -> Tensor:
    return grad.new_empty(local.shape)


for _name, _fake in (
    ("sparse_mm", _fake_mm),
    ("sparse_sample", _fake_sample),
    ("sparse_lookup", _fake_lookup),
    ("sparse_lookup_gradient", _fake_lookup_gradient),
):
    torch.library.register_fake(f"tokfrag::{_name}", _fake, lib=_library)


def _setup_mm(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, values, bias, local, runs, ctx.columns, ctx.transposed, ctx.kernel = inputs
    ctx.with_bias = bias is not None
    # Each gradient needs the other factor only.
    needs_x, needs_values = ctx.needs_input_grad[:2]
    ctx.save_for_backward(x if needs_values else None, values if needs_x else None, local, runs)


def _backward_mm(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, values, local, runs = ctx.saved_tensors
    grad_x = grad_values = grad_bias = None
    if ctx.needs_input_grad[0]:
        grad_x = torch.ops.tokfrag.sparse_mm(
            grad, values, None, local, runs, ctx.columns, not ctx.transposed, ctx.kernel
        )
    if ctx.needs_input_grad[1]:
        pair = (x, grad) if ctx.transposed else (grad, x)
        grad_values = torch.ops.tokfrag.sparse_sample(*pair, local, runs, ctx.kernel)
    if ctx.with_bias and ctx.needs_input_grad[2]:
        grad_bias = grad.reshape(-1, grad.shape[-1]).sum(0)
    return grad_x, grad_values, grad_bias, None, None, None, None, None


def _setup_sample(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    grad, x, local, runs, ctx.kernel = inputs
    ctx.columns = x.shape[-1]
    ctx.save_for_backward(grad, x, local, runs)


def _backward_sample(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
    grad, x, local, runs = ctx.saved_tensors
    grad_grad = grad_x = None
    if ctx.needs_input_grad[0]:
        grad_grad = torch.ops.tokfrag.sparse_mm(
            x, grad_out, None, local, runs, ctx.columns, False, ctx.kernel
        )
    if ctx.needs_input_grad[1]:
        grad_x = torch.ops.tokfrag.sparse_mm(
            grad, grad_out, None, local, runs, ctx.columns, True, ctx.kernel
        )
    return grad_grad, grad_x, None, None, None


def _setup_lookup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ids, _, offsets, local, _ = inputs
    ctx.save_for_backward(ids, offsets, local)


def _backward_lookup(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    ids, offsets, local = ctx.saved_tensors
    return None, torch.ops.tokfrag.sparse_lookup_gradient(grad, ids, offsets, local), *[None] * 3


def _setup_lookup_gradient(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    grad, ids, offsets, local = inputs
    ctx.columns = grad.shape[-1]
    ctx.save_for_backward(ids, offsets, local)


def _backward_lookup_gradient(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
    ids, offsets, local = ctx.saved_tensors
    lookup = torch.ops.tokfrag.sparse_lookup(ids, grad_out, offsets, local, ctx.columns)
    return lookup, None, None, None


for _name, _backward, _setup in (
    ("sparse_mm", _backward_mm, _setup_mm),
    ("sparse_sample", _backward_sample, _setup_sample),
    ("sparse_lookup", _backward_lookup, _setup_lookup),
    ("sparse_lookup_gradient", _backward_lookup_gradient, _setup_lookup_gradient),
):
    torch.library.register_autograd(
        f"tokfrag::{_name}", _backward, setup_context=_setup, lib=_library
    )


def has_kernel(device_type: str, operator: str = "sparse_mm") -> bool:
    """Whether an operator is registered for a device type ("cpu", "cuda")."""
    name = {"cpu": "CPU", "cuda": "CUDA"}.get(device_type)
    return name is not None and bool(
        torch._C._dispatch_has_kernel_for_dispatch_key(f"tokfrag::{operator}", name)
    )
