"""One step of training, and the answers of a trained network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tokfrag.compare.batches import Part
from tokfrag.compare.contracts import Problem


class TrainingFailedError(RuntimeError):
    """A training that cannot give a score: a loss that is not a number, a budget too short."""


def training_step(
    network: nn.Module,
    problem: Problem,
    optimiser: torch.optim.Optimizer,
    inputs: Tensor,
    targets: Tensor,
) -> float:
    """Take one step of the recipe; returns the loss before it."""
    optimiser.zero_grad(set_to_none=True)
    loss = problem.loss(network(inputs), targets)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    return loss.item()


def outputs_of(network: nn.Module, problem: Problem, part: Part, items: int = 128) -> Tensor:
    """The summaries of all items in their order, in batches small enough for any machine."""
    network.eval()
    found: list[Any] = []
    order = part.by_length()
    with torch.no_grad():
        for begin in range(0, len(part), items):
            x, y = part.batch(order[begin : begin + items])
            found.append(problem.summary(network(x), y))
    network.train()
    if part.ragged:
        together = torch.cat(found)
        back = torch.empty_like(together)
        back[order] = together
        return back
    return torch.cat(found)
