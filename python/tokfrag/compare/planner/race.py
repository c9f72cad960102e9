"""A race on the ladder: all cuts at a sixteenth of the budget, fewer at a quarter, few to the end.

This is successive halving (Jamieson and Talwalkar, 2016). Who stays is decided on the part to
choose on, so that the judging part is looked at once, by those that reach the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tokfrag.compare.budget import FEWEST_STEPS, Budget
from tokfrag.compare.outcome import Outcome
from tokfrag.compare.report import Report
from tokfrag.compare.row import Row

#: Shares of the budget at which rows leave, and how many of them stay, of the row count.
STAGES = ((1 / 16, 2 / 3), (1 / 4, 1 / 2))
#: No race ends with fewer rows: a verdict compares.
FEWEST = 2

Compare = Callable[[Sequence[Any], Budget, int | Sequence[int]], Report]


@dataclass(frozen=True)
class Heat:
    """One stage of a race: the budget, who stayed, who left."""

    budget: str
    stayed: tuple[str, ...]
    left: tuple[str, ...]

    @property
    def note(self) -> str:
        """The stage in one sentence."""
        return (
            f"race: at {self.budget} {', '.join(self.left)} left, {', '.join(self.stayed)} stayed"
        )


def race(
    cuts: Sequence[Any],
    budget: Budget | float | str,
    compare: Compare,
    *,
    seeds: int | Sequence[int] = 3,
) -> tuple[Report, list[Heat]]:
    """Compare all cuts a little, then the better ones longer, then the best to the end.

    Parameters
    ----------
    cuts
        What to compare, each with a ``name``.
    budget
        Of a whole training.
    compare
        Trains cuts under a budget with so many seeds, and gives the outcome.
    seeds
        Trainings of each cut that reaches the end, or their seeds; the stages before take one.

    Returns
    -------
    tuple
        The outcome of the last stage, and what the stages before it decided. A stage that is
        interrupted is the last.
    """
    whole = Budget.of(budget)
    left = list(cuts)
    heats: list[Heat] = []
    for share, keep in STAGES:
        amount = whole.amount * share
        if whole.kind == "steps":
            amount = float(int(amount))
        few = whole.kind == "steps" and amount < FEWEST_STEPS
        count = max(FEWEST, math.ceil(len(left) * keep))
        if few or count >= len(left):
            continue
        limit = replace(whole, amount=amount)
        outcome = compare(left, limit, 1)
        if outcome.interrupted:
            return _noted(outcome, heats), heats
        stay = survivors(outcome, count)
        names = [cut.name for cut in left]
        heats.append(
            Heat(
                str(limit),
                tuple(name for name in names if name in stay),
                tuple(name for name in names if name not in stay),
            )
        )
        left = [cut for cut in left if cut.name in stay]
    outcome = compare(left, whole, seeds)
    return _noted(outcome, heats), heats


def _noted(outcome: Report, heats: list[Heat]) -> Report:
    return replace(outcome, remarks=(*outcome.remarks, *(heat.note for heat in heats)))


def survivors(outcome: Outcome, count: int) -> set[str]:
    """The names of the rows that stay: the best on the part to choose on, honest ones first.

    Whether a row is past its own floor does not count here: measured, that let large vocabularies
    leave which won in the end (bench/log/compare.md).
    """
    better = -1 if outcome.metric.higher_is_better else 1

    def place(row: Row) -> tuple[bool, bool, float]:
        score = chosen(row)
        return score is None, row.honesty.lossy, better * (score or 0.0)

    return {row.name for row in sorted(outcome.cuts, key=place)[:count]}


def chosen(row: Row, rung: int = -1) -> float | None:
    """A row's mean score on the part to choose on, at a rung; None where nothing finished."""
    if not row.finished:
        return None
    return sum(run.rungs[rung].choose for run in row.finished) / len(row.finished)
