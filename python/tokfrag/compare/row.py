"""One row of a comparison: what a cut is, what it cost, what it reached."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tokfrag.compare.metric import Metric, mean_and_half_interval

if TYPE_CHECKING:
    from tokfrag.compare.measurement import StepCost


@dataclass(frozen=True)
class CutFacts:
    """A cut in numbers, all known before training. Costs are of the whole training part."""

    family: str
    pieces_p50: float
    pieces_p99: float
    padding_waste: float
    units_per_piece: float
    overlap: float
    coverage: float
    compression: float
    vocabulary: int | None
    unknown: float | None
    keeps_position: bool
    raw_bytes: int
    pieces: int = 0
    notes: tuple[str, ...] = ()
    fit_seconds: float = 0.0
    cut_seconds: float = 0.0
    cut_bytes: int = 0
    merge_seconds: float = 0.0
    merge_bytes: int = 0
    parameters: int = 0
    embedding_parameters: int = 0
    step_items: int = 0
    step_seconds: float = 0.0
    flops: float = 0.0
    flops_predicted: float | None = None
    flops_formula: str | None = None
    attention_share: float | None = None
    memory: int = 0
    memory_predicted: float | None = None

    def with_costs(
        self,
        *,
        fit_seconds: float,
        cut_seconds: float,
        cut_bytes: int,
        merge_seconds: float,
        merge_bytes: int,
        parameters: int,
        embedding_parameters: int,
        items_per_sample: float,
        step: StepCost,
    ) -> CutFacts:
        found = replace(
            self,
            fit_seconds=fit_seconds,
            cut_seconds=cut_seconds,
            cut_bytes=cut_bytes,
            merge_seconds=merge_seconds,
            merge_bytes=merge_bytes,
            parameters=parameters,
            embedding_parameters=embedding_parameters,
            step_items=step.items,
            step_seconds=step.seconds,
            flops=step.flops / step.items * items_per_sample,
            memory=step.peak_bytes,
        )
        predicted = step.predicted
        if predicted is None:
            return found
        return replace(
            found,
            flops_predicted=predicted.flops / step.items * items_per_sample,
            flops_formula=predicted.formula,
            attention_share=predicted.attention / predicted.flops,
            memory_predicted=predicted.peak_bytes,
        )

    @property
    def cut_rate(self) -> float:
        """Bytes of pieces made a second."""
        return self.cut_bytes / self.cut_seconds if self.cut_seconds else 0.0

    @property
    def merge_rate(self) -> float:
        """Bytes of pieces merged a second."""
        return self.merge_bytes / self.merge_seconds if self.merge_seconds else 0.0


@dataclass(frozen=True)
class Prices:
    """What time and pieces cost, in whatever money: None where it is not to be counted."""

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
        if self.per_hour is None and self.per_million_pieces is None:
            return None
        time = seconds / 3600 * (self.per_hour or 0.0)
        return time + pieces / 1e6 * (self.per_million_pieces or 0.0)


@dataclass(frozen=True)
class Run:
    """One training of one cut: a score, or the reason why there is none."""

    seed: int
    score: float | None = None
    steps: int = 0
    epochs: float = 0.0
    train_seconds: float = 0.0
    cpu_seconds: float = 0.0
    predict_seconds: float = 0.0
    seam_error: float | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Row:
    """A cut with its runs, or a baseline with its one score."""

    name: str
    metric: Metric
    facts: CutFacts | None = None
    runs: tuple[Run, ...] = ()
    baseline: float | None = None
    failure: str | None = None
    pareto: bool = False
    planned: bool = False
    prices: Prices = Prices()
    notes: tuple[str, ...] = field(default=())

    @property
    def scores(self) -> list[float]:
        if self.baseline is not None:
            return [self.baseline]
        return [run.score for run in self.runs if run.score is not None]

    @property
    def failures(self) -> list[str]:
        """Why runs of this row have no score; empty when all have one."""
        if self.failure is not None:
            return [self.failure]
        return [f"seed {run.seed}: {run.failure}" for run in self.runs if run.failure is not None]

    @property
    def quality(self) -> float | None:
        """The mean score over the seeds that finished."""
        return mean_and_half_interval(self.scores)[0] if self.scores else None

    @property
    def half_interval(self) -> float | None:
        """Half of the 95 % interval over seeds; None for a single one."""
        return mean_and_half_interval(self.scores)[1] if self.scores else None

    @property
    def model_seconds(self) -> float:
        """Seconds of training and of answering the test part, the mean over seeds."""
        return self._mean([run.train_seconds + run.predict_seconds for run in self.runs])

    @property
    def epochs(self) -> float:
        return self._mean([run.epochs for run in self.runs])

    @property
    def seam_error(self) -> float | None:
        errors = [run.seam_error for run in self.runs if run.seam_error is not None]
        return self._mean(errors) if errors else None

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
        if self.facts is None or not self.scores:
            return None
        return self.prices.of(seconds=self.seconds, pieces=self.pieces_used)

    def to_dict(self) -> dict[str, Any]:
        """Everything, flat, as JSON takes it."""
        half = self.half_interval
        quality = self.quality
        facts = {} if self.facts is None else asdict(self.facts)
        facts.pop("notes", None)
        return {
            "name": self.name,
            "kind": "baseline" if self.baseline is not None else facts.pop("family", "failed"),
            **facts,
            "cut_share": self.cut_share,
            "model_seconds": self.model_seconds,
            "epochs": self.epochs,
            "metric": self.metric.name,
            "quality": quality,
            "quality_low": None if quality is None or half is None else quality - half,
            "quality_high": None if quality is None or half is None else quality + half,
            "seam_error": self.seam_error,
            "cost_seconds": self.seconds,
            "cost_pieces": self.pieces_used,
            "cost": self.cost,
            "pareto": self.pareto,
            "planned": self.planned,
            "failures": self.failures,
            "notes": list(self.notes),
            "runs": [asdict(run) for run in self.runs],
        }

    @staticmethod
    def _mean(values: Sequence[float]) -> float:
        return sum(values) / len(values) if values else 0.0
