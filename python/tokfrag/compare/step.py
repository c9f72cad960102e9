"""One step of training, and the answers of a trained network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tokfrag.compare.batches import Part
from tokfrag.compare.contracts import AsksPieces, Problem, Recipe


class TrainingFailedError(RuntimeError):
    """A training that cannot give a score: a loss that is not a number, a budget too short."""


def optimiser_of(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """What changes the weights, the same for every cut.

    Parameters
    ----------
    network
        All of its parameters are trained.
    recipe
        The rate to begin with, and the decay of weights.

    Returns
    -------
    torch.optim.Optimizer
        AdamW in one kernel: of a step of 16 samples of 4 pieces, 5 % of the time in place of 16.
    """
    return torch.optim.AdamW(
        network.parameters(), lr=recipe.rate, weight_decay=recipe.decay, fused=True
    )


def training_step(
    network: nn.Module,
    problem: Problem,
    optimiser: torch.optim.Optimizer,
    inputs: Tensor,
    targets: Tensor,
    *,
    micro: int | None = None,
) -> float:
    """Take one step of the recipe; returns the loss before it.

    Parameters
    ----------
    inputs, targets
        The batch.
    micro
        Items that go through the network at once, where memory is short: gradients add up to those
        of the whole batch.
    """
    optimiser.zero_grad(set_to_none=True)
    if micro is None or micro >= len(inputs):
        output = network(inputs)
        loss = problem.loss(output, targets) + _extra_loss(network)
        loss.backward()  # type: ignore[no-untyped-call]
        told = loss.item()
    else:
        told = _in_parts(network, problem, inputs, targets, micro)
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    return told


def _in_parts(
    network: nn.Module, problem: Problem, inputs: Tensor, targets: Tensor, micro: int
) -> float:
    summed = weights = 0.0
    for begin in range(0, len(inputs), micro):
        x, y = inputs[begin : begin + micro], targets[begin : begin + micro]
        output = network(x)
        # A mean over what is asked for; parts may ask for more or less.
        weight = problem.weight(output, y) if isinstance(problem, AsksPieces) else float(len(x))
        if not weight:
            continue
        loss = (problem.loss(output, y) + _extra_loss(network)) * weight
        loss.backward()  # type: ignore[no-untyped-call]
        summed, weights = summed + loss.item(), weights + weight
    scale = 1 / max(weights, 1e-12)
    for parameter in network.parameters():
        if parameter.grad is not None:
            parameter.grad *= scale
    return summed * scale


def _extra_loss(network: nn.Module) -> Tensor | float:
    """What modules of the network ask for beside the problem, such as chunks of a certain size."""
    total: Tensor | float = 0.0
    for module in network.modules():
        loss = getattr(module, "extra_loss", None)
        if isinstance(loss, Tensor):
            total = total + loss
            # It holds the whole graph, which nobody needs after this step.
            module.extra_loss = None  # type: ignore[assignment]
    return total


def outputs_of(network: nn.Module, problem: Problem, part: Part, items: int = 128) -> Tensor:
    """The summaries of all items in their order, in batches small enough for any machine."""
    network.eval()
    found: list[Any] = []
    order = part.by_length()
    with torch.no_grad():
        for begin in range(0, len(part), items):
            x, y = part.batch(order[begin : begin + items])
            found.append(problem.summary(network(x), y).cpu())
    network.train()
    together = torch.cat(found)
    if part.ragged:
        back = torch.empty_like(together)
        back[order] = together
        return back
    return together
