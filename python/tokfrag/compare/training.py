"""Train one network up a ladder of budgets; the same recipe for every cut.

Warm-up, a steady rate, a decay: near each rung a copy of the network decays to rate zero and is
judged there, while the trunk goes on from before the decay. So a ladder of three rungs, each four
times the one below, costs 1.08 times its last rung, not 1.31 times as separate trainings would.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from time import perf_counter, process_time

import numpy as np
import torch
from torch import Tensor, nn

from tokfrag.compare.batches import Part
from tokfrag.compare.budget import Budget
from tokfrag.compare.contracts import Problem, Recipe
from tokfrag.compare.measurement import StepFlops
from tokfrag.compare.step import TrainingFailedError, optimiser_of, training_step

# The share of a rung in which the rate goes down to zero.
_DECAY = 0.25
# The share of the first rung in which it goes up.
_WARM_UP = 0.2
_WARM_UP_AT_MOST = 0.05


@dataclass(frozen=True)
class Spent:
    """What a training has used up to a rung."""

    steps: int = 0
    flops: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    epochs: float = 0.0

    def share(self, budget: Budget) -> float:
        """How much of the budget that is."""
        return budget.fraction(seconds=self.seconds, flops=self.flops, steps=self.steps)


@dataclass
class Trainee:
    """A network in training, with its optimiser, its batches to come, and what it used."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    spent: Spent

    def copy(self) -> Trainee:
        """The same state once more, to be trained apart."""
        network, optimiser = deepcopy((self.network, self.optimiser))
        return Trainee(network, optimiser, self.spent)


def climb(
    network: nn.Module,
    problem: Problem,
    part: Part,
    *,
    budget: Budget,
    rungs: Sequence[float],
    recipe: Recipe,
    batch: int,
    seed: int,
    flops: StepFlops,
    spent_seconds: float = 0.0,
    micro: int | None = None,
    on_progress: Callable[[float], None],
) -> Iterator[tuple[float, nn.Module, Spent]]:
    """Train, and give the network as it is at each rung with what it used.

    Parameters
    ----------
    rungs
        Shares of the budget to be judged at, rising, the last of them 1.
    batch
        Items a step.
    flops
        What a step costs, by length.
    spent_seconds
        Seconds that cutting took; they count where the budget is in seconds.
    micro
        Items that go through the network at once; all of a batch where it is None.

    Yields
    ------
    tuple
        The rung, the decayed network, what was spent.

    Raises
    ------
    TrainingFailedError
        Where the loss is no longer a number, or a budget does not pay for one step.
    """
    optimiser = optimiser_of(network, recipe)
    network.train()
    trunk = Trainee(network, optimiser, Spent(seconds=spent_seconds))
    batch = min(batch, len(part))
    run = _Run(problem, part, budget, recipe, batch, flops, rungs[0], micro, on_progress)
    order = part.passes(batch, np.random.default_rng(seed))
    for number, rung in enumerate(rungs):
        run.advance(trunk, order, rung * (1 - _DECAY), None)
        last = number == len(rungs) - 1
        branch = trunk if last else trunk.copy()
        # The branch has batches of its own, so that the trunk's do not depend on the rungs.
        drawn = order if last else part.passes(batch, np.random.default_rng((seed, number)))
        run.advance(branch, drawn, rung, rung * (1 - _DECAY))
        if branch.spent.steps == 0:
            raise TrainingFailedError(f"a budget of {budget} is too short for one step")
        yield (
            rung,
            branch.network,
            replace(branch.spent, seconds=branch.spent.seconds - spent_seconds),
        )


@dataclass
class _Run:
    """What all legs of one ladder share."""

    problem: Problem
    part: Part
    budget: Budget
    recipe: Recipe
    batch: int
    flops: StepFlops
    first_rung: float
    micro: int | None
    on_progress: Callable[[float], None]

    def advance(
        self, trainee: Trainee, order: Iterator[Tensor], until: float, decays_from: float | None
    ) -> None:
        """Train until a share of the budget is spent; the rate decays from ``decays_from`` on."""
        warm = min(_WARM_UP_AT_MOST, _WARM_UP * self.first_rung)
        while True:
            spent = trainee.spent
            share = spent.share(self.budget)
            if share >= until:
                return
            x, y = self.part.batch(next(order))
            cost = self.flops.at(x.shape[1])
            # Where there is no room for a whole further step, a budget is spent.
            ahead = self.budget.fraction(seconds=0, flops=spent.flops + cost, steps=spent.steps + 1)
            if self.budget.kind != "seconds" and ahead > until * (1 + 1e-9):
                if decays_from is not None or spent.steps:
                    return
                if ahead > 1 + 1e-9:
                    return
            factor = min(1.0, max(ahead if self.budget.kind != "seconds" else share, 1e-3) / warm)
            if decays_from is not None:
                factor *= max(0.0, (until - share) / max(until - decays_from, 1e-12))
            for group in trainee.optimiser.param_groups:
                group["lr"] = self.recipe.rate * min(1.0, factor)
            begin, cpu_begin = perf_counter(), process_time()
            loss = training_step(
                trainee.network, self.problem, trainee.optimiser, x, y, micro=self.micro
            )
            steps = spent.steps + 1
            if not math.isfinite(loss):
                raise TrainingFailedError(f"the loss became {loss} at step {steps}")
            trainee.spent = Spent(
                steps,
                spent.flops + cost,
                spent.seconds + perf_counter() - begin,
                spent.cpu_seconds + process_time() - cpu_begin,
                steps * self.batch / len(self.part),
            )
            self.on_progress(trainee.spent.share(self.budget))
