"""What to take at a budget, and what at ten times that: crossings foretold, or silence.

Beyond the last rung nothing is known. A row's loss has fallen by so much in its last step; it may
go on as steeply, or stand still from here on. Between these two lies the forecast, wider by the
noise of its rungs. Where fewer than two rows have three rungs past their own floor, or forecasts
say nothing, the verdict says so. Where lines cross is told by letting each slow down as it did.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.outcome import Outcome
from tokfrag.compare.row import Row

#: How much further the verdict looks.
FURTHER = 10.0
_DRAWS = 400
_RUNGS = 3
# Losses whose logarithms differ by less are the same.
_EQUAL = 1e-9
_FORM = re.compile(r"([0-9.e+-]+) ?(.*)")


@dataclass(frozen=True)
class Verdict:
    """The rows to take now and later, by name; where the lines of the first two may cross.

    ``later`` is empty where nothing can be said, and ``silence`` then tells why. ``unknown`` are
    rows that have not begun to learn at enough rungs: they may come to be anything.
    """

    now: tuple[str, ...]
    later: tuple[str, ...]
    budget: str
    later_budget: str
    crossing: str | None = None
    silence: str = ""
    unknown: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """One sentence."""
        if not self.now and not self.later:
            return f"at {self.budget}: not settled"
        found = f"at {self.budget}: {_or(self.now) if self.now else 'not settled'}"
        if not self.later:
            return f"{found}; at {self.later_budget}: not settled ({self.silence})"
        found += f"; at {self.later_budget}: {_or(self.later)}"
        found += f", the lines cross near {self.crossing}" if self.crossing else ""
        if not self.unknown:
            return found
        are = "is" if len(self.unknown) == 1 else "are"
        return f"{found} ({', '.join(self.unknown)} {are} not foretold)"


def verdict(outcome: Outcome, *, further: float = FURTHER) -> Verdict:
    """What an outcome says of its own budget, and of a larger one.

    Parameters
    ----------
    outcome
        A ladder of rows.
    further
        How many times the budget the second statement is about.

    Returns
    -------
    Verdict
        Silent about the larger budget where fewer than two rows have three rungs past their own
        floors, or where hardly any row can be left out.

    Examples
    --------
    >>> from tokfrag.compare import Report, Row, Run, Rung
    >>> from tokfrag.compare.metric import MSE
    >>> def row(name, *scores):
    ...     rungs = tuple(Rung(0.25 ** (2 - i), s, s, steps=400) for i, s in enumerate(scores))
    ...     return Row(name, MSE, runs=(Run(0, rungs),))
    >>> rows = (row("patch:48", 0.50, 0.42, 0.41), row("patch:8", 0.90, 0.61, 0.44))
    >>> report = Report("series", "", MSE, ("1 GFLOP", "4 GFLOP", "16 GFLOP"), (0,), rows)
    >>> said = verdict(report)
    >>> said.later, said.crossing
    (('patch:8', 'patch:48'), '23 GFLOP')
    """
    budget = outcome.budgets[-1]
    later_budget = scaled(budget, further)
    now = tuple(row.name for row in outcome.ties()) or (
        (outcome.ahead.name,) if outcome.ahead is not None else ()
    )
    # A row of too few steps may not be named best, but that it falls, and how fast, is seen.
    known = [row for row in outcome.cuts if row.finished and _is_known(row)]
    if len(outcome.budgets) < _RUNGS or len(known) < 2:
        why = f"fewer than two rows have {_RUNGS} rungs past their own floor"
        return Verdict(now, (), budget, later_budget, silence=why)
    steps = math.log(further) / math.log(_ratio(outcome))
    rng = np.random.default_rng(0)
    drawn = {row.name: _forecasts(row, outcome, steps, rng) for row in known}
    names = list(drawn)
    losses = np.stack([drawn[name] for name in names])
    ahead = losses <= losses.min(axis=0) + _EQUAL
    chance = (ahead / ahead.sum(axis=0)).mean(axis=1)
    order = np.argsort(-chance)
    later: list[str] = []
    for place in order:
        later.append(names[place])
        if sum(chance[order[: len(later)]]) >= 0.9:
            break
    if len(later) > 2:
        return Verdict(now, (), budget, later_budget, silence="too many rows may come out ahead")
    other = next((name for name in later if name not in now[:1]), None)
    crossing = None if other is None or not now else _crossing(outcome, now[0], other, further)
    unknown = tuple(
        row.name
        for row in outcome.cuts
        if row.finished and not row.honesty.lossy and row.name not in names
    )
    return Verdict(now, tuple(later), budget, later_budget, crossing, unknown=unknown)


def verdict_notes(outcome: Outcome) -> list[str]:
    """The verdict as a note; none where there is no ladder, or no row that counts."""
    if len(outcome.budgets) < _RUNGS or outcome.ahead is None:
        return []
    return [verdict(outcome).text]


def _or(names: tuple[str, ...]) -> str:
    return " or ".join(names) if len(names) < 3 else ", ".join(names[:-1]) + f" or {names[-1]}"


def _is_known(row: Row) -> bool:
    rungs = len(row.finished[0].rungs)
    if row.honesty.lossy:
        return False
    return rungs >= _RUNGS and all(row.begun(rungs - 1 - i) for i in range(_RUNGS))


def _ratio(outcome: Outcome) -> float:
    """How many times the budget of the rung before last the last one is."""
    last, before = (_amount(budget)[0] for budget in outcome.budgets[:-3:-1])
    return last / before


def _losses(row: Row, outcome: Outcome) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What is left to be gained at the last three rungs, as logarithms, and their spread."""
    rungs = len(row.finished[0].rungs)
    means, spreads = [], []
    for rung in range(rungs - _RUNGS, rungs):
        found = row.quality_at(rung)
        assert found is not None
        loss = 1 - found.mean if outcome.metric.higher_is_better else found.mean
        loss = max(loss, 1e-6)
        scores = row.scores(rung)
        seeds = scores.by_seed if scores is not None else np.zeros(1)
        # The noise of the judging data's parts is the same at all rungs, see _shift.
        spread = float(seeds.std(ddof=1)) / math.sqrt(len(seeds)) if len(seeds) > 1 else 0.01 * loss
        means.append(math.log(loss))
        spreads.append(spread / loss)
    return np.array(means), np.array(spreads)


def _forecasts(
    row: Row, outcome: Outcome, steps: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Losses at the larger budget, as logarithms: draws over noise and over how the line bends."""
    means, spreads = _losses(row, outcome)
    points = means + spreads * rng.standard_normal((_DRAWS, _RUNGS))
    points = points + _shift(row, outcome) / math.exp(means[-1]) * rng.standard_normal((_DRAWS, 1))
    last = points[:, 2] - points[:, 1]
    bend = rng.uniform(size=_DRAWS)
    found: NDArray[np.float64] = points[:, 2] + np.minimum(last, 0.0) * _sum(bend, steps)
    return found


def _shift(row: Row, outcome: Outcome) -> float:
    """How far a whole line may lie off its place beside the others, in the metric's unit.

    Half of the interval of a difference is two standard deviations of it, shared by two rows.
    """
    others = [row] if row is not outcome.ahead else outcome.ranked[1:]
    halves = [apart.half for one in others if (apart := outcome.behind(one)) and apart.half]
    return min(halves, default=0.0) / 2 / math.sqrt(2)


def _sum(bend: NDArray[np.float64], steps: float) -> NDArray[np.float64]:
    """``bend + bend^2 + ...``, ``steps`` terms, which need not be whole."""
    close = np.abs(1 - bend) < 1e-6
    safe = np.where(close, 0.5, bend)
    found: NDArray[np.float64] = np.where(close, steps, safe * (1 - safe**steps) / (1 - safe))
    return found


def _crossing(outcome: Outcome, now: str, later: str, further: float) -> str | None:
    """The budget at which the line of the row to take later passes that of the row to take now."""
    rows = {row.name: row for row in outcome.cuts}
    if not (_is_known(rows[now]) and _is_known(rows[later])):
        return None
    ratio = _ratio(outcome)

    def at(name: str, times: float) -> float:
        means, _ = _losses(rows[name], outcome)
        first, last = means[1] - means[0], means[2] - means[1]
        bend = min(1.0, max(0.0, last / first)) if first else 1.0
        steps = math.log(times) / math.log(ratio)
        return float(means[2] + min(last, 0.0) * _sum(np.array([bend]), steps)[0])

    for times in np.geomspace(1, further, 60):
        if at(later, float(times)) < at(now, float(times)):
            return scaled(outcome.budgets[-1], float(times), digits=2)
    return None


def _amount(budget: str) -> tuple[float, str]:
    match = _FORM.fullmatch(budget)
    if match is None:
        raise ValueError(f"budget: got {budget!r}; it takes a number and a unit")
    return float(match[1]), match[2]


def scaled(budget: str, times: float, *, digits: int = 4) -> str:
    """A budget so many times larger, in the same unit.

    Examples
    --------
    >>> scaled("44 GFLOP", 10)
    '440 GFLOP'
    """
    amount, unit = _amount(budget)
    rounded = float(f"{amount * times:.{digits}g}")
    return f"{rounded:g} {unit}".rstrip()
