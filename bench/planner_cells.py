"""The planner left one out: ten data sets, two budgets each; regret of its choice and of others'.

    TOKFRAG_DATA=... python bench/planner_cells.py measure FOLDER [NAME ...]
    python bench/planner_cells.py score FOLDER
    python bench/planner_cells.py crossings SMALL.json BIG.json [SMALL.json BIG.json ...]

``measure`` trains every cut of a data set up one ladder of five rungs, each twice the one before,
and keeps the reports. ``score`` trains nothing: a cell is a data set at the third rung or at the
last, a race runs on the two rungs below, and what it learns from nine data sets (how many rows to
keep after each rung) is applied to the tenth. ``crossings`` holds the verdict of a small ladder
against the last rung of another comparison of the same cuts.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tokfrag.compare import Report, Row, compare
from tokfrag.compare.budget import Budget
from tokfrag.compare.outcome import flops_of
from tokfrag.compare.planner.race import FEWEST, STAGES
from tokfrag.compare.planner.verdict import verdict
from tokfrag.compare.tasks import make_task
from tokfrag.compare.tasks.text import TextTask

#: Operations of the longest training, and the cuts between which is chosen.
_TEXT = ("bytes", "bpe:512", "bpe:2048", "bpe:4096", "window:4", "window:8/4")
_SERIES = ("patch:4", "patch:8", "patch:16/8", "patch:24", "patch:48", "whole")
CELLS: dict[str, tuple[str, str | None, float, tuple[str, ...]]] = {
    "manual": ("text", None, 20, _TEXT),
    "shakespeare": ("text", "tinyshakespeare.txt", 20, _TEXT),
    "chinese": ("text", "chinese_pure.txt", 20, _TEXT),
    "code": ("text", "code.txt", 20, _TEXT),
    "membrane": ("series", None, 12, _SERIES),
    "ETTh1": ("series", "eval/ett/ETTh1.csv.gz", 12, _SERIES),
    "digits": ("digits", None, 6, ("patch:1", "patch:2", "patch:4", "patch:4/2", "whole")),
    "mnist": (
        "digits",
        "eval/mnist/mnist_train10k.npz",
        12,
        ("patch:4", "patch:7", "patch:14/7", "patch:14", "whole"),
    ),
    "motion": (
        "motion",
        None,
        16,
        ("patch:1x16x16", "patch:2x8x8", "patch:4x8x8", "patch:4x16x16", "patch:1x16x16+diff"),
    ),
    "volume": ("volume", None, 10, ("whole", "patch:12", "patch:6", "patch:12/6", "patch:8")),
}
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)
_TEXT_BYTES = 600_000


def measure(folder: Path, names: Sequence[str]) -> None:
    """Train what is not there yet."""
    data = Path(os.environ["TOKFRAG_DATA"])
    for name in names:
        kind, file, top, cuts = CELLS[name]
        path = folder / f"{name}.json"
        if path.exists():
            continue
        if kind == "text" and file is not None:
            raw = (data / file).read_bytes()[:_TEXT_BYTES]
            task: object = TextTask(texts=[raw.decode("utf-8", "ignore")])
        else:
            task = make_task(kind, None if file is None else data / file, {})
        budgets = [f"{top * share:g} GFLOP" for share in SHARES]
        part = path.with_suffix(".part")
        report = compare(task, cuts, budgets=budgets, seeds=1, state=part, resume=part.exists())
        report.to_json(path)
        print(name, report.headline, flush=True)


@dataclass(frozen=True)
class Cell:
    """A data set at a budget: the rungs up to it, and how much worse a choice is than the best."""

    name: str
    rows: tuple[Row, ...]
    rung: int

    def score(self, row: Row, rung: int) -> float:
        """A loss on the part to choose on: what a planner may look at."""
        value = row.finished[0].rungs[rung].choose
        return 1 - value if row.metric.higher_is_better else value

    def regret(self, row: Row) -> float:
        """How much worse than the best on the judging part, as a share of what the best leaves."""
        losses = {}
        for one in self.rows:
            found = one.quality_at(self.rung)
            assert found is not None
            losses[one.name] = 1 - found.mean if one.metric.higher_is_better else found.mean
        least = min(losses.values())
        return (losses[row.name] - least) / max(least, 0.01)

    def race(self, keep: tuple[int, int]) -> Row:
        """The best at the cell's rung of those that were ahead at the two rungs before."""
        left: Sequence[Row] = self.rows
        for back, count in zip((2, 1), keep, strict=True):
            rung = self.rung - back
            left = sorted(left, key=lambda row: self.score(row, rung))[:count]
        return min(left, key=lambda row: self.score(row, self.rung))


def cheapest(cell: Cell) -> Row:
    """The cut with the fewest FLOPs a sample."""
    return min(cell.rows, key=flops_of)


def by_passes(cell: Cell) -> Row:
    """The rule there was: most pieces with ten passes over the data, else most passes."""

    def passes(row: Row) -> float:
        return row.finished[0].rungs[cell.rung].epochs

    enough = [row for row in cell.rows if passes(row) >= 10]
    if not enough:
        return max(cell.rows, key=passes)
    return max(enough, key=lambda row: 0.0 if row.facts is None else row.facts.pieces_p50)


def early(cell: Cell) -> Row:
    """The best at a quarter of the budget, and no race."""
    return min(cell.rows, key=lambda row: cell.score(row, cell.rung - 2))


KEEPS = tuple((first, second) for first in (2, 3, 4) for second in (1, 2, 3) if second <= first)


def cost(cell: Cell, keep: tuple[int, int]) -> float:
    """What a race costs, in whole trainings."""
    first, second = keep
    return len(cell.rows) / 4 + first / 2 + second


def learnt(others: Sequence[Cell]) -> tuple[int, int]:
    """How many rows to keep: the cheapest race whose mean regret elsewhere is at most 2 %."""
    fair = [k for k in KEEPS if statistics.mean(c.regret(c.race(k)) for c in others) <= 0.02]
    if fair:
        return min(fair, key=lambda k: statistics.mean(cost(cell, k) for cell in others))
    return min(KEEPS, key=lambda k: statistics.mean(c.regret(c.race(k)) for c in others))


def shipped(count: int) -> tuple[int, int]:
    """How many rows ``tokfrag compare --race`` keeps after each of its two stages."""
    first, second = (keep for _, keep in STAGES)
    stayed = max(FEWEST, math.ceil(count * first))
    return stayed, max(FEWEST, math.ceil(stayed * second))


def score(folder: Path) -> None:
    """Print regrets, left one data set out at a time, and how crossings were foretold."""
    reports = {path.stem: Report.from_json(path) for path in sorted(folder.glob("*.json"))}
    cells = []
    for name, report in reports.items():
        rows = tuple(row for row in report.cuts if row.finished)
        cells += [Cell(name, rows, rung) for rung in (2, 4)]
    regrets: dict[str, list[float]] = {}
    for cell in cells:
        keep = learnt([other for other in cells if other.name != cell.name])
        rules: dict[str, Callable[[Cell], Row]] = {
            "race": lambda cell, keep=keep: cell.race(keep),  # type: ignore[misc]
            "race as shipped": lambda cell: cell.race(shipped(len(cell.rows))),
            "best at a quarter": early,
            "cheapest a sample": cheapest,
            "most passes": by_passes,
        }
        told = []
        for rule, choose in rules.items():
            row = choose(cell)
            regrets.setdefault(rule, []).append(cell.regret(row))
            told.append(f"{rule} {row.name} {cell.regret(row) * 100:.1f}")
        anyhow = statistics.mean(cell.regret(row) for row in cell.rows)
        regrets.setdefault("random", []).append(anyhow)
        at = reports[cell.name].budgets[cell.rung]
        print(f"{cell.name} at {at}: keep {keep}, {'; '.join(told)}; random {anyhow * 100:.1f}")
    print(f"{len(cells)} cells of {len(reports)} data sets, regret in %: median, mean, worst")
    for rule, found in regrets.items():
        numbers = statistics.median(found), statistics.mean(found), max(found)
        print(f"  {rule}: " + ", ".join(f"{number * 100:.1f}" for number in numbers))
    for name, report in reports.items():
        print(f"  {name}: {foretold(report)}")


def foretold(report: Report) -> str:
    """The verdict of the first three rungs on four times their budget, against what came."""
    lower = replace(
        report,
        budgets=report.budgets[:3],
        rows=tuple(
            replace(row, runs=tuple(replace(run, rungs=run.rungs[:3]) for run in row.runs))
            for row in report.rows
        ),
    )
    return judged(lower, report, 4)


def judged(lower: Report, report: Report, further: float) -> str:
    """A verdict from a smaller budget against what came at the larger one."""
    said = verdict(lower, further=further)
    best = report.ahead
    rows = [row for row in lower.cuts if row.finished]
    foretold = set(said.later)
    if len(foretold) == len(rows):
        # That any row may come out ahead is no statement; that lines cross is one, on the others.
        foretold = set() if said.crossing is None else foretold - set(said.now)
    if not foretold:
        return f"silent ({said.text})"
    if best is not None and best.name in said.unknown:
        return f"silent on what came ({said.text}; came: {best.name})"
    if best is None:
        return f"not to be judged ({said.text})"
    right = best.name in foretold or any(row.name in foretold for row in report.ties())
    return f"{'right' if right else 'WRONG'} ({said.text}; came: {best.name})"


def crossings(paths: Sequence[Path]) -> None:
    """Print how each verdict fared."""
    for small, big in zip(paths[::2], paths[1::2], strict=True):
        lower, report = Report.from_json(small), Report.from_json(big)
        amounts = [Budget.of(one.budgets[-1]).amount for one in (lower, report)]
        times = amounts[1] / amounts[0]
        print(f"{small.stem}, {times:g} times the budget: {judged(lower, report, times)}")
        for row in report.cuts:
            apart = report.behind(row)
            told = "" if apart is None else f" {row.metric.difference_text(apart.mean, apart.half)}"
            print(f"  {row.name}: {row.quality}{told}")


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in ("measure", "score", "crossings"):
        sys.exit(__doc__)
    if sys.argv[1] == "measure":
        measure(Path(sys.argv[2]), sys.argv[3:] or list(CELLS))
    elif sys.argv[1] == "crossings":
        crossings([Path(name) for name in sys.argv[2:]])
    else:
        score(Path(sys.argv[2]))
