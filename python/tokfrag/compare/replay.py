"""What the rows of a finished comparison cost in use: answers given later, longer samples, serving.

Rows are trained at one cost each, but their answers cost differently, and what a dear answer costs
could have gone into training. Nothing is trained here: costs follow from the facts of each cut, and
a score at another cost is read off the row's own ladder, or is not told where that ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from tokfrag.compare.outcome import Outcome, flops_of
from tokfrag.compare.row import Row
from tokfrag.compare.table import Column, count_text, name_cell, quality_cell, text_table

# A training step is an answer and its gradients, which cost twice as much.
_PASSES = 3


@dataclass(frozen=True)
class Use:
    """How a network is used once it is trained.

    Parameters
    ----------
    answers
        Samples that it will be asked about.
    context
        How many times as long each of them is as those of the comparison.
    weight
        What an operation of an answer costs, where one of training costs 1.

    Examples
    --------
    >>> Use(answers=1e6).of_training(2.0e12, flops=9e6)
    5000000000000.0
    """

    answers: float = 0.0
    context: float = 1.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.answers < math.inf:
            raise ValueError(f"answers: got {self.answers}; it takes a number from 0 up")
        for name, value in (("context", self.context), ("serve_weight", self.weight)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name}: got {value}; it takes a number above zero")

    def answer(self, flops: float, attention: float | None = 0.0) -> float | None:
        """Operations of one answer.

        Parameters
        ----------
        flops
            Of training on one sample.
        attention
            The share of them that grows with the square of the number of pieces; None where it is
            not known.

        Returns
        -------
        float or None
            None where samples are of another length and the share is not known.
        """
        if self.context == 1:
            return flops / _PASSES
        if attention is None:
            return None
        return flops / _PASSES * self.context * (1 - attention + attention * self.context)

    def of_training(
        self, training: float, *, flops: float, attention: float | None = 0.0
    ) -> float | None:
        """Operations of a training and of all answers after it, the latter at their weight."""
        one = self.answer(flops, attention)
        return None if one is None else training + self.weight * self.answers * one


def in_all(row: Row, use: Use) -> float | None:
    """What a row costs, trained and used; None where that cannot be told.

    Parameters
    ----------
    row
        A row of a comparison.
    use
        How it is used.

    Returns
    -------
    float or None
        Operations.
    """
    if row.facts is None or not row.finished:
        return None
    return use.of_training(
        _spent(row, -1), flops=flops_of(row), attention=row.facts.attention_share
    )


def at_flops(row: Row, flops: float) -> float | None:
    """A row's score after so many operations of training, read off its ladder.

    Parameters
    ----------
    row
        A row of a comparison.
    flops
        Operations of one training.

    Returns
    -------
    float or None
        Between two rungs on the line through them, over the logarithm of what they cost; None
        before the first and after the last.
    """
    if not row.finished:
        return None
    rungs = range(len(row.finished[0].rungs))
    points = [
        (math.log(spent), found.mean)
        for rung in rungs
        if (spent := _spent(row, rung)) > 0 and (found := row.quality_at(rung)) is not None
    ]
    if not points or flops <= 0:
        return None
    place = math.log(flops)
    # The last rung is reached but for rounding.
    if abs(place - points[-1][0]) < 1e-9:
        return points[-1][1]
    for (left, low), (right, high) in pairwise(points):
        if left <= place <= right:
            return low + (high - low) * (place - left) / (right - left)
    return None


def equal_cost(outcome: Outcome, use: Use) -> tuple[Row | None, dict[str, float]]:
    """What each row reaches where all may cost as much as the one that costs least in all.

    Parameters
    ----------
    outcome
        A comparison.
    use
        How its rows are used.

    Returns
    -------
    tuple
        The row that costs least, and scores by name: of rows that may be best, and whose ladder
        holds what is left for training once the answers are paid.
    """
    totals = {row.name: total for row in outcome.ranked if (total := in_all(row, use)) is not None}
    if not totals:
        return None, {}
    rows = {row.name: row for row in outcome.ranked}
    least = min(totals, key=lambda name: totals[name])
    found = {}
    for name, total in totals.items():
        answers = total - _spent(rows[name], -1)
        score = at_flops(rows[name], totals[least] - answers)
        if score is not None:
            found[name] = score
    return rows[least], found


def replay_text(outcome: Outcome, use: Use) -> str:
    """A table of what rows cost in use, and what is best at equal cost.

    Parameters
    ----------
    outcome
        A comparison.
    use
        How its rows are used.

    Returns
    -------
    str
        Lines to be printed.
    """
    least, equal = equal_cost(outcome, use)

    def flops(row: Row) -> float | None:
        if row.facts is None:
            return None
        return use.answer(flops_of(row), row.facts.attention_share)

    columns = (
        Column("cut", name_cell),
        Column("quality", quality_cell),
        Column("FLOPs/answer", lambda row, judge: _count(flops(row))),
        Column("training", lambda row, judge: _count(_spent(row, -1) if row.finished else None)),
        Column("in all", lambda row, judge: _count(in_all(row, use))),
        Column(
            "at equal cost",
            lambda row, judge: row.metric.text(equal[row.name]) if row.name in equal else "-",
        ),
    )
    rows = [row for row in outcome.in_order if row.facts is not None]
    longer = "" if use.context == 1 else f" of {use.context:g} times the length"
    weight = "" if use.weight == 1 else f", an operation of theirs at {use.weight:g}"
    lines = [
        f"With {use.answers:g} answers{longer} after a training{weight}",
        "",
        text_table(columns, rows, outcome),
        "",
    ]
    if least is None:
        return "\n".join([*lines, "- no row may be best: nothing is told at equal cost"])
    choose = max if outcome.metric.higher_is_better else min
    lines.append(
        f"- equal cost: {_count(in_all(least, use))} FLOPs, what {least.name} takes in all"
    )
    if equal:
        best = choose(equal, key=lambda name: equal[name])
        lines.append(
            f"- at equal cost: {best}, {outcome.metric.text(equal[best])}; read off the ladders, "
            "without an interval"
        )
    missing = [row.name for row in outcome.ranked if row.name not in equal]
    if missing:
        lines.append(
            f"- {', '.join(missing)}: not told, what is left for training is less than the first "
            "rung, or how its cost grows with the context is not known"
        )
    return "\n".join(lines)


def _count(value: float | None) -> str:
    return "-" if value is None else count_text(value)


def _spent(row: Row, rung: int) -> float:
    """Operations of one training up to a rung, the mean over seeds."""
    return sum(run.rungs[rung].flops for run in row.finished) / len(row.finished)
