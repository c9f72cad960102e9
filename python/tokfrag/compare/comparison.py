"""The entry point: one task, several cuts, the same budget for all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import TYPE_CHECKING, Any

from tokfrag._files import write_new
from tokfrag._machine import environment
from tokfrag.compare.budget import Budget
from tokfrag.compare.cut import Cut, as_cut
from tokfrag.compare.extras import require
from tokfrag.compare.progress import Progress
from tokfrag.compare.report import Report, with_pareto_front
from tokfrag.compare.resuming import digest, finished_runs
from tokfrag.compare.row import Prices, Row, Run
from tokfrag.compare.tasks import as_task

if TYPE_CHECKING:
    from tokfrag.compare.body import Model
    from tokfrag.compare.problems import Problem
    from tokfrag.compare.runner import Prepared
    from tokfrag.compare.task import Split
    from tokfrag.compare.training import Recipe


def compare(
    task: Any,
    cuts: Sequence[Any] | None = None,
    *,
    budget: Budget | float | str | None = None,
    model: Any = None,
    seeds: int | Sequence[int] = 3,
    recipe: Recipe | None = None,
    threads: int = 1,
    price_per_hour: float | None = None,
    price_per_million_pieces: float | None = None,
    progress: bool = False,
    state: str | PathLike[str] | None = None,
    resume: bool = False,
    command: str = "",
) -> Report:
    """Train the same body on the same data under the same budget, cut in different ways.

    Parameters
    ----------
    task
        A shipped task's name, ``(x, y)`` arrays, ``(texts, y)``, a list of texts, or any object
        with the members of :class:`Task`.
    cuts
        Short names (see :func:`parse_cut`), sizes, fragment grids, tokenizers, or objects with the
        members of :class:`Cut`; the task's own when left out.
    budget
        What each training may spend: ``"60s"``, ``"500 GFLOP"``, ``"200 steps"``. Under the last
        two, the same seeds give the same table, times apart.
    model
        The body: a name, a module that mixes pieces (``(batch, n, width)`` to the same), or a
        function ``(spec, outputs) -> nn.Module``; the same for every cut.
    seeds
        How many trainings a cut gets, or the seeds themselves.
    threads
        How many threads the network gets. Networks as small as these gain little from a second
        one.
    price_per_hour, price_per_million_pieces
        What an hour of this machine and a million pieces cost; give each row a cost. Without
        either, a row's cost is told as the seconds and the pieces of one training.
    state, resume
        A JSON file written after every training; ``resume`` takes finished trainings from it.

    Returns
    -------
    Report
        A row a cut, and one for each naive baseline. A cut or a training that fails says why;
        Ctrl-C ends the comparison and keeps the rows that are finished.

    Raises
    ------
    ValueError, TypeError
        For a task, budget or seed that cannot be, or where no cut fits the data.

    Examples
    --------
    >>> from tokfrag.compare import compare
    >>> report = compare("digits", ["patch:4"], budget="3 steps", seeds=1)
    >>> [row.name for row in report.rows]
    ['patch:4', 'majority class']
    """
    require("torch", purpose="the comparison")
    import torch

    from tokfrag.compare.body import as_model
    from tokfrag.compare.training import Recipe

    chosen = as_task(task)
    kinds = [as_cut(cut) for cut in (chosen.default_cuts() if cuts is None else cuts)]
    limit = Budget.of(chosen.default_budget() if budget is None else budget)
    drawn = _seeds(seeds)
    how: Recipe = getattr(chosen, "recipe", Recipe()) if recipe is None else recipe
    body = as_model(model)
    _check(kinds, threads)
    prices = Prices(price_per_hour, price_per_million_pieces)
    split, problem = chosen.split(), chosen.problem()
    key = digest(chosen, limit, how, model, threads, split)
    metric = problem.metric
    session = _Session(
        split,
        problem,
        body,
        limit,
        how,
        rows={cut.name: Row(cut.name, metric, prices=prices) for cut in kinds},
        baselines=[Row(n, metric, baseline=s) for n, s in chosen.baselines(split).items()],
        blank=Report(
            chosen.name,
            chosen.about,
            metric,
            str(limit),
            drawn,
            (),
            environment=environment(),
            command=command,
            key=key,
        ),
        state=state,
        done=finished_runs(state, key) if resume and state is not None else {},
    )
    interrupted = False
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with Progress(len(kinds), len(drawn), enabled=progress) as bar:
            session.train(session.prepare(kinds, bar), bar)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        torch.set_num_threads(threads_before)
    return replace(session.report(), interrupted=interrupted)


@dataclass
class _Session:
    """A comparison under way: what is fixed, and the rows so far."""

    split: Split
    problem: Problem
    model: Model
    budget: Budget
    recipe: Recipe
    rows: dict[str, Row]
    baselines: list[Row]
    blank: Report
    state: str | PathLike[str] | None
    done: dict[tuple[str, int], Run] = field(default_factory=dict)

    def prepare(self, cuts: Sequence[Cut], bar: Progress) -> dict[str, Prepared]:
        """Cut the data in every way and plan; a cut that cannot be is a row that says why."""
        from tokfrag.compare import runner

        prepared: dict[str, Prepared] = {}
        for cut in cuts:
            bar.preparing(cut.name)
            try:
                ready = runner.prepare(cut, self.split, self.problem, self.model, self.recipe)
            except runner.FAILURES as error:
                # The row has the cut's name already.
                reason = runner.reason_of(error).removeprefix(f"cut {cut.name}: ")
                self.rows[cut.name] = replace(self.rows[cut.name], failure=reason)
                bar.skip(len(self.blank.seeds))
                continue
            prepared[cut.name] = ready
            self.rows[cut.name] = replace(
                self.rows[cut.name], facts=ready.facts, notes=ready.facts.notes
            )
        if not prepared:
            name, row = next(iter(self.rows.items()))
            raise ValueError(f"every cut failed; {name}: {row.failure}")
        picked = runner.plan(prepared, self.budget)
        if picked is not None:
            self.rows[picked] = replace(self.rows[picked], planned=True)
        return prepared

    def train(self, prepared: dict[str, Prepared], bar: Progress) -> None:
        """Train each cut with each seed, but for those that an earlier comparison has finished."""
        from tokfrag.compare import runner

        for name, ready in prepared.items():
            for seed in self.blank.seeds:
                run = self.done.get((name, seed))
                if run is None:
                    bar.training(name, seed)
                    run = runner.run_seed(
                        ready,
                        self.split,
                        self.problem,
                        self.model,
                        budget=self.budget,
                        recipe=self.recipe,
                        seed=seed,
                        on_progress=bar.update,
                    )
                bar.finish()
                self.rows[name] = replace(self.rows[name], runs=(*self.rows[name].runs, run))
                self._save()

    def report(self) -> Report:
        """The rows so far, with the Pareto front among them, and the baselines."""
        rows = with_pareto_front(list(self.rows.values()))
        return replace(self.blank, rows=(*rows, *self.baselines))

    def _save(self) -> None:
        if self.state is not None:
            text = json.dumps(self.report().to_dict(), indent=1, allow_nan=False)
            write_new(self.state, (text + "\n").encode(), force=True)


def _check(cuts: Sequence[Cut], threads: int) -> None:
    if not cuts:
        raise ValueError("cuts: got none; give one or more")
    names = [cut.name for cut in cuts]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        # A row is found by its name.
        raise ValueError(f"cuts: got {twice!r} twice")
    if threads < 1:
        raise ValueError(f"threads: got {threads}; it takes 1 or more")


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    drawn = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not drawn or len(set(drawn)) < len(drawn):
        raise ValueError(f"seeds: got {seeds!r}; give a number above zero, or different seeds")
    return drawn
