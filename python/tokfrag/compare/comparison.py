"""The entry point: one task, several cuts, the same budgets for all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from tokfrag._files import write_new
from tokfrag._machine import environment
from tokfrag.compare.budget import Budget, ladder
from tokfrag.compare.contracts import AdaptsCuts, Cut, Model, Recipe, RunsOn, Split
from tokfrag.compare.cuts.names import as_cuts
from tokfrag.compare.extras import require
from tokfrag.compare.parts import Parts, in_parts, rehearsed
from tokfrag.compare.progress import Progress
from tokfrag.compare.report import Report
from tokfrag.compare.resuming import digest, finished_runs
from tokfrag.compare.row import Prices, Row, Run
from tokfrag.compare.sample import drawn_sample
from tokfrag.compare.second import best_two, verdict, with_second_body
from tokfrag.compare.settling import unsettled
from tokfrag.compare.tasks import as_task

if TYPE_CHECKING:
    from tokfrag.compare.runner import Prepared, Setting

_REHEARSED = (
    "a rehearsal: judged on {} samples of the part to choose on; the judging part was not scored"
)
# Choosing a rate or a rung takes no more samples than this.
_CHOOSE_AT_MOST = 256


def compare(
    task: Any,
    cuts: Sequence[Any] | None = None,
    *,
    budget: Budget | float | str | None = None,
    budgets: Sequence[Budget | float | str] | None = None,
    model: Any = None,
    seeds: int | Sequence[int] = 3,
    recipe: Recipe | None = None,
    threads: int = 1,
    seeds_at_most: int | None = None,
    second_model: Any = None,
    device: str | None = None,
    rehearse: bool = False,
    price_per_hour: float | None = None,
    price_per_million_pieces: float | None = None,
    progress: bool = False,
    state: str | PathLike[str] | None = None,
    resume: bool = False,
    command: str = "",
) -> Report:
    """Train the same body on the same data under the same budgets, cut in different ways.

    Each cut passes a gate first: a text must come back from its pieces, no answer may depend on
    what it should predict, a step must fit into memory. Each row then looks for a learning rate on
    a part to choose on, and is trained up a ladder of budgets, once a seed.

    Parameters
    ----------
    task
        A shipped task's name, ``(x, y)`` arrays, ``(texts, y)``, a list of texts, or any object
        with the members of :class:`Task`.
    cuts
        Short names (see :func:`parse_cut`), sizes, fragment grids, tokenizers or their files, or
        objects with the members of :class:`Cut`; the task's own when left out.
    budget
        What each training may spend: ``"60s"``, ``"500 GFLOP"``, ``"200 steps"``. Under the last
        two, the same seeds give the same table, times apart. Rows are judged at a sixteenth, a
        quarter and all of it, where that leaves 12 steps.
    budgets
        The rungs themselves, rising and of one kind, in place of ``budget``.
    model
        The body: a name, a module that mixes pieces (``(batch, n, width)`` to the same), a
        function ``(spec, outputs) -> nn.Module``, or a :class:`FrozenBody`; the same for every cut.
    seeds
        How many trainings a cut gets, or the seeds themselves.
    recipe
        Samples a step, where the search for the rate begins, whether there is one; the task's own
        when left out.
    threads
        How many threads the network gets. Networks as small as these gain little from a second
        one.
    seeds_at_most
        Where rows are neither told apart from the best nor tied beyond doubt, they and the best get
        two more trainings at a time, up to so many a row.
    second_model
        Another body that the best two rows are trained with at the end: does their order hold?
    device
        Where networks are trained: ``"cpu"``, ``"cuda"``, or ``"auto"`` for a GPU where there is
        one. Frozen networks are moved there too.
    rehearse
        Judge on the part to choose on, and leave the judging part alone: to try settings, as often
        as you like. What is chosen so is then judged once, without it.
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

    from tokfrag.compare.devices import as_device
    from tokfrag.compare.models import as_model
    from tokfrag.compare.runner import Setting

    place = as_device(device)
    if threads < 1:
        raise ValueError(f"threads: got {threads}; it takes 1 or more")
    chosen = as_task(task)
    kinds = as_cuts(chosen.default_cuts() if cuts is None else cuts)
    if not kinds:
        raise ValueError("cuts: got none; give one or more")
    if device is not None:
        for held in (*kinds, model):
            if isinstance(held, RunsOn):
                held.run_on(place)
    if isinstance(chosen, AdaptsCuts):
        kinds = [chosen.adapt(kind) for kind in kinds]
    if budgets is not None and budget is not None:
        raise ValueError("budget: got one beside budgets; give one of the two")
    given = chosen.default_budget() if budget is None else budget
    limit, rungs = ladder(given, budgets)
    drawn = _seeds(seeds)
    how = getattr(chosen, "recipe", Recipe()) if recipe is None else recipe
    if seeds_at_most is not None and seeds_at_most < len(drawn):
        raise ValueError(f"seeds_at_most: got {seeds_at_most}, below the {len(drawn)} seeds")
    body = as_model(getattr(chosen, "body", None) if model is None else model, how.width)
    second = None if second_model is None else as_model(second_model, how.width)
    prices = Prices(price_per_hour, price_per_million_pieces)
    split, problem = chosen.split(), chosen.problem()
    parts = in_parts(split)
    notes = [parts.note, _by_hand(chosen, how, body)]
    if rehearse:
        parts = rehearsed(parts)
        split = Split(parts.learn, parts.judge, parts.choose)
        notes = [parts.note, _REHEARSED.format(len(parts.judge))]
    about = f"{chosen.about}; REHEARSED" if rehearse else chosen.about
    key = digest(chosen, limit, rungs, how, model, threads, split)
    metric = problem.metric
    parts = _thinned(parts)
    session = _Session(
        Setting(parts, problem, body, how, limit, rungs, place),
        rows={cut.name: Row(cut.name, metric, prices=prices) for cut in kinds},
        baselines=[
            Row(n, metric, baseline=s)
            for n, s in chosen.baselines(Split(parts.learn, parts.judge, parts.choose)).items()
        ],
        blank=Report(
            chosen.name,
            about,
            metric,
            tuple(str(replace(limit, amount=limit.amount * rung)) for rung in rungs),
            drawn,
            (),
            remarks=tuple(note for note in notes if note),
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
            prepared = session.prepare(kinds, bar)
            session.train(prepared, bar, drawn)
            if seeds_at_most is not None:
                session.settle(prepared, bar, seeds_at_most)
            if second is not None:
                session.try_body(kinds, bar, second, _body_name(second_model))
    except KeyboardInterrupt:
        interrupted = True
    finally:
        torch.set_num_threads(threads_before)
    return replace(session.report(), interrupted=interrupted)


@dataclass
class _Session:
    """A comparison under way: what is fixed, and the rows so far."""

    setting: Setting
    rows: dict[str, Row]
    baselines: list[Row]
    blank: Report
    state: str | PathLike[str] | None
    done: dict[tuple[str, int], tuple[Run, tuple[float, ...]]] = field(default_factory=dict)

    def prepare(self, cuts: Sequence[Cut], bar: Progress) -> dict[str, Prepared]:
        """Cut the data in every way; a cut that the gate refuses is a row that says why."""
        import tokfrag.compare.runner as runner

        prepared: dict[str, Prepared] = {}
        pictures = {}
        for cut in cuts:
            bar.preparing(cut.name)
            try:
                ready = runner.prepare(cut, self.setting)
            except runner.FAILURES as error:
                # The row has the cut's name already.
                reason = runner.reason_of(error).removeprefix(f"cut {cut.name}: ")
                self.rows[cut.name] = replace(self.rows[cut.name], failure=reason)
                bar.skip(len(self.blank.seeds))
                bar.row(f"{cut.name}: failed, {reason}")
                continue
            prepared[cut.name] = ready
            note = runner.untuned(ready, self.setting)
            pictures[cut.name] = drawn_sample(
                ready.fitted, self.setting.parts.judge, self.setting.problem
            )
            self.rows[cut.name] = replace(
                self.rows[cut.name],
                facts=ready.facts,
                floors=ready.floors,
                honesty=ready.honesty,
                notes=(*ready.facts.notes, *ready.notes, *((note,) if note else ())),
            )
        if not prepared:
            name, row = next(iter(self.rows.items()))
            raise ValueError(f"every cut failed; {name}: {row.failure}")
        self.blank = replace(self.blank, samples={n: p for n, p in pictures.items() if p})
        return prepared

    def train(self, prepared: dict[str, Prepared], bar: Progress, seeds: Sequence[int]) -> None:
        """Train each cut with each seed, but for those that an earlier comparison has finished."""
        import tokfrag.compare.runner as runner

        for name, ready in prepared.items():
            missing = [s for s in seeds if (name, s) not in self.done]
            known = [run.rate for (n, _), (run, _) in self.done.items() if n == name]
            known += [run.rate for run in self.rows[name].runs if run.rungs]
            rate = known[0] if known else self.setting.recipe.rate
            if missing and not known:
                bar.tuning(name)
                rate = runner.tune(ready, self.setting, lambda _: None)
            for seed in seeds:
                if (name, seed) in self.done:
                    run, weights = self.done[name, seed]
                else:
                    bar.training(name, seed)
                    run, weights = runner.run_seed(
                        ready, self.setting, rate=rate, seed=seed, on_progress=bar.update
                    )
                bar.finish()
                row = self.rows[name]
                self.rows[name] = replace(
                    row, runs=(*row.runs, run), weights=row.weights or weights
                )
                self._save()
            bar.row(_in_short(self.rows[name]))

    def settle(self, prepared: dict[str, Prepared], bar: Progress, at_most: int) -> None:
        """Add seeds, two at a time, to the best and to rows that they would tell apart from it."""
        last = max(self.blank.seeds)
        while True:
            rows = unsettled(self.report())
            names = [row.name for row in rows if len(row.runs) + 2 <= at_most]
            if len(names) < 2:
                break
            more = (last + 1, last + 2)
            last += 2
            self.train({name: prepared[name] for name in names}, bar, more)
            self.blank = replace(self.blank, seeds=(*self.blank.seeds, *more))

    def try_body(self, cuts: Sequence[Cut], bar: Progress, body: Model, name: str) -> None:
        """Train the best two rows with another body, and say whether their order holds."""
        names = best_two(self.report())
        if len(names) < 2:
            return
        inner = _Session(
            replace(self.setting, model=body),
            rows={n: replace(self.rows[n], runs=(), weights=()) for n in names},
            baselines=[],
            blank=self.blank,
            state=None,
        )

        def build(cut_name: str) -> Row:
            ready = inner.prepare([cut for cut in cuts if cut.name == cut_name], bar)
            inner.train(ready, bar, self.blank.seeds)
            return inner.rows[cut_name]

        first = [self.rows[n] for n in names]
        again = [with_second_body(name, inner.setting, r, self.blank.seeds, build) for r in first]
        said = verdict(first, again, name)
        self.blank = replace(self.blank, second=tuple(again), remarks=(*self.blank.remarks, said))
        self._save()

    def report(self) -> Report:
        """The rows so far, and the baselines."""
        return replace(self.blank, rows=(*self.rows.values(), *self.baselines))

    def _save(self) -> None:
        if self.state is not None:
            text = json.dumps(self.report().to_dict(), indent=1, allow_nan=False)
            write_new(self.state, (text + "\n").encode(), force=True)


def _in_short(row: Row) -> str:
    """A finished row in a few words."""
    if row.quality is None:
        return f"{row.name}: failed, {row.failures[0]}"
    trained = {"no": ", untrained", "a little": ", trained a little"}.get(row.trained, "")
    return f"{row.name}: {row.metric.text(row.quality, row.half_interval)}{trained}"


def _by_hand(task: Any, recipe: Recipe, body: Model) -> str | None:
    """What was set for this comparison, in place of what the task or the search would take."""
    from tokfrag.compare.body import Body
    from tokfrag.compare.models import as_model

    usual = getattr(task, "recipe", Recipe())
    set_here = [
        name for name in ("batch", "width") if getattr(recipe, name) != getattr(usual, name)
    ]
    set_here += [] if recipe.tune or not usual.tune else ["rate"]
    shipped = as_model(getattr(task, "body", None), recipe.width)
    if isinstance(body, Body) and isinstance(shipped, Body) and body.middle is None:
        set_here += [] if (body.kind, body.depth) == (shipped.kind, shipped.depth) else ["body"]
    if not set_here:
        return None
    return (
        f"set by hand: {', '.join(set_here)}; if that was found by trying it on this judging part, "
        "its scores are too good (--rehearse tries without looking at it)"
    )


def _body_name(model: Any) -> str:
    name = model if isinstance(model, str) else getattr(model, "kind", None)
    return str(name) if name is not None else type(model).__name__


def _thinned(parts: Parts) -> Parts:
    count = len(parts.choose)
    if count <= _CHOOSE_AT_MOST:
        return parts
    index = np.linspace(0, count - 1, _CHOOSE_AT_MOST).round().astype(np.int64)
    return replace(parts, choose=parts.choose.take(index))


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    drawn = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not drawn or len(set(drawn)) < len(drawn):
        raise ValueError(f"seeds: got {seeds!r}; give a number above zero, or different seeds")
    return drawn
