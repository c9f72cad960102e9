"""What is known of a cut before training: its pieces in numbers, and what a step costs."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Prediction:
    """FLOPs and bytes at the peak from the shapes alone, and by which formula.

    ``attention`` are the FLOPs that grow with the square of what attends to each other.
    """

    flops: float
    peak_bytes: float
    attention: float
    formula: str


@dataclass(frozen=True)
class StepCost:
    """One training step: FLOPs, seconds, and bytes of tensors alive at the peak."""

    items: int
    flops: float
    peak_bytes: int
    seconds: float
    predicted: Prediction | None = None


@dataclass(frozen=True)
class CutFacts:
    """A cut in numbers, all known before training. Costs are of the whole training part.

    Examples
    --------
    >>> from tokfrag.compare import Patches, compare
    >>> report = compare("digits", [Patches((4,))], budget="1 steps", seeds=1)
    >>> facts = report.rows[0].facts
    >>> facts.pieces_p50, facts.units_per_piece, facts.coverage
    (4.0, 16, 1.0)
    """

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

    def with_step(self, step: StepCost, items_per_sample: float) -> CutFacts:
        """The same cut with what one training step costs, a sample.

        Parameters
        ----------
        step
            The step as it was measured.
        items_per_sample
            Items that one sample makes: windows, where each of them is answered.

        Returns
        -------
        CutFacts
            FLOPs a sample, bytes at the peak and seconds of a step, and what was predicted of them.
        """
        found = replace(
            self,
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
