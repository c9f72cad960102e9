"""Run every cut of a comparison; knows no task, no cut and no body by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tokfrag.compare.batches import Part
from tokfrag.compare.body import Network
from tokfrag.compare.budget import FEWEST_STEPS, Budget
from tokfrag.compare.contracts import (
    AdaptsCuts,
    Cut,
    FittedCut,
    Floor,
    HasFloors,
    HasItems,
    HasMore,
    HasSeams,
    Model,
    Pieces,
    Problem,
    Recipe,
    Samples,
    Split,
)
from tokfrag.compare.facts import CutFacts, StepCost
from tokfrag.compare.fusion import FusedNetwork
from tokfrag.compare.gate import fitting_items, probe_network
from tokfrag.compare.measurement import (
    StepFlops,
    measure_items,
    measure_step,
    merge_arrays_seconds,
    merge_seconds,
)
from tokfrag.compare.parts import Parts
from tokfrag.compare.prediction import predict_step
from tokfrag.compare.problems import NextPiece
from tokfrag.compare.roundtrip import round_trip
from tokfrag.compare.row import Honesty, Run, Rung
from tokfrag.compare.step import TrainingFailedError, outputs_of
from tokfrag.compare.training import climb
from tokfrag.compare.tuning import CLEARLY, RateSearch

#: What one row may raise without ending the others: a cut that does not fit, memory that is short.
FAILURES = (ValueError, TypeError, IndexError, OSError, ArithmeticError, MemoryError, RuntimeError)


def reason_of(error: BaseException) -> str:
    """Why a row failed, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


@dataclass(frozen=True)
class Prepared:
    """A cut with its pieces made: all that does not depend on the seed."""

    fitted: FittedCut
    learn: Part
    choose: Part
    judge: Part
    batch: int
    facts: CutFacts
    step: StepCost
    flops: StepFlops
    floors: tuple[Floor, ...]
    honesty: Honesty
    lost_bits: NDArray[np.float64]
    micro: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """What all rows of a comparison share."""

    parts: Parts
    problem: Problem
    model: Model
    recipe: Recipe
    budget: Budget
    rungs: Sequence[float]
    device: torch.device

    def network(self, fitted: FittedCut) -> nn.Module:
        """A fresh network for a cut's pieces, where it is to be trained."""
        return self.problem.network(fitted.spec, self.model).to(self.device)

    def part(self, pieces: Pieces, samples: Samples, fitted: FittedCut) -> Part:
        """The items of a part, where they are to be learnt from."""
        return Part.of(self.problem, pieces, samples, fitted).to(self.device)

    @property
    def causal(self) -> bool:
        """Whether the network predicts what it is shown."""
        return bool(getattr(self.problem, "predicts_input", False))


def prepare(cut: Cut, setting: Setting) -> Prepared:
    """Fit a cut, cut all parts, pass the gate, and find out what one training step costs.

    Raises
    ------
    ValueError, TypeError, MemoryError
        Where the cut does not fit the data, or the gate refuses it.
    """
    parts, problem = setting.parts, setting.problem
    model: object = setting.model
    # Where pieces are what is predicted, they must stay what they are.
    if isinstance(model, AdaptsCuts) and not setting.causal:
        if isinstance(problem, HasSeams):
            raise ValueError("model: frozen features give one answer a sample, not one a position")
        cut = model.adapt(cut)
    begin = perf_counter()
    fitted = cut.fit(parts.learn)
    fit_seconds = perf_counter() - begin
    fitted.cut(parts.learn.x[: min(8, len(parts.learn))])
    begin = perf_counter()
    pieces = fitted.cut(parts.learn.x)
    cut_seconds = perf_counter() - begin
    judged = fitted.cut(parts.judge.x)
    honesty, lost_bits = _honesty(judged, fitted, setting)
    learn = setting.part(pieces, parts.learn, fitted)
    judge = setting.part(judged, parts.judge, fitted)
    torch.manual_seed(0)
    network = setting.network(fitted)
    # A batch is as much data for every cut, whether an item is a sample or a window of one.
    per_sample = len(learn) / len(parts.learn)
    batch = min(len(learn), max(1, round(setting.recipe.batch * per_sample)))
    at_once = fitting_items(_peak(network, problem, learn, batch), batch, setting.device)
    _probe(network, judge, fitted, setting)
    step = measure_step(network, problem, learn, at_once, setting.recipe)
    if isinstance(problem, HasSeams):
        split = Split(parts.learn, parts.judge)
        merge_time, merge_bytes = merge_arrays_seconds(problem, network, learn, split, fitted)
    else:
        seconds, joined = merge_seconds(network, pieces.values.shape[1], step.items)
        merge_time = seconds * len(learn) / step.items
        merge_bytes = int(joined * len(learn) / step.items)
    floors: tuple[Floor, ...] = ()
    if isinstance(problem, HasFloors):
        floors = problem.floors((pieces, parts.learn), (judged, parts.judge), fitted)
    facts = replace(
        facts_of(cut, fitted, pieces, judged, parts),
        padding_waste=learn.padding(batch)
        if learn.ragged
        else 1 - float(pieces.lengths.sum()) / max(1, math.prod(pieces.values.shape[:2])),
        fit_seconds=fit_seconds,
        cut_seconds=cut_seconds,
        cut_bytes=int(pieces.values.nbytes),
        merge_seconds=merge_time,
        merge_bytes=merge_bytes,
        parameters=sum(p.numel() for p in network.parameters()),
        embedding_parameters=embedding_parameters(network),
    ).with_step(step, per_sample)
    return Prepared(
        fitted,
        learn,
        setting.part(fitted.cut(parts.choose.x), parts.choose, fitted),
        judge,
        batch,
        facts,
        step,
        StepFlops(network, problem, learn, at_once, batch / at_once),
        floors,
        honesty,
        lost_bits,
        at_once if at_once < batch else None,
        (f"memory is short: {at_once} of {batch} items at once, gradients added up",)
        if at_once < batch
        else (),
    )


def _honesty(
    judged: Pieces, fitted: FittedCut, setting: Setting
) -> tuple[Honesty, NDArray[np.float64]]:
    texts = setting.parts.judge.x
    if isinstance(texts, np.ndarray):
        return Honesty(), np.zeros(0)
    trip = round_trip(texts, judged, fitted)
    if trip.lossless or not setting.causal:
        # Where a text is not what is predicted, losing some of it is no way to win.
        return Honesty(checked=trip.lossless), np.zeros(0)
    first = ""
    if trip.first is not None:
        text, place, was, came = trip.first
        first = f"sample {text}, byte {place}: {was!r} came back as {came!r}"
    assert trip.lost is not None
    return (
        Honesty(True, trip.reason, first, int(trip.lost.sum())),
        trip.lost_bits(setting.parts.learn.x),
    )


def _probe(network: nn.Module, judge: Part, fitted: FittedCut, setting: Setting) -> None:
    probe_network(
        network,
        judge.inputs,
        causal=setting.causal,
        vocabulary=fitted.spec.vocabulary,
        carries_ids=bool(fitted.spec.branches),
    )


def _peak(network: nn.Module, problem: Problem, part: Part, items: int) -> float:
    """Bytes that a training step will hold: by formula, or from steps on one and two items."""
    x, _ = part.first(1, part.longest)
    one = predict_step(network, x)
    if one is None:
        return measure_items(network, problem, part, items)
    weights = 4.0 * sum(p.numel() * p.element_size() for p in network.parameters())
    return weights + (one.peak_bytes - weights) * items


def embedding_parameters(network: nn.Module) -> int:
    """Parameters whose number follows the cut: the first layer, positions, a text's own answer."""
    body = network.body if isinstance(network, NextPiece) else network
    found = 0
    if isinstance(body, Network):
        found += sum(p.numel() for p in body.embed.parameters())
        found += 0 if body.position is None else body.position.numel()
    elif isinstance(body, FusedNetwork):
        found += sum(p.numel() for p in body.embeds.parameters())
        found += body.position.numel() + body.mark.numel()
    else:
        found += sum(m.weight.numel() for m in network.modules() if isinstance(m, nn.Embedding))
    if isinstance(network, NextPiece):
        outside = {id(p) for p in network.body.parameters()}
        found += sum(p.numel() for p in network.parameters() if id(p) not in outside)
    return found


def facts_of(cut: Cut, fitted: FittedCut, pieces: Pieces, judged: Pieces, parts: Parts) -> CutFacts:
    """What can be told of a cut before anything is trained."""
    lengths = pieces.lengths
    total = int(lengths.sum())
    spec = fitted.spec
    units: float
    if spec.vocabulary is None:
        units = math.prod(spec.shape[1:])
        stored = total * spec.units * pieces.values.itemsize
    else:
        units = spec.units if spec.shape else parts.learn.raw_units / max(1, total)
        stored = total * spec.units * id_bytes(spec.vocabulary)
    return CutFacts(
        family=cut.family,
        pieces_p50=float(np.percentile(lengths, 50)),
        pieces_p99=float(np.percentile(lengths, 99)),
        padding_waste=0.0,
        units_per_piece=units,
        overlap=fitted.overlap,
        coverage=fitted.coverage,
        compression=parts.learn.raw_bytes / max(1, stored),
        vocabulary=spec.vocabulary,
        unknown=judged.unknown,
        keeps_position=spec.keeps_position,
        raw_bytes=parts.learn.raw_bytes,
        pieces=total,
        notes=fitted.notes,
    )


def id_bytes(vocabulary: int) -> int:
    """Bytes of the narrowest unsigned integer that holds every id."""
    return 1 if vocabulary <= 1 << 8 else 2 if vocabulary <= 1 << 16 else 4


def untuned(prepared: Prepared, setting: Setting) -> str | None:
    """Why no rate is looked for where one should be; None where one is, or none should be."""
    if not setting.recipe.tune:
        return None
    if _expected_steps(prepared, setting.budget) / 16 >= FEWEST_STEPS:
        return None
    return f"rate {setting.recipe.rate:g}: the budget is too small to look for its own"


def tune(prepared: Prepared, setting: Setting, on_progress: Callable[[float], None]) -> float:
    """A rate for this row: its own, or the recipe's where there is no search."""
    recipe = setting.recipe
    if not recipe.tune or untuned(prepared, setting) is not None:
        return recipe.rate

    def loss(rate: float, share: float) -> float:
        budget = replace(setting.budget, amount=setting.budget.amount * share)
        if budget.kind == "steps":
            budget = replace(budget, amount=float(max(1, round(budget.amount))))
        torch.manual_seed(0)
        network = setting.network(prepared.fitted)
        legs = climb(
            network,
            setting.problem,
            prepared.learn,
            budget=budget,
            rungs=(1.0,),
            recipe=replace(recipe, rate=rate),
            batch=prepared.batch,
            seed=0,
            flops=prepared.flops,
            micro=prepared.micro,
            on_progress=on_progress,
        )
        try:
            _, trained, _ = next(legs)
            score = _judge(trained, prepared.choose, setting.parts.choose, prepared, setting)[0]
        except TrainingFailedError:
            return math.inf
        signed = -score if setting.problem.metric.higher_is_better else score
        return signed if math.isfinite(signed) else math.inf

    coarse = setting.problem.metric.higher_is_better
    return RateSearch(recipe.rate, loss, 0.0 if coarse else CLEARLY).best()


def _expected_steps(prepared: Prepared, budget: Budget) -> float:
    length = prepared.learn.longest
    if prepared.learn.lengths is not None:
        length = int(prepared.learn.lengths.double().mean())
    seconds = prepared.step.seconds * prepared.batch / prepared.step.items
    cost = {"seconds": seconds, "flops": prepared.flops.at(length), "steps": 1.0}
    return budget.amount / cost[budget.kind]


def _outputs(network: nn.Module, part: Part, prepared: Prepared, setting: Setting) -> Tensor:
    items = prepared.micro or prepared.batch * 4
    return outputs_of(network, setting.problem, part, max(1, min(128, items)))


def _judge(
    network: nn.Module, part: Part, samples: Samples, prepared: Prepared, setting: Setting
) -> tuple[float, tuple[float, ...], tuple[float, ...]]:
    """The score on a part; and part by part, with weights, where the problem tells."""
    problem = setting.problem
    outputs = _outputs(network, part, prepared, setting)
    score = problem.score(outputs, samples, prepared.fitted)
    if not isinstance(problem, HasItems):
        return score, (), ()
    values, weights = problem.items(outputs, samples, prepared.fitted)
    return score, tuple(values.tolist()), tuple(weights.tolist())


def run_seed(
    prepared: Prepared,
    setting: Setting,
    *,
    rate: float,
    seed: int,
    on_progress: Callable[[float], None],
) -> tuple[Run, tuple[float, ...]]:
    """Train and judge one cut with one seed; a training that fails is a run that says why.

    Returns
    -------
    tuple
        The run, and the weights of the parts that its scores are told by.
    """
    torch.manual_seed(seed)
    rungs: list[Rung] = []
    weights: tuple[float, ...] = ()
    seam_error, predict_seconds = None, 0.0
    more: Mapping[str, float] = {}
    problem, budget, parts = setting.problem, setting.budget, setting.parts
    try:
        network = setting.network(prepared.fitted)
        for share, trained, spent in climb(
            network,
            problem,
            prepared.learn,
            budget=budget,
            rungs=setting.rungs,
            recipe=replace(setting.recipe, rate=rate),
            batch=prepared.batch,
            seed=seed,
            flops=prepared.flops,
            micro=prepared.micro,
            spent_seconds=prepared.facts.cut_seconds if budget.kind == "seconds" else 0.0,
            on_progress=on_progress,
        ):
            choose = _judge(trained, prepared.choose, parts.choose, prepared, setting)[0]
            begin = perf_counter()
            score, items, weights = _judge(trained, prepared.judge, parts.judge, prepared, setting)
            predict_seconds = perf_counter() - begin
            score, items = _charged(score, items, prepared, parts.judge)
            if not (math.isfinite(score) and math.isfinite(choose)):
                return Run(seed, failure=f"the score is {score}"), weights
            rungs.append(
                Rung(
                    share,
                    choose,
                    score,
                    items,
                    spent.steps,
                    spent.flops,
                    spent.epochs,
                    spent.seconds,
                    spent.cpu_seconds,
                )
            )
        # A module may hide behind weights that begin at zero: what was trained is probed too.
        _probe(trained, prepared.judge, prepared.fitted, setting)
        if isinstance(problem, HasMore):
            outputs = _outputs(trained, prepared.judge, prepared, setting)
            more = problem.more(outputs, parts.judge, prepared.fitted)
        if isinstance(problem, HasSeams):
            outputs = outputs_of(trained, problem, prepared.judge)
            seam_error = problem.seam_error(trained, outputs, parts.judge, prepared.fitted)
    except FAILURES as error:
        return Run(seed, failure=reason_of(error)), weights
    return Run(seed, tuple(rungs), rate, predict_seconds, seam_error, dict(more)), weights


def _charged(
    score: float, items: tuple[float, ...], prepared: Prepared, judge: Samples
) -> tuple[float, tuple[float, ...]]:
    """The score with what a lossy cut has thrown away, at the byte frequencies' price."""
    lost = prepared.lost_bits
    if not len(lost):
        return score, items
    score += float(lost.sum()) / judge.raw_bytes
    if judge.groups is not None or len(items) != len(lost):
        return score, ()
    sizes = np.array([max(1, len(text)) for text in judge.x])
    return score, tuple((np.array(items) + lost / sizes).tolist())
