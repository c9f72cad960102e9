"""Torch operators of the sparse products, and the short way to them.

``sparse_mm`` and ``sparse_sample`` are each other's derivatives, as are ``sparse_lookup`` and
``sparse_lookup_gradient``, so gradients of any order need no further kernel. Forward-mode
differentiation and ``torch.func`` see no operator: for them products are composed of torch's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tokfrag._operators import define, implement, is_memory, nobody_watches, transformed
from tokfrag.sparse.products import lookup as table, products
from tokfrag.sparse.products.places import positions_of


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


for _schema, _kernel, _fake, _setup, _backward in (
    (
        "sparse_mm(Tensor x, Tensor values, Tensor? bias, Tensor local, Tensor runs, int columns,"
        " bool transposed, str kernel) -> Tensor",
        products.multiply,
        _fake_mm,
        _setup_mm,
        _backward_mm,
    ),
    (
        "sparse_sample(Tensor grad, Tensor x, Tensor local, Tensor runs, str kernel) -> Tensor",
        products.sample,
        _fake_sample,
        _setup_sample,
        _backward_sample,
    ),
    (
        "sparse_lookup(Tensor ids, Tensor values, Tensor offsets, Tensor local, int columns)"
        " -> Tensor",
        table.lookup,
        _fake_lookup,
        _setup_lookup,
        _backward_lookup,
    ),
    (
        "sparse_lookup_gradient(Tensor grad, Tensor ids, Tensor offsets, Tensor local) -> Tensor",
        table.lookup_gradient,
        _fake_lookup_gradient,
        _setup_lookup_gradient,
        _backward_lookup_gradient,
    ),
):
    define(_schema, cpu=_kernel, fake=_fake, setup_context=_setup, backward=_backward)
    implement(_schema[: _schema.index("(")], "CUDA", _kernel)


class _Multiply(torch.autograd.Function):
    """``sparse_mm`` with its gradients, without the dispatcher between."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        values: Tensor,
        bias: Tensor | None,
        local: Tensor,
        runs: Tensor,
        columns: int,
        kernel: str,
    ) -> Tensor:
        ctx.columns, ctx.kernel = columns, kernel
        needs_x, needs_values = ctx.needs_input_grad[:2]
        ctx.save_for_backward(x if needs_values else None, values if needs_x else None, local, runs)
        return products.multiply(x, values, bias, local, runs, columns, False, kernel)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, values, local, runs = ctx.saved_tensors
        grad_x = grad_values = grad_bias = None
        multiply, sample = products.multiply, products.sample
        # Gradients of gradients and batches of gradients: the operators have them.
        if torch.is_grad_enabled() or not direct(grad, local):
            multiply, sample = torch.ops.tokfrag.sparse_mm, torch.ops.tokfrag.sparse_sample
        if ctx.needs_input_grad[0]:
            grad_x = multiply(grad, values, None, local, runs, ctx.columns, True, ctx.kernel)
        if ctx.needs_input_grad[1]:
            grad_values = sample(grad, x, local, runs, ctx.kernel)
        if ctx.needs_input_grad[2]:
            grad_bias = grad.reshape(-1, grad.shape[-1]).sum(0)
        return grad_x, grad_values, grad_bias, None, None, None, None


def direct(x: Tensor, values: Tensor) -> bool:
    """Whether products of these tensors may go without the dispatcher."""
    return (x.is_cpu or x.is_cuda) and nobody_watches() and is_memory(x) and is_memory(values)


def _positions(derive: Callable[[Tensor, Tensor], Tensor], *places: Tensor) -> Tensor:
    """Positions of places, also of places that ``vmap`` has put side by side (an ensemble)."""
    functorch = torch._C._functorch
    level = max(functorch.maybe_get_level(part) for part in places)
    if level < 0:
        with torch._C._DisableFuncTorch():
            return derive(*places)
    axes, plain = [], []
    for part in places:
        mine = functorch.maybe_get_level(part) == level
        axis = functorch.maybe_get_bdim(part) if mine and functorch.is_batchedtensor(part) else -1
        axes.append(axis)
        plain.append(functorch.get_unwrapped(part) if mine else part)
    if max(axes) < 0:  # watched for gradients, which places have none of
        return _positions(derive, *plain)
    count = next(p.shape[a] for p, a in zip(plain, axes, strict=True) if a >= 0)
    members = [
        _positions(
            derive,
            *(
                p if a < 0 else p.select(a, n).contiguous()
                for p, a in zip(plain, axes, strict=True)
            ),
        )
        for n in range(count)
    ]
    with torch._C._DisableFuncTorch():
        stacked = torch.stack(members)
    return functorch._add_batch_dim(stacked, 0, level)


def dense_matrix(values: Tensor, local: Tensor, runs: Tensor, columns: int) -> Tensor:
    """The matrix by torch's operators, whatever transformation its tensors are under."""
    positions = _positions(lambda a, b: positions_of(a, b, columns), local, runs)
    rows = runs.shape[1]
    flat = values.new_zeros(rows * columns).index_put((positions,), values)
    return flat.view(rows, columns)


def lookup(ids: Tensor, values: Tensor, offsets: Tensor, local: Tensor, columns: int) -> Tensor:
    """Rows ``ids`` of a table: the operator ``sparse_lookup``, or torch's under transformations."""
    if torch.compiler.is_compiling() or not transformed():
        return torch.ops.tokfrag.sparse_lookup(  # type: ignore[no-any-return]
            ids, values, offsets, local, columns
        )
    positions = _positions(lambda a, b: table.positions_of(a, b, columns), offsets, local)
    rows = offsets.shape[0] - 1
    dense = values.new_zeros(rows * columns).index_put((positions,), values).view(rows, columns)
    return functional.embedding(ids.to(torch.int64), dense)


def linear(
    x: Tensor,
    values: Tensor,
    bias: Tensor | None,
    local: Tensor,
    runs: Tensor,
    columns: int,
    kernel: str,
) -> Tensor:
    """``x W^T + bias``: the operator ``sparse_mm``, or, 30 us faster, what it does.

    Under autocast in its dtype, as ``torch.nn.functional.linear``.
    """
    device = x.device.type
    if (x.is_cpu or x.is_cuda) and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        wide = torch.float64
        x, values = (t if t.dtype == wide else t.to(dtype) for t in (x, values))
        bias = bias if bias is None or bias.dtype == wide else bias.to(dtype)
        with torch.autocast(device, enabled=False):
            return linear(x, values, bias, local, runs, columns, kernel)
    compiling = torch.compiler.is_compiling()
    if not compiling and transformed():
        return functional.linear(x, dense_matrix(values, local, runs, columns), bias)
    if compiling or not direct(x, values):
        return torch.ops.tokfrag.sparse_mm(  # type: ignore[no-any-return]
            x, values, bias, local, runs, columns, False, kernel
        )
    if torch.is_grad_enabled() and (
        x.requires_grad or values.requires_grad or (bias is not None and bias.requires_grad)
    ):
        return _Multiply.apply(  # type: ignore[no-any-return,no-untyped-call]
            x, values, bias, local, runs, columns, kernel
        )
    return products.multiply(x, values, bias, local, runs, columns, False, kernel, keep=True)
