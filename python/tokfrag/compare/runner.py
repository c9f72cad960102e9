"""Run every cut of a comparison; knows no task, no cut and no body by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from tokfrag.compare.body import Model
from tokfrag.compare.budget import Budget
from tokfrag.compare.cut import Cut, FittedCut
from tokfrag.compare.measurement import (
    StepCost,
    measure_step,
    merge_arrays_seconds,
    merge_seconds,
)
from tokfrag.compare.pieces import Pieces
from tokfrag.compare.problems import HasSeams, Problem, outputs_of
from tokfrag.compare.row import CutFacts, Run
from tokfrag.compare.task import Split
from tokfrag.compare.training import Recipe, train

# Passes over the training part that a plan asks of a budget.
_ENOUGH = 10

#: What one row may raise without ending the others: a cut that does not fit, memory that is short.
FAILURES = (ValueError, TypeError, IndexError, OSError, ArithmeticError, MemoryError, RuntimeError)


def reason_of(error: BaseException) -> str:
    """Why a row failed, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


@dataclass(frozen=True)
class Prepared:
    """A cut with its pieces made: all that does not depend on the seed."""

    fitted: FittedCut
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    facts: CutFacts
    step: StepCost


def prepare(cut: Cut, split: Split, problem: Problem, model: Model, recipe: Recipe) -> Prepared:
    """Fit a cut, cut both parts, and find out what one training step costs."""
    begin = perf_counter()
    fitted = cut.fit(split.train)
    fit_seconds = perf_counter() - begin
    fitted.cut(split.train.x[: min(8, len(split.train))])
    begin = perf_counter()
    pieces = fitted.cut(split.train.x)
    cut_seconds = perf_counter() - begin
    test_pieces = fitted.cut(split.test.x)
    train_part = problem.tensors(pieces, split.train, fitted)
    test_part = problem.tensors(test_pieces, split.test, fitted)
    torch.manual_seed(0)
    network = problem.network(fitted.spec, model)
    step = measure_step(network, problem, *train_part, recipe)
    if isinstance(problem, HasSeams):
        merge_time, merge_bytes = merge_arrays_seconds(problem, network, train_part, split, fitted)
    else:
        seconds, joined = merge_seconds(network, pieces.values.shape[1], step.items)
        batches = len(train_part[0]) / step.items
        merge_time, merge_bytes = seconds * batches, int(joined * batches)
    facts = facts_of(cut, fitted, pieces, test_pieces, split)
    parameters = sum(p.numel() for p in network.parameters())
    embedding = sum(
        module.weight.numel()
        for module in network.modules()
        if isinstance(module, torch.nn.Embedding)
    )
    return Prepared(
        fitted,
        train_part,
        test_part,
        facts.with_costs(
            fit_seconds=fit_seconds,
            cut_seconds=cut_seconds,
            cut_bytes=int(pieces.values.nbytes),
            merge_seconds=merge_time,
            merge_bytes=merge_bytes,
            parameters=parameters,
            embedding_parameters=embedding,
            items_per_sample=len(train_part[0]) / len(split.train),
            step=step,
        ),
        step,
    )


def facts_of(
    cut: Cut, fitted: FittedCut, pieces: Pieces, test_pieces: Pieces, split: Split
) -> CutFacts:
    """What can be told of a cut before anything is trained."""
    lengths = pieces.lengths
    slots = pieces.values.shape[0] * pieces.values.shape[1]
    total = int(lengths.sum())
    spec = fitted.spec
    raw_units = split.train.raw_units
    units: float
    if spec.vocabulary is None:
        units = math.prod(spec.shape[1:])
        stored = total * spec.units * pieces.values.itemsize
    else:
        units = spec.units if spec.shape else raw_units / max(1, total)
        stored = total * spec.units * id_bytes(spec.vocabulary)
    return CutFacts(
        family=cut.family,
        pieces_p50=float(np.percentile(lengths, 50)),
        pieces_p99=float(np.percentile(lengths, 99)),
        padding_waste=1 - total / max(1, slots),
        units_per_piece=units,
        overlap=fitted.overlap,
        coverage=fitted.coverage,
        compression=split.train.raw_bytes / max(1, stored),
        vocabulary=spec.vocabulary,
        unknown=test_pieces.unknown,
        keeps_position=spec.keeps_position,
        raw_bytes=split.train.raw_bytes,
        pieces=total,
        notes=fitted.notes,
    )


def id_bytes(vocabulary: int) -> int:
    """Bytes of the narrowest unsigned integer that holds every id."""
    return 1 if vocabulary <= 1 << 8 else 2 if vocabulary <= 1 << 16 else 4


def run_seed(
    prepared: Prepared,
    split: Split,
    problem: Problem,
    model: Model,
    *,
    budget: Budget,
    recipe: Recipe,
    seed: int,
    on_progress: Callable[[float], None],
) -> Run:
    """Train and judge one cut with one seed; a training that fails is a run that says why."""
    torch.manual_seed(seed)
    try:
        network = problem.network(prepared.fitted.spec, model)
        training = train(
            network,
            problem,
            *prepared.train,
            budget=budget,
            recipe=recipe,
            seed=seed,
            flops_per_step=prepared.step.flops,
            spent_seconds=prepared.facts.cut_seconds if budget.kind == "seconds" else 0.0,
            on_progress=on_progress,
        )
        begin = perf_counter()
        outputs = outputs_of(network, problem, *prepared.test)
        predict_seconds = perf_counter() - begin
        score = problem.score(outputs, split.test, prepared.fitted)
        seam_error = None
        if isinstance(problem, HasSeams):
            seam_error = problem.seam_error(network, outputs, split.test, prepared.fitted)
    except FAILURES as error:
        return Run(seed, failure=reason_of(error))
    if not math.isfinite(score):
        return Run(seed, failure=f"the score is {score}")
    return Run(
        seed,
        score=score,
        steps=training.steps,
        epochs=training.epochs,
        train_seconds=training.seconds,
        cpu_seconds=training.cpu_seconds,
        predict_seconds=predict_seconds,
        seam_error=seam_error,
    )


def plan(candidates: Mapping[str, Prepared], budget: Budget) -> str | None:
    """The cut to choose before anything is trained: the finest that the budget can still teach.

    Smaller pieces keep more detail and cost more. Of the cuts that leave nothing out and keep
    positions, the planner takes the one with the most pieces of which the budget pays for
    ten passes over the training part; if there is none, the one with the most passes.
    """
    honest = {
        name: prepared
        for name, prepared in candidates.items()
        if prepared.facts.coverage == 1 and prepared.facts.keeps_position
    }
    passes = {name: expected_epochs(prepared, budget) for name, prepared in honest.items()}
    taught = [name for name, epochs in passes.items() if epochs >= _ENOUGH]
    if taught:
        return max(taught, key=lambda name: honest[name].facts.pieces_p50)
    return max(passes, key=lambda name: passes[name], default=None)


def expected_epochs(prepared: Prepared, budget: Budget) -> float:
    """How many passes over the training part the budget pays for, from the cost of one step."""
    step = prepared.step
    flops = step.flops if step.predicted is None else step.predicted.flops
    cost = {"seconds": step.seconds, "flops": flops, "steps": 1.0}[budget.kind]
    return budget.amount / cost * step.items / len(prepared.train[0])
