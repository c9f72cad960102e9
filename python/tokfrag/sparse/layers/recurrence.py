"""The recurrence of LSTM layers with a sparse recurrent product.

One autograd node for all steps: the gradient of the recurrent values is then one sampled
product over every step and input, instead of one a step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

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
    if torch.compiler.is_compiling() or not operators.direct(inputs, values):
        return _compose(inputs, h, c, values, local, runs, kernel, ends, projection)
    tensors = (inputs, h, c, values, projection)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        y, c = _Recurrence.apply(  # type: ignore[no-untyped-call]
            inputs, h, c, values, projection, ends, local, runs, kernel
        )
        return y, c
    steps = _forward(inputs, h, c, values, projection, local, runs, kernel, training=False)
    return steps.outputs[1:], _last(steps.cells, ends)


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


class _Steps(NamedTuple):
    """What all steps made: the first states stand before the outputs and the cells."""

    outputs: Tensor  # (steps + 1, batch, size)
    cells: Tensor  # (steps + 1, batch, hidden)
    gates: Tensor  # of every step in training, else a place to work in
    opened: Tensor  # what the output gate let through, where it is then projected


def _last(cells: Tensor, ends: Tensor | None) -> Tensor:
    """The cell state after each sequence's last step, not a view."""
    if ends is None:
        return cells[-1].clone()
    return cells[ends, torch.arange(len(ends), device=ends.device)]


def _forward(
    inputs: Tensor,
    h: Tensor,
    c: Tensor,
    values: Tensor,
    projection: Tensor | None,
    local: Tensor,
    runs: Tensor,
    kernel: str,
    *,
    training: bool,
) -> _Steps:
    steps, batch, hidden = len(inputs), *c.shape
    outputs = inputs.new_empty((steps + 1, *h.shape))
    cells = inputs.new_empty((steps + 1, batch, hidden))
    outputs[0], cells[0] = h, c
    gates = torch.empty_like(inputs) if training else torch.empty_like(inputs[:1])
    opened = outputs[1:]
    if projection is not None:
        opened = inputs.new_empty((steps if training else min(steps, 1), batch, hidden))
    for step in range(steps):
        product = products.multiply(
            outputs[step], values, None, local, runs, h.shape[-1], False, kernel, keep=not training
        )
        gate = gates[step if training else 0]
        torch.add(inputs[step], product, out=gate)
        gate[:, : 2 * hidden].sigmoid_()
        gate[:, 2 * hidden : 3 * hidden].tanh_()
        gate[:, 3 * hidden :].sigmoid_()
        i, f, g, o = gate.chunk(4, dim=-1)
        torch.mul(f, cells[step], out=cells[step + 1]).addcmul_(i, g)
        through = opened[step if training or projection is None else 0]
        torch.tanh(cells[step + 1], out=through).mul_(o)
        if projection is not None:
            torch.mm(through, projection.t(), out=outputs[step + 1])
    return _Steps(outputs, cells, gates, opened)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        h: Tensor,
        c: Tensor,
        values: Tensor,
        projection: Tensor | None,
        ends: Tensor | None,
        local: Tensor,
        runs: Tensor,
        kernel: str,
    ) -> tuple[Tensor, Tensor]:
        made = _forward(inputs, h, c, values, projection, local, runs, kernel, training=True)
        ctx.kernel = kernel
        ctx.save_for_backward(inputs, h, c, values, projection, ends, local, runs, *made)
        return made.outputs[1:], _last(made.cells, ends)

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor, grad_c: Tensor) -> tuple[Tensor | None, ...]:
        inputs, h, c, values, projection, ends, local, runs, *kept = ctx.saved_tensors
        outputs, cells, gates, opened = kept
        if torch.is_grad_enabled():  # gradients of gradients come from the definition
            tensors = (inputs, h, c, values, projection)
            wanted = [t for t in tensors if t is not None and t.requires_grad]
            made = _compose(inputs, h, c, values, local, runs, ctx.kernel, ends, projection)
            grads = iter(torch.autograd.grad(made, wanted, (grad_y, grad_c), create_graph=True))
            five = [next(grads) if t is not None and t.requires_grad else None for t in tensors]
            return (*five, None, None, None, None)
        aten = torch.ops.aten
        grad_gates = torch.empty_like(gates)
        grad_projected = torch.empty_like(grad_y) if projection is not None else grad_y
        grad_h = torch.zeros_like(h)
        cell = grad_c if ends is None else torch.zeros_like(grad_c)
        for step in reversed(range(len(inputs))):
            i, f, g, o = gates[step].chunk(4, dim=-1)
            grad_i, grad_f, grad_g, grad_o = grad_gates[step].chunk(4, dim=-1)
            grad_h = grad_h + grad_y[step]
            if projection is not None:
                grad_projected[step] = grad_h
                grad_h = grad_h @ projection
            if ends is not None:  # the cell state of these sequences was handed out here
                cell = torch.where((ends == step + 1)[:, None], cell + grad_c, cell)
            squashed = torch.tanh(cells[step + 1])
            aten.sigmoid_backward.grad_input(grad_h * squashed, o, grad_input=grad_o)
            cell = aten.tanh_backward(grad_h * o, squashed).add_(cell)
            aten.sigmoid_backward.grad_input(cell * g, i, grad_input=grad_i)
            aten.sigmoid_backward.grad_input(cell * cells[step], f, grad_input=grad_f)
            aten.tanh_backward.grad_input(cell * i, g, grad_input=grad_g)
            cell = cell * f
            grad_h = products.multiply(
                grad_gates[step], values, None, local, runs, h.shape[-1], True, ctx.kernel
            )
        grad_values = grad_projection = None
        if ctx.needs_input_grad[3]:
            before = outputs[:-1].reshape(-1, h.shape[-1])
            lines = grad_gates.view(-1, gates.shape[-1])
            grad_values = products.sample(lines, before, local, runs, ctx.kernel)
        if ctx.needs_input_grad[4]:
            grad_projection = grad_projected.flatten(0, 1).t() @ opened.flatten(0, 1)
        return grad_gates, grad_h, cell, grad_values, grad_projection, None, None, None, None
