"""One row of a comparison: what a cut is, what it cost, what it reached at each rung."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from tokfrag.compare.contracts import Floor
from tokfrag.compare.facts import CutFacts
from tokfrag.compare.intervals import Interval, Scores, interval_of
from tokfrag.compare.metric import Metric

#: A training of fewer steps has barely begun, whatever it scores.
FEW_STEPS = 200


@dataclass(frozen=True)
class Prices:
    """What time and pieces cost, in whatever money: None where it is not to be counted.

    Examples
    --------
    >>> from tokfrag.compare import Prices
    >>> Prices(per_hour=3.0, per_million_pieces=0.5).of(seconds=1200, pieces=4e6)
    3.0
    """

    per_hour: float | None = None
    per_million_pieces: float | None = None

    def __post_init__(self) -> None:
        for name, price in (
            ("price_per_hour", self.per_hour),
            ("price_per_million_pieces", self.per_million_pieces),
        ):
            if price is not None and not 0 <= price < math.inf:
                raise ValueError(f"{name}: got {price}; it takes a number from 0 up")

    def of(self, *, seconds: float, pieces: float) -> float | None:
        """The price of so many seconds and pieces; None where neither has one.

        Parameters
        ----------
        seconds, pieces
            What was used.

        Returns
        -------
        float or None
            In the money of the prices.
        """
        if self.per_hour is None and self.per_million_pieces is None:
            return None
        time = seconds / 3600 * (self.per_hour or 0.0)
        return time + pieces / 1e6 * (self.per_million_pieces or 0.0)


@dataclass(frozen=True)
class Rung:
    """One training as it stood at one budget: what it had used, and how it was judged.

    ``choose`` is the score on the part to choose on, ``score`` that on the judging part, ``items``
    the latter part by part.
    """

    share: float
    choose: float
    score: float
    items: tuple[float, ...] = ()
    steps: int = 0
    flops: float = 0.0
    epochs: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class Run:
    """One training of one cut: its rungs, or the reason why there are none.

    Examples
    --------
    >>> from tokfrag.compare import Run, Rung
    >>> from tokfrag.compare.metric import ACCURACY
    >>> run = Run(0, (Rung(0.25, choose=0.9, score=0.88), Rung(1.0, choose=0.8, score=0.81)))
    >>> run.at(1, ACCURACY).score
    0.88
    """

    seed: int
    rungs: tuple[Rung, ...] = ()
    rate: float = 0.0
    predict_seconds: float = 0.0
    seam_error: float | None = None
    more: Mapping[str, float] = field(default_factory=dict)
    failure: str | None = None

    @classmethod
    def of(cls, held: Mapping[str, Any]) -> Run:
        """A run as JSON holds it.

        Parameters
        ----------
        held
            One of the ``runs`` of a row of :meth:`Report.to_dict`.

        Returns
        -------
        Run
            The same run.
        """
        names = {f.name for f in fields(Run)} - {"rungs"}
        rungs = tuple(
            Rung(**{**rung, "items": tuple(rung.get("items", ()))}) for rung in held["rungs"]
        )
        return cls(rungs=rungs, **{name: held[name] for name in names if name in held})

    def at(self, number: int, metric: Metric) -> Rung:
        """The rung that counts at a budget: of those so far, the best on the part to choose on.

        More training can make answers worse; who has a part to choose on would stop before.

        Parameters
        ----------
        number
            The budget's place in the ladder, from 0.
        metric
            Says which way is better.

        Returns
        -------
        Rung
            One of the first ``number + 1``.
        """
        best = self.rungs[0]
        for rung in self.rungs[1 : number + 1]:
            if not metric.better(best.choose, rung.choose):
                best = rung
        return best

    @property
    def last(self) -> Rung:
        """The whole training."""
        return self.rungs[-1]


@dataclass(frozen=True)
class Honesty:
    """What the gate found: whether the pieces stand for all of the text, and if not, why."""

    checked: bool = False
    reason: str = ""
    first: str = ""
    lost_bytes: int = 0

    @property
    def lossy(self) -> bool:
        """Whether something is lost that the network is not asked for."""
        return bool(self.reason)


@dataclass(frozen=True)
class Row:
    """A cut with its runs, or a baseline with its one score.

    Examples
    --------
    >>> from tokfrag.compare import Floor, Row, Run, Rung
    >>> from tokfrag.compare.metric import ACCURACY
    >>> runs = tuple(Run(i, (Rung(1.0, s, s, steps=400),)) for i, s in enumerate((0.75, 0.25)))
    >>> row = Row("patch:4", ACCURACY, runs=runs, floors=(Floor("the majority class", 0.1),))
    >>> row.quality, row.trained, row.passed()
    (0.5, 'yes', 1)
    """

    name: str
    metric: Metric
    facts: CutFacts | None = None
    runs: tuple[Run, ...] = ()
    baseline: float | None = None
    failure: str | None = None
    floors: tuple[Floor, ...] = ()
    honesty: Honesty = Honesty()
    weights: tuple[float, ...] = ()
    prices: Prices = Prices()
    notes: tuple[str, ...] = field(default=())

    @property
    def finished(self) -> list[Run]:
        """The runs that have a score."""
        return [run for run in self.runs if run.rungs]

    @property
    def failures(self) -> list[str]:
        """Why runs of this row have no score; empty when all have one."""
        if self.failure is not None:
            return [self.failure]
        return [f"seed {run.seed}: {run.failure}" for run in self.runs if run.failure is not None]

    def scores(self, rung: int = -1) -> Scores | None:
        """The scores of all seeds at a rung, part by part; None where nothing finished.

        Parameters
        ----------
        rung
            The budget's place in the ladder; the last where it is -1.

        Returns
        -------
        Scores or None
            A line a seed; one part where the problem does not tell them apart.
        """
        runs = self.finished
        if not runs:
            return None
        number = rung if rung >= 0 else len(runs[0].rungs) - 1
        chosen = [run.at(number, self.metric) for run in runs]
        if all(len(r.items) == len(self.weights) for r in chosen) and self.weights:
            values, weights = np.array([r.items for r in chosen]), np.array(self.weights)
        else:
            values, weights = np.array([[r.score] for r in chosen]), np.ones(1)
        mean = Scores(values, weights).mean
        return Scores(values, weights, self.metric.noise_unit(mean))

    def quality_at(self, rung: int) -> Interval | None:
        """The mean over seeds at a rung with its 95 % interval, over seeds and parts.

        Parameters
        ----------
        rung
            The budget's place in the ladder; the last where it is -1.

        Returns
        -------
        Interval or None
            A baseline's has no width; None where no training finished.
        """
        if self.baseline is not None:
            return Interval(self.baseline, None)
        scores = self.scores(rung)
        return None if scores is None else interval_of(scores)

    @property
    def quality(self) -> float | None:
        """The mean score over the seeds that finished, at the whole budget."""
        found = self.quality_at(-1)
        return None if found is None else found.mean

    @property
    def half_interval(self) -> float | None:
        """Half of the 95 % interval of the quality."""
        found = self.quality_at(-1)
        return None if found is None else found.half

    def passed(self, rung: int = -1) -> int:
        """How many of its own floors the row has left behind at a rung, in their order.

        What makes no mistake has left behind a floor that makes none either.

        Parameters
        ----------
        rung
            The budget's place in the ladder; the last where it is -1.

        Returns
        -------
        int
            From 0 to how many floors there are.
        """
        found = self.quality_at(rung)
        if found is None:
            return 0
        count = 0
        for floor in self.floors:
            level = self.metric.perfect(floor.score) and self.metric.perfect(found.mean)
            if not (level or self.metric.better(found.mean, floor.score)):
                break
            count += 1
        return count

    def begun(self, rung: int = -1) -> bool:
        """Whether the row is past its first floor, or has none.

        Parameters
        ----------
        rung
            The budget's place in the ladder; the last where it is -1.

        Returns
        -------
        bool
            False for a row that counting equals.
        """
        return self.passed(rung) > 0 or not self.floors

    @property
    def trained(self) -> str:
        """``no``, ``a little`` or ``yes``: is this row past what counting reaches on its pieces?

        ``no``: fewer than 200 steps, or no better than its first floor, which knows no order.
        ``a little``: no better than the next floor, which a trained network should pass.
        """
        if not self.finished:
            return ""
        if self.steps < FEW_STEPS or not self.begun():
            return "no"
        return "yes" if self.passed() == len(self.floors) else "a little"

    @property
    def ranked(self) -> bool:
        """Whether the row may be best: scored, honest, trained."""
        return bool(self.finished) and not self.honesty.lossy and self.trained != "no"

    @property
    def rate(self) -> float:
        """The learning rate of its trainings."""
        return self._mean([run.rate for run in self.finished])

    @property
    def steps(self) -> float:
        """Steps of the whole training, the mean over seeds."""
        return self._mean([run.last.steps for run in self.finished])

    @property
    def epochs(self) -> float:
        """Passes over the part to learn from, the mean over seeds."""
        return self._mean([run.last.epochs for run in self.finished])

    @property
    def model_seconds(self) -> float:
        """Seconds of training and of answering the judging part, the mean over seeds."""
        return self._mean([run.last.seconds + run.predict_seconds for run in self.finished])

    @property
    def seam_error(self) -> float | None:
        """Accuracy that borders cost, next to them; None where nothing is merged."""
        errors = [run.seam_error for run in self.runs if run.seam_error is not None]
        return self._mean(errors) if errors else None

    @property
    def more(self) -> dict[str, float]:
        """What the whole trainings reach in the problem's other measures, the mean over seeds."""
        names = self.finished[0].more if self.finished else {}
        return {n: self._mean([run.more.get(n, math.nan) for run in self.finished]) for n in names}

    @property
    def cut_share(self) -> float:
        """The part of a run's time that goes into cutting and merging."""
        if self.facts is None or not self.model_seconds:
            return 0.0
        # The merge happens once a pass, within the model's time.
        merging = self.facts.merge_seconds * self.epochs
        return (self.facts.cut_seconds + merging) / (self.facts.cut_seconds + self.model_seconds)

    @property
    def seconds(self) -> float:
        """What one run takes from cutting to the answers, the mean over seeds."""
        return (0.0 if self.facts is None else self.facts.cut_seconds) + self.model_seconds

    @property
    def pieces_used(self) -> float:
        """Pieces that one run learns from, each pass counted, the mean over seeds."""
        return 0.0 if self.facts is None else self.facts.pieces * self.epochs

    @property
    def cost(self) -> float | None:
        """One run's price: its hours and its pieces; None where no price was given."""
        if self.facts is None or not self.finished:
            return None
        return self.prices.of(seconds=self.seconds, pieces=self.pieces_used)

    def to_dict(self) -> dict[str, Any]:
        """Everything, flat, as JSON takes it.

        Returns
        -------
        dict
            Facts, scores, every run with its rungs.
        """
        half, quality = self.half_interval, self.quality
        facts = {} if self.facts is None else asdict(self.facts)
        facts.pop("notes", None)
        return {
            "name": self.name,
            "kind": "baseline" if self.baseline is not None else facts.pop("family", "failed"),
            **facts,
            "cut_share": self.cut_share,
            "model_seconds": self.model_seconds,
            "epochs": self.epochs,
            "steps": self.steps,
            "rate": self.rate,
            "quality": quality,
            "quality_low": None if quality is None or half is None else quality - half,
            "quality_high": None if quality is None or half is None else quality + half,
            "trained": self.trained,
            "ranked": self.ranked,
            "floors": [asdict(floor) for floor in self.floors],
            "honesty": asdict(self.honesty),
            "seam_error": self.seam_error,
            "cost_seconds": self.seconds,
            "cost_pieces": self.pieces_used,
            "cost": self.cost,
            "failure": self.failure,
            "failures": self.failures,
            "notes": list(self.notes),
            "weights": list(self.weights),
            "runs": [asdict(run) for run in self.runs],
        }

    @classmethod
    def of(cls, held: Mapping[str, Any], metric: Metric, prices: Prices) -> Row:
        """A row as JSON holds it, at other prices.

        Parameters
        ----------
        held
            What :meth:`to_dict` gave.
        metric
            What the report's scores are.
        prices
            What hours and pieces cost.

        Returns
        -------
        Row
            The same row.
        """
        if held["kind"] == "baseline":
            return cls(held["name"], metric, baseline=held["quality"])
        facts = None
        names = {f.name for f in fields(CutFacts)} - {"family", "notes"}
        if held["kind"] != "failed":
            known = {name: held[name] for name in names if name in held}
            facts = CutFacts(family=held["kind"], **known)
        return cls(
            held["name"],
            metric,
            facts,
            tuple(Run.of(run) for run in held["runs"]),
            failure=held["failure"],
            floors=tuple(Floor(**floor) for floor in held["floors"]),
            honesty=Honesty(**held["honesty"]),
            weights=tuple(held["weights"]),
            prices=prices,
            notes=tuple(held["notes"]),
        )

    @staticmethod
    def _mean(values: Sequence[float]) -> float:
        return sum(values) / len(values) if values else 0.0
