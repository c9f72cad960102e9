"""The result of a comparison: rows, and ways to look at them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from typing import Any

from tokfrag._files import write_new
from tokfrag.compare.metric import Metric
from tokfrag.compare.row import Row
from tokfrag.compare.table import TABLES, percent_text, text_table

#: Predictions further off than this are called out.
_TOLERANCE = 0.2
#: A training that got less than this of the processor's time was not alone.
_BUSY = 0.8


@dataclass(frozen=True)
class Report:
    """Rows of one comparison, and what is needed to judge and repeat it."""

    task: str
    about: str
    metric: Metric
    budget: str
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    environment: dict[str, str] = field(default_factory=dict)
    command: str = ""
    key: str = ""
    interrupted: bool = False

    @property
    def title(self) -> str:
        count = len(self.seeds)
        return (
            f"{self.task}: {self.about}; {self.budget} a training, "
            f"{count} seed{'' if count == 1 else 's'}"
        )

    @property
    def legend(self) -> str:
        """What the marks mean, and by which formula the FLOPs were predicted."""
        formulas = {row.facts.flops_formula for row in self.rows if row.facts is not None}
        named = " and ".join(sorted(formula for formula in formulas if formula))
        text = "* on the Pareto front of quality against FLOPs; p the planner's pick"
        return text + (f"; FLOPs predicted for {named}" if named else "")

    @property
    def notes(self) -> list[str]:
        """What a reader should know: losses, failures, wrong predictions, the planner's luck."""
        found = self._answer()
        for row in self.rows:
            found += [f"{row.name}: {note}" for note in row.notes]
            found += [f"{row.name}: failed, {failure}" for failure in row.failures]
            facts = row.facts
            if facts is None:
                continue
            if facts.coverage < 1:
                lost = percent_text(1 - facts.coverage, 2)
                found.append(f"{row.name}: loses data, {lost} % of the positions lie in no piece")
            if facts.unknown:
                share = percent_text(facts.unknown, 2)
                found.append(f"{row.name}: {share} % of the test part lies outside what it learnt")
            for what, predicted, measured in (
                ("FLOPs", facts.flops_predicted, facts.flops),
                ("peak memory", facts.memory_predicted, facts.memory),
            ):
                if predicted is not None and abs(predicted / measured - 1) > _TOLERANCE:
                    found.append(
                        f"{row.name}: {what} predicted {predicted / measured:.2f} times what "
                        "was measured"
                    )
        found += self._planner_note() + self._busy_note()
        if self.interrupted:
            found.append("interrupted: rows hold what had finished")
        return found

    def _busy_note(self) -> list[str]:
        runs = [run for row in self.rows for run in row.runs if run.score is not None]
        seconds = sum(run.train_seconds for run in runs)
        share = sum(run.cpu_seconds for run in runs) / seconds if seconds else 1.0
        if share >= _BUSY or not self.budget.endswith(" s"):
            return []
        return [
            f"busy machine: trainings had {share * 100:.0f} % of a processor, so rows differ by "
            "their luck too; a budget in FLOPs does not depend on it"
        ]

    def _scored(self) -> list[Row]:
        return [row for row in self.rows if row.facts is not None and row.quality is not None]

    def _best(self, rows: list[Row]) -> Row:
        best = rows[0]
        for row in rows[1:]:
            if self.metric.better(row.quality or 0.0, best.quality or 0.0):
                best = row
        return best

    def _answer(self) -> list[str]:
        """Which cut came out best, what comes as close for less, and if any was worth it."""
        scored = self._scored()
        if not scored:
            return []
        best = self._best(scored)
        text = f"best: {best.name}, {self.metric.text(best.quality or 0.0, best.half_interval)}"
        # A row whose own noise is large is no recommendation.
        noise = best.half_interval or 0.0
        close = [r for r in scored if _gap(r, best) <= noise and _flops(r) < _flops(best)]
        if close:
            cheap = min(close, key=_flops)
            share = _flops(cheap) / _flops(best)
            text += f"; {cheap.name} is within the noise of it for {share:.2f} of the FLOPs"
        found = [text]
        naive = [row for row in self.rows if row.baseline is not None]
        if naive:
            bar = self._best(naive)
            level = f"the baseline {bar.name}, {self.metric.text(bar.quality or 0.0)}"
            behind = [r for r in scored if not self.metric.better(r.quality or 0, bar.quality or 0)]
            if best in behind:
                found.append(f"no cut beats {level}")
            elif behind:
                found.append(f"no better than {level}: {', '.join(row.name for row in behind)}")
        return found

    def _planner_note(self) -> list[str]:
        scored = self._scored()
        planned = next((row for row in scored if row.planned), None)
        if planned is None:
            return []
        best = self._best(scored)
        if best is planned:
            return [f"planner: picked {planned.name}, and it came out best"]
        verdict = "within the noise of it" if _alike(best, planned) else "so the pick was wrong"
        return [f"planner: picked {planned.name}; {best.name} came out best, {verdict}"]

    def table(self, *, full: bool = False) -> str:
        """The main table as text with its notes, or all tables."""
        rows = self.rows
        parts = [self.title, ""]
        for i, (title, columns) in enumerate(TABLES.items()):
            if i and not full:
                break
            shown = rows if i == 0 else [row for row in rows if row.facts is not None]
            parts += (
                [title, text_table(columns, shown), ""]
                if full
                else [
                    text_table(columns, shown),
                    "",
                ]
            )
        parts.append(self.legend)
        parts += [f"- {note}" for note in self.notes]
        return "\n".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """The whole report as JSON takes it."""
        return {
            "format": 1,
            "task": self.task,
            "about": self.about,
            "metric": self.metric.name,
            "higher_is_better": self.metric.higher_is_better,
            "budget": self.budget,
            "seeds": list(self.seeds),
            "rows": [row.to_dict() for row in self.rows],
            "notes": self.notes,
            "environment": self.environment,
            "command": self.command,
            "key": self.key,
            "interrupted": self.interrupted,
        }

    def to_json(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write everything as JSON; an existing file is only replaced when forced."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        write_new(path, (text + "\n").encode(), force=force)

    def plot(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Draw quality against cost, the Pareto front through it; the suffix names the format."""
        from tokfrag.compare.views.plot import check_format, render

        write_new(path, render(self, check_format(path)), force=force)

    def to_html(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write one self-contained page: tables, plot, machine, versions, seeds, command."""
        from tokfrag.compare.views.page import render_page

        write_new(path, render_page(self).encode(), force=force)


def _flops(row: Row) -> float:
    return 0.0 if row.facts is None else row.facts.flops


def _alike(one: Row, other: Row) -> bool:
    """Whether two rows are no further apart than their intervals together."""
    return _gap(one, other) <= (one.half_interval or 0.0) + (other.half_interval or 0.0)


def _gap(one: Row, other: Row) -> float:
    return abs((one.quality or 0.0) - (other.quality or 0.0))


def with_pareto_front(rows: list[Row]) -> list[Row]:
    """Mark the rows that no other one beats in quality at the same or fewer FLOPs a sample."""
    scored = [row for row in rows if row.facts is not None and row.quality is not None]

    def beaten(row: Row) -> bool:
        assert row.facts is not None
        assert row.quality is not None
        for other in scored:
            assert other.facts is not None
            assert other.quality is not None
            cheaper = other.facts.flops <= row.facts.flops
            better = row.metric.better(other.quality, row.quality)
            as_good = better or other.quality == row.quality
            if cheaper and as_good and (better or other.facts.flops < row.facts.flops):
                return True
        return False

    return [replace(row, pareto=row in scored and not beaten(row)) for row in rows]
