"""The result of a comparison: its rows, and what they say.

A row may be best only if it was trained, is honest, and its distance to the best is known. Rows
that are not told apart from the best are named with it: there is one notion of noise, the interval
of a difference over seeds and parts of the data. A row that was trained a little is measured beside
the others, but never named best: it has not yet passed what its own pieces give a linear model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tokfrag.compare.intervals import Interval, Scores, difference
from tokfrag.compare.metric import Metric
from tokfrag.compare.resuming import FORMAT
from tokfrag.compare.row import FEW_STEPS, Row
from tokfrag.compare.sample import SamplePicture
from tokfrag.compare.table import percent_text

#: Predictions further off than this are called out.
_TOLERANCE = 0.2
#: A smaller share of what a cut did not know is not spoken of.
_NEARLY_NONE = 5e-5
#: A training that got less than this of the processor's time was not alone.
_BUSY = 0.8


@dataclass(frozen=True)
class Outcome:
    """Rows of one comparison, and what is needed to judge and repeat it.

    ``budgets`` are the rungs of the ladder, rising; ``samples`` shows how each cut cuts one sample;
    ``second`` are the best two rows trained again with another body.

    Examples
    --------
    >>> from tokfrag.compare import Report, Row, Run, Rung
    >>> from tokfrag.compare.metric import ACCURACY
    >>> def row(name, *scores):
    ...     runs = (Run(i, (Rung(1.0, s, s, steps=400),)) for i, s in enumerate(scores))
    ...     return Row(name, ACCURACY, runs=tuple(runs))
    >>> rows = (row("patch:4", 0.97, 0.96, 0.98), row("pixels:16", 0.5, 0.51, 0.49))
    >>> report = Report("digits", "made up", ACCURACY, ("1 GFLOP",), (0, 1, 2), rows)
    >>> [row.name for row in report.ties()]
    ['patch:4']
    >>> report.behind(rows[1]).excludes_zero
    True
    """

    task: str
    about: str
    metric: Metric
    budgets: tuple[str, ...]
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    remarks: tuple[str, ...] = ()
    samples: Mapping[str, SamplePicture] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    key: str = ""
    interrupted: bool = False
    second: tuple[Row, ...] = ()

    @property
    def title(self) -> str:
        """The data and the budget, on one line."""
        count = len(self.seeds)
        return (
            f"{self.task}: {self.about}; {self.budgets[-1]} a training, "
            f"{count} seed{'' if count == 1 else 's'}"
        )

    @property
    def legend(self) -> str:
        """What the marks mean."""
        return "* no cheaper row is as good as this one, or not told apart from it"

    @property
    def cuts(self) -> list[Row]:
        """The rows that were trained or should have been: no baselines."""
        return [row for row in self.rows if row.baseline is None]

    @cached_property
    def ranked(self) -> list[Row]:
        """The rows that may be best, the best first."""
        # Of rows that are equal, such as two without a mistake, what was trained goes first.
        way = -1 if self.metric.higher_is_better else 1
        return sorted(
            (row for row in self.cuts if row.ranked),
            key=lambda row: (way * (row.quality or 0.0), row.trained != "yes", flops_of(row)),
        )

    @cached_property
    def in_order(self) -> list[Row]:
        """All rows as they are printed: the best first, then what may not be best, baselines."""

        def place(row: Row) -> tuple[bool, bool, float]:
            way = -1 if self.metric.higher_is_better else 1
            return row.baseline is not None, row.quality is None, way * (row.quality or 0.0)

        others = [row for row in self.rows if row not in self.ranked]
        return [*self.ranked, *sorted(others, key=place)]

    @property
    def ahead(self) -> Row | None:
        """The row with the best mean of those that are honest and not untrained."""
        return self.ranked[0] if self.ranked else None

    @property
    def best(self) -> Row | None:
        """The row ahead; None where that one was trained only a little."""
        return self.ahead if self.ahead is not None and self.ahead.trained == "yes" else None

    def behind(self, row: Row, *, best: Row | None = None, rung: int = -1) -> Interval | None:
        """How far a row is from the one ahead, with the interval of the difference.

        None for the one ahead itself, and for rows that are lossy or untrained.

        Parameters
        ----------
        row
            One of the rows.
        best
            The row to be compared with; the one ahead where left out.
        rung
            The budget's place in the ladder; the last where it is -1.

        Returns
        -------
        Interval or None
            ``row`` less ``best``, in the metric's unit.
        """
        best = self.ahead if best is None else best
        if best is None or row is best or row not in self.ranked:
            return None
        mine, its = row.scores(rung), best.scores(rung)
        if mine is None or its is None:
            return None
        return difference(mine, its, rows=_scores(self.ranked, rung))

    def ties(self) -> list[Row]:
        """The best row and those not told apart from it, the best first.

        Returns
        -------
        list of Row
            Empty where no row may be called best.
        """
        if self.best is None:
            return []
        found = [self.best]
        for row in self.ranked[1:]:
            apart = self.behind(row)
            if row.trained == "yes" and apart is not None and not apart.excludes_zero:
                found.append(row)
        return found

    def on_front(self, row: Row) -> bool:
        """Whether every cheaper row is told apart from this one, and is worse.

        A row of the same cost must not be told apart and better.

        Parameters
        ----------
        row
            One of the rows.

        Returns
        -------
        bool
            False for rows that are lossy, or trained a little or not at all.
        """
        if row not in self.ranked or row.trained != "yes":
            return False
        for other in self.ranked:
            if other is row or flops_of(other) > flops_of(row):
                continue
            apart = self.behind(other, best=row)
            told = apart is not None and apart.excludes_zero
            worse = self.metric.better(row.quality or 0.0, other.quality or 0.0)
            if flops_of(other) < flops_of(row):
                if not (worse and told):
                    return False
            elif told and not worse:
                return False
        return True

    @property
    def headline(self) -> str:
        """The answer in one sentence."""
        if self.best is None:
            if self.ahead is not None:
                ahead = self.metric.text(self.ahead.quality or 0.0, self.ahead.half_interval)
                return (
                    f"no best yet at {self.budgets[-1]}: {self.ahead.name} is ahead, {ahead}, but "
                    "trained only a little; give a larger budget"
                )
            if not any(row.finished for row in self.cuts):
                return "no training gave a score"
            return (
                f"nothing can be said at {self.budgets[-1]}: no row is both honest and better than "
                "its own floor"
            )
        ties = self.ties()
        text = self.metric.text(self.best.quality or 0.0, self.best.half_interval)
        if len(ties) == 1:
            alone = len(self.ranked) == 1
            return f"best: {self.best.name}, {text}" + (
                " (the only row that counts)" if alone and len(self.cuts) > 1 else ""
            )
        names = ", ".join(row.name for row in ties)
        return f"best: {names} (not told apart), {self.best.name} {text}"

    @property
    def notes(self) -> list[str]:
        """What a reader should know: the answer, ties, crossings, losses, failures."""
        found = [self.headline, *self._cheapest(), *self._crossings(), *self._baseline_note()]
        found += self._of_rows()
        found += self._more()
        found += self.remarks
        if self.ranked and len(self.seeds) == 1:
            found.append("one seed: how much trainings differ by luck is in no interval here")
        found += self._busy_note()
        if self.interrupted:
            found.append("interrupted: rows hold what had finished")
        return found

    def _of_rows(self) -> list[str]:
        """What is to be said of single rows; what is true of several is said once."""
        named: dict[str, list[str]] = {}
        for row in self.cuts:
            for note in _row_notes(row, self.metric):
                named.setdefault(note.removeprefix(f"{row.name}: "), []).append(row.name)
        return [f"{', '.join(names)}: {note}" for note, names in named.items()]

    def _more(self) -> list[str]:
        """The problem's other measures, one a line."""
        told = {row.name: row.more for row in self.cuts if row.more}
        names = dict.fromkeys(name for more in told.values() for name in more)
        return [
            f"{name}: " + ", ".join(f"{row} {more[name]:.3f}" for row, more in told.items())
            for name in names
        ]

    def _cheapest(self) -> list[str]:
        ties = self.ties()
        if len(ties) < 2:
            return []
        cheap = min(ties, key=flops_of)
        dear = max(ties, key=flops_of)
        if not flops_of(dear):
            return []
        share = flops_of(cheap) / flops_of(dear)
        return [f"of these {cheap.name} is the cheapest a sample, {share:.2f} of {dear.name}"]

    def _crossings(self) -> list[str]:
        """Where another row was ahead at a smaller budget: the answer depends on the budget."""
        if self.ahead is None:
            return []
        found = []
        for rung, budget in enumerate(self.budgets[:-1]):
            rows = [r for r in self.ranked if r.begun(rung) and r.scores(rung)]
            if not rows:
                continue
            scored = {r.name: q.mean for r in rows if (q := r.quality_at(rung)) is not None}
            choose = max if self.metric.higher_is_better else min
            first = choose(scored, key=lambda name: scored[name])
            if first == self.ahead.name:
                continue
            row = next(r for r in rows if r.name == first)
            mine, its = row.scores(rung), self.ahead.scores(rung)
            if self.ahead not in rows or mine is None or its is None:
                continue
            if difference(mine, its, rows=_scores(rows, rung)).excludes_zero:
                found.append(
                    f"at {budget} {first} was ahead of {self.ahead.name}: their lines cross below "
                    f"{self.budgets[-1]}"
                )
        return found

    def _baseline_note(self) -> list[str]:
        naive = [row for row in self.rows if row.baseline is not None]
        if not naive or not self.ranked:
            return []
        choose = max if self.metric.higher_is_better else min
        bar = choose(naive, key=lambda row: row.baseline or 0.0)
        level = f"the baseline {bar.name}, {self.metric.text(bar.baseline or 0.0)}"
        better = [
            row for row in self.ranked if self.metric.better(row.quality or 0.0, bar.baseline or 0)
        ]
        if not better:
            return [f"no cut beats {level}"]
        worse = [row.name for row in self.ranked if row not in better]
        return [f"no better than {level}: {', '.join(worse)}"] if worse else []

    def _busy_note(self) -> list[str]:
        runs = [run.last for row in self.rows for run in row.finished]
        seconds = sum(run.seconds for run in runs)
        share = sum(run.cpu_seconds for run in runs) / seconds if seconds else 1.0
        if share >= _BUSY or not self.budgets[-1].endswith(" s"):
            return []
        return [
            f"busy machine: trainings had {share * 100:.0f} % of a processor, so rows differ by "
            "their luck too; a budget in FLOPs does not depend on it"
        ]

    def to_dict(self) -> dict[str, Any]:
        """The whole outcome as JSON takes it, every rung's raw figures with it.

        Returns
        -------
        dict
            What :meth:`Report.from_json` reads back.
        """
        front = {row.name for row in self.ranked if self.on_front(row)}
        rows = []
        for row in self.rows:
            apart = self.behind(row)
            rows.append(
                {
                    **row.to_dict(),
                    "behind": None if apart is None else [apart.mean, apart.half],
                    "front": row.name in front,
                }
            )
        return {
            "format": FORMAT,
            "task": self.task,
            "about": self.about,
            "metric": self.metric.name,
            "higher_is_better": self.metric.higher_is_better,
            "budgets": list(self.budgets),
            "seeds": list(self.seeds),
            "headline": self.headline,
            "ties": [row.name for row in self.ties()],
            "rows": rows,
            "notes": self.notes,
            "remarks": list(self.remarks),
            "second": [row.to_dict() for row in self.second],
            "samples": {name: picture.to_dict() for name, picture in self.samples.items()},
            "environment": dict(self.environment),
            "command": self.command,
            "key": self.key,
            "interrupted": self.interrupted,
        }


def _scores(rows: Sequence[Row], rung: int) -> list[Scores]:
    return [scores for row in rows if (scores := row.scores(rung)) is not None]


def flops_of(row: Row) -> float:
    """A row's training FLOPs a sample, by which cuts are cheap or dear."""
    return 0.0 if row.facts is None else row.facts.flops


def _ratio(predicted: float | None, measured: float) -> float:
    return 1.0 if predicted is None or not measured else predicted / measured


def _row_notes(row: Row, metric: Metric) -> list[str]:
    found = []
    if row.honesty.lossy:
        where = f" ({row.honesty.first})" if row.honesty.first else ""
        found.append(
            f"{row.name}: LOSSY, {row.honesty.reason}{where}; {row.honesty.lost_bytes} bytes of "
            "the judging part are lost, and charged at the price of byte frequencies"
        )
    if row.trained == "no" and not row.begun():
        floor = row.floors[0]
        found.append(
            f"{row.name}: untrained, no better than {floor.name}, {metric.text(floor.score)}; it "
            "needs a larger budget"
        )
    elif row.trained == "no":
        found.append(
            f"{row.name}: untrained, {row.steps:.0f} steps; it needs about "
            f"{FEW_STEPS / max(1.0, row.steps):.1f} times the budget"
        )
    elif row.trained == "a little":
        floor = row.floors[row.passed()]
        found.append(
            f"{row.name}: trained a little, {row.steps:.0f} steps, no better than {floor.name}, "
            f"{metric.text(floor.score)}; a larger budget may change its place"
        )
    found += [f"{row.name}: {note}" for note in row.notes]
    found += [f"{row.name}: failed, {failure}" for failure in row.failures]
    stopped = [
        run for run in row.finished if run.at(len(run.rungs) - 1, metric) is not run.rungs[-1]
    ]
    if stopped:
        found.append(
            f"{row.name}: {len(stopped)} of {len(row.finished)} trainings were best at an earlier "
            "rung, which counts"
        )
    facts = row.facts
    if facts is None:
        return found
    if facts.coverage < 1:
        lost = percent_text(1 - facts.coverage, 2)
        found.append(f"{row.name}: loses data, {lost} % of the positions lie in no piece")
    if facts.unknown and facts.unknown >= _NEARLY_NONE:
        share = percent_text(facts.unknown, 2)
        found.append(f"{row.name}: {share} % of the judging part lies outside what it learnt")
    # Memory foretold too high does no harm; too low, and the gate lets pass what will not fit.
    flops = _ratio(facts.flops_predicted, facts.flops)
    memory = _ratio(facts.memory_predicted, facts.memory)
    if abs(flops - 1) > _TOLERANCE:
        found.append(f"{row.name}: FLOPs predicted {flops:.2f} times what was measured")
    if memory < 1 - _TOLERANCE:
        found.append(f"{row.name}: peak memory predicted {memory:.2f} times what was measured")
    return found
