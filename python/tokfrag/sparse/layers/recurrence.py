"""The recurrences of LSTM and GRU layers with a sparse recurrent product.

One autograd node for all steps of an LSTM: the gradient of the recurrent values is then one sampled
product over every step and input, instead of one a step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tokfrag.sparse.products import operators, products


def recurrence(
    inputs: Tensor,
    h: Tensor,
    c: Tensor,
    values: Tensor,
    local: Tensor,
    runs: Tensor,
    kernel: str,
    *,
    ends: Tensor | None = None,
    projection: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Outputs of every step and the last cell state.

    ``inputs (steps, batch, 4 hidden)`` are the input products with biases, gates in the order
    i, f, g, o; ``h (batch, size)`` and ``c (batch, hidden)`` the first state. ``ends (batch,)`` are
    the steps of each sequence, where they differ: the cell state is then its last step's.
    ``projection (size, hidden)`` makes the output of a step from what the gates let through.
    """
    composed = torch.compiler.is_compiling() or not operators.direct(inputs, values)
    if composed or ends is not None or projection is not None:
        return _compose(inputs, h, c, values, local, runs, kernel, ends, projection)
    tensors = (inputs, h, c, values)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        y, c = _Recurrence.apply(  # type: ignore[no-untyped-call]
            inputs, h, c, values, local, runs, kernel
        )
        return y, c
    outputs, cells, _ = _forward(inputs, h, c, values, local, runs, kernel, training=False)
    return outputs[1:], cells[-1]


def _compose(
    inputs: Tensor,
    h: Tensor,
    c: Tensor,
    values: Tensor,
    local: Tensor,
    runs: Tensor,
    kernel: str,
    ends: Tensor | None = None,
    projection: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The definition, operator by operator."""
    outputs = []
    for step, gates in enumerate(inputs.unbind()):
        product = operators.linear(h, values, None, local, runs, h.shape[-1], kernel)
        i, f, g, o = (gates + product).chunk(4, dim=-1)
        moved = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(moved)
        if projection is not None:
            h = functional.linear(h, projection)
        c = moved if ends is None else torch.where((step < ends)[:, None], moved, c)
        outputs.append(h)
    y = torch.stack(outputs) if outputs else h.new_zeros((0, *h.shape))
    return y, c


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
    c: Tensor,
    values: Tensor,
    local: Tensor,
    runs: Tensor,
    kernel: str,
    *,
    training: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs and cell states, the first ones before them; and the gates, if ``training``."""
    steps, batch, hidden = len(inputs), *h.shape
    outputs, cells = inputs.new_empty((2, steps + 1, batch, hidden)).unbind()
    outputs[0], cells[0] = h, c
    gates = torch.empty_like(inputs) if training else torch.empty_like(inputs[:1])
    for step in range(steps):
        product = products.multiply(
            outputs[step], values, None, local, runs, hidden, False, kernel, keep=not training
        )
        gate = gates[step if training else 0]
        torch.add(inputs[step], product, out=gate)
        gate[:, : 2 * hidden].sigmoid_()
        gate[:, 2 * hidden : 3 * hidden].tanh_()
        gate[:, 3 * hidden :].sigmoid_()
        i, f, g, o = gate.chunk(4, dim=-1)
        torch.mul(f, cells[step], out=cells[step + 1]).addcmul_(i, g)
        torch.tanh(cells[step + 1], out=outputs[step + 1]).mul_(o)
    return outputs, cells, gates


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        h: Tensor,
        c: Tensor,
        values: Tensor,
        local: Tensor,
        runs: Tensor,
        kernel: str,
    ) -> tuple[Tensor, Tensor]:
        outputs, cells, gates = _forward(inputs, h, c, values, local, runs, kernel, training=True)
        ctx.kernel = kernel
        ctx.save_for_backward(inputs, h, c, values, local, runs, outputs, cells, gates)
        return outputs[1:], cells[-1].clone()

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor, grad_c: Tensor) -> tuple[Tensor | None, ...]:
        inputs, h, c, values, local, runs, outputs, cells, gates = ctx.saved_tensors
        if torch.is_grad_enabled():  # gradients of gradients come from the definition
            wanted = [t for t in (inputs, h, c, values) if t.requires_grad]
            made = _compose(inputs, h, c, values, local, runs, ctx.kernel)
            grads = iter(torch.autograd.grad(made, wanted, (grad_y, grad_c), create_graph=True))
            four = [next(grads) if t.requires_grad else None for t in (inputs, h, c, values)]
            return (*four, None, None, None)
        aten = torch.ops.aten
        hidden = h.shape[-1]
        grad_gates = torch.empty_like(gates)
        grad_h = torch.zeros_like(h)
        cell = grad_c
        for step in reversed(range(len(inputs))):
            i, f, g, o = gates[step].chunk(4, dim=-1)
            grad_i, grad_f, grad_g, grad_o = grad_gates[step].chunk(4, dim=-1)
            grad_h = grad_h + grad_y[step]
            squashed = torch.tanh(cells[step + 1])
            aten.sigmoid_backward.grad_input(grad_h * squashed, o, grad_input=grad_o)
            cell = aten.tanh_backward(grad_h * o, squashed).add_(cell)
            aten.sigmoid_backward.grad_input(cell * g, i, grad_input=grad_i)
            aten.sigmoid_backward.grad_input(cell * cells[step], f, grad_input=grad_f)
            aten.tanh_backward.grad_input(cell * i, g, grad_input=grad_g)
            cell = cell * f
            grad_h = products.multiply(
                grad_gates[step], values, None, local, runs, hidden, True, ctx.kernel
            )
        grad_values = None
        if ctx.needs_input_grad[3]:
            before = outputs[:-1].reshape(-1, hidden)
            grad_values = products.sample(
                grad_gates.view(-1, 4 * hidden), before, local, runs, ctx.kernel
            )
        return grad_gates, grad_h, cell, grad_values, None, None, None
