"""The recurrence of GRU layers with a sparse recurrent product.

One autograd node for all steps, as in :mod:`tokfrag.sparse.layers.recurrence`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tokfrag.sparse.products import operators, products


def gated_recurrence(
    inputs: Tensor,
    h: Tensor,
    values: Tensor,
    bias: Tensor | None,
    local: Tensor,
    runs: Tensor,
    kernel: str,
) -> Tensor:
    """Outputs of every step of a GRU, gates in the order r, z, n.

    ``inputs (steps, batch, 3 hidden)`` are the input products with biases; ``bias (3 hidden,)``
    belongs to the recurrent product, which the reset gate scales.
    """
    if torch.compiler.is_compiling() or not operators.direct(inputs, values):
        return _compose(inputs, h, values, bias, local, runs, kernel)
    tensors = (inputs, h, values, bias)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        return _GatedRecurrence.apply(  # type: ignore[no-any-return,no-untyped-call]
            inputs, h, values, bias, local, runs, kernel
        )
    outputs, _, _ = _forward(inputs, h, values, bias, local, runs, kernel, training=False)
    return outputs[1:]


def _compose(
    inputs: Tensor,
    h: Tensor,
    values: Tensor,
    bias: Tensor | None,
    local: Tensor,
    runs: Tensor,
    kernel: str,
) -> Tensor:
    """The definition, operator by operator."""
    outputs = []
    for gates in inputs.unbind():
        product = operators.linear(h, values, bias, local, runs, h.shape[-1], kernel)
        r, z, n = gates.chunk(3, dim=-1)
        hidden_r, hidden_z, hidden_n = product.chunk(3, dim=-1)
        r, z = torch.sigmoid(r + hidden_r), torch.sigmoid(z + hidden_z)
        n = torch.tanh(n + r * hidden_n)
        h = n + z * (h - n)
        outputs.append(h)
    return torch.stack(outputs) if outputs else h.new_zeros((0, *h.shape))


def _forward(
    inputs: Tensor,
    h: Tensor,
    values: Tensor,
    bias: Tensor | None,
    local: Tensor,
    runs: Tensor,
    kernel: str,
    *,
    training: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, the first one before them; and, if ``training``, gates and what n's gate scales."""
    steps, batch, hidden = len(inputs), *h.shape
    outputs = inputs.new_empty((steps + 1, batch, hidden))
    outputs[0] = h
    kept = steps if training else min(steps, 1)
    gates = inputs.new_empty((kept, batch, 3 * hidden))
    scaled = inputs.new_empty((kept, batch, hidden))
    for step in range(steps):
        place = step if training else 0
        product = products.multiply(
            outputs[step], values, bias, local, runs, hidden, False, kernel, keep=not training
        )
        gate = gates[place]
        both = gate[:, : 2 * hidden]
        torch.add(inputs[step, :, : 2 * hidden], product[:, : 2 * hidden], out=both).sigmoid_()
        r, z, n = gate.chunk(3, dim=-1)
        scaled[place] = product[:, 2 * hidden :]
        torch.mul(r, scaled[place], out=n).add_(inputs[step, :, 2 * hidden :]).tanh_()
        torch.lerp(n, outputs[step], z, out=outputs[step + 1])
    return outputs, gates, scaled


class _GatedRecurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        h: Tensor,
        values: Tensor,
        bias: Tensor | None,
        local: Tensor,
        runs: Tensor,
        kernel: str,
    ) -> Tensor:
        made = _forward(inputs, h, values, bias, local, runs, kernel, training=True)
        ctx.kernel = kernel
        ctx.save_for_backward(inputs, h, values, bias, local, runs, *made)
        return made[0][1:]

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        inputs, h, values, bias, local, runs, outputs, gates, scaled = ctx.saved_tensors
        if torch.is_grad_enabled():  # gradients of gradients come from the definition
            tensors = (inputs, h, values, bias)
            wanted = [t for t in tensors if t is not None and t.requires_grad]
            y = _compose(inputs, h, values, bias, local, runs, ctx.kernel)
            grads = iter(torch.autograd.grad(y, wanted, grad_y, create_graph=True))
            four = [next(grads) if t is not None and t.requires_grad else None for t in tensors]
            return (*four, None, None, None)
        aten = torch.ops.aten
        hidden = h.shape[-1]
        grad_inputs, grad_product = torch.empty_like(gates), torch.empty_like(gates)
        grad_h = torch.zeros_like(h)
        for step in reversed(range(len(inputs))):
            r, z, n = gates[step].chunk(3, dim=-1)
            grad_r, grad_z, grad_n = grad_inputs[step].chunk(3, dim=-1)
            grad_h = grad_h + grad_y[step]
            aten.sigmoid_backward.grad_input(grad_h * (outputs[step] - n), z, grad_input=grad_z)
            aten.tanh_backward.grad_input(grad_h - grad_h * z, n, grad_input=grad_n)
            aten.sigmoid_backward.grad_input(grad_n * scaled[step], r, grad_input=grad_r)
            grad_product[step, :, : 2 * hidden] = grad_inputs[step, :, : 2 * hidden]
            torch.mul(grad_n, r, out=grad_product[step, :, 2 * hidden :])
            through = products.multiply(
                grad_product[step], values, None, local, runs, hidden, True, ctx.kernel
            )
            grad_h = through.addcmul_(grad_h, z)
        grad_values = grad_bias = None
        lines = grad_product.view(-1, 3 * hidden)
        if ctx.needs_input_grad[2]:
            before = outputs[:-1].reshape(-1, hidden)
            grad_values = products.sample(lines, before, local, runs, ctx.kernel)
        if ctx.needs_input_grad[3]:
            grad_bias = lines.sum(0)
        return grad_inputs, grad_h, grad_values, grad_bias, None, None, None
