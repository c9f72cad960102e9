"""Train one network within a budget; the same recipe for every cut."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter, process_time

import numpy as np
import torch
from torch import Tensor, nn

from tokfrag.compare.budget import Budget
from tokfrag.compare.problems import Problem

_WARM_UP = 0.05


class TrainingFailedError(RuntimeError):
    """A training that cannot give a score: a loss that is not a number, a budget too short."""


@dataclass(frozen=True)
class Recipe:
    """How networks are trained: AdamW, a warm-up, then the rate follows a cosine to zero."""

    batch: int = 64
    rate: float = 2e-3
    decay: float = 0.01


@dataclass(frozen=True)
class Training:
    """What a training spent."""

    steps: int
    seconds: float
    cpu_seconds: float
    epochs: float
    final_loss: float


def train(
    network: nn.Module,
    problem: Problem,
    inputs: Tensor,
    targets: Tensor,
    *,
    budget: Budget,
    recipe: Recipe,
    seed: int,
    flops_per_step: float,
    spent_seconds: float = 0.0,
    on_progress: Callable[[float], None],
) -> Training:
    """Train until the budget is spent; ``spent_seconds`` of it went into cutting already.

    The learning rate follows the share of the budget that is spent, so that every cut ends its
    schedule, whether it made ten steps or ten thousand.
    """
    generator = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=recipe.rate, weight_decay=recipe.decay, foreach=True
    )
    network.train()
    items = len(inputs)
    batch = min(recipe.batch, items)
    order = torch.empty(0, dtype=torch.int64)
    steps, position, loss_value = 0, 0, math.nan
    begin, cpu_begin = perf_counter() - spent_seconds, process_time()
    while True:
        fraction = budget.fraction(
            seconds=perf_counter() - begin, flops=steps * flops_per_step, steps=steps
        )
        # A FLOP budget that has room for no whole further step is spent.
        if fraction >= 1 or (
            budget.kind == "flops" and (steps + 1) * flops_per_step > budget.amount
        ):
            break
        if position + batch > len(order):
            order = torch.from_numpy(generator.permutation(items))
            position = 0
        index = order[position : position + batch]
        position += batch
        warm = min(1.0, fraction / _WARM_UP) if steps else 0.1
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * max(0.1, warm) * 0.5 * (1 + math.cos(math.pi * fraction))
        loss_value = training_step(network, problem, optimiser, inputs[index], targets[index])
        steps += 1
        if not math.isfinite(loss_value):
            raise TrainingFailedError(f"the loss became {loss_value} at step {steps}")
        on_progress(fraction)
    if steps == 0:
        raise TrainingFailedError(f"a budget of {budget} is too short for one step")
    return Training(
        steps,
        perf_counter() - begin - spent_seconds,
        process_time() - cpu_begin,
        steps * batch / items,
        loss_value,
    )


def training_step(
    network: nn.Module,
    problem: Problem,
    optimiser: torch.optim.Optimizer,
    inputs: Tensor,
    targets: Tensor,
) -> float:
    """One step of the recipe; returns the loss before it."""
    optimiser.zero_grad(set_to_none=True)
    loss = problem.loss(network(inputs), targets)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    return loss.item()
